//! The table property `sluice.state.G`: moves with every snapshot that carries the lane.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Invariant::*;
use super::lane::LaneFold;
use super::stated::Fault;
use crate::sim::history::*;

/// It says what the summary of the snapshot says, and names it. The properties of an older snapshot aren't known any more.
pub(super) fn judge(history: &History, landed: &Landed, lane: &str, is_own: bool) -> Result<(), Fault> {
    if history.heads.last() != Some(&landed.id) {
        return Ok(());
    }
    let property = history.properties.get(&format!("sluice.state.{lane}"));
    let told = |prefix: &str| landed.summary.get(&format!("{prefix}{lane}")).map_or("null", String::as_str);
    let commit = landed.summary.get("sluice.commit-id").map_or("", String::as_str);
    let expected = format!(
        r#"{{"format":1,"offsets":{},"event-time":{},"totals":{},"source":{},"commit-id":"{commit}","snapshot-id":{}}}"#,
        told("sluice.offsets."),
        told("sluice.event-time."),
        told("sluice.totals."),
        told("sluice.source."),
        landed.id.0,
    );
    if property == Some(&expected) {
        return Ok(());
    }
    let same = property.and_then(|property| parse(property)).is_some_and(|property| Some(property) == parse(&expected));
    match same {
        true => Ok(()),
        false if is_own => Err((LaneIsItsHistory, format!("the property of lane {lane} is {property:?}, not {expected}"))),
        false => Err((OtherLanesKept, format!("the property of lane {lane} is {property:?}, not {expected}"))),
    }
}

/// The property names a topic that the history doesn't know: the table was rolled back to before that topic joined.
pub(super) fn knows_more(history: &History, lane: &str, fold: &LaneFold) -> bool {
    let property = history.properties.get(&format!("sluice.state.{lane}")).and_then(|text| parse(text));
    let offsets = property.and_then(|property| serde_json::from_value(property.get("offsets")?.clone()).ok());
    let offsets: BTreeMap<String, Value> = offsets.unwrap_or_default();
    offsets.keys().any(|topic| !fold.places.keys().any(|partition| *partition.topic == **topic))
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
