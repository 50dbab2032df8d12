use super::*;

const A0: (&str, i32) = ("a", 0);
const A1: (&str, i32) = ("a", 1);
const B0: (&str, i32) = ("b", 0);

fn tp((topic, partition): (&str, i32)) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn id(n: u8) -> TopicId {
    TopicId([n; 16])
}

fn identity(cluster: &str, a: u8, b: u8) -> SourceIdentity {
    let topics = [("a".into(), id(a)), ("b".into(), id(b))].into();
    SourceIdentity { cluster_id: Some(cluster.into()), topics }
}

/// a:0 at 100, a:1 at 200, b:0 at 50.
fn lane() -> Lane {
    let at = |next_offset| Progress { next_offset, max_event_time: Some(7), idle: true, leader_epoch: Some(3) };
    let partitions = [(tp(A0), at(100)), (tp(A1), at(200)), (tp(B0), at(50))].into();
    let totals = Totals { counts: Counts { written: 9, ..Counts::default() }, redriven: 0 };
    Lane { partitions, totals, source: identity("k", 1, 2), watermark: Some(4) }
}

struct Setting {
    lane: Lane,
    logs: BTreeMap<TopicPartition, LogEdges>,
    identity: SourceIdentity,
    members: Vec<String>,
    topics: Vec<Topic>,
}

impl Setting {
    fn new() -> Self {
        let log = |start, end, at| LogEdges { start, end, at_datetime: at };
        let logs = [(tp(A0), log(10, 150, Some(60))), (tp(A1), log(0, 300, None)), (tp(B0), log(0, 50, Some(20)))];
        let topics = vec!["a".into(), "b".into()];
        Self { lane: lane(), logs: logs.into(), identity: identity("k", 1, 2), members: vec![], topics }
    }

    fn plan(&self, reading: Reading<'_>, scope: &str, target: Target) -> Result<ResetPlan, Refusal> {
        let scope = match scope {
            "*" => Scope::AllTopics,
            topics => Scope::Topics(topics.split(' ').map(|t| parse_topic_scope(t).unwrap()).collect()),
        };
        let situation = Situation {
            reading,
            logs: &self.logs,
            identity: &self.identity,
            members: &self.members,
            topics: &self.topics,
            late: LateRows::Withheld,
            watermark_delay: 5,
        };
        plan(&situation, &scope, &target)
    }

    fn moves(&self, scope: &str, target: Target) -> Vec<(String, Option<Offset>, Offset)> {
        let plan = self.plan(Reading::Stands(&self.lane), scope, target).unwrap();
        plan.moves.iter().map(|(tp, m)| (tp.to_string(), m.from, m.to)).collect()
    }

    fn refusal(&self, scope: &str, target: Target) -> Refusal {
        self.plan(Reading::Stands(&self.lane), scope, target).unwrap_err()
    }
}

fn to(moves: &[(&str, Option<Offset>, Offset)]) -> Vec<(String, Option<Offset>, Offset)> {
    moves.iter().map(|(tp, from, to)| (tp.to_string(), *from, *to)).collect()
}

#[test]
fn each_target_within_each_scope() {
    let s = Setting::new();
    assert_eq!(s.moves("*", Target::Earliest), to(&[("a:0", Some(100), 10), ("a:1", Some(200), 0), ("b:0", Some(50), 0)]));
    assert_eq!(s.moves("a", Target::Latest), to(&[("a:0", Some(100), 150), ("a:1", Some(200), 300)]));
    assert_eq!(s.moves("a:1", Target::Offset(250)), to(&[("a:1", Some(200), 250)]));
    assert_eq!(s.moves("a:0 b", Target::Shift(-20)), to(&[("a:0", Some(100), 80), ("b:0", Some(50), 30)]));
    // No record that late in a:1: the log end, as Kafka's tool does.
    assert_eq!(s.moves("a", Target::Datetime(0)), to(&[("a:0", Some(100), 60), ("a:1", Some(200), 300)]));
    let listed = Target::Listed([(tp(B0), 5)].into());
    assert_eq!(s.moves("b", listed), to(&[("b:0", Some(50), 5)]));
}

#[test]
fn an_offset_outside_the_log_is_cut_to_it_with_a_warning() {
    let s = Setting::new();
    for (asked, taken) in [(5, 10), (151, 150), (i64::MAX, 150)] {
        let plan = s.plan(Reading::Stands(&s.lane), "a:0", Target::Offset(asked)).unwrap();
        assert_eq!(plan.moves[&tp(A0)], Move { from: Some(100), to: taken, asked: Some(asked) });
        assert!(plan.warnings.iter().any(|w| w.contains("not in the log")), "{:?}", plan.warnings);
    }
}

