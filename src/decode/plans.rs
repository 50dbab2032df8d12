//! Schema id to plan: each schema is fetched and compiled once, and judged once when it can't give a TradeV2.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use futures::future::join_all;

use crate::decode::error::{Reason, RowError};
use crate::decode::plan::{Plan, Unusable};
use crate::ports::{Clock, PortError, SchemaAnswer, Schemas};

/// For so long an id that the registry doesn't know isn't asked for again.
pub const UNKNOWN_HELD_MS: u64 = 60_000;

/// What is known of a schema id.
#[derive(Clone, Debug)]
pub enum Reading {
    Plan(Arc<Plan>),
    /// Its records are dead letters that say why.
    Unusable(Arc<Unusable>),
    /// Neither the disk cache nor the registry knows it: its records are dead letters.
    Unknown,
}

/// How a writer's schema, with those that it references, becomes a plan.
pub type Compile = fn(&str, &[Arc<str>]) -> Result<Arc<Plan>, Unusable>;

/// All schema ids that were met. Shared by whoever decodes.
pub struct Plans {
    schemas: Arc<dyn Schemas>,
    clock: Arc<dyn Clock>,
    compile: Compile,
    known: RwLock<HashMap<u32, Held>>,
}

struct Held {
    reading: Reading,
    /// Monotonic milliseconds; none for what never changes.
    until_ms: Option<u64>,
}

impl Plans {
    pub fn new(schemas: Arc<dyn Schemas>, clock: Arc<dyn Clock>) -> Self {
        Self::compiling_by(schemas, clock, |schema, references| Plan::compile(schema, references).map(Arc::new))
    }

    pub fn compiling_by(schemas: Arc<dyn Schemas>, clock: Arc<dyn Clock>, compile: Compile) -> Self {
        Self { schemas, clock, compile, known: RwLock::default() }
    }

    /// Plans for all these ids, fetching those that aren't known yet at the same time. `Err` while one of them has no
    /// answer: nothing of the chunk can be decoded before the next try, since records keep their order.
    pub async fn resolve(&self, ids: &[u32]) -> Result<PlanSet, PortError> {
        let now = self.clock.monotonic_ms();
        let (mut readings, missing) = self.held(ids, now);
        let answers = join_all(missing.iter().map(|id| self.schemas.schema(*id))).await;
        let mut unanswered = None;
        let mut known = self.known.write().expect("no holder of this lock panics");
        known.retain(|_, held| held.counts_at(now));
        for (id, answer) in missing.into_iter().zip(answers) {
            match answer {
                Ok(answer) => {
                    let held = Held::of(answer, now, self.compile);
                    readings.push((id, held.reading.clone()));
                    known.insert(id, held);
                }
                Err(error) => unanswered = unanswered.or(Some(error)),
            }
        }
        match unanswered {
            Some(error) => Err(error),
            None => Ok(PlanSet::new(readings)),
        }
    }

    /// What is known of these ids, and which of them must be asked for.
    fn held(&self, ids: &[u32], now: u64) -> (Vec<(u32, Reading)>, BTreeSet<u32>) {
        let known = self.known.read().expect("no holder of this lock panics");
        let (mut readings, mut missing) = (Vec::new(), BTreeSet::new());
        for id in ids {
            match known.get(id) {
                Some(held) if held.counts_at(now) => readings.push((*id, held.reading.clone())),
                _ => drop(missing.insert(*id)),
            }
        }
        (readings, missing)
    }
}

impl Held {
    fn of(answer: SchemaAnswer, now: u64, compile: Compile) -> Self {
        let unusable = |why| Reading::Unusable(Arc::new(why));
        match answer {
            SchemaAnswer::Known { schema, references } => {
                let reading = compile(&schema, &references).map_or_else(unusable, Reading::Plan);
                Self { reading, until_ms: None }
            }
            SchemaAnswer::NotAvro { schema_type } => {
                Self { reading: unusable(Unusable::not_avro(&schema_type)), until_ms: None }
            }
            SchemaAnswer::Unknown => Self { reading: Reading::Unknown, until_ms: Some(now + UNKNOWN_HELD_MS) },
        }
    }

    fn counts_at(&self, now: u64) -> bool {
        self.until_ms.is_none_or(|until| now < until)
    }
}

/// The plans of one chunk's schema ids.
#[derive(Clone, Debug)]
pub struct PlanSet {
    /// By id, ascending.
    readings: Box<[(u32, Reading)]>,
}

impl PlanSet {
    fn new(mut readings: Vec<(u32, Reading)>) -> Self {
        readings.sort_unstable_by_key(|(id, _)| *id);
        readings.dedup_by_key(|(id, _)| *id);
        Self { readings: readings.into() }
    }

    /// The plan of a schema id, or the letter of its records. Panics for an id that the set wasn't made for.
    #[inline]
    pub fn plan(&self, id: u32) -> Result<&Plan, RowError> {
        match self.reading(id) {
            Reading::Plan(plan) => Ok(plan),
            Reading::Unusable(why) => Err(why.row_error(id)),
            Reading::Unknown => {
                let message = format!("the schema registry doesn't know schema id {id}");
                Err(RowError::new(Reason::SchemaUnknown, message).of_schema(id))
            }
        }
    }

