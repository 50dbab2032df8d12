//! The table, and who changes it: requests of the instances, and other engines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::table::*;
use crate::sim::exhaustive::canonical::{NOBODYS, Names, keys_of};
use crate::sim::exhaustive::oracle::{Landed, Truth, Violation};
use crate::sim::exhaustive::state::*;
use crate::sim::exhaustive::{Bounds, Key};
use crate::types::*;

impl Table {
    pub fn head(&self) -> Option<&Snapshot> {
        self.line.last()
    }

    /// What a load sees.
    pub fn view(&self) -> TableView {
        let live = self.head().into_iter().flat_map(|head| &head.live).map(|path| {
            let keys = keys_of(path);
            LiveFile { path: path.clone(), hour: Some(keys[0].0), rows: keys.len() as u64, bytes: 1 }
        });
        TableView {
            uuid: 1,
            metadata_location: "".into(),
            head: self.head().map(|head| head.view.id),
            tag: self.tag,
            snapshots: self.line.iter().map(|s| (s.view.id, s.view.clone())).collect(),
            properties: self.property.iter().map(|p| (LANE.into(), Ok(p.clone()))).collect(),
            live: Arc::new(live.collect()),
        }
    }
}

impl State {
    /// The catalog takes a request; the snapshot is judged.
    pub fn land(&mut self, bounds: &Bounds, request: &Request) -> Result<SnapshotId, Violation> {
        let plan = &request.plan;
        let own = plan.own.as_ref();
        let lanes: BTreeMap<LaneName, LaneKeys> = plan
            .lanes
            .iter()
            .map(|(name, lane)| {
                let own = own.filter(|(own, _)| own == name).map(|(_, change)| change.clone());
                (name.clone(), Ok(LaneEntry { lane: lane.clone(), own }))
            })
            .collect();
        let keys = SluiceKeys { commit_id: plan.commit_id, lanes, retired: plan.retired.clone() };
        let lane = plan.lanes.get(LANE).cloned().unwrap_or_default();
        let mut live = self.live();
        live.extend(request.files.iter().cloned());
        let landed = Landed {
            own: own.map(|(_, change)| change),
            lane: &lane,
            added: &keys_in(&request.files),
            live: &keys_in(&live),
        };
        let truth = self.truth().after(bounds, &landed)?;
        let id = self.push(Some(keys), live, truth);
        let table = self.table.edit();
        table.tag = Some(id);
        table.property = Some(LaneProperty { lane, commit_id: NOBODYS, snapshot: id });
        Ok(id)
    }

    fn live(&self) -> BTreeSet<FilePath> {
        self.table.head().map(|head| head.live.clone()).unwrap_or_default()
    }

    fn truth(&self) -> Truth {
        self.table.head().map(|head| head.truth.clone()).unwrap_or_default()
    }

    fn push(&mut self, sluice: Option<SluiceKeys>, live: BTreeSet<FilePath>, truth: Truth) -> SnapshotId {
        let id = Names::of(self).fresh_snapshot();
        let view = SnapshotView { id, parent: self.head(), timestamp_ms: 0, sluice: sluice.map(Arc::new) };
        self.table.edit().line.push(Snapshot { view, live, truth });
        id
    }

    // ---- other engines

    pub fn roll_back(&mut self, to: usize) {
        self.table.edit().line.truncate(to + 1);
    }

    pub fn delete_file(&mut self, file: usize) -> Result<(), Violation> {
        let (mut live, mut truth) = (self.live(), self.truth());
        let path = live.iter().nth(file).expect("a file of the head").clone();
        live.remove(&path);
        for key in keys_of(&path) {
            truth.owed.remove(&key);
        }
        self.push_foreign(live, truth)
    }

    pub fn compact(&mut self, file: usize) -> Result<(), Violation> {
        let (mut live, truth) = (self.live(), self.truth());
        let hour = keys_of(live.iter().nth(file).expect("a file of the head"))[0].0;
        let (inputs, mut live): (BTreeSet<FilePath>, BTreeSet<FilePath>) =
            std::mem::take(&mut live).into_iter().partition(|path| keys_of(path)[0].0 == hour);
        let mut ids: Vec<MessageId> = keys_in(&inputs).into_iter().map(|key| key.1).collect();
        ids.sort();
        live.insert(Names::of(self).fresh_file("foreign", hour, &ids));
        self.push_foreign(live, truth)
    }

    fn push_foreign(&mut self, live: BTreeSet<FilePath>, truth: Truth) -> Result<(), Violation> {
        truth.stands(&keys_in(&live))?;
        self.push(None, live, truth);
        Ok(())
    }
}

fn keys_in<'a>(paths: impl IntoIterator<Item = &'a FilePath>) -> Vec<Key> {
    paths.into_iter().flat_map(|path| keys_of(path)).collect()
}