#[test]
fn event_times_are_cleared_where_a_partition_moves_back_and_only_there() {
    let s = Setting::new();
    let plan = s.plan(Reading::Stands(&s.lane), "a", Target::Offset(150)).unwrap();
    let of = |at| plan.lane.partitions[&tp(at)].clone();
    let forward = Progress { next_offset: 150, max_event_time: Some(7), idle: false, leader_epoch: Some(3) };
    assert_eq!(of(A0), forward);
    assert_eq!(of(A1), Progress::opened_at(150));
    assert_eq!(of(B0), s.lane.partitions[&tp(B0)], "not named, not touched");
    assert_eq!(plan.lane.totals, s.lane.totals);
    assert_eq!(plan.lane.watermark, Some(2), "of a:0, the only one awake with a record");
    let none = s.plan(Reading::Stands(&s.lane), "*", Target::Earliest).unwrap();
    assert_eq!(none.lane.watermark, None);
    let text = plan.warnings.join("\n");
    assert!(text.contains("a:0: records [100, 150) are passed over") && text.contains("may be added"), "{text}");
}

#[test]
fn a_group_with_members_is_left_alone() {
    let s = Setting { members: vec!["worker-1".into()], ..Setting::new() };
    assert_eq!(s.refusal("*", Target::Earliest), Refusal::GroupHasMembers { members: s.members.clone() });
    assert_eq!(crate::error::Stop::from(s.refusal("*", Target::Earliest)).exit, crate::error::Exit::Refused);
}

