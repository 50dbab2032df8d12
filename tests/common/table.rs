//! The table's own words: metadata.json as the SQLite catalog names it, read without any Iceberg library.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde_json::Value;

use super::ledger::Partition;

/// Where the table is.
#[derive(Clone)]
pub struct TableFile {
    pub catalog: PathBuf,
    pub namespace: String,
    pub name: String,
}

impl TableFile {
    /// None while there is no such table.
    pub fn load(&self) -> Option<Metadata> {
        let path = self.location()?;
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Some(Metadata(serde_json::from_str(&text).expect("metadata.json is JSON")))
    }

    /// Changes metadata.json in its place, behind everybody's back.
    pub fn falsify(&self, change: impl FnOnce(&mut Value)) {
        let mut json = self.load().expect("the table exists").0;
        change(&mut json);
        std::fs::write(self.location().expect("the table exists"), json.to_string()).expect("metadata.json is written");
    }

    /// Moves main as another engine does, without starting one. False: somebody else committed meanwhile.
    pub fn move_main(&self, to: i64) -> bool {
        let location = self.location().expect("the table exists");
        let text = std::fs::read_to_string(&location).expect("metadata.json is there");
        let mut json: Value = serde_json::from_str(&text).expect("metadata.json is JSON");
        let now = json["last-updated-ms"].as_i64().expect("a time") + 1;
        json["last-updated-ms"] = now.into();
        json["current-snapshot-id"] = to.into();
        json["refs"]["main"]["snapshot-id"] = to.into();
        let logged = serde_json::json!({"snapshot-id": to, "timestamp-ms": now});
        json["snapshot-log"].as_array_mut().expect("a log").push(logged);
        let moved = format!("{}-moved.metadata.json", location.trim_end_matches(".metadata.json"));
        std::fs::write(&moved, json.to_string()).expect("metadata.json is written");
        let row = "UPDATE iceberg_tables SET metadata_location = ?1 WHERE metadata_location IN (?2, 'file://' || ?2)";
        self.open().execute(row, [format!("file://{moved}"), location]).expect("the catalog answers") == 1
    }

    fn open(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.catalog, flags).expect("the catalog opens");
        connection.busy_timeout(std::time::Duration::from_secs(30)).expect("a timeout is set");
        connection
    }

    /// Path of the current metadata.json.
    pub fn location(&self) -> Option<String> {
        if !self.catalog.exists() {
            return None;
        }
        let connection = self.open();
        let query = "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = ?1 AND table_name = ?2";
        match connection.query_row(query, [&self.namespace, &self.name], |row| row.get::<_, String>(0)).optional() {
            Ok(location) => location.map(|l| l.strip_prefix("file://").unwrap_or(&l).to_owned()),
            // The file is there before its tables are.
            Err(rusqlite::Error::SqliteFailure(_, Some(text))) if text.contains("no such table") => None,
            Err(error) => panic!("the catalog answers: {error}"),
        }
    }
}

/// A whole metadata.json.
pub struct Metadata(pub Value);

/// One lane as a snapshot's summary has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub snapshot: i64,
    pub offsets: BTreeMap<Partition, i64>,
    pub totals: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    pub consumed: u64,
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
}

impl Counts {
    fn read(json: &Value) -> Self {
        let count = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("no count {key} in {json}"));
        Self {
            consumed: count("consumed"),
            written: count("written"),
            duplicate: count("duplicate"),
            late: count("late"),
            dead_lettered: count("dead_lettered"),
        }
    }

    fn plus(self, o: Self) -> Self {
        Self {
            consumed: self.consumed + o.consumed,
            written: self.written + o.written,
            duplicate: self.duplicate + o.duplicate,
            late: self.late + o.late,
            dead_lettered: self.dead_lettered + o.dead_lettered,
        }
    }
}

/// A snapshot as metadata.json has it.
#[derive(Clone, Copy)]
pub struct Snapshot<'a>(pub &'a Value);

impl<'a> Snapshot<'a> {
    pub fn id(self) -> i64 {
        self.0["snapshot-id"].as_i64().expect("a snapshot has an id")
    }
    pub fn parent(self) -> Option<i64> {
        self.0["parent-snapshot-id"].as_i64()
    }
    pub fn summary(self, key: &str) -> Option<&'a str> {
        self.0["summary"][key].as_str()
    }
    pub fn json(self, key: &str) -> Option<Value> {
        self.summary(key).map(|text| serde_json::from_str(text).unwrap_or_else(|e| panic!("{key} = {text}: {e}")))
    }
    /// `sluice.watermark.G` to the second, without its zone.
    pub fn watermark(self, group: &str) -> Option<String> {
        let text = self.summary(&format!("sluice.watermark.{group}"))?;
        assert!(text.ends_with('Z') || text.ends_with("+00:00"), "a watermark in UTC: {text}");
        Some(text[..19].to_owned())
    }
    /// Written by Sluice, and no copy.
    pub fn is_sluices_own(self) -> bool {
        self.summary("sluice.snapshot-id").and_then(|id| id.parse().ok()) == Some(self.id())
    }
}

impl Metadata {
    pub fn uuid(&self) -> &str {
        self.0["table-uuid"].as_str().expect("a table has a uuid")
    }

    pub fn head(&self) -> Option<i64> {
        self.0["current-snapshot-id"].as_i64().filter(|id| *id >= 0)
    }

