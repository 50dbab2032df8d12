//! Sluice's keys in a snapshot summary and its table properties: printed for a plan, parsed back into the core's values.
//! The keys and their formats are those of INTERFACE section 4.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::lane_json::{self, *};
use crate::core::plan::SnapshotPlan;
use crate::core::table::{self, *};
use crate::types::*;

pub const SNAPSHOT_ID: &str = "sluice.snapshot-id";
pub const COMMIT_ID: &str = "sluice.commit-id";
pub const FORMAT_KEY: &str = "sluice.format";
pub const RETIRED: &str = "sluice.retired";
pub const VERSION_KEY: &str = "sluice.version";
const STATE: &str = "sluice.state.";
/// The tag that moves with every Sluice snapshot.
pub const TAG: &str = "sluice";

const OFFSETS: &str = "sluice.offsets.";
const RANGES: &str = "sluice.ranges.";
const RESET: &str = "sluice.reset.";
const COUNTS: &str = "sluice.counts.";
const TOTALS: &str = "sluice.totals.";
const REDRIVE: &str = "sluice.redrive.";
const EVENT_TIME: &str = "sluice.event-time.";
const WATERMARK: &str = "sluice.watermark.";
const SOURCE: &str = "sluice.source.";
/// Prefixes that are followed by the lane's name, dots and all.
const PER_LANE: [&str; 9] = [OFFSETS, RANGES, RESET, COUNTS, TOTALS, REDRIVE, EVENT_TIME, WATERMARK, SOURCE];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name of the table property that holds a lane.
pub fn property_key(lane: &str) -> String {
    format!("{STATE}{lane}")
}

/// The keys of a summary, where Sluice wrote it and it names its own snapshot; none for everybody else's and for copies.
/// A commit id that can't be read is nil, and then no lane of the snapshot can be read either.
pub fn parse_summary(id: SnapshotId, summary: &HashMap<String, String>) -> Option<SluiceKeys> {
    if !names_itself(id, summary) {
        return None;
    }
    let names = summary.keys().filter_map(|key| PER_LANE.iter().find_map(|prefix| key.strip_prefix(prefix)));
    let names: BTreeSet<LaneName> = names.map(LaneName::from).collect();
    let head = parse_head(summary);
    let lanes = names.into_iter().map(|name| {
        let entry = match &head {
            Ok(_) => parse_lane(summary, &name),
            Err(fault) => Err(fault.clone()),
        };
        (name, entry)
    });
    let lanes = lanes.collect();
    let (commit_id, retired) = head.unwrap_or_else(|_| (CommitId(0), BTreeSet::new()));
    Some(SluiceKeys { commit_id, lanes, retired })
}

/// Sluice wrote it, and for this very snapshot.
pub fn names_itself(id: SnapshotId, summary: &HashMap<String, String>) -> bool {
    let named = summary.get(SNAPSHOT_ID).and_then(|named| named.parse().ok()).map(SnapshotId);
    table::names_itself(id, named)
}

fn parse_head(summary: &HashMap<String, String>) -> Result<(CommitId, BTreeSet<LaneName>), String> {
    let format = get(summary, FORMAT_KEY)?.parse().map_err(|e| format!("{FORMAT_KEY}: {e}"))?;
    check_format(format)?;
    let commit_id = get(summary, COMMIT_ID)?.parse().map_err(|e| format!("{COMMIT_ID}: {e}"))?;
    let retired: Vec<String> = optional(summary, RETIRED)?.unwrap_or_default();
    Ok((commit_id, retired.into_iter().map(LaneName::from).collect()))
}

fn check_format(format: u32) -> Result<(), String> {
    match format {
        FORMAT => Ok(()),
        _ => Err(format!(
            "{FORMAT_KEY} is {format}, this build understands {FORMAT}: use the build that wrote it, or a later one"
        )),
    }
}

fn parse_lane(summary: &HashMap<String, String>, name: &str) -> LaneKeys {
    let key = |prefix: &str| format!("{prefix}{name}");
    let json = LaneJson {
        offsets: required(summary, &key(OFFSETS))?,
        event_time: required(summary, &key(EVENT_TIME))?,
        totals: required(summary, &key(TOTALS))?,
        source: required(summary, &key(SOURCE))?,
    };
    let mut lane = Lane::try_from(json).map_err(|fault| format!("lane {name}: {fault}"))?;
    lane.watermark = parse_watermark(summary, &key(WATERMARK))?;
    let own = parse_own(summary, name).map_err(|fault| format!("lane {name}: {fault}"))?;
    Ok(LaneEntry { lane, own })
}

fn parse_watermark(summary: &HashMap<String, String>, key: &str) -> Result<Option<Micros>, String> {
    let Some(text) = summary.get(key) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).map_err(|e| format!("{key}: {text:?}: {e}"))?;
    Ok(Some(time.timestamp_micros()))
}

