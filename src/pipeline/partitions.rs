//! One partition of the lane in the status: what Kafka, the table and this instance say of it, side by side, as
//! `sluice offsets describe` puts it.

use crate::core::table::Progress;
use crate::pipeline::standing::Standing;
use crate::telemetry::status::PartitionStatus;
use crate::types::*;

/// What this instance knows of a partition of its own.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    pub client_id: &'a str,
    pub paused: bool,
    pub idle: bool,
    /// When the first record that isn't in the table reached Kafka, as far as it is known.
    pub oldest_ms: Option<i64>,
}

/// `own`: none for a partition of another member. Then how old its lag is isn't known.
pub fn partition_status(
    partition: &TopicPartition,
    kafka: &Standing,
    table: Option<&Progress>,
    own: Option<Own<'_>>,
    wall_ms: i64,
) -> PartitionStatus {
    let edges = kafka.edges.get(partition);
    let table_offset = table.map(|progress| progress.next_offset);
    // where the table knows nothing, everything is to come
    let from = table_offset.or(edges.map(|e| e.start));
    let lag_records = edges.zip(from).map(|(e, from)| (e.stable - from).max(0) as u64);
    let lag_seconds = match (lag_records, own.and_then(|own| own.oldest_ms)) {
        (Some(0), _) => Some(0.0),
        (_, Some(at)) => Some(((wall_ms - at) as f64 / 1e3).max(0.0)),
        _ => None,
    };
    PartitionStatus {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        log_start_offset: edges.map(|e| e.start),
        log_end_offset: edges.map(|e| e.end),
        last_stable_offset: edges.map(|e| e.stable),
        group_offset: kafka.group_offsets.get(partition).copied(),
        table_offset,
        lag_records,
        lag_seconds,
        owner: own.map(|own| own.client_id.into()).or_else(|| kafka.owners.get(partition).cloned()),
        paused: own.is_some_and(|own| own.paused),
        idle: own.map_or(table.is_some_and(|progress| progress.idle), |own| own.idle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::fakes::tp;
    use crate::pipeline::standing::Edges;

    fn kafka() -> Standing {
        let (mine, other) = (tp("a", 0), tp("a", 1));
        let edges = Edges { start: 2, stable: 8, end: 9 };
        Standing {
            partitions: [mine.clone(), other.clone()].into(),
            edges: [(mine.clone(), edges), (other.clone(), edges)].into(),
            group_offsets: [(mine.clone(), 5)].into(),
            owners: [(mine, "a former owner".into()), (other, "two".into())].into(),
        }
    }

    const OWN: Own<'static> = Own { client_id: "one", paused: true, idle: false, oldest_ms: Some(1_000) };

    /// The status once repeated the table's offset as the group's, so that a mirror that had stopped looked fine.
    #[test]
    fn the_group_offset_is_kafkas_and_the_owner_is_who_has_the_partition() {
        let status = partition_status(&tp("a", 0), &kafka(), Some(&Progress::opened_at(7)), Some(OWN), 3_500);
        assert_eq!((status.group_offset, status.table_offset), (Some(5), Some(7)));
        assert_eq!(status.owner.as_deref(), Some("one"), "it knows its own better than the group's last answer");
        assert_eq!((status.lag_records, status.lag_seconds), (Some(1), Some(2.5)));
        assert!(status.paused && !status.idle);
        let status = partition_status(&tp("a", 1), &kafka(), Some(&Progress::opened_at(7)), None, 3_500);
        assert_eq!((status.group_offset, status.owner.as_deref()), (None, Some("two")));
        assert_eq!((status.lag_records, status.lag_seconds), (Some(1), None));
    }

    #[test]
    fn without_an_answer_of_kafka_or_a_place_in_the_table_nothing_is_made_up() {
        let status = partition_status(&tp("a", 0), &Standing::default(), None, None, 0);
        assert_eq!(status, PartitionStatus { topic: "a".into(), ..PartitionStatus::default() });
        let status = partition_status(&tp("a", 1), &kafka(), None, None, 0);
        assert_eq!((status.table_offset, status.lag_records), (None, Some(6)), "from the log's start");
        let drained = partition_status(&tp("a", 1), &kafka(), Some(&Progress::opened_at(8)), None, 0);
        assert_eq!((drained.lag_records, drained.lag_seconds), (Some(0), Some(0.0)));
    }
}
