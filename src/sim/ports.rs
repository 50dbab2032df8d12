//! The ports of one process over the world. Each call sets out, has its effect, and is acknowledged; it can fail before,
//! be lost between, and be the last thing that the process does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;

use crate::core::table::*;
use crate::error::Stop;
use crate::ports::*;
use crate::sim::history::{Row, Serial};
use crate::sim::life::Life;
use crate::sim::scenario::Dependency;
use crate::sim::workload::{BEGIN_MS, schema_of};
use crate::sim::world::World;
use crate::types::*;

pub struct SimPorts(pub Arc<Life>);

// ---------------------------------------------------------------------------------------------------------------- Kafka

#[async_trait]
impl SourceAdmin for SimPorts {
    async fn identity(&self, topics: &[Topic]) -> Result<SourceIdentity, PortError> {
        self.0.set_out(Dependency::Kafka, "kafka", "asking for topic ids").await?;
        let answer = self.0.act(|world| {
            let ids = topics.iter().filter_map(|t| Some((t.clone(), world.kafka.topics.get(t)?.id)));
            SourceIdentity { cluster_id: Some(world.kafka.cluster_id()), topics: ids.collect() }
        });
        Ok(answer.await)
    }

    async fn partitions(&self, topics: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError> {
        self.0.set_out(Dependency::Kafka, "kafka", "asking for partitions").await?;
        let answer = self.0.act(|world| {
            let known = topics.iter().filter_map(|t| Some((t.clone(), world.kafka.topics.get(t)?.partitions)));
            known.map(|(topic, count)| (topic, (0..count).collect())).collect()
        });
        Ok(answer.await)
    }

    async fn compacted(&self, _topics: &[Topic]) -> Result<BTreeSet<Topic>, PortError> {
        Ok(BTreeSet::new())
    }

    async fn log_offsets(&self, at: &[(TopicPartition, LogEdge)]) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError> {
        self.0.set_out(Dependency::Kafka, "kafka", "asking for log offsets").await?;
        let answer = self.0.act(|world| {
            let edges = at.iter().filter_map(|(tp, edge)| Some((tp.clone(), edge_of(world, tp, *edge)?)));
            edges.collect()
        });
        Ok(answer.await)
    }

    async fn group_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, GroupOffset>, PortError> {
        self.0.set_out(Dependency::Kafka, "kafka", "asking for group offsets").await?;
        let answer = self.0.act(|world| {
            let lane = &world.scenario.lanes[world.slots[self.0.slot].lane].name;
            let kept = world.kafka.group_offsets.get(lane);
            let known = partitions.iter().filter_map(|tp| Some((tp.clone(), kept?.get(tp)?.clone())));
            known.collect()
        });
        Ok(answer.await)
    }

    async fn group_members(&self) -> Result<Vec<GroupMember>, PortError> {
        self.0.set_out(Dependency::Kafka, "kafka", "asking for members").await?;
        let answer = self.0.act(|world| {
            let group = &world.groups[world.slots[self.0.slot].lane];
            let member = |id| GroupMember {
                member_id: format!("{id}"),
                client_id: "sluice".into(),
                host: "host".into(),
                partitions: group.held(id).into_iter().collect(),
            };
            group.members().map(member).collect()
        });
        Ok(answer.await)
    }
}

fn edge_of(world: &World, tp: &TopicPartition, edge: LogEdge) -> Option<LogOffset> {
    let log = world.kafka.log(tp)?;
    let offset = match edge {
        LogEdge::Earliest => log.start,
        LogEdge::LastStable | LogEdge::Timestamp(_) => log.stable,
        LogEdge::HighWatermark => log.entries.len() as Offset,
    };
    Some(LogOffset { offset, leader_epoch: Some(0), timestamp_ms: None })
}

#[async_trait]
impl DeadLetters for SimPorts {
    async fn send(&self, letters: &[Letter]) -> Result<(), PortError> {
        self.0.set_out(Dependency::Letters, "dead-letter topic", "sending letters").await?;
        self.0
            .act(|world| {
                let serials: Vec<Serial> =
                    letters.iter().filter_map(|l| world.kafka.serial_at(&l.partition, l.offset)).collect();
                world.letters.extend(serials);
            })
            .await;
        self.0.acknowledged("letters acknowledged").await;
        Ok(())
    }
}

#[async_trait]
impl Schemas for SimPorts {
    async fn schema(&self, id: u32) -> Result<SchemaAnswer, PortError> {
        self.0.set_out(Dependency::Registry, "schema registry", "asking for a schema").await?;
        Ok(match schema_of(id) {
            Some(schema) => SchemaAnswer::Known { schema, references: Vec::new() },
            None => SchemaAnswer::Unknown,
        })
    }
}

// -------------------------------------------------------------------------------------------------------------- Iceberg

#[async_trait]
impl DataFiles for SimPorts {
    async fn write(
        &self,
        hour: EventHour,
        name: &str,
        _gold_ingestion_timestamp: Micros,
        rows: Vec<RecordBatch>,
    ) -> Result<Vec<WrittenFile>, PortError> {
        self.0.set_out(Dependency::Store, "object store", "writing a data file").await?;
        let rows: Vec<Row> = rows.iter().flat_map(rows_of).collect();
        let count = rows.len() as u64;
        let path: FilePath = format!("{hour}/sluice-{name}").into();
        self.0.act(|world| world.lake.files.insert(path.clone(), Arc::new(rows))).await;
        self.0.acknowledged("data file durable").await;
        let ack_lost = self.0.world.lock().rates().store_ack_lost;
        if self.0.draw(|c| c.happens(ack_lost)) {
            return Err(Down { dependency: "object store", reason: "the acknowledgement was lost".into() }.into());
        }
        let data_file = data_file(&path, hour, count);
        Ok(vec![WrittenFile { path, hour, rows: count, bytes: 1, data_file }])
    }

