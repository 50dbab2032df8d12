use std::collections::BTreeSet;

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::cli::arguments;
use crate::cli::output::{Output, columns};
use crate::error::Stop;
use crate::types::{Micros, Offset, Topic};

/// Move the table's offsets, or open a lane or topic that the table doesn't know at a chosen place
///
/// Prints the plan; acts with --execute only, and only while the group has no members. Rows stay: records that are read
/// again are found to be duplicates.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("scope").required(true).args(["topic", "all_topics"]),
    group = ArgGroup::new("to").required(true).args(["to_earliest", "to_latest", "to_offset", "to_datetime", "from_property"]),
    after_help = "Example:\n  sluice offsets reset --all-topics --to-datetime 2026-01-01T00:00:00Z\n  sluice offsets reset --topic silver.kraken.trades:0,1 --to-offset 5000 --execute"
)]
pub struct ResetArgs {
    /// A topic, or some of its partitions as topic:0,1 (repeatable)
    #[arg(long, value_parser = topic_scope, value_name = "TOPIC[:P,…]")]
    topic: Vec<(Topic, Option<BTreeSet<i32>>)>,
    /// Every topic of the lane and of the configuration
    #[arg(long)]
    all_topics: bool,
    /// To the first record that Kafka has
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record that is stable now
    #[arg(long)]
    to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<Offset>,
    /// To the first record whose broker timestamp isn't before this time
    #[arg(long, value_name = "TIME", value_parser = arguments::datetime)]
    to_datetime: Option<Micros>,
    /// To where the table property of the lane says, when you know that nobody rolled the table back
    #[arg(long)]
    from_property: bool,
    /// Do it
    #[arg(long)]
    execute: bool,
}

/// Which partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResetScope {
    AllTopics,
    /// Topics with those of their partitions that are meant; none: all of them.
    Topics(Vec<(Topic, Option<BTreeSet<i32>>)>),
}

/// Where to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetTo {
    Earliest,
    Latest,
    Offset(Offset),
    /// Broker timestamp, milliseconds since 1970.
    Datetime(i64),
    Property,
}

impl ResetArgs {
    pub fn scope(&self) -> ResetScope {
        if self.all_topics { ResetScope::AllTopics } else { ResetScope::Topics(self.topic.clone()) }
    }

    pub fn to(&self) -> ResetTo {
        match (self.to_offset, self.to_datetime) {
            (Some(offset), _) => ResetTo::Offset(offset),
            // Rounded up: a record's timestamp has milliseconds, and none before the asked time is meant.
            (_, Some(time)) => ResetTo::Datetime(time.div_euclid(1_000) + i64::from(time.rem_euclid(1_000) > 0)),
            _ if self.to_earliest => ResetTo::Earliest,
            _ if self.to_latest => ResetTo::Latest,
            // The group of flags is required and holds no other.
            _ => ResetTo::Property,
        }
    }

    /// Whether to act, or to show the plan only.
    pub fn execute(&self) -> bool {
        self.execute
    }
}

/// `topic`, or `topic:0,1`.
fn topic_scope(text: &str) -> Result<(Topic, Option<BTreeSet<i32>>), String> {
    let Some((topic, partitions)) = text.split_once(':') else {
        return if text.is_empty() { Err("a topic has a name".into()) } else { Ok((text.into(), None)) };
    };
    let partitions: Option<BTreeSet<i32>> =
        partitions.split(',').map(|partition| partition.trim().parse().ok().filter(|number| *number >= 0)).collect();
    match partitions {
        Some(partitions) if !topic.is_empty() => Ok((topic.into(), Some(partitions))),
        _ => Err("partitions of a topic are written as topic:0,1".into()),
    }
}

/// One partition of the plan.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct MoveRow {
    pub topic: String,
    pub partition: i32,
    /// None: an opening.
    pub from: Option<Offset>,
    pub to: Offset,
    /// What was asked for, where the log doesn't reach there.
    pub asked: Option<Offset>,
}

/// What a reset does, or did.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct PlannedReset {
    pub group: String,
    pub executed: bool,
    /// The snapshot that records it.
    pub snapshot_id: Option<i64>,
    pub warnings: Vec<String>,
    /// By topic and partition.
    pub moves: Vec<MoveRow>,
}

impl PlannedReset {
    pub fn print(&self, output: Output) -> Result<(), Stop> {
        output.print(self, || self.text())
    }

    fn text(&self) -> String {
        let cells = |row: &MoveRow| {
            let from = row.from.map_or_else(|| "-".into(), |from| from.to_string());
            let note = row.asked.map(|asked| format!("asked for {asked}, the log doesn't reach there")).unwrap_or_default();
            vec![row.topic.clone(), row.partition.to_string(), from, row.to.to_string(), note]
        };
        let rows: Vec<Vec<String>> = self.moves.iter().map(cells).collect();
        let mut text = columns(&["TOPIC", "PARTITION", "FROM", "TO", "NOTE"], &rows);
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        text + &match self.snapshot_id {
            Some(id) if self.executed => format!("done: snapshot {id}\n"),
            _ => "nothing is changed yet: repeat the command with --execute\n".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Arguments {
        #[command(flatten)]
        reset: ResetArgs,
    }

    fn parse(flags: &[&str]) -> Result<ResetArgs, clap::Error> {
        Arguments::try_parse_from([&["reset"], flags].concat()).map(|arguments| arguments.reset)
    }

    #[test]
    fn a_scope_and_one_place_must_be_named() {
        for flags in [
            &["--all-topics"][..],
            &["--to-latest"],
            &["--all-topics", "--to-latest", "--to-earliest"],
            &["--all-topics", "--topic", "a", "--to-latest"],
            &["--topic", "a:x", "--to-latest"],
            &["--topic", "a:-1", "--to-latest"],
            &["--all-topics", "--to-offset", "-1"],
        ] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn scope_and_place_are_read() {
        let reset = parse(&["--topic", "a:1,0", "--topic", "b", "--to-datetime", "2026-01-01T00:00:00.0001Z"]).unwrap();
        let topics = vec![("a".into(), Some(BTreeSet::from([0, 1]))), ("b".into(), None)];
        assert_eq!(reset.scope(), ResetScope::Topics(topics));
        assert_eq!(reset.to(), ResetTo::Datetime(1_767_225_600_001));
        assert!(!reset.execute());
        let reset = parse(&["--all-topics", "--from-property", "--execute"]).unwrap();
        assert_eq!((reset.scope(), reset.to(), reset.execute()), (ResetScope::AllTopics, ResetTo::Property, true));
        for (flag, to) in [("--to-earliest", ResetTo::Earliest), ("--to-latest", ResetTo::Latest)] {
            assert_eq!(parse(&["--all-topics", flag]).unwrap().to(), to);
        }
    }

    #[test]
    fn a_plan_says_that_nothing_is_changed_yet() {
        let moves = vec![MoveRow { topic: "t".into(), partition: 0, from: None, to: 7, asked: Some(3) }];
        let mut plan = PlannedReset { group: "g".into(), executed: false, snapshot_id: None, warnings: vec![], moves };
        assert!(plan.text().contains("asked for 3") && plan.text().contains("--execute"));
        (plan.executed, plan.snapshot_id) = (true, Some(5));
        assert!(plan.text().ends_with("done: snapshot 5\n"));
    }
}