    #[inline]
    pub fn reading(&self, id: u32) -> &Reading {
        match self.readings.binary_search_by_key(&id, |(known, _)| *known) {
            Ok(i) => &self.readings[i].1,
            Err(_) => panic!("schema id {id} wasn't resolved: the set has {} ids", self.readings.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::decode::TRADE_V2;
    use crate::ports::Down;

    #[derive(Default)]
    struct Scripted {
        answers: Mutex<HashMap<u32, SchemaAnswer>>,
        asked: Mutex<Vec<u32>>,
    }

    #[async_trait]
    impl Schemas for Scripted {
        async fn schema(&self, id: u32) -> Result<SchemaAnswer, PortError> {
            self.asked.lock().unwrap().push(id);
            let down = Down { dependency: "schema registry", reason: "no answer".into() };
            self.answers.lock().unwrap().get(&id).cloned().ok_or(down.into())
        }
    }

    #[derive(Default)]
    struct Manual(AtomicU64);

    impl Clock for Manual {
        fn monotonic_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
        fn wall_ms(&self) -> i64 {
            0
        }
    }

    fn plans() -> (Arc<Scripted>, Arc<Manual>, Plans) {
        let (schemas, clock) = (Arc::new(Scripted::default()), Arc::new(Manual::default()));
        let plans = Plans::new(schemas.clone(), clock.clone());
        (schemas, clock, plans)
    }

    fn trade() -> SchemaAnswer {
        SchemaAnswer::Known { schema: TRADE_V2.into(), references: Vec::new() }
    }

    #[tokio::test]
    async fn a_schema_is_fetched_and_judged_once() {
        let (schemas, clock, plans) = plans();
        let envelope = r#"{"type":"record","name":"E","fields":[{"name":"before","type":"null"},{"name":"after","type":"null"},{"name":"op","type":"string"}]}"#;
        let envelope = SchemaAnswer::Known { schema: envelope.into(), references: Vec::new() };
        let protobuf = SchemaAnswer::NotAvro { schema_type: "PROTOBUF".into() };
        schemas.answers.lock().unwrap().extend([(7, trade()), (8, envelope), (9, protobuf)]);
        for _ in 0..3 {
            let set = plans.resolve(&[7, 8, 9]).await.unwrap();
            assert!(set.plan(7).is_ok());
            let letter = set.plan(8).unwrap_err();
            assert_eq!((letter.reason, letter.schema_id), (Reason::ChangeEnvelope, Some(8)));
            let letter = set.plan(9).unwrap_err();
            assert_eq!(letter.reason, Reason::Schema);
            assert!(letter.message.contains("PROTOBUF"), "{}", letter.message);
            clock.0.fetch_add(10 * UNKNOWN_HELD_MS, Ordering::SeqCst);
        }
        assert_eq!(*schemas.asked.lock().unwrap(), [7, 8, 9]);
    }

    #[tokio::test]
    async fn an_unknown_id_is_held_for_a_minute_and_then_asked_for_again() {
        let (schemas, clock, plans) = plans();
        schemas.answers.lock().unwrap().insert(5, SchemaAnswer::Unknown);
        for now in [0, UNKNOWN_HELD_MS - 1] {
            clock.0.store(now, Ordering::SeqCst);
            assert_eq!(plans.resolve(&[5]).await.unwrap().plan(5).unwrap_err().reason, Reason::SchemaUnknown);
        }
        assert_eq!(schemas.asked.lock().unwrap().len(), 1);
        schemas.answers.lock().unwrap().insert(5, trade());
        clock.0.store(UNKNOWN_HELD_MS, Ordering::SeqCst);
        assert!(plans.resolve(&[5]).await.unwrap().plan(5).is_ok());
    }

    #[tokio::test]
    async fn every_letter_of_a_framed_value_carries_its_schema_id() {
        let (schemas, _, plans) = plans();
        schemas.answers.lock().unwrap().extend([(1, trade()), (2, SchemaAnswer::Unknown)]);
        let set = plans.resolve(&[1, 2]).await.unwrap();
        let mut chunk = crate::decode::ChunkDecoder::new(1);
        let mut letter =
            |value: Option<&[u8]>| chunk.push_value(&set, value).map_err(|e| (e.reason, e.schema_id)).unwrap_err();
        assert_eq!(letter(None), (Reason::NullValue, None));
        assert_eq!(letter(Some(&[0, 0, 0, 0])), (Reason::Truncated, None));
        assert_eq!(letter(Some(&[0, 0, 0, 0, 2, 1])), (Reason::SchemaUnknown, Some(2)));
        assert_eq!(letter(Some(&[0, 0, 0, 0, 1])), (Reason::Truncated, Some(1)));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_of_the_chunk_is_decoded() {
        let (schemas, _, plans) = plans();
        schemas.answers.lock().unwrap().insert(1, trade());
        assert!(matches!(plans.resolve(&[1, 2]).await, Err(PortError::Down(_))));
        assert!(plans.resolve(&[1]).await.unwrap().plan(1).is_ok());
        schemas.answers.lock().unwrap().insert(2, trade());
        assert!(plans.resolve(&[2, 1, 2]).await.is_ok());
        assert_eq!(*schemas.asked.lock().unwrap(), [1, 2, 2]);
    }
}
