//! Does Kafka answer? Turns the client's errors and our own probes into `Down`, `Up` and `Fatal`.
//!
//! Records are no proof that a broker answers: they may have been fetched long before. So while brokers are silent, a
//! probe asks the cluster until it answers. The library's "all brokers are down" is believed only when a probe fails,
//! since it also comes when the only open connection is renewed.

use std::time::{Duration, Instant};

use crate::ports::{Down, SourceEvent};
use crate::source::trouble::Trouble;

/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Availability {
    /// Some broker has answered since the start.
    reached: bool,
    /// The group has given us an assignment since the start, be it empty.
    joined: bool,
    /// `Fatal` was told, nothing more will be.
    ended: bool,
    state: State,
    probe: Probe,
}

#[derive(PartialEq, Eq, Debug)]
enum State {
    Up,
    /// To be told if the probe fails.
    Suspect(String),
    /// Told. Ends with a probe that is answered.
    Unreachable,
    /// Told, also where the brokers were away before: they are back, and an operator must act. Ends as the one above.
    Refused,
    /// Told. Ends with an assignment, a record or a log end.
    Forbidden,
}

#[derive(PartialEq, Eq, Debug)]
enum Probe {
    Idle,
    Due(Instant),
    Out,
}

impl Availability {
    pub fn new() -> Self {
        Self { reached: false, joined: false, ended: false, state: State::Up, probe: Probe::Idle }
    }

    pub fn on_trouble(&mut self, trouble: Trouble, now: Instant) -> Option<SourceEvent> {
        match trouble {
            Trouble::Fatal(stop) => self.fatal(stop),
            Trouble::Credentials(stop) if !self.reached => self.fatal(stop),
            Trouble::Permission(stop) if !self.joined => self.fatal(stop),
            Trouble::Credentials(stop) => {
                self.ask_soon(now);
                self.down(State::Refused, stop.what)
            }
            Trouble::Permission(stop) if self.state == State::Up => self.down(State::Forbidden, stop.what),
            Trouble::Unreachable(reason) if self.state == State::Up || self.state == State::Forbidden => {
                self.state = State::Suspect(reason);
                self.ask_soon(now);
                None
            }
            Trouble::Permission(_) | Trouble::Unreachable(_) | Trouble::Passing(_) => None,
        }
    }

    /// A rebalance event came: brokers answer and the group accepts us.
    pub fn on_rebalance(&mut self) -> Option<SourceEvent> {
        self.reached = true;
        self.joined = true;
        self.on_read()
    }

    /// A record or a log end came.
    pub fn on_read(&mut self) -> Option<SourceEvent> {
        self.reached = true;
        if self.state != State::Forbidden {
            return None;
        }
        self.state = State::Up;
        Some(SourceEvent::Up)
    }

    /// Must a probe be sent now? Answered by `on_probe`.
    pub fn probe_due(&mut self, now: Instant) -> bool {
        let due = matches!(self.probe, Probe::Due(at) if at <= now);
        if due {
            self.probe = Probe::Out;
        }
        due
    }

    pub fn on_probe(&mut self, answer: Result<(), String>, now: Instant) -> Option<SourceEvent> {
        self.probe = Probe::Idle;
        let state = std::mem::replace(&mut self.state, State::Up);
        match (answer, state) {
            (Ok(()), State::Unreachable | State::Refused) => {
                self.reached = true;
                Some(SourceEvent::Up)
            }
            (Ok(()), State::Suspect(_)) => {
                self.reached = true;
                None
            }
            (Err(_), State::Suspect(reason)) => {
                self.ask_again(now);
                self.down(State::Unreachable, reason)
            }
            (Err(_), state @ (State::Unreachable | State::Refused)) => {
                self.ask_again(now);
                self.state = state;
                None
            }
            (_, state) => {
                self.state = state;
                None
            }
        }
    }

    fn fatal(&mut self, stop: crate::error::Stop) -> Option<SourceEvent> {
        (!std::mem::replace(&mut self.ended, true)).then_some(SourceEvent::Fatal(stop))
    }

    fn down(&mut self, state: State, reason: String) -> Option<SourceEvent> {
        let news = self.state != state;
        self.state = state;
        news.then_some(SourceEvent::Down(Down { dependency: "kafka", reason }))
    }

    fn ask_soon(&mut self, now: Instant) {
        if self.probe == Probe::Idle {
            self.probe = Probe::Due(now);
        }
    }

