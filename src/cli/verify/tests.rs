//! The command on a real table of real files, with a log in memory that goes through the real decoder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use apache_avro::types::{Record, Value};
use arrow::array::*;
use arrow::datatypes::{DataType, Decimal128Type};
use async_trait::async_trait;
use iceberg::spec::{DataContentType, DataFile, DataFileFormat, ManifestContentType};
use parquet::arrow::ArrowWriter;

use super::silver::{LogReader, Silver};
use super::*;
use crate::core::plan::SnapshotPlan;
use crate::core::table::*;
use crate::core::verify::{Check, ReadRange, Weight};
use crate::decode::event_time::EventTimeBounds;
use crate::decode::plans::Plans;
use crate::ports::*;
use crate::sink::gold;
use crate::sink::testing::World as Lake;
use crate::types::*;

const TOPIC: &str = "silver.binance.trades";
const SCHEMA: &str = include_str!("../../../schemas/trade_v2.avsc");
const START: Micros = 1_767_225_600_000_000;

#[derive(Clone)]
struct Trade {
    id: String,
    time: Micros,
    price: i128,
}

fn trade(n: u64) -> Trade {
    Trade {
        id: uuid::Uuid::from_u128(u128::from(n) << 64 | 7).to_string(),
        time: START + n as i64 * 200_000_000,
        price: i128::from(n) * 1_0000_0000,
    }
}

/// A table with two commits over twelve records of one partition, and the log behind it.
struct Scene {
    lake: Lake,
    log: Vec<(Offset, Vec<u8>)>,
    lane: Lane,
    written: Vec<DataFile>,
    compacted: bool,
}

impl Scene {
    async fn new() -> Self {
        let mut scene =
            Self { lake: Lake::new().await, log: vec![], lane: Lane::default(), written: vec![], compacted: false };
        for n in 0..9 {
            scene.log.push((n, encode(&trade(n as u64))));
        }
        scene.log.push((9, encode(&trade(2))));
        scene.log.push((10, b"{}".to_vec()));
        scene.log.push((11, encode(&trade(11))));
        scene.open().await;
        scene.commit(1, 0..6, &(0..6).map(trade).collect::<Vec<_>>(), Counts { written: 6, ..Counts::default() }).await;
        let rest: Vec<_> = (6..9).chain([11]).map(trade).collect();
        scene.commit(2, 6..12, &rest, Counts { written: 4, duplicate: 1, late: 0, dead_lettered: 1 }).await;
        scene
    }

    async fn open(&mut self) {
        let tp = TopicPartition::new(TOPIC, 0);
        self.lane.partitions.insert(tp.clone(), Progress::opened_at(0));
        let reset = [(tp, ResetRange { from: None, to: 0 })].into();
        self.lake.commit(&self.plan(100, OwnChange::Reset(reset)), &[]).await;
    }

    fn plan(&self, commit: u128, own: OwnChange) -> SnapshotPlan {
        SnapshotPlan {
            commit_id: CommitId(commit),
            lanes: [("gold.1".into(), self.lane.clone())].into(),
            own: Some(("gold.1".into(), own)),
            retired: Default::default(),
        }
    }

    async fn commit(&mut self, commit: u128, range: std::ops::Range<Offset>, trades: &[Trade], counts: Counts) {
        let tp = TopicPartition::new(TOPIC, 0);
        let progress = self.lane.partitions.get_mut(&tp).unwrap();
        progress.next_offset = range.end;
        progress.max_event_time = progress.max_event_time.max(trades.iter().map(|t| t.time).max());
        self.lane.totals.counts = self.lane.totals.counts + counts;
        self.lane.watermark = self.lane.advanced_watermark(300_000_000);
        let mut by_hour: BTreeMap<EventHour, Vec<Trade>> = BTreeMap::new();
        for trade in trades {
            by_hour.entry(EventHour::of(trade.time)).or_default().push(trade.clone());
        }
        let mut files = vec![];
        for (hour, trades) in by_hour {
            let name = format!("sluice-{commit}-{}.parquet", hour.0);
            let data_file = self.file(&name, hour, &trades).await;
            self.written.push(data_file.clone());
            let path = data_file.file_path().into();
            files.push(WrittenFile {
                path,
                hour,
                rows: trades.len() as u64,
                bytes: data_file.file_size_in_bytes(),
                data_file,
            });
        }
        let ranges = [(tp, OffsetRange { start: range.start, end: range.end })].into();
        self.lake.commit(&self.plan(commit, OwnChange::Ranges { ranges, counts }), &files).await;
    }