fn parse_own(summary: &HashMap<String, String>, name: &str) -> Result<Option<OwnChange>, String> {
    let ranges = optional(summary, &format!("{RANGES}{name}"))?;
    let reset = optional(summary, &format!("{RESET}{name}"))?;
    let counts = optional::<CountsJson>(summary, &format!("{COUNTS}{name}"))?;
    match (ranges, reset, counts) {
        (None, None, None) => Ok(None),
        (Some(ranges), None, Some(counts)) => {
            Ok(Some(OwnChange::Ranges { ranges: ranges_from(ranges)?, counts: counts.try_into()? }))
        }
        (None, Some(reset), None) => Ok(Some(OwnChange::Reset(reset_from(reset)?))),
        (ranges, reset, counts) => {
            let found = [(RANGES, ranges.is_some()), (RESET, reset.is_some()), (COUNTS, counts.is_some())];
            let found: Vec<_> =
                found.iter().filter(|(_, there)| *there).map(|(prefix, _)| format!("{prefix}{name}")).collect();
            Err(format!("{} do not belong together", found.join(" and ")))
        }
    }
}

fn get<'a>(summary: &'a HashMap<String, String>, key: &str) -> Result<&'a str, String> {
    summary.get(key).map(String::as_str).ok_or_else(|| format!("{key} is missing"))
}

fn optional<T: serde::de::DeserializeOwned>(summary: &HashMap<String, String>, key: &str) -> Result<Option<T>, String> {
    summary.get(key).map(|text| lane_json::parse(text).map_err(|e| format!("{key}: {e}"))).transpose()
}

fn required<T: serde::de::DeserializeOwned>(summary: &HashMap<String, String>, key: &str) -> Result<T, String> {
    optional(summary, key)?.ok_or_else(|| format!("{key} is missing"))
}

/// Sluice's keys of the snapshot `id` that `plan` makes.
pub fn print_summary(plan: &SnapshotPlan, id: SnapshotId) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::from([
        (SNAPSHOT_ID.to_string(), id.to_string()),
        (COMMIT_ID.to_string(), plan.commit_id.to_string()),
        (FORMAT_KEY.to_string(), FORMAT.to_string()),
        (VERSION_KEY.to_string(), VERSION.to_string()),
        ("engine-name".to_string(), "sluice".to_string()),
        ("engine-version".to_string(), VERSION.to_string()),
    ]);
    if !plan.retired.is_empty() {
        let names: Vec<&str> = plan.retired.iter().map(|name| &**name).collect();
        keys.insert(RETIRED.to_string(), lane_json::print(&names));
    }
    for (name, lane) in &plan.lanes {
        let json = LaneJson::from(lane);
        keys.insert(format!("{OFFSETS}{name}"), lane_json::print(&json.offsets));
        keys.insert(format!("{EVENT_TIME}{name}"), lane_json::print(&json.event_time));
        keys.insert(format!("{TOTALS}{name}"), lane_json::print(&json.totals));
        keys.insert(format!("{SOURCE}{name}"), lane_json::print(&json.source));
        let watermark = lane.watermark.and_then(iso8601);
        keys.extend(watermark.map(|time| (format!("{WATERMARK}{name}"), time)));
    }
    if let Some((name, change)) = &plan.own {
        keys.extend(print_own(name, change));
    }
    keys
}

fn print_own(name: &str, change: &OwnChange) -> Vec<(String, String)> {
    match change {
        OwnChange::Ranges { ranges, counts } => vec![
            (format!("{RANGES}{name}"), lane_json::print(&ranges_json(ranges))),
            (format!("{COUNTS}{name}"), lane_json::print(&CountsJson::from(counts))),
        ],
        OwnChange::Reset(reset) => vec![(format!("{RESET}{name}"), lane_json::print(&reset_json(reset)))],
    }
}

/// None beyond what a calendar can say.
fn iso8601(time: Micros) -> Option<String> {
    Some(DateTime::from_timestamp_micros(time)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateJson {
    format: u32,
    offsets: ByTopic<Offset>,
    #[serde(rename = "event-time")]
    event_time: EventTimeJson,
    totals: TotalsJson,
    source: SourceJson,
    #[serde(rename = "commit-id")]
    commit_id: String,
    #[serde(rename = "snapshot-id")]
    snapshot_id: i64,
}

#[derive(Deserialize)]
struct FormatJson {
    format: u32,
}

/// Value of the property [`property_key`].
pub fn print_property(property: &LaneProperty) -> String {
    let LaneJson { offsets, event_time, totals, source } = (&property.lane).into();
    lane_json::print(&StateJson {
        format: FORMAT,
        offsets,
        event_time,
        totals,
        source,
        commit_id: property.commit_id.to_string(),
        snapshot_id: property.snapshot.0,
    })
}

/// Every `sluice.state.*` among the table's properties; `Err` where it can't be read or has a greater format.
pub fn parse_properties(properties: &HashMap<String, String>) -> BTreeMap<LaneName, Result<LaneProperty, String>> {
    let states = properties.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(STATE)?, text)));
    let parsed = states.map(|(key, name, text)| {
        (LaneName::from(name), parse_property(text).map_err(|fault| format!("property {key}: {fault}")))
    });
    parsed.collect()
}

fn parse_property(text: &str) -> Result<LaneProperty, String> {
    // The format first: a greater one may have other fields.
    check_format(lane_json::parse::<FormatJson>(text)?.format)?;
    let StateJson { format: _, offsets, event_time, totals, source, commit_id, snapshot_id } = lane_json::parse(text)?;
    Ok(LaneProperty {
        lane: LaneJson { offsets, event_time, totals, source }.try_into()?,
        commit_id: commit_id.parse().map_err(|e| format!("commit-id: {e}"))?,
        snapshot: SnapshotId(snapshot_id),
    })
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
