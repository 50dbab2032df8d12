//! `sluice offsets reset`: what an operator types, and the plan as it is shown before `--execute`.

use std::fmt::Write as _;

use clap::ArgGroup;
use serde_json::{Value, json};

use crate::cli::output::{columns, or_none};
use crate::core::reset::{ResetPlan, Scope, Target, TopicScope, parse_datetime_ms, parse_topic_scope};
use crate::types::Offset;

/// Moves the lane of this group in the table. Prints the plan; acts with --execute only.
#[derive(clap::Args, Clone, Debug)]
#[command(
    group(ArgGroup::new("scope").required(true).args(["topic", "all_topics"])),
    group(ArgGroup::new("target").required(true).args(["to_earliest", "to_latest", "to_offset", "to_datetime", "from_property"])),
    after_help = "Example:\n  sluice offsets reset --all-topics --to-datetime 2026-01-31T13:00:00.000\n  sluice offsets reset --topic silver.binance.trades:0,1 --to-offset 5000 --execute\n\nEvery instance of the group must be stopped. A replay adds nothing twice."
)]
pub struct ResetArgs {
    /// A topic, or some of its partitions; repeatable
    #[arg(long, value_name = "TOPIC[:0,1]", value_parser = parse_topic_scope)]
    pub topic: Vec<TopicScope>,
    /// Every topic of the configuration and of the lane
    #[arg(long)]
    pub all_topics: bool,
    /// The log start
    #[arg(long)]
    pub to_earliest: bool,
    /// The last stable offset: what is in the log until now is passed over
    #[arg(long)]
    pub to_latest: bool,
    /// This offset in every partition of the scope; cut to the log
    #[arg(long, value_name = "N")]
    pub to_offset: Option<Offset>,
    /// The first record whose broker timestamp isn't before this: YYYY-MM-DDTHH:mm:ss.sss, UTC unless a zone follows
    #[arg(long, value_name = "DATETIME", value_parser = parse_datetime_ms)]
    pub to_datetime: Option<i64>,
    /// Where the table's property says, for a lane whose snapshots were expired; only if nobody rolled the table back
    #[arg(long)]
    pub from_property: bool,
    /// Do it
    #[arg(long)]
    pub execute: bool,
}

impl ResetArgs {
    pub fn scope(&self) -> Scope {
        if self.all_topics { Scope::AllTopics } else { Scope::Topics(self.topic.clone()) }
    }

    pub fn target(&self) -> Target {
        match (self.to_offset, self.to_datetime) {
            (Some(offset), _) => Target::Offset(offset),
            (_, Some(ms)) => Target::Datetime(ms),
            _ if self.to_latest => Target::Latest,
            _ if self.from_property => Target::Property,
            _ => Target::Earliest,
        }
    }
}

/// Whether the plan was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    Planned,
    Executed,
}

pub fn text(plan: &ResetPlan, done: Done) -> String {
    let rows = plan.moves.iter().map(|(tp, m)| {
        let note = match m.from {
            None => "opened".to_string(),
            Some(from) if m.to < from => "event time cleared".to_string(),
            Some(_) => String::new(),
        };
        vec![tp.topic.to_string(), tp.partition.to_string(), or_none(m.from), m.to.to_string(), note]
    });
    let mut out = columns(&["TOPIC", "PARTITION", "OLD-OFFSET", "NEW-OFFSET", ""], &rows.collect::<Vec<_>>());
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    out.push_str(match done {
        Done::Planned => "\nThis is the plan. Nothing was changed: repeat with --execute.\n",
        Done::Executed => "\nDone: the offsets above are in the table.\n",
    });
    out
}

pub fn json(plan: &ResetPlan, done: Done) -> Value {
    let moves = plan.moves.iter().map(|(tp, m)| {
        json!({
            "topic": &*tp.topic,
            "partition": tp.partition,
            "old_offset": m.from,
            "new_offset": m.to,
            "asked_offset": m.asked,
        })
    });
    json!({
        "executed": done == Done::Executed,
        "partitions": moves.collect::<Vec<_>>(),
        "warnings": plan.warnings,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::core::reset::Move;
    use crate::core::table::Lane;
    use crate::types::TopicPartition;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        reset: ResetArgs,
    }

    fn parse(line: &str) -> Result<ResetArgs, clap::Error> {
        Cli::try_parse_from(["x"].into_iter().chain(line.split(' '))).map(|cli| cli.reset)
    }

    #[test]
    fn one_scope_and_one_target_are_needed() {
        let args = parse("--topic a:0,1 --topic b --to-offset 7").unwrap();
        let topics = ["a:0,1", "b"].map(|t| parse_topic_scope(t).unwrap()).to_vec();
        assert_eq!((args.scope(), args.target(), args.execute), (Scope::Topics(topics), Target::Offset(7), false));
        let args = parse("--all-topics --to-datetime 2026-01-01T00:00:00.000 --execute").unwrap();
        assert_eq!((args.scope(), args.target()), (Scope::AllTopics, Target::Datetime(1_767_225_600_000)));
        for (flag, target) in
            [("--to-earliest", Target::Earliest), ("--to-latest", Target::Latest), ("--from-property", Target::Property)]
        {
            assert_eq!(parse(&format!("--all-topics {flag}")).unwrap().target(), target);
        }
        for wrong in
            ["--all-topics", "--to-latest", "--all-topics --topic a --to-latest", "--all-topics --to-latest --to-earliest"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plan_shows_every_partition_and_that_nothing_was_done() {
        let moves = [
            (TopicPartition::new("a", 0), Move { from: Some(10), to: 3, asked: None }),
            (TopicPartition::new("a", 1), Move { from: None, to: 5, asked: Some(9) }),
        ];
        let plan = ResetPlan { moves: moves.into(), lane: Lane::default(), warnings: vec!["careful".into()] };
        let text = text(&plan, Done::Planned);
        for line in
            ["a              0          10           3  event time cleared", "opened", "warning: careful", "--execute"]
        {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        let json = json(&plan, Done::Executed);
        assert_eq!(
            json["partitions"][1],
            json!({"topic":"a","partition":1,"old_offset":null,"new_offset":5,"asked_offset":9})
        );
        assert_eq!(json["executed"], true);
    }
}
