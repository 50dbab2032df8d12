//! Pieces of requests: partition lists and C strings.

use std::ffi::{CString, c_char};

use rdkafka::{Offset as ListedOffset, TopicPartitionList};

use crate::error::Stop;
use crate::ports::PortError;
use crate::types::*;

/// Names as C strings, and pointers to them that live as long.
pub(super) struct Names {
    _owned: Vec<CString>,
    pub pointers: Vec<*const c_char>,
}

impl Names {
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, PortError> {
        let owned = names.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
        let pointers = owned.iter().map(|name| name.as_ptr()).collect();
        Ok(Self { _owned: owned, pointers })
    }
}

pub(super) fn c_string(name: &str) -> Result<CString, PortError> {
    CString::new(name)
        .map_err(|_| Stop::usage(format!("the name {name:?} has a NUL character"), "correct it in the configuration").into())
}

/// Partitions with raw offsets, as requests want them.
pub(super) fn list<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, ListedOffset)>,
) -> Result<TopicPartitionList, PortError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        c_string(&partition.topic)?;
        list.add_partition_offset(&partition.topic, partition.partition, offset)
            .map_err(|e| Stop::internal(format!("an offset that can't be asked for {partition}: {e}")))?;
    }
    Ok(list)
}
