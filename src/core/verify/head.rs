//! What the head of main says beside its history: the property of every lane, and the tag `sluice`.

use std::collections::BTreeMap;

use super::finding::{Check, Findings, Place};
use super::history::{HistoryEnd, HistorySnapshot};
use super::lineage::{LaneHistory, Lineage};
use crate::core::table::{Lane, LaneName, LaneProperty};
use crate::types::SnapshotId;

/// Properties and tag of the table. Only to be judged where the snapshot that is verified is the head of main.
#[derive(Clone, Copy, Debug)]
pub struct HeadState<'a> {
    pub properties: &'a BTreeMap<LaneName, Result<LaneProperty, String>>,
    pub tag: Option<SnapshotId>,
}

pub fn judge_head(
    history: &[HistorySnapshot],
    end: HistoryEnd,
    lineage: &Lineage,
    head: HeadState<'_>,
    findings: &mut Findings,
) {
    for (name, property) in head.properties {
        let place = Place { lane: Some(name.clone()), ..Place::default() };
        match property {
            Ok(property) => {
                let place = Place { snapshot: Some(property.snapshot), ..place };
                judge_property(history, end, lineage.lanes.get(name), (name, property), place, findings);
            }
            Err(wrong) => findings.violation(Check::LaneUnreadable, place, format!("the lane's property: {wrong}")),
        }
    }
    for (name, lane) in &lineage.lanes {
        if let Some((snapshot, _)) = lane.standing.as_ref().filter(|_| !head.properties.contains_key(name)) {
            let place = Place { lane: Some(name.clone()), snapshot: Some(*snapshot), ..Place::default() };
            let text = "the lane has no property: another engine's expiry could lose it; the next commit writes it again";
            findings.unprovable(Check::Property, place, text);
        }
    }
    if let Some(newest) = lineage.newest_sluice.filter(|newest| head.tag != Some(*newest)) {
        let place = Place { snapshot: Some(newest), ..Place::default() };
        let found = head.tag.map_or("absent".to_string(), |tag| format!("at {tag}"));
        let text = format!(
            "the tag is {found}, the newest Sluice snapshot is {newest}: the table was rolled back, or the tag removed"
        );
        findings.unprovable(Check::Tag, place, text);
    }
}

fn judge_property(
    history: &[HistorySnapshot],
    end: HistoryEnd,
    lane: Option<&LaneHistory>,
    (name, property): (&LaneName, &LaneProperty),
    place: Place,
    findings: &mut Findings,
) {
    let written_with = property.snapshot;
    match lane.and_then(|lane| lane.standing.as_ref().map(|(id, _)| *id).zip(lane.lane(name))) {
        Some((snapshot, lane)) if snapshot == written_with => {
            // The property has no watermark.
            let lane = Lane { watermark: property.lane.watermark, ..lane.clone() };
            if property.lane != lane {
                let text = format!("the property differs from its own snapshot: {:?} there, {lane:?} here", property.lane);
                findings.violation(Check::Property, place, text);
            }
        }
        Some((snapshot, lane)) => {
            let strange: Vec<_> = property.lane.topics().difference(&lane.topics()).cloned().collect();
            if !strange.is_empty() {
                let text =
                    format!("the property knows topics {strange:?}, the history doesn't: rolled back to before they joined");
                findings.violation(Check::Property, place, text);
            } else {
                let text = format!(
                    "the property is of {written_with}, the history stands at {snapshot}: another engine moved main"
                );
                findings.unprovable(Check::Property, place, text);
            }
        }
        None if lane.is_some_and(|lane| lane.retired) => {
            findings.violation(Check::LaneRetired, place, "the lane is retired, its property is still there");
        }
        None if (end == HistoryEnd::Expired(written_with) || end == HistoryEnd::Erased)
            && !history.iter().any(|s| s.view.sluice.is_some()) =>
        {
            let text = "the lane's newest snapshot is expired: the property alone says where it stands";
            findings.unprovable(Check::Property, place, text);
        }
        None => {
            let text = format!("the property, of {written_with}, knows a lane that no snapshot of the history carries");
            findings.violation(Check::Property, place, text);
        }
    }
}
