//! Files that Sluice didn't write: their rows count as seen only under the hour of their partition, so each is checked
//! once, by the bounds in its manifest, or by reading it where those are missing.

use std::collections::BTreeSet;

use async_trait::async_trait;
use iceberg::spec::{DataFile, DataFileFormat, Datum, PrimitiveLiteral, Schema};

use super::gold;
use crate::core::table::LiveFile;
use crate::error::Stop;
use crate::ports::PortError;
use crate::types::{EventHour, Micros};

/// Which hours do the rows of a file lie in? Rows without timestamp left out.
#[async_trait]
pub trait RowHours: Send + Sync {
    async fn hours(&self, file: &LiveFile) -> Result<BTreeSet<EventHour>, PortError>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    ByManifest,
    ByReading,
}

/// `in_hour`: the file's manifest is of the Gold spec, so that its partition must be an hour. A file of another spec is
/// looked at for every hour, and only its format matters.
pub async fn check(
    schema: &Schema,
    data: &DataFile,
    file: &LiveFile,
    in_hour: bool,
    rows: &dyn RowHours,
) -> Result<Checked, PortError> {
    let path = &file.path;
    if data.file_format() != DataFileFormat::Parquet {
        return Err(stop(format!("{path} is {:?}, and only Parquet can be read", data.file_format())).into());
    }
    let hour = match (in_hour, file.hour) {
        (false, _) => return Ok(Checked::ByManifest),
        (true, None) => {
            return Err(stop(format!("{path} is in the partition {:?}, which is no hour", data.partition())).into());
        }
        (true, Some(hour)) => hour,
    };
    match timestamp_bounds(schema, data) {
        Bounds::NoRows => Ok(Checked::ByManifest),
        Bounds::Known(least, greatest) => {
            let outside = [least, greatest].into_iter().map(EventHour::of).find(|found| *found != hour);
            outside.map_or(Ok(Checked::ByManifest), |found| Err(misplaced(file, hour, found).into()))
        }
        Bounds::Missing => {
            let found = rows.hours(file).await?.into_iter().find(|found| *found != hour);
            found.map_or(Ok(Checked::ByReading), |found| Err(misplaced(file, hour, found).into()))
        }
    }
}

enum Bounds {
    NoRows,
    Known(Micros, Micros),
    Missing,
}

fn timestamp_bounds(schema: &Schema, data: &DataFile) -> Bounds {
    let id = schema.field_id_by_name(gold::TIMESTAMP);
    let nulls = id.and_then(|id| data.null_value_counts().get(&id)).copied();
    if data.record_count() == 0 || nulls == Some(data.record_count()) {
        return Bounds::NoRows;
    }
    let long = |datum: Option<&Datum>| match datum?.literal() {
        PrimitiveLiteral::Long(value) => Some(*value),
        _ => None,
    };
    let bound = |bounds: &std::collections::HashMap<i32, Datum>| long(id.and_then(|id| bounds.get(&id)));
    match (bound(data.lower_bounds()), bound(data.upper_bounds())) {
        (Some(least), Some(greatest)) => Bounds::Known(least, greatest),
        _ => Bounds::Missing,
    }
}

fn misplaced(file: &LiveFile, partition: EventHour, found: EventHour) -> Stop {
    stop(format!(
        "{} is in the partition of {partition} and holds rows of {found}: it was written with another time zone than UTC, or by mistake",
        file.path
    ))
}

fn stop(what: String) -> Stop {
    Stop::inconsistent(
        what,
        "stop the other writer, and rewrite the file's rows by UTC date and hour of `timestamp`, or delete them",
    )
}