    async fn file(&self, name: &str, hour: EventHour, trades: &[Trade]) -> DataFile {
        let metadata = self.lake.loaded().await.metadata;
        let path = self.lake.dir.path().join(name);
        let rows = gold_batch(&gold::arrow_schema(metadata.current_schema()).unwrap(), trades);
        write(&path, &rows);
        crate::sink::testing::data_file(
            path.to_str().unwrap(),
            hour,
            trades.len() as u64,
            Some((trades[0].time, trades[0].time)),
        )
        .file_size_in_bytes(std::fs::metadata(&path).unwrap().len())
        .build()
        .unwrap()
    }

    async fn verify(&self, deep: bool) -> Report {
        let metadata = self.lake.loaded().await.metadata;
        let subject =
            Subject { metadata, file_io: FileIO::new_with_fs(), budget_bytes: 1 << 9, watermark_delay: 300_000_000 };
        let end = self.log.last().map_or(0, |(offset, _)| offset + 1);
        let admin = Fixed { end, compacted: self.compacted };
        let mut silver = Silver {
            admin: &admin,
            log: Box::new(Recorded { log: self.log.clone(), left: vec![] }),
            plans: Plans::new(Arc::new(OneSchema), self.lake.clock.clone()),
            clock: self.lake.clock.clone(),
            bounds: EventTimeBounds { future_max: i64::MAX, past_max: i64::MAX },
        };
        verify(&subject, None, deep.then_some(&mut silver)).await.unwrap()
    }
}

fn encode(trade: &Trade) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(SCHEMA).unwrap();
    let mut record = Record::new(&schema).unwrap();
    let decimal = |v: i128| Value::Decimal(v.to_be_bytes().to_vec().into());
    record.put("message_id", trade.id.as_str());
    record.put("trade_id", "T");
    record.put("symbol", "BTCUSDT");
    record.put("exchange", "BINANCE");
    record.put("asset_class", Value::Enum(1, "crypto".into()));
    record.put("timestamp", Value::TimestampMicros(trade.time));
    record.put("price", decimal(trade.price));
    record.put("quantity", decimal(5));
    record.put("currency", "USDT");
    record.put("side", Value::Enum(0, "BUY".into()));
    record.put("trade_conditions", Value::Array(vec![Value::String("c".into())]));
    record.put("source_sequence", Value::Union(0, Box::new(Value::Null)));
    record.put("ingestion_timestamp", Value::TimestampMicros(trade.time + 1));
    record.put("platform_sequence", Value::Union(1, Box::new(Value::Long(4))));
    let vendor = Value::Map([("k".to_string(), Value::String("v".into()))].into());
    record.put("vendor_data", Value::Union(1, Box::new(vendor)));
    let body = apache_avro::to_avro_datum(&schema, record).unwrap();
    [&[0, 0, 0, 0, 1], &body[..]].concat()
}

