//! The producer's other request: main goes back to a snapshot of its history, and the lanes' properties with it. No
//! snapshot is made, so no file is written.

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};

use super::{snapshot, summary};
use crate::core::plan::RollBackPlan;

/// What the catalog is asked for.
#[derive(Debug)]
pub struct Request {
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
}

pub fn request(base: &TableMetadata, plan: &RollBackPlan) -> iceberg::Result<Request> {
    let main = SnapshotReference::new(plan.target.0, retention_of_main(base));
    let properties = plan.properties.iter().map(|(name, lane)| (summary::property_key(name), summary::print_property(lane)));
    let built = base.clone().into_builder(None).set_ref(MAIN_BRANCH, main)?.set_properties(properties.collect())?.build()?;
    Ok(Request { requirements: snapshot::place_of_refs(base), updates: built.changes })
}

/// How main's snapshots are kept is the user's business. The crate shows it in the table's JSON only.
fn retention_of_main(base: &TableMetadata) -> SnapshotRetention {
    let json = serde_json::to_value(base).ok();
    let main = json.and_then(|mut table| table.pointer_mut("/refs/main").map(serde_json::Value::take));
    let main: Option<SnapshotReference> = main.and_then(|main| serde_json::from_value(main).ok());
    main.map_or_else(|| SnapshotRetention::branch(None, None, None), |main| main.retention)
}

#[cfg(test)]
#[path = "roll_back_tests.rs"]
mod tests;
