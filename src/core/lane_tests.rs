use std::sync::Arc;

use super::*;
use crate::core::tripwire::Trace;

const G: &str = "g";

fn lane(topics: &[&str], at: Offset) -> Lane {
    let partitions = topics.iter().map(|t| (TopicPartition::new(*t, 0), Progress::opened_at(at)));
    Lane { partitions: partitions.collect(), ..Lane::default() }
}

/// One snapshot of a history written in a line: `s` by Sluice with these lanes, `f` by another engine, `r` retires G.
enum Step {
    Sluice(Vec<(&'static str, Lane)>),
    Foreign,
    Retires,
    Garbled,
}

use Step::*;

/// What is read, with which memory and witness, and the reading in a word.
type Case<'a> = (&'a str, TableView, Option<Memory>, Option<&'a Witness>, &'a str);

/// A chain of snapshots 1, 2, … on main, the newest the head.
fn table(steps: Vec<Step>) -> TableView {
    let mut snapshots = BTreeMap::new();
    for (i, step) in steps.into_iter().enumerate() {
        let id = SnapshotId(i as i64 + 1);
        let keys = |lanes: BTreeMap<LaneName, LaneKeys>, retired: BTreeSet<LaneName>| {
            Some(Arc::new(SluiceKeys { commit_id: CommitId(id.0 as u128), lanes, retired }))
        };
        let entry = |lane: Lane| Ok(LaneEntry { lane, own: None });
        let sluice = match step {
            Sluice(lanes) => keys(lanes.into_iter().map(|(n, l)| (n.into(), entry(l))).collect(), BTreeSet::new()),
            Foreign => None,
            Retires => keys(BTreeMap::new(), BTreeSet::from([G.into()])),
            Garbled => keys(BTreeMap::from([(G.into(), Err("no JSON".to_string()))]), BTreeSet::new()),
        };
        let parent = (i > 0).then_some(SnapshotId(i as i64));
        snapshots.insert(id, SnapshotView { id, parent, timestamp_ms: id.0, sluice });
    }
    let head = snapshots.keys().last().copied();
    TableView {
        uuid: 1,
        metadata_location: "m".into(),
        head,
        tag: None,
        snapshots,
        properties: BTreeMap::new(),
        live: Arc::default(),
    }
}

fn with_property(mut table: TableView, lane: Lane, snapshot: i64) -> TableView {
    let property = LaneProperty { lane, commit_id: CommitId(9), snapshot: SnapshotId(snapshot) };
    table.properties.insert(G.into(), Ok(property));
    table
}

fn tagged(mut table: TableView, at: i64) -> TableView {
    table.tag = Some(SnapshotId(at));
    table
}

/// The oldest `n` snapshots are gone.
fn expired(mut table: TableView, n: i64) -> TableView {
    table.snapshots.retain(|id, _| id.0 > n);
    table
}

fn witness(topic: &str) -> Witness {
    let mut witness = Witness::default();
    witness.add(topic.into(), Trace::GroupOffsets);
    witness
}

fn remembers(head: i64, of: Lane) -> Memory {
    Memory { head: SnapshotId(head), lanes: BTreeMap::from([(G.into(), of)]) }
}

/// In a word: `at N`, `at N!` where an anchor is needed, `new`, or the name of the stop.
fn read_as(table: &TableView, memory: Option<&Memory>, witness: Option<&Witness>) -> String {
    match read(table, &G.into(), memory, witness) {
        Reading::Known { lane, needs_anchor } => {
            let at = lane.partitions.values().next().map_or(-1, |p| p.next_offset);
            format!("at {at}{}", if needs_anchor { "!" } else { "" })
        }
        Reading::New => "new".into(),
        Reading::Stop(LaneStop::PropertyKnowsMoreTopics { .. }) => "more topics".into(),
        Reading::Stop(LaneStop::HistoryMissing { .. }) => "history missing".into(),
        Reading::Stop(LaneStop::RolledBackBeforeLane { .. }) => "before lane".into(),
        Reading::Stop(LaneStop::Unreadable { .. }) => "unreadable".into(),
    }
}

#[test]
fn rule_a_the_nearest_snapshot_with_the_lane_is_where_it_stands() {
    let a = |at| lane(&["a"], at);
    let plain = table(vec![Sluice(vec![(G, a(1))]), Sluice(vec![(G, a(5))])]);
    let cases = [
        ("its own head", with_property(plain.clone(), a(5), 2), "at 5"),
        ("no property: mended", plain.clone(), "at 5!"),
        ("a property of another state: mended", with_property(plain.clone(), a(1), 1), "at 5!"),
        ("behind another engine's head", with_property(table(vec![Sluice(vec![(G, a(5))]), Foreign]), a(5), 1), "at 5!"),
        ("deep below", with_property(table(vec![Sluice(vec![(G, a(5))]), Foreign, Foreign, Foreign]), a(5), 1), "at 5!"),
        ("an expired past below it doesn't matter", expired(with_property(plain.clone(), a(5), 2), 1), "at 5"),
        (
            "rolled back to before topic b joined: never mended",
            with_property(table(vec![Sluice(vec![(G, a(5))])]), lane(&["a", "b"], 9), 2),
            "more topics",
        ),
        ("a summary that can't be read", table(vec![Sluice(vec![(G, a(1))]), Garbled]), "unreadable"),
    ];
    for (case, table, expected) in cases {
        assert_eq!(read_as(&table, None, None), expected, "{case}");
    }
    let mut greater = plain;
    greater.properties.insert(G.into(), Err("sluice.format is 2".into()));
    assert_eq!(read_as(&greater, None, None), "unreadable", "a property of a later format");
}

#[test]
fn rule_b_over_an_expired_parent_the_property_counts_only_as_that_parents_own() {
    let a = |at| lane(&["a"], at);
    // 1 and 2 by Sluice, 3 another engine's, 1 and 2 expired
    let history = || expired(table(vec![Sluice(vec![(G, a(1))]), Sluice(vec![(G, a(5))]), Foreign]), 2);
    let w = witness("a");
    let cases: [Case<'_>; 10] = [
        ("the property is the parent's own", with_property(history(), a(5), 2), None, None, "at 5!"),
        ("the property is of an older one: rolled back?", with_property(history(), a(1), 1), None, None, "history missing"),
        ("of a younger one", with_property(history(), a(8), 7), None, None, "history missing"),
        ("a running instance that read the parent as head", history(), Some(remembers(2, a(5))), None, "at 5!"),
        ("one that read the foreign head itself", history(), Some(remembers(3, a(5))), None, "at 5!"),
        ("one that read another head", history(), Some(remembers(1, a(1))), Some(&w), "history missing"),
        ("nothing of ours anywhere: another engine's table", history(), None, None, "new"),
        ("the tag knows", tagged(history(), 2), None, None, "history missing"),
        ("the tripwire knows", history(), None, Some(&w), "history missing"),
        (
            "memory against a property that knows more topics",
            with_property(history(), lane(&["a", "b"], 9), 7),
            Some(remembers(2, a(5))),
            None,
            "more topics",
        ),
    ];
    for (case, table, memory, witness, expected) in cases {
        assert_eq!(read_as(&table, memory.as_ref(), witness), expected, "{case}");
    }
}

#[test]
fn rule_c_a_history_without_the_lane_is_a_new_lane_unless_something_knows_better() {
    let a = |at| lane(&["a"], at);
    let other = || table(vec![Foreign, Sluice(vec![("h", a(7))])]);
    let foreign = || table(vec![Foreign, Foreign]);
    let w = witness("a");
    let cases: [Case<'_>; 14] = [
        ("an empty table", table(vec![]), None, None, "new"),
        ("another engine's table", foreign(), None, None, "new"),
        ("another group's table", other(), None, None, "new"),
        ("a retired lane", table(vec![Sluice(vec![(G, a(5))]), Retires]), None, None, "new"),
        ("retired, and the property is back", with_property(table(vec![Retires]), a(5), 1), None, None, "before lane"),
        ("rolled back to before it, property left", with_property(other(), a(5), 9), None, None, "before lane"),
        ("at the root, property left", with_property(foreign(), a(5), 9), None, None, "before lane"),
        ("at the root, tag left", tagged(foreign(), 9), None, None, "before lane"),
        ("another group's snapshot with its tag", tagged(other(), 2), None, None, "new"),
        ("an empty table, tripwire", table(vec![]), None, Some(&w), "before lane"),
        ("another group's table, tripwire", other(), None, Some(&w), "before lane"),
        (
            "this process has read a head of this history, whose past another engine erased",
            foreign(),
            Some(remembers(1, a(5))),
            Some(&w),
            "at 5!",
        ),
        ("this process has read it", foreign(), Some(remembers(9, a(5))), None, "before lane"),
        (
            "this process has read the table, not the lane",
            foreign(),
            Some(Memory { head: SnapshotId(2), lanes: BTreeMap::new() }),
            None,
            "new",
        ),
    ];
    for (case, table, memory, witness, expected) in cases {
        assert_eq!(read_as(&table, memory.as_ref(), witness), expected, "{case}");
    }
}

#[test]
fn rule_d_tags_and_other_branches_give_no_position() {
    // main was rolled back to 1; 2 is kept by the tag
    let mut table = table(vec![Sluice(vec![(G, lane(&["a"], 1))]), Sluice(vec![(G, lane(&["a"], 5))])]);
    table.head = Some(SnapshotId(1));
    let table = tagged(with_property(table, lane(&["a"], 5), 2), 2);
    assert_eq!(read_as(&table, None, None), "at 1!");
}

#[test]
fn an_unreadable_lane_is_neither_carried_nor_a_reason_for_others_to_stop() {
    let keys = |at| vec![(G, lane(&["a"], at)), ("h", lane(&["a"], at + 100))];
    let mut table = table(vec![Sluice(keys(1)), Foreign]);
    let lanes = read_all(&table, None);
    assert_eq!(lanes.readable.keys().map(|n| &**n).collect::<Vec<_>>(), ["g", "h"]);
    table.properties.insert("h".into(), Err("sluice.format is 2".into()));
    let lanes = read_all(&table, None);
    assert_eq!(lanes.readable.keys().map(|n| &**n).collect::<Vec<_>>(), ["g"]);
    assert_eq!(lanes.stopped.keys().map(|n| &**n).collect::<Vec<_>>(), ["h"]);
}

#[test]
fn an_idle_lane_is_carried_over_expiry_as_this_process_read_it() {
    let table = expired(table(vec![Sluice(vec![(G, lane(&["a"], 1)), ("h", lane(&["a"], 7))]), Foreign]), 1);
    let mut memory = remembers(1, lane(&["a"], 1));
    memory.lanes.insert("h".into(), lane(&["a"], 7));
    let lanes = read_all(&table, Some(&memory));
    assert_eq!(lanes.readable["h"], lane(&["a"], 7));
    assert!(read_all(&table, None).readable.is_empty());
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_believe_a_property_that_stops_the_lane() {
    let joined = with_property(table(vec![Sluice(vec![(G, lane(&["a"], 5))])]), lane(&["a", "b"], 7), 1);
    let rolled_back = with_property(expired(table(vec![Foreign, Foreign]), 1), lane(&["a"], 7), 9);
    for (table, bug, stop, believed) in [
        (joined, Bug::UnknownTopicMended, "more topics", "at 5!"),
        (rolled_back, Bug::PropertyBelieved, "history missing", "at 7!"),
    ] {
        assert_eq!(read_as(&table, None, None), stop);
        crate::core::planted::plant(Some(bug));
        assert_eq!(read_as(&table, None, None), believed);
        crate::core::planted::plant(None);
    }
}
