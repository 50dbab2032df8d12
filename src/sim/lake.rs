//! The catalog and the object store of one table: what Sluice's commits do to it, and what other engines do. Summaries and
//! properties are kept as text, printed and parsed by the production codec.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::core::plan::{Reference, RollBackPlan, SnapshotPlan, required_references};
use crate::core::table::*;
use crate::sim::history::{By, Key, Landed, Row};
use crate::sink::summary;
use crate::types::*;

#[derive(Default)]
pub struct Lake {
    pub table: Option<Table>,
    /// Every snapshot that ever was.
    pub landed: BTreeMap<SnapshotId, Landed>,
    pub files: BTreeMap<FilePath, Arc<Vec<Row>>>,
    /// Snapshots that the table no longer has.
    pub expired: BTreeSet<SnapshotId>,
    /// Heads in the order in which they became head.
    pub heads: Vec<SnapshotId>,
    next: i64,
    views: BTreeMap<SnapshotId, Arc<LiveFiles>>,
}

#[derive(Clone)]
pub struct Table {
    pub uuid: u128,
    pub version: u64,
    pub head: Option<SnapshotId>,
    pub tag: Option<SnapshotId>,
    /// As far as nobody expired them.
    pub snapshots: BTreeMap<SnapshotId, SnapshotView>,
    pub properties: HashMap<String, String>,
}

impl Table {
    /// Whether everything is where a request that was built on `base` requires it.
    fn fits(&self, base: &TableView) -> bool {
        let in_place = |reference: &Reference| match reference {
            Reference::Main => self.head == base.head,
            Reference::Tag => self.tag == base.tag,
        };
        self.uuid == base.uuid && required_references().iter().all(in_place)
    }
}

impl Lake {
    pub fn create(&mut self) {
        if self.table.is_none() {
            let uuid = self.fresh() as u128;
            let (snapshots, properties) = (BTreeMap::new(), HashMap::new());
            self.table = Some(Table { uuid, version: 0, head: None, tag: None, snapshots, properties });
        }
    }

    pub fn drop_table(&mut self) {
        self.table = None;
        self.heads.clear();
    }

