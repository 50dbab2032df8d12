use super::*;

const BINANCE: &str = "silver.binance.trades";

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(BINANCE, partition)
}

fn lane() -> Lane {
    let progress =
        |next_offset, max_event_time, idle, leader_epoch| Progress { next_offset, max_event_time, idle, leader_epoch };
    Lane {
        partitions: BTreeMap::from([
            (tp(0), progress(1001, Some(1_767_225_600_000_000), false, Some(3))),
            (tp(1), progress(998, None, true, None)),
        ]),
        totals: Totals { counts: Counts { written: 5, duplicate: 3, late: 1, dead_lettered: 2 }, redriven: 4 },
        source: SourceIdentity {
            cluster_id: Some("c2x1aWNlLXRlc3QtMDAwMQ".into()),
            topics: BTreeMap::from([(Topic::from(BINANCE), "PQZ_mDxxQp-4eZ0k0o2m3w".parse().unwrap())]),
        },
        watermark: Some(1_767_225_300_000_000),
    }
}

fn commit_id() -> CommitId {
    "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap()
}

fn plan(own: Option<(&str, OwnChange)>, lanes: &[&str]) -> SnapshotPlan {
    SnapshotPlan {
        commit_id: commit_id(),
        lanes: lanes.iter().map(|name| (LaneName::from(*name), lane())).collect(),
        own: own.map(|(name, change)| (name.into(), change)),
        retired: BTreeSet::new(),
    }
}

fn batch() -> OwnChange {
    let ranges = BTreeMap::from([(tp(0), OffsetRange { start: 900, end: 1001 })]);
    OwnChange::Ranges { ranges, counts: Counts { written: 90, duplicate: 8, late: 0, dead_lettered: 3 } }
}

fn printed(plan: &SnapshotPlan) -> HashMap<String, String> {
    print_summary(plan, SnapshotId(7)).into_iter().collect()
}

fn parsed(summary: &HashMap<String, String>) -> SluiceKeys {
    parse_summary(SnapshotId(7), summary).expect("a summary that names itself")
}

fn with(mut summary: HashMap<String, String>, key: &str, value: &str) -> HashMap<String, String> {
    summary.insert(key.into(), value.into());
    summary
}