fn gold_batch(schema: &arrow::datatypes::SchemaRef, trades: &[Trade]) -> RecordBatch {
    let texts = |f: &dyn Fn(&Trade) -> String| Arc::new(StringArray::from_iter_values(trades.iter().map(f))) as ArrayRef;
    let longs = |f: &dyn Fn(&Trade) -> Option<i64>| Arc::new(trades.iter().map(f).collect::<Int64Array>()) as ArrayRef;
    let decimals = |f: &dyn Fn(&Trade) -> i128| {
        let values = PrimitiveArray::<Decimal128Type>::from_iter_values(trades.iter().map(f));
        Arc::new(values.with_precision_and_scale(18, 8).unwrap()) as ArrayRef
    };
    let conditions = || {
        let DataType::List(element) = schema.field(10).data_type() else { panic!("a list") };
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(element.clone());
        trades.iter().for_each(|_| list.append_value([Some("c")]));
        Arc::new(list.finish()) as ArrayRef
    };
    let hour = |t: &Trade| EventHour::of(t.time);
    let columns: Vec<ArrayRef> = vec![
        texts(&|t| t.id.clone()),
        texts(&|_| "T".into()),
        texts(&|_| "BTCUSDT".into()),
        texts(&|_| "BINANCE".into()),
        texts(&|_| "crypto".into()),
        longs(&|t| Some(t.time)),
        decimals(&|t| t.price),
        decimals(&|_| 5),
        texts(&|_| "USDT".into()),
        texts(&|_| "BUY".into()),
        conditions(),
        longs(&|_| None),
        longs(&|t| Some(t.time + 1)),
        longs(&|_| Some(4)),
        texts(&|_| r#"{"k":"v"}"#.into()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(trades.iter().map(|_| START)).with_timezone(gold::UTC)),
        Arc::new(Date32Array::from_iter_values(trades.iter().map(|t| hour(t).exchange_date()))),
        Arc::new(Int32Array::from_iter_values(trades.iter().map(|t| hour(t).exchange_hour()))),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn write(path: &Path, rows: &RecordBatch) {
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

struct OneSchema;

#[async_trait]
impl Schemas for OneSchema {
    async fn schema(&self, _: u32) -> Result<SchemaAnswer, PortError> {
        Ok(SchemaAnswer::Known { schema: SCHEMA.into(), references: vec![] })
    }
}

/// One topic with one partition, from 0 to `end`.
struct Fixed {
    end: Offset,
    compacted: bool,
}

#[async_trait]
impl SourceAdmin for Fixed {
    async fn identity(&self, _: &[Topic]) -> Result<SourceIdentity, PortError> {
        Ok(SourceIdentity::default())
    }
    async fn partitions(&self, topics: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError> {
        Ok(topics.iter().map(|t| (t.clone(), vec![0])).collect())
    }
    async fn log_offsets(&self, at: &[(TopicPartition, LogEdge)]) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError> {
        let offset = |edge: &LogEdge| if *edge == LogEdge::Earliest { 0 } else { self.end };
        let answer = |edge| LogOffset { offset: offset(edge), leader_epoch: None, timestamp_ms: None };
        Ok(at.iter().map(|(tp, edge)| (tp.clone(), answer(edge))).collect())
    }
    async fn compacted(&self, topics: &[Topic]) -> Result<BTreeSet<Topic>, PortError> {
        Ok(topics.iter().filter(|_| self.compacted).cloned().collect())
    }
    async fn group_offsets(&self, _: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, GroupOffset>, PortError> {
        Ok(BTreeMap::new())
    }
    async fn group_members(&self) -> Result<Vec<GroupMember>, PortError> {
        Ok(vec![])
    }
}

struct Recorded {
    log: Vec<(Offset, Vec<u8>)>,
    left: Vec<(Offset, Vec<u8>)>,
}

#[async_trait]
impl LogReader for Recorded {
    async fn start(&mut self, range: &ReadRange) -> Result<(), PortError> {
        self.left = self.log.iter().filter(|(at, _)| (range.start..range.end).contains(at)).cloned().collect();
        Ok(())
    }
    async fn next(&mut self) -> Result<Option<RecordChunk>, PortError> {
        let taken: Vec<_> = self.left.drain(..self.left.len().min(5)).collect();
        let mut chunk = RecordChunk::default();
        for (offset, value) in taken {
            let from = chunk.data.len() as u32;
            chunk.data.extend_from_slice(&value);
            let value = Some((from, chunk.data.len() as u32));
            chunk.frames.push(Frame { offset, timestamp_ms: Some(START / 1000), leader_epoch: None, key: None, value });
        }
        Ok((!chunk.frames.is_empty()).then_some(chunk))
    }
}

fn found(report: &Report) -> Vec<(Weight, Check, u64)> {
    report.findings.counts().iter().map(|((weight, check), count)| (*weight, *check, *count)).collect()
}

#[tokio::test]
async fn a_faultless_table_and_its_log_find_nothing() {
    let scene = Scene::new().await;
    let report = scene.verify(true).await;
    assert_eq!(found(&report), vec![], "{}", print::text(&report));
    assert_eq!((report.scope.rows, report.scope.records, report.scope.ranges), (10, Some(12), 2));
    assert_eq!(report.stop(true), None);
    let json = print::json(&report);
    assert_eq!((json["violations"].as_u64(), json["scope"]["files"].as_u64()), (Some(0), Some(report.scope.files)));
    assert!(print::text(&report).contains("0 violations, 0 unprovable"));
}

/// The partition of a file was never known: all rows stood "in 1 hours", and none could be in the wrong one.
#[tokio::test]
async fn hours_are_those_of_the_partitions() {
    let mut scene = Scene::new().await;
    let later = [trade(20), trade(40)];
    scene.log.extend([(12, encode(&later[0])), (13, encode(&later[1]))]);
    scene.commit(3, 12..14, &later, Counts { written: 2, ..Counts::default() }).await;
    let report = scene.verify(true).await;
    assert_eq!(found(&report), vec![], "{}", print::text(&report));
    assert_eq!((report.scope.rows, report.scope.hours), (12, 3));
}

#[tokio::test]
async fn a_record_that_compaction_removed_is_unprovable() {
    let mut scene = Scene::new().await;
    scene.log.remove(4);
    assert!(scene.verify(true).await.stop(false).is_some(), "of another log it was taken");
    scene.compacted = true;
    let report = scene.verify(true).await;
    assert_eq!(found(&report), vec![(Weight::Unprovable, Check::RowExtra, 1), (Weight::Unprovable, Check::Verdict, 1)]);
}

#[tokio::test]
async fn an_empty_table_is_judged_too() {
    let lake = Lake::new().await;
    let scene = Scene { lake, log: vec![], lane: Lane::default(), written: vec![], compacted: false };
    let report = scene.verify(false).await;
    assert_eq!((found(&report), report.snapshot), (vec![], None));
}

#[tokio::test]
async fn a_file_that_is_gone_or_damaged_is_found() {
    let scene = Scene::new().await;
    std::fs::remove_file(scene.written[0].file_path()).unwrap();
    let damaged = scene.written[1].file_path();
    let mut bytes = std::fs::read(damaged).unwrap();
    let at = bytes.len() - 20;
    bytes[at..].fill(0);
    std::fs::write(damaged, bytes).unwrap();
    let report = scene.verify(false).await;
    assert_eq!(report.findings.of(Weight::Violation, Check::FileMissing), 1, "{}", print::text(&report));
    assert_eq!(report.findings.of(Weight::Violation, Check::FileUnreadable), 1);
}

#[tokio::test]
async fn a_duplicate_in_another_file_is_found() {
    let scene = Scene::new().await;
    let hour = EventHour::of(trade(0).time);
    let again = scene.file("part-theirs.parquet", hour, &[trade(0)]).await;
    scene.lake.foreign_append(vec![again], ManifestContentType::Data).await;
    let report = scene.verify(true).await;
    assert_eq!(report.findings.of(Weight::Violation, Check::Duplicate), 1, "{}", print::text(&report));
}

#[tokio::test]
async fn a_value_that_differs_is_named_by_its_column() {
    let mut scene = Scene::new().await;
    let other = Trade { price: 1, ..trade(4) };
    scene.log[4].1 = encode(&other);
    let report = scene.verify(true).await;
    let finding = report.findings.listed().iter().find(|f| f.check == Check::RowValue).expect("a wrong value");
    assert!(finding.text.ends_with("in price"), "{}", finding.text);
    assert_eq!(found(&report).len(), 1, "{}", print::text(&report));
}

#[tokio::test]
async fn a_record_in_the_range_without_a_row_is_found_in_the_log_alone() {
    let mut scene = Scene::new().await;
    // Offset 9 was called a duplicate; were it another trade, it would be nowhere.
    scene.log[9].1 = encode(&trade(9));
    assert_eq!(found(&scene.verify(false).await), vec![]);
    let report = scene.verify(true).await;
    assert_eq!(report.findings.of(Weight::Violation, Check::RowMissing), 1, "{}", print::text(&report));
    assert_eq!(report.findings.of(Weight::Violation, Check::Verdict), 1);
}

#[tokio::test]
async fn rows_that_a_position_delete_takes_away_are_read_as_readers_read_them() {
    let scene = Scene::new().await;
    let first = scene.written[0].clone();
    let deletes = position_delete(&scene, &first, &[1]).await;
    scene.lake.foreign_append(vec![deletes], ManifestContentType::Deletes).await;
    let report = scene.verify(true).await;
    assert_eq!(report.scope.rows, 9, "{}", print::text(&report));
    assert_eq!(report.findings.count(Weight::Violation), 0, "{}", print::text(&report));
    assert_eq!(report.findings.of(Weight::Unprovable, Check::ForeignRemoval), 1);
    assert_eq!(report.findings.of(Weight::Unprovable, Check::RowMissing), 1);
}

async fn position_delete(scene: &Scene, of: &DataFile, rows: &[i64]) -> DataFile {
    use arrow::datatypes::{Field, Schema};
    let field = |name: &str, data_type, id: &str| {
        Field::new(name, data_type, false).with_metadata([(gold::FIELD_ID_KEY.to_string(), id.to_string())].into())
    };
    let schema =
        Schema::new(vec![field("file_path", DataType::Utf8, "2147483546"), field("pos", DataType::Int64, "2147483545")]);
    let paths = StringArray::from_iter_values(rows.iter().map(|_| of.file_path()));
    let positions = Int64Array::from_iter_values(rows.iter().copied());
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(paths), Arc::new(positions)]).unwrap();
    let path = scene.lake.dir.path().join("deletes.parquet");
    write(&path, &batch);
    iceberg::spec::DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path(path.to_str().unwrap().to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(of.partition().clone())
        .record_count(rows.len() as u64)
        .file_size_in_bytes(std::fs::metadata(&path).unwrap().len())
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_earlier_snapshot_can_be_judged_and_an_unknown_one_is_refused() {
    let scene = Scene::new().await;
    let metadata = scene.lake.loaded().await.metadata;
    let head = metadata.current_snapshot().unwrap();
    let subject =
        Subject { metadata: metadata.clone(), file_io: FileIO::new_with_fs(), budget_bytes: 1 << 20, watermark_delay: 0 };
    let parent = SnapshotId(head.parent_snapshot_id().unwrap());
    let report = verify(&subject, Some(parent), None).await.unwrap();
    assert_eq!((found(&report), report.scope.rows), (vec![], 6));
    let Err(PortError::Stop(stop)) = verify(&subject, Some(SnapshotId(5)), None).await else { panic!("refused") };
    assert_eq!(stop.exit, crate::error::Exit::Usage);
}