#[test]
fn a_recreated_topic_is_reset_whole_or_not_at_all() {
    let s = Setting { identity: identity("k", 9, 2), ..Setting::new() };
    assert_eq!(s.refusal("a:0", Target::Earliest), Refusal::TopicChanged { topic: "a".into(), was: id(1), is: id(9) });
    // The other topic can go on alone, and the first keeps its old id: it still stops.
    let plan = s.plan(Reading::Stands(&s.lane), "b", Target::Earliest).unwrap();
    assert_eq!(plan.lane.source.topics[&Topic::from("a")], id(1));
    let plan = s.plan(Reading::Stands(&s.lane), "a", Target::Offset(120)).unwrap();
    assert_eq!(plan.lane.source.topics[&Topic::from("a")], id(9));
    // What lay before an offset of the new topic isn't what the old maxima are of.
    assert_eq!(plan.lane.partitions[&tp(A0)], Progress::opened_at(120));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_bug_resets_a_recreated_topic_in_part() {
    crate::core::planted::plant(Some(Bug::PartialResetAccepted));
    let s = Setting { identity: identity("k", 9, 2), ..Setting::new() };
    let plan = s.plan(Reading::Stands(&s.lane), "a:0", Target::Earliest);
    crate::core::planted::plant(None);
    let lane = plan.expect("accepted").lane;
    assert_eq!(lane.source.topics[&Topic::from("a")], id(9));
    assert_eq!(lane.partitions[&tp(A1)], s.lane.partitions[&tp(A1)], "the old topic's offset in the new topic");
}

#[test]
fn a_recreated_topic_with_fewer_partitions_leaves_the_gone_ones_at_0() {
    let mut s = Setting { identity: identity("k", 9, 2), ..Setting::new() };
    s.logs.remove(&tp(A1));
    assert_eq!(s.moves("a", Target::Latest), to(&[("a:0", Some(100), 150), ("a:1", Some(200), 0)]));
    assert!(matches!(s.refusal("a:0", Target::Latest), Refusal::TopicChanged { .. }));
}

#[test]
fn another_cluster_is_entered_with_all_topics_or_not_at_all() {
    let s = Setting { identity: identity("other", 8, 9), ..Setting::new() };
    let refused = Refusal::ClusterChanged { was: "k".into(), is: "other".into() };
    assert_eq!(s.refusal("a", Target::Earliest), refused.clone());
    assert_eq!(s.refusal("a:0 b", Target::Earliest), refused);
}

#[test]
fn a_reset_of_all_topics_records_the_new_cluster() {
    let s = Setting { identity: identity("other", 8, 9), ..Setting::new() };
    let plan = s.plan(Reading::Stands(&s.lane), "*", Target::Earliest).unwrap();
    assert_eq!(plan.lane.source, s.identity);
}

#[test]
fn an_unknown_lane_or_topic_is_opened_at_the_place_named() {
    let s = Setting::new();
    let plan = s.plan(Reading::Unknown, "a", Target::Offset(120)).unwrap();
    let resets = [(tp(A0), ResetRange { from: None, to: 120 }), (tp(A1), ResetRange { from: None, to: 120 })];
    assert_eq!(plan.change(), OwnChange::Reset(resets.into()));
    assert_eq!(plan.lane.partitions[&tp(A0)], Progress::opened_at(120));
    assert_eq!(plan.lane.totals, Totals::default());
    assert_eq!(plan.lane.source.topics, [(Topic::from("a"), id(1))].into());

    let mut known = lane();
    known.partitions.remove(&tp(B0));
    let plan = s.plan(Reading::Stands(&known), "b", Target::Latest).unwrap();
    assert_eq!(plan.moves[&tp(B0)], Move { from: None, to: 50, asked: None });
    assert_eq!(plan.lane.partitions[&tp(A0)], known.partitions[&tp(A0)]);
}

#[test]
fn a_topic_is_opened_whole() {
    let s = Setting::new();
    let refused = s.plan(Reading::Unknown, "a:0", Target::Earliest).unwrap_err();
    assert_eq!(refused, Refusal::OpeningInPart { topic: "a".into(), left_out: tp(A1) });
    // A partition that joined a known topic may be opened alone.
    let mut known = lane();
    known.partitions.remove(&tp(A1));
    assert!(s.plan(Reading::Stands(&known), "a:1", Target::Earliest).is_ok());
}

#[test]
fn a_lane_that_can_not_be_read_is_opened_anew_with_all_its_topics() {
    let s = Setting::new();
    let reading = Reading::Stopped { found: None, property: Some(&s.lane), property_offered: false };
    let refused = s.plan(reading, "a", Target::Earliest).unwrap_err();
    assert_eq!(refused, Refusal::StoppedTopicLeftOut { topic: "b".into() });
    let plan = s.plan(reading, "*", Target::Datetime(0)).unwrap();
    assert_eq!(plan.moves[&tp(A0)], Move { from: None, to: 60, asked: None });
    assert_eq!(plan.lane.totals, Totals::default());
}

#[test]
fn the_property_is_taken_where_the_history_offers_it_and_nowhere_else() {
    let s = Setting::new();
    let stopped = |offered| Reading::Stopped { found: None, property: Some(&s.lane), property_offered: offered };
    let plan = s.plan(stopped(true), "*", Target::Property).unwrap();
    assert!(plan.warnings.iter().any(|w| w.contains("rolled the table back")), "{:?}", plan.warnings);
    assert_eq!(plan.lane.partitions, s.lane.partitions, "with event times, as they were");
    assert_eq!(plan.lane.totals, s.lane.totals);
    assert_eq!(plan.moves[&tp(B0)], Move { from: None, to: 50, asked: None });
    assert_eq!(s.plan(stopped(false), "*", Target::Property), Err(Refusal::PropertyNotOffered));
    assert_eq!(s.plan(Reading::Unknown, "*", Target::Property), Err(Refusal::PropertyNotOffered));
    assert_eq!(s.refusal("*", Target::Property), Refusal::PropertyNotNeeded);
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    let s = Setting::new();
    assert_eq!(s.refusal("c", Target::Earliest), Refusal::NoSuchTopic { topic: "c".into() });
    assert_eq!(s.refusal("a:7", Target::Earliest), Refusal::NoSuchPartition { partition: tp(("a", 7)) });
    assert_eq!(s.refusal("b", Target::Listed(BTreeMap::new())), Refusal::NotListed { partition: tp(B0) });
    let refused = s.plan(Reading::Unknown, "b", Target::Shift(1)).unwrap_err();
    assert_eq!(refused, Refusal::ShiftOfUnknown { partition: tp(B0) });
    let mut gone = Setting::new();
    gone.logs.remove(&tp(B0));
    assert_eq!(gone.refusal("*", Target::Earliest), Refusal::NoSuchTopic { topic: "b".into() });
}

#[test]
fn a_lane_from_before_a_topic_joined_goes_on_and_the_topic_is_opened_where_it_is_told() {
    let s = Setting::new();
    let mut found = lane();
    found.partitions.remove(&tp(B0));
    let reading = Reading::Stopped { found: Some(&found), property: Some(&s.lane), property_offered: false };
    let refused = s.plan(reading, "a", Target::Earliest).unwrap_err();
    assert_eq!(refused, Refusal::StoppedTopicLeftOut { topic: "b".into() });
    let plan = s.plan(reading, "b", Target::Earliest).unwrap();
    assert_eq!(plan.moves, [(tp(B0), Move { from: None, to: 0, asked: None })].into());
    assert_eq!(plan.lane.partitions[&tp(A0)], found.partitions[&tp(A0)]);
    assert_eq!(plan.lane.totals, found.totals);
}
