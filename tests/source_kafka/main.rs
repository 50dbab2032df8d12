//! The source on a real Kafka: what librdkafka's in-process cluster can't show.
//!
//! Needs a broker: SLUICE_TEST_KAFKA=host:port. The tests of security also need SLUICE_TEST_KAFKA_SASL_SSL (SCRAM-SHA-512, user
//! alice, password alice-secret, no ACLs), SLUICE_TEST_KAFKA_MTLS and SLUICE_TEST_KAFKA_CA (a file).

mod asking;
mod harness;
mod letters;
mod reading;
mod rebalancing;
mod security;
mod storm;