#[test]
fn a_batch_is_printed_as_the_interface_says() {
    let keys = print_summary(&plan(Some(("g", batch())), &["g"]), SnapshotId(7));
    let expected = [
        ("engine-name", "sluice"),
        ("engine-version", VERSION),
        ("sluice.commit-id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("sluice.counts.g", r#"{"consumed":101,"written":90,"duplicate":8,"late":0,"dead_lettered":3}"#),
        (
            "sluice.event-time.g",
            r#"{"silver.binance.trades":{"0":1767225600000000,"1":null},"idle":{"silver.binance.trades":[1]}}"#,
        ),
        ("sluice.format", "1"),
        ("sluice.offsets.g", r#"{"silver.binance.trades":{"0":1001,"1":998}}"#),
        ("sluice.ranges.g", r#"{"silver.binance.trades":{"0":[900,1001]}}"#),
        ("sluice.snapshot-id", "7"),
        (
            "sluice.source.g",
            r#"{"cluster-id":"c2x1aWNlLXRlc3QtMDAwMQ","topics":{"silver.binance.trades":{"id":"PQZ_mDxxQp-4eZ0k0o2m3w","leader-epochs":{"0":3}}}}"#,
        ),
        ("sluice.totals.g", r#"{"consumed":11,"written":5,"duplicate":3,"late":1,"dead_lettered":2,"redriven":4}"#),
        ("sluice.version", VERSION),
        ("sluice.watermark.g", "2025-12-31T23:55:00.000000Z"),
    ];
    assert_eq!(keys, expected.map(|(k, v)| (k.to_string(), v.to_string())).into());
}

#[test]
fn an_opening_and_a_reset_are_printed_as_the_interface_says() {
    let reset =
        BTreeMap::from([(tp(0), ResetRange { from: Some(1001), to: 0 }), (tp(1), ResetRange { from: None, to: 998 })]);
    let keys = printed(&plan(Some(("g", OwnChange::Reset(reset))), &["g"]));
    assert_eq!(keys["sluice.reset.g"], r#"{"silver.binance.trades":{"0":[1001,0],"1":[null,998]}}"#);
    assert!(!keys.contains_key("sluice.ranges.g") && !keys.contains_key("sluice.counts.g"));
}

#[test]
fn the_property_is_printed_as_the_interface_says_and_comes_back() {
    let without_watermark = Lane { watermark: None, ..lane() };
    let property = LaneProperty { lane: without_watermark, commit_id: commit_id(), snapshot: SnapshotId(7) };
    let text = print_property(&property);
    assert_eq!(
        text,
        concat!(
            r#"{"format":1,"offsets":{"silver.binance.trades":{"0":1001,"1":998}},"#,
            r#""event-time":{"silver.binance.trades":{"0":1767225600000000,"1":null},"idle":{"silver.binance.trades":[1]}},"#,
            r#""totals":{"consumed":11,"written":5,"duplicate":3,"late":1,"dead_lettered":2,"redriven":4},"#,
            r#""source":{"cluster-id":"c2x1aWNlLXRlc3QtMDAwMQ","topics":{"silver.binance.trades":{"id":"PQZ_mDxxQp-4eZ0k0o2m3w","leader-epochs":{"0":3}}}},"#,
            r#""commit-id":"0f8fad5b-d9cb-469f-a165-70867728950e","snapshot-id":7}"#
        )
    );
    let properties = HashMap::from([(property_key("a.b"), text), ("owner".into(), "sluice.state.".into())]);
    assert_eq!(parse_properties(&properties), BTreeMap::from([("a.b".into(), Ok(property))]));
}

#[test]
fn every_kind_of_snapshot_comes_back_as_it_was() {
    let reset = OwnChange::Reset(BTreeMap::from([(tp(1), ResetRange { from: None, to: 998 })]));
    let idle_only = OwnChange::Ranges { ranges: BTreeMap::new(), counts: Counts::default() };
    for own in [None, Some(("g", batch())), Some(("g", idle_only)), Some(("g", reset))] {
        let mut plan = plan(own, &["g", "other.group"]);
        plan.retired = BTreeSet::from(["old \"lane\"".into()]);
        let keys = parsed(&printed(&plan));
        assert_eq!(keys.commit_id, plan.commit_id);
        assert_eq!(keys.retired, plan.retired);
        let lanes = plan.lanes.iter().map(|(name, lane)| {
            let own = plan.own.as_ref().filter(|(own, _)| own == name).map(|(_, change)| change.clone());
            (name.clone(), Ok(LaneEntry { lane: lane.clone(), own }))
        });
        assert_eq!(keys.lanes, lanes.collect());
    }
}

#[test]
fn partitions_are_printed_in_numeric_order_and_an_unknown_source_stays_unknown() {
    let lane = Lane { partitions: [2, 10, 1].map(|p| (tp(p), Progress::opened_at(i64::from(p)))).into(), ..Lane::default() };
    let plan = SnapshotPlan { lanes: BTreeMap::from([("g".into(), lane.clone())]), ..plan(None, &[]) };
    let keys = printed(&plan);
    assert_eq!(keys["sluice.offsets.g"], r#"{"silver.binance.trades":{"1":1,"2":2,"10":10}}"#);
    assert_eq!(keys["sluice.source.g"], r#"{"topics":{}}"#);
    assert_eq!(parsed(&keys).lanes["g"].as_ref().unwrap().lane, lane);
}

#[test]
fn a_summary_that_names_another_snapshot_or_none_is_a_copy() {
    let summary = printed(&plan(Some(("g", batch())), &["g"]));
    assert_eq!(parse_summary(SnapshotId(8), &summary), None);
    assert_eq!(parse_summary(SnapshotId(7), &with(summary.clone(), SNAPSHOT_ID, "seven")), None);
    let mut unnamed = summary;
    unnamed.remove(SNAPSHOT_ID);
    assert_eq!(parse_summary(SnapshotId(7), &unnamed), None);
}

#[test]
fn a_lane_name_is_the_whole_rest_of_the_key() {
    let keys = parsed(&printed(&plan(None, &["offsets.x", "sluice.offsets.y", ".z", "g"])));
    let names: Vec<_> = keys.lanes.keys().map(|n| n.to_string()).collect();
    assert_eq!(names, [".z", "g", "offsets.x", "sluice.offsets.y"]);
    assert!(keys.lanes.values().all(Result::is_ok));
}

#[test]
fn what_cannot_be_read_costs_its_own_lane_only() {
    let good = printed(&plan(Some(("g", batch())), &["g", "other"]));
    for (key, value, names) in [
        ("sluice.offsets.g", "{", "sluice.offsets.g"),
        ("sluice.offsets.g", r#"{"silver.binance.trades":{"0":-1,"1":998}}"#, "next offset"),
        ("sluice.offsets.g", r#"{"silver.binance.trades":{"0":1001}}"#, "offsets lack silver.binance.trades:1"),
        ("sluice.offsets.g", r#"{"silver.binance.trades":{"0":1.5,"1":998}}"#, "sluice.offsets.g"),
        ("sluice.offsets.g", r#"{"silver.binance.trades":{"0":1001,"1":998,"2":0}}"#, "event-time lacks"),
        ("sluice.event-time.g", r#"{"silver.binance.trades":{"0":"x","1":null}}"#, "sluice.event-time.g"),
        ("sluice.ranges.g", r#"{"silver.binance.trades":{"0":[1001,900]}}"#, "range"),
        ("sluice.ranges.g", r#"{"silver.binance.trades":{"0":[900]}}"#, "sluice.ranges.g"),
        ("sluice.counts.g", r#"{"consumed":1,"written":1,"duplicate":1,"late":0,"dead_lettered":0}"#, "sum"),
        ("sluice.totals.g", r#"{"consumed":0}"#, "sluice.totals.g"),
        ("sluice.source.g", r#"{"topics":{"silver.binance.trades":{"id":"short"}}}"#, "topic id"),
        ("sluice.reset.g", r#"{"silver.binance.trades":{"0":[1,0]}}"#, "do not belong together"),
    ] {
        let keys = parsed(&with(good.clone(), key, value));
        let fault = keys.lanes["g"].as_ref().expect_err(value);
        assert!(fault.contains(names), "{key} = {value}: {fault}");
        assert!(keys.lanes["other"].is_ok(), "{key} = {value}");
        assert_eq!(keys.commit_id, commit_id());
    }
    let mut headless = good;
    headless.remove("sluice.offsets.g");
    assert_eq!(parsed(&headless).lanes["g"], Err("sluice.offsets.g is missing".into()));
}

#[test]
fn a_greater_format_is_read_by_nobody() {
    let summary = with(printed(&plan(None, &["g"])), FORMAT_KEY, "2");
    let fault = parsed(&summary).lanes["g"].clone().unwrap_err();
    assert!(fault.contains("sluice.format is 2"), "{fault}");

    let later = HashMap::from([(property_key("g"), r#"{"format":2,"positions":[]}"#.to_string())]);
    let fault = parse_properties(&later)["g"].clone().unwrap_err();
    assert!(fault.contains("sluice.format is 2"), "{fault}");
}

#[test]
fn a_lane_without_a_watermark_has_no_key_and_a_garbled_one_is_no_guess() {
    let mut plan = plan(Some(("g", batch())), &["g", "other"]);
    plan.lanes.get_mut("other").unwrap().watermark = None;
    let keys = printed(&plan);
    assert_eq!(keys["sluice.watermark.g"], "2025-12-31T23:55:00.000000Z");
    assert!(!keys.contains_key("sluice.watermark.other"));
    assert_eq!(parsed(&keys).lanes["other"].as_ref().unwrap().lane.watermark, None);
    let fault = parsed(&with(keys, "sluice.watermark.g", "yesterday")).lanes["g"].clone().unwrap_err();
    assert!(fault.contains("yesterday"), "{fault}");
}