    fn ask_again(&mut self, now: Instant) {
        self.probe = Probe::Due(now + PROBE_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stop;

    fn stop() -> Stop {
        Stop::usage("wrong", "right it")
    }
    fn is_down(event: &Option<SourceEvent>) -> bool {
        matches!(event, Some(SourceEvent::Down(_)))
    }
    fn is_fatal(event: &Option<SourceEvent>) -> bool {
        matches!(event, Some(SourceEvent::Fatal(_)))
    }

    #[test]
    fn credentials_are_fatal_at_the_start_once_and_waited_for_later() {
        let now = Instant::now();
        let mut fresh = Availability::new();
        assert!(is_fatal(&fresh.on_trouble(Trouble::Credentials(stop()), now)));
        assert!(fresh.on_trouble(Trouble::Credentials(stop()), now).is_none());

        let mut running = Availability::new();
        assert!(running.on_rebalance().is_none());
        assert!(is_down(&running.on_trouble(Trouble::Credentials(stop()), now)));
        assert!(running.on_trouble(Trouble::Credentials(stop()), now).is_none());
        assert!(running.probe_due(now));
        assert!(matches!(running.on_probe(Ok(()), now), Some(SourceEvent::Up)));
    }

    #[test]
    fn a_missing_acl_is_fatal_before_the_first_assignment_and_waited_for_after_it() {
        let now = Instant::now();
        let mut fresh = Availability::new();
        fresh.on_read();
        assert!(is_fatal(&fresh.on_trouble(Trouble::Permission(stop()), now)));

        let mut running = Availability::new();
        running.on_rebalance();
        assert!(is_down(&running.on_trouble(Trouble::Permission(stop()), now)));
        assert!(matches!(running.on_read(), Some(SourceEvent::Up)));
        assert!(running.on_read().is_none());
    }

    #[test]
    fn brokers_are_down_when_a_probe_fails_and_up_when_one_is_answered() {
        let now = Instant::now();
        let mut kafka = Availability::new();
        kafka.on_rebalance();
        assert!(!kafka.probe_due(now), "nothing to ask");
        assert!(kafka.on_trouble(Trouble::Unreachable("1/1".into()), now).is_none());
        assert!(kafka.probe_due(now));
        assert!(!kafka.probe_due(now), "one at a time");
        assert!(is_down(&kafka.on_probe(Err("timed out".into()), now)));
        assert!(kafka.on_read().is_none(), "a record from the local queue proves nothing");
        assert!(!kafka.probe_due(now) && kafka.probe_due(now + PROBE_EVERY));
        assert!(kafka.on_probe(Err("timed out".into()), now).is_none(), "told once");
        assert!(kafka.probe_due(now + PROBE_EVERY));
        assert!(matches!(kafka.on_probe(Ok(()), now), Some(SourceEvent::Up)));
        assert!(!kafka.probe_due(now + PROBE_EVERY * 9));
    }

    /// Brokers that were restarted while the password was changed: "all brokers are down" is no longer the reason.
    #[test]
    fn credentials_that_are_refused_after_an_outage_are_told_once() {
        let now = Instant::now();
        let mut kafka = Availability::new();
        kafka.on_rebalance();
        kafka.on_trouble(Trouble::Unreachable("1/1".into()), now);
        assert!(kafka.probe_due(now));
        assert!(is_down(&kafka.on_probe(Err("timed out".into()), now)));
        let told = kafka.on_trouble(Trouble::Credentials(stop()), now);
        let Some(SourceEvent::Down(down)) = told else { panic!("{told:?}") };
        assert_eq!(down.reason, "wrong");
        assert!(kafka.on_trouble(Trouble::Credentials(stop()), now).is_none());
        assert!(kafka.on_trouble(Trouble::Unreachable("1/1".into()), now).is_none());
        assert!(kafka.probe_due(now + PROBE_EVERY));
        assert!(kafka.on_probe(Err("refused".into()), now).is_none());
        assert!(kafka.probe_due(now + PROBE_EVERY));
        assert!(matches!(kafka.on_probe(Ok(()), now), Some(SourceEvent::Up)));
    }

    #[test]
    fn a_renewed_connection_is_not_an_outage() {
        let now = Instant::now();
        let mut kafka = Availability::new();
        kafka.on_trouble(Trouble::Unreachable("1/1".into()), now);
        assert!(kafka.probe_due(now));
        assert!(kafka.on_probe(Ok(()), now).is_none());
    }
}