    pub fn tag(&self) -> Option<i64> {
        self.0["refs"]["sluice"]["snapshot-id"].as_i64()
    }

    pub fn property(&self, name: &str) -> Option<&str> {
        self.0["properties"][name].as_str()
    }

    pub fn snapshot(&self, id: i64) -> Option<Snapshot<'_>> {
        let all = self.0["snapshots"].as_array()?;
        all.iter().map(Snapshot).find(|s| s.id() == id)
    }

    /// From the head of main back to the root or to an expired parent.
    pub fn ancestry(&self) -> Vec<Snapshot<'_>> {
        let mut chain = Vec::new();
        let mut next = self.head();
        while let Some(snapshot) = next.and_then(|id| self.snapshot(id)) {
            chain.push(snapshot);
            next = snapshot.parent();
        }
        chain
    }

    /// The lane as the nearest of Sluice's own ancestors has it.
    pub fn lane(&self, group: &str) -> Option<Lane> {
        let own = self.newest_own()?;
        let offsets = own.json(&format!("sluice.offsets.{group}"))?;
        let totals = own.json(&format!("sluice.totals.{group}"))?;
        let offset = |v: &Value| v.as_i64().expect("an offset is a number");
        Some(Lane { snapshot: own.id(), offsets: by_partition(&offsets, offset), totals: Counts::read(&totals) })
    }

    /// The newest of Sluice's own snapshots on main.
    pub fn newest_own(&self) -> Option<Snapshot<'_>> {
        self.ancestry().into_iter().find(|s| s.is_sluices_own())
    }

    /// Snapshots on main that have ranges of this lane, from old to new.
    pub fn commits(&self, group: &str) -> Vec<Snapshot<'_>> {
        let key = format!("sluice.ranges.{group}");
        let mut commits: Vec<_> =
            self.ancestry().into_iter().filter(|s| s.is_sluices_own() && s.summary(&key).is_some()).collect();
        commits.reverse();
        commits
    }

    /// G1 and G2 from the summaries alone: per partition the ranges are contiguous and end at the lane's offsets, except at
    /// resets on record; counts add up, and totals are their sum. Stops at an expired parent.
    pub fn audit(&self, group: &str) {
        let mut at: BTreeMap<Partition, i64> = BTreeMap::new();
        let mut totals: Option<Counts> = None;
        let chain = self.ancestry();
        for snapshot in chain.iter().rev().filter(|s| s.is_sluices_own()) {
            let Some(offsets) = snapshot.json(&format!("sluice.offsets.{group}")) else { continue };
            let offsets = by_partition(&offsets, |v| v.as_i64().expect("an offset"));
            let id = snapshot.id();
            if let Some(resets) = snapshot.json(&format!("sluice.reset.{group}")) {
                for (partition, to) in by_partition(&resets, |v| v[1].as_i64().expect("a reset has a new offset")) {
                    at.insert(partition, to);
                }
            }
            for (partition, (start, end)) in ranges(*snapshot, group) {
                let before = *at.get(&partition).unwrap_or(&start);
                assert_eq!(start, before, "snapshot {id}: {partition:?} has a range {start}..{end} behind offset {before}");
                assert!(end >= start, "snapshot {id}: {partition:?} has a range {start}..{end}");
                at.insert(partition, end);
            }
            for (partition, offset) in &offsets {
                let reached = *at.entry(partition.clone()).or_insert(*offset);
                assert_eq!(*offset, reached, "snapshot {id}: offset of {partition:?}, and where its ranges end");
            }
            totals = Some(self.audit_counts(*snapshot, group, totals));
        }
    }

    fn audit_counts(&self, snapshot: Snapshot<'_>, group: &str, before: Option<Counts>) -> Counts {
        let id = snapshot.id();
        let now =
            Counts::read(&snapshot.json(&format!("sluice.totals.{group}")).unwrap_or_else(|| panic!("no totals in {id}")));
        let own = snapshot.json(&format!("sluice.counts.{group}")).map(|c| Counts::read(&c)).unwrap_or_default();
        let sum = own.written + own.duplicate + own.late + own.dead_lettered;
        assert_eq!(own.consumed, sum, "snapshot {id}: consumed is the sum of the verdicts");
        if let Some(before) = before {
            assert_eq!(now, before.plus(own), "snapshot {id}: totals are those before and the counts");
        }
        now
    }
}

/// `sluice.ranges.G`.
pub fn ranges(snapshot: Snapshot<'_>, group: &str) -> BTreeMap<Partition, (i64, i64)> {
    let offset = |v: &Value| v.as_i64().expect("a range has two offsets");
    let range = |v: &Value| (offset(&v[0]), offset(&v[1]));
    snapshot.json(&format!("sluice.ranges.{group}")).map(|json| by_partition(&json, range)).unwrap_or_default()
}

/// `{"topic":{"0":…}}` as one map.
pub fn by_partition<T>(json: &Value, read: impl Fn(&Value) -> T) -> BTreeMap<Partition, T> {
    let topics = json.as_object().unwrap_or_else(|| panic!("no map of topics: {json}"));
    let each = topics.iter().flat_map(|(topic, partitions)| {
        let partitions = partitions.as_object().unwrap_or_else(|| panic!("no map of partitions: {json}"));
        partitions.iter().map(move |(p, value)| ((topic.clone(), p.parse().expect("a partition is a number")), value))
    });
    each.map(|(partition, value)| (partition, read(value))).collect()
}