    pub fn fresh(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    pub fn path(&mut self, prefix: &str) -> FilePath {
        format!("{prefix}-{}", self.fresh()).into()
    }

    pub fn live(&self) -> Arc<BTreeSet<FilePath>> {
        let head = self.table.as_ref().and_then(|t| t.head);
        head.map(|h| self.landed[&h].live.clone()).unwrap_or_default()
    }

    pub fn rows(&self, path: &str) -> Option<&Arc<Vec<Row>>> {
        self.files.get(path)
    }

    /// Rows of live files.
    pub fn live_keys(&self) -> BTreeSet<Key> {
        self.live().iter().filter_map(|path| self.files.get(path)).flat_map(|rows| rows.iter().map(Row::key)).collect()
    }

    pub fn property(&self, lane: &LaneName) -> Option<Lane> {
        let properties = summary::parse_properties(&self.table.as_ref()?.properties);
        Some(properties.get(lane)?.as_ref().ok()?.lane.clone())
    }

    pub fn view(&mut self) -> Option<TableView> {
        let table = self.table.as_ref()?;
        let live = match table.head {
            None => Arc::default(),
            Some(head) => self
                .views
                .entry(head)
                .or_insert_with(|| {
                    let files = self.landed[&head].live.iter();
                    let files = files.filter_map(|path| Some(live_file(path, self.files.get(path)?)));
                    Arc::new(files.collect())
                })
                .clone(),
        };
        Some(TableView {
            uuid: table.uuid,
            metadata_location: format!("{}-{}", table.uuid, table.version).into(),
            head: table.head,
            tag: table.tag,
            snapshots: table.snapshots.clone(),
            properties: summary::parse_properties(&table.properties),
            live,
        })
    }

    // ---- Sluice's commits

    /// The catalog takes a request, or refuses it because the table isn't what it requires.
    pub fn commit(&mut self, base: &TableView, plan: &SnapshotPlan, files: &[FilePath]) -> Option<SnapshotId> {
        if !self.table.as_ref()?.fits(base) {
            return None;
        }
        let id = SnapshotId(self.fresh());
        let keys = summary::print_summary(plan, id).into_iter().collect();
        let live: BTreeSet<FilePath> = self.live().iter().chain(files).cloned().collect();
        self.land(id, keys, live, files.to_vec(), By::Sluice);
        let table = self.table.as_mut().expect("looked at above");
        table.tag = Some(id);
        for (name, lane) in plan.properties() {
            let property = LaneProperty { lane: lane.clone(), commit_id: plan.commit_id, snapshot: id };
            table.properties.insert(summary::property_key(name), summary::print_property(&property));
        }
        for name in &plan.retired {
            table.properties.remove(&summary::property_key(name));
        }
        Some(id)
    }

    /// The operator's roll-back: main and the properties of the lanes, in one request.
    pub fn roll_back_ours(&mut self, base: &TableView, plan: &RollBackPlan) -> bool {
        let fits = self.table.as_ref().is_some_and(|table| table.fits(base));
        if fits {
            self.roll_back(plan.target);
            let table = self.table.as_mut().expect("it fits");
            let properties = plan.properties.iter();
            table.properties.extend(properties.map(|(n, p)| (summary::property_key(n), summary::print_property(p))));
        }
        fits
    }

    fn land(
        &mut self,
        id: SnapshotId,
        keys: HashMap<String, String>,
        live: BTreeSet<FilePath>,
        added: Vec<FilePath>,
        by: By,
    ) {
        let table = self.table.as_mut().expect("a snapshot lands in a table");
        let sluice = summary::parse_summary(id, &keys).map(Arc::new);
        let view = SnapshotView { id, parent: table.head, timestamp_ms: id.0, sluice };
        let (uuid, parent) = (table.uuid, table.head);
        table.snapshots.insert(id, view);
        table.head = Some(id);
        table.version += 1;
        let landed = Landed { table: uuid, id, parent, summary: Arc::new(keys), live: Arc::new(live), added, by };
        self.landed.insert(id, landed);
        self.heads.push(id);
    }

    // ---- other engines

    pub fn foreign(&mut self, live: BTreeSet<FilePath>, added: Vec<FilePath>, deleted: BTreeSet<Key>) {
        let id = SnapshotId(self.fresh());
        self.land(id, HashMap::from([("operation".into(), "append".into())]), live, added, By::Foreign { deleted });
    }

    pub fn foreign_append(&mut self, rows: Vec<Row>) -> FilePath {
        let path = self.path("foreign");
        self.files.insert(path.clone(), Arc::new(rows));
        let live = self.live().iter().cloned().chain([path.clone()]).collect();
        self.foreign(live, vec![path.clone()], BTreeSet::new());
        path
    }

    pub fn foreign_delete(&mut self, path: &FilePath) {
        let mut live = (*self.live()).clone();
        live.remove(path);
        let deleted = self.files[path].iter().map(Row::key).collect();
        self.foreign(live, Vec::new(), deleted);
    }

    /// All files of an hour become one, with another name.
    pub fn foreign_compact(&mut self, hour: EventHour) {
        let mut live = (*self.live()).clone();
        let of_hour = |path: &FilePath| self.files[path].first().is_some_and(|row| EventHour::of(row.time) == hour);
        let inputs: Vec<FilePath> = live.iter().filter(|p| of_hour(p)).cloned().collect();
        let rows: Vec<Row> = inputs.iter().flat_map(|p| self.files[p].iter().cloned()).collect();
        live.retain(|p| !inputs.contains(p));
        let path = self.path("compacted");
        self.files.insert(path.clone(), Arc::new(rows));
        live.insert(path.clone());
        self.foreign(live, vec![path], BTreeSet::new());
    }

    /// Publishes a snapshot of main's history once more, with its summary.
    pub fn foreign_copy(&mut self, of: SnapshotId) {
        let keys = (*self.landed[&of].summary).clone();
        let live = (*self.live()).clone();
        let id = SnapshotId(self.fresh());
        self.land(id, keys, live, Vec::new(), By::Foreign { deleted: BTreeSet::new() });
    }

    /// All but the newest `keep` snapshots of main and what the tag points to go.
    pub fn expire(&mut self, keep: usize, erase_parent: bool, remove_files: bool) {
        let kept: BTreeSet<SnapshotId> = self.ancestry().into_iter().take(keep).collect();
        let live: BTreeSet<FilePath> = kept.iter().flat_map(|id| self.landed[id].live.iter().cloned()).collect();
        let Some(table) = self.table.as_mut() else { return };
        let tag = table.tag;
        let gone: Vec<SnapshotId> =
            table.snapshots.keys().filter(|id| !kept.contains(id) && Some(**id) != tag).copied().collect();
        table.snapshots.retain(|id, _| !gone.contains(id));
        self.expired.extend(&gone);
        table.version += 1;
        if erase_parent {
            for snapshot in table.snapshots.values_mut() {
                snapshot.parent = snapshot.parent.filter(|parent| !gone.contains(parent));
            }
        }
        if remove_files {
            let of_tag: BTreeSet<FilePath> = tag.into_iter().flat_map(|t| self.landed[&t].live.iter().cloned()).collect();
            let of_gone = gone.iter().flat_map(|id| self.landed[id].live.iter());
            let unused: Vec<FilePath> = of_gone.filter(|p| !live.contains(*p) && !of_tag.contains(*p)).cloned().collect();
            unused.iter().for_each(|path| drop(self.files.remove(path)));
        }
    }

    /// Main goes back; snapshots, tag and properties stay.
    pub fn roll_back(&mut self, to: SnapshotId) {
        let Some(table) = self.table.as_mut() else { return };
        table.head = Some(to);
        table.version += 1;
        self.heads.push(to);
    }

    /// The newest snapshot of main's history whose lanes don't know a topic.
    pub fn newest_without(&self, topic: &Topic) -> Option<SnapshotId> {
        let table = self.table.as_ref()?;
        let knows = |id: &SnapshotId| {
            let keys = table.snapshots[id].sluice.as_deref();
            let lanes = keys.into_iter().flat_map(|keys| keys.lanes.values()).filter_map(|entry| entry.as_ref().ok());
            lanes.into_iter().any(|entry| entry.lane.topics().contains(topic))
        };
        self.ancestry().into_iter().find(|id| !knows(id) && table.snapshots[id].sluice.is_some())
    }

    /// Main's history as far as the table still has it, newest first.
    pub fn ancestry(&self) -> Vec<SnapshotId> {
        let Some(table) = &self.table else { return Vec::new() };
        let mut line = Vec::new();
        let mut next = table.head;
        while let Some(snapshot) = next.and_then(|id| table.snapshots.get(&id)) {
            line.push(snapshot.id);
            next = snapshot.parent;
        }
        line
    }
}

fn live_file(path: &FilePath, rows: &[Row]) -> LiveFile {
    let hour = rows.first().map(|row| EventHour::of(row.time));
    LiveFile { path: path.clone(), hour, rows: rows.len() as u64, bytes: 1 }
}