    async fn probe(&self, file: &LiveFile, hour: EventHour, ids: &[ProbeId]) -> Result<Probed, PortError> {
        let rows = self.rows(&file.path, "looking ids up").await?;
        let held = |id: &&ProbeId| rows.iter().any(|r| EventHour::of(r.time) == hour && MessageId::of(&r.id) == id.id);
        Ok(Probed { hits: ids.iter().filter(held).map(|id| id.id).collect(), read: ids.len() })
    }

    async fn read_ids(&self, file: &LiveFile) -> Result<Vec<(MessageId, EventHour)>, PortError> {
        let rows = self.rows(&file.path, "reading ids").await?;
        Ok(rows.iter().map(|row| (MessageId::of(&row.id), EventHour::of(row.time))).collect())
    }

    async fn exists(&self, path: &str) -> Result<bool, PortError> {
        self.0.set_out(Dependency::Store, "object store", "looking for a data file").await?;
        Ok(self.0.act(|world| world.lake.rows(path).is_some()).await)
    }

    #[cfg(feature = "planted-bugs")]
    async fn delete(&self, path: &str) -> Result<(), PortError> {
        self.0.set_out(Dependency::Store, "object store", "deleting a data file").await?;
        self.0.act(|world| world.lake.files.remove(path)).await;
        Ok(())
    }
}

impl SimPorts {
    async fn rows(&self, path: &FilePath, what: &'static str) -> Result<Arc<Vec<Row>>, PortError> {
        self.0.set_out(Dependency::Store, "object store", what).await?;
        let rows = self.0.act(|world| world.lake.rows(path).cloned()).await;
        let gone = || Stop::inconsistent(format!("data file {path} is gone"), "restore it");
        Ok(rows.ok_or_else(gone)?)
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let text = |name: &str| {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("rows of Silver have {name}"));
        column.as_any().downcast_ref::<StringArray>().expect("a string column").clone()
    };
    let (ids, serials) = (text("message_id"), text("trade_id"));
    let times = batch.column_by_name("timestamp").expect("rows of Silver have a timestamp");
    let times = times.as_any().downcast_ref::<Int64Array>().expect("event time in microseconds");
    let row = |i: usize| {
        let serial = serials.value(i).parse().expect("the workload writes serials");
        Row { id: ids.value(i).into(), time: times.value(i), from: Some(Serial(serial)) }
    };
    (0..ids.len()).map(row).collect()
}

fn data_file(path: &FilePath, hour: EventHour, rows: u64) -> iceberg::spec::DataFile {
    use iceberg::spec::*;
    let partition = Struct::from_iter([
        Some(Literal::Primitive(PrimitiveLiteral::Int(hour.exchange_date()))),
        Some(Literal::Primitive(PrimitiveLiteral::Int(hour.exchange_hour()))),
    ]);
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(1)
        .build()
        .expect("every required field is set")
}

// ----------------------------------------------------------------------------------------------- What an instance keeps

#[async_trait]
impl DedupStore for SimPorts {
    async fn use_table(&self, _uuid: u128) {}

    async fn get(&self, path: &FilePath) -> Option<FileIds> {
        let corrupt = self.0.world.lock().rates().cache_corrupt;
        let corrupt = self.0.draw(|c| c.happens(corrupt));
        let uuid = self.uuid();
        self.0
            .act(|world| {
                let ids = &world.slots[self.0.slot].ids;
                let held = ids.iter().find(|(table, p, _)| Some(*table) == uuid && p == path && !corrupt);
                held.map(|(_, _, ids)| ids.clone())
            })
            .await
    }

    async fn put(&self, path: &FilePath, ids: FileIds) {
        let Some(uuid) = self.uuid() else { return };
        self.0.act(|world| world.slots[self.0.slot].ids.push((uuid, path.clone(), ids))).await;
    }

    async fn sweep(&self, keep: Keep) {
        self.0.act(move |world| world.slots[self.0.slot].ids.retain(|(_, path, _)| keep(path))).await;
    }
}

impl SimPorts {
    fn uuid(&self) -> Option<u128> {
        self.0.world.lock().lake.table.as_ref().map(|t| t.uuid)
    }
}

#[async_trait]
impl Notes for SimPorts {
    async fn known(&self) -> Option<Known> {
        self.0.act(|world| world.slots[self.0.slot].known.clone()).await
    }

    async fn remember(&self, known: Known) {
        self.0.act(|world| world.slots[self.0.slot].known = Some(known)).await;
    }

    async fn clear_stop(&self) {}
}

// -------------------------------------------------------------------------------------------------------- Time and chance

impl Clock for SimPorts {
    fn monotonic_ms(&self) -> u64 {
        self.0.world.lock().now_ms()
    }
    fn wall_ms(&self) -> i64 {
        let world = self.0.world.lock();
        BEGIN_MS + world.now_ms() as i64 + world.slots[self.0.slot].skew_ms
    }
}

impl Random for SimPorts {
    fn u64(&self) -> u64 {
        self.0.draw(|c| c.u64())
    }
    fn u128(&self) -> u128 {
        self.0.draw(|c| c.u128())
    }
}
