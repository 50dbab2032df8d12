//! Partitions in log lines, in the shapes that the table's summary has them in.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::telemetry::logs::nested;
use crate::types::TopicPartition;

/// `{"silver.a":{"0":[900,1001]}}`
pub fn by_topic<'a, V: Serialize>(values: impl IntoIterator<Item = (&'a TopicPartition, V)>) -> Box<[u8]> {
    let mut topics: BTreeMap<&str, BTreeMap<i32, V>> = BTreeMap::new();
    for (partition, value) in values {
        topics.entry(&partition.topic).or_default().insert(partition.partition, value);
    }
    nested(&topics)
}

/// `{"silver.a":[0,1]}`
pub fn list<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Box<[u8]> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    nested(&topics)
}

/// `["a","b"]`
pub fn names<T: ToString>(all: impl IntoIterator<Item = T>) -> Box<[u8]> {
    nested(&all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shown_as_the_tables_summary_shows_them() {
        let (a0, a10, b0) = (("a", 0), ("a", 10), ("b", 0));
        let [a0, a10, b0] = [a0, a10, b0].map(|(topic, partition)| TopicPartition::new(topic, partition));
        let text = |bytes: Box<[u8]>| String::from_utf8(bytes.into()).unwrap();
        assert_eq!(text(by_topic([(&a0, (900, 1001)), (&b0, (0, 1))])), r#"{"a":{"0":[900,1001]},"b":{"0":[0,1]}}"#);
        assert_eq!(text(list([&a0, &a10, &b0])), r#"{"a":[0,10],"b":[0]}"#);
        assert_eq!(text(names(["a", "b"])), r#"["a","b"]"#);
    }
}
