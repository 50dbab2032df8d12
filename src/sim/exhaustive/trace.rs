//! A history in plain words.

use std::fmt;

use crate::core::instance::{Event, Timer};
use crate::sim::exhaustive::choices::{Choice, next_record};
use crate::sim::exhaustive::oracle::Violation;
use crate::sim::exhaustive::search::step;
use crate::sim::exhaustive::state::*;
use crate::sim::exhaustive::{Bounds, Key};

/// The shortest history that leads to a violation.
#[derive(Clone, Debug)]
pub struct Trace {
    pub what: Violation,
    pub choices: Vec<Choice>,
    /// Each choice in words, and what it changed in the table.
    pub steps: Vec<String>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (n, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:4}  {step}", n + 1)?;
        }
        Ok(())
    }
}

impl Trace {
    /// Plays the choices again and tells them.
    pub fn of(bounds: &Bounds, choices: &[Choice], what: Violation) -> Self {
        let mut state = State::beginning(bounds);
        let mut steps = Vec::new();
        for choice in choices {
            let told = state.tell(bounds, *choice);
            match step(bounds, &state, *choice) {
                Ok((next, _)) => {
                    steps.push(told + &state.change_of_table(&next));
                    state = next;
                }
                Err(_) => steps.push(told),
            }
        }
        Self { what, choices: choices.to_vec(), steps }
    }
}

impl State {
    fn tell(&self, bounds: &Bounds, choice: Choice) -> String {
        match choice {
            Choice::Rebalance { instance } => {
                let told = match self.processes[usize::from(instance)].rebalances.front() {
                    Some(Event::Assigned { partitions }) => format!("is assigned {partitions:?}"),
                    Some(Event::Revoked { partitions, lost: true }) => format!("hears that it lost {partitions:?}"),
                    Some(Event::Revoked { partitions, .. }) => format!("is asked to let {partitions:?} go"),
                    other => format!("hears {other:?}"),
                };
                format!("instance {instance} {told}")
            }
            Choice::Record { instance, partition } => {
                let (tp, log) = (tp(partition.into()), &bounds.logs[usize::from(partition)]);
                let from = self.processes[usize::from(instance)].reading[&tp].1;
                let offset = next_record(log, from).unwrap_or(from);
                let key = log[offset as usize].map(name).unwrap_or_default();
                format!("instance {instance} judges {tp} offset {offset}, {key}")
            }
            Choice::End { instance, partition } => format!("instance {instance} is at the end of {}", tp(partition.into())),
            Choice::Cover { instance } => format!("instance {instance} takes ids of files into memory"),
            Choice::Answer { instance, asked } => self.asked(instance, asked),
            Choice::Delay { instance, .. } => format!("the table is loaded for instance {instance}; the answer is delayed"),
            Choice::Arrive { instance, .. } => format!("the delayed answer reaches instance {instance}"),
            Choice::Wait { instance, timer } => match timer {
                Timer::Batch => format!("instance {instance} seals its batch"),
                Timer::Comparison => format!("instance {instance} compares itself with the table"),
                Timer::Anchor => format!("instance {instance} anchors a foreign head"),
                Timer::Answer => format!("instance {instance} has not answered its rebalance within the bound"),
            },
            Choice::Land { request } => format!("{} lands", self.request(request)),
            Choice::LandUnheard { request } => format!("{} lands; the answer is delayed", self.request(request)),
            Choice::Refuse { request } => format!("{} is refused", self.request(request)),
            Choice::Unanswered { request } => format!("{} isn't answered; it is still on its way", self.request(request)),
            Choice::Crash { instance } => format!("instance {instance} is killed and starts again"),
            Choice::Close { instance } => format!("instance {instance} is asked to end"),
            Choice::Take { partition, to } => format!("the group gives {} to instance {to} at once", tp(partition.into())),
            Choice::HandOver { partition, to } => format!("the group wants {} for instance {to}", tp(partition.into())),
            Choice::RollBack { snapshot } => format!("another engine sets main back to snapshot {snapshot} of its history"),
            Choice::Delete { file } => format!("another engine deletes {}", self.file(file)),
            Choice::Compact { file } => format!("another engine rewrites the hour of {}", self.file(file)),
        }
    }

    fn asked(&self, instance: u8, asked: u8) -> String {
        match &self.processes[usize::from(instance)].asked[usize::from(asked)] {
            Asked::Load { .. } => format!("instance {instance} loads the table"),
            Asked::CreateTable { .. } => format!("instance {instance} creates the table"),
            Asked::LogEdges { .. } => format!("instance {instance} learns where the logs begin"),
            Asked::Probe { lookups, .. } => {
                let files: Vec<&str> = lookups.iter().map(|l| &*l.file.path).collect();
                format!("instance {instance} looks ids up in {}", files.join(" and "))
            }
        }
    }

    fn request(&self, request: u8) -> String {
        let request = &self.requests[usize::from(request)];
        let from =
            request.waits.map_or("a request nobody waits for".into(), |(i, _)| format!("the request of instance {i}"));
        let what = request.plan.lanes.values().flat_map(|lane| &lane.partitions);
        let offsets: Vec<String> = what.map(|(tp, p)| format!("{tp} to {}", p.next_offset)).collect();
        let files: Vec<&str> = request.files.iter().map(|f| &**f).collect();
        format!("{from} ({}; files {files:?})", offsets.join(", "))
    }

    fn file(&self, file: u8) -> String {
        self.table.head().and_then(|head| head.live.iter().nth(file.into())).map(|f| f.to_string()).unwrap_or_default()
    }

    fn change_of_table(&self, next: &State) -> String {
        let Some(head) = next.table.head().filter(|head| self.head() != Some(head.view.id)) else { return String::new() };
        let offsets: Vec<String> = head.truth.offsets.iter().map(|(tp, at)| format!("{tp} at {at}")).collect();
        let files: Vec<&str> = head.live.iter().map(|f| &**f).collect();
        format!(" -> the table has {} and {files:?}", offsets.join(", "))
    }
}

fn name(key: Key) -> String {
    format!("id {} of hour {}", key.1.0, key.0.0)
}
