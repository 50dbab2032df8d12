//! Everything that can happen next.

use crate::core::instance::Timer;
use crate::sim::exhaustive::state::*;
use crate::sim::exhaustive::{Bounds, BrokenPromise};
use crate::types::Offset;

/// One thing that happens. Instances, partitions and whatever else is counted are counted from 0, requests and snapshots
/// in the order in which the state has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The consumer hears of its next rebalance.
    Rebalance {
        instance: u8,
    },
    /// The next record of a partition is judged.
    Record {
        instance: u8,
        partition: u8,
    },
    /// The end of the log is reported, behind offsets without a record.
    End {
        instance: u8,
        partition: u8,
    },
    /// The files that the instance wants come into memory.
    Cover {
        instance: u8,
    },
    /// Something that it asked for is done and answered.
    Answer {
        instance: u8,
        asked: u8,
    },
    /// The table is loaded, and the answer is on its way.
    Delay {
        instance: u8,
        asked: u8,
    },
    /// An answer arrives.
    Arrive {
        instance: u8,
        delayed: u8,
    },
    /// Time passes until this is due.
    Wait {
        instance: u8,
        timer: Timer,
    },
    /// A request reaches the catalog; whoever waits hears of it.
    Land {
        request: u8,
    },
    /// It lands, and the answer is on its way.
    LandUnheard {
        request: u8,
    },
    /// The catalog refuses it.
    Refuse {
        request: u8,
    },
    /// Whoever waits gives up; the request is still on its way.
    Unanswered {
        request: u8,
    },
    Crash {
        instance: u8,
    },
    /// The process is asked to end.
    Close {
        instance: u8,
    },
    /// The group takes a partition away at once; the instance that had it hears of it later.
    Take {
        partition: u8,
        to: u8,
    },
    /// The group asks for a partition, and gives it on once it was let go.
    HandOver {
        partition: u8,
        to: u8,
    },
    /// Another engine sets main back to this snapshot of the history.
    RollBack {
        snapshot: u8,
    },
    /// Another engine deletes this data file of the head.
    Delete {
        file: u8,
    },
    /// Another engine rewrites the files of this data file's hour as one.
    Compact {
        file: u8,
    },
}

impl Choice {
    /// One that [`Faults`](crate::sim::exhaustive::Faults) pays for: the world owes nobody that it happens.
    pub fn is_fault(self) -> bool {
        use Choice::*;
        match self {
            Rebalance { .. } | Record { .. } | End { .. } | Cover { .. } | Answer { .. } | Arrive { .. } => false,
            Land { .. } | Refuse { .. } => false,
            Wait { timer, .. } => timer == Timer::Answer,
            Delay { .. } | LandUnheard { .. } | Unanswered { .. } | Crash { .. } | Close { .. } => true,
            Take { .. } | HandOver { .. } => true,
            RollBack { .. } | Delete { .. } | Compact { .. } => true,
        }
    }
}

impl State {
    pub fn choices(&self, bounds: &Bounds) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (process, instance) in self.processes.iter().zip(0..) {
            self.of_process(process, instance, bounds, &mut choices);
        }
        self.of_network(bounds, &mut choices);
        self.of_group(&mut choices);
        self.of_other_engines(&mut choices);
        choices
    }

    fn of_process(&self, process: &Process, instance: u8, bounds: &Bounds, choices: &mut Vec<Choice>) {
        if !process.rebalances.is_empty() && !process.answering {
            choices.push(Choice::Rebalance { instance });
        }
        for (tp, (epoch, at)) in &process.reading {
            let judged = process.core.owned().get(tp).is_some_and(|o| o.epoch == *epoch && !o.leaving);
            if judged {
                let log = &bounds.logs[tp.partition as usize];
                let partition = tp.partition as u8;
                let record = next_record(log, *at).is_some();
                let early = bounds.broken == Some(BrokenPromise::EndBeforeRecord);
                if record {
                    choices.push(Choice::Record { instance, partition });
                }
                if (*at as usize) < log.len() && (!record || early) {
                    choices.push(Choice::End { instance, partition });
                }
            }
        }
        if !process.wanted.is_empty() {
            choices.push(Choice::Cover { instance });
        }
        for (asked, n) in process.asked.iter().zip(0..) {
            choices.push(Choice::Answer { instance, asked: n });
            if self.left.delayed > 0 && matches!(asked, Asked::Load { .. }) {
                choices.push(Choice::Delay { instance, asked: n });
            }
        }
        choices.extend((0..process.delayed.len() as u8).map(|delayed| Choice::Arrive { instance, delayed }));
        let timers = process.core.timers().into_iter().filter(|t| *t != Timer::Answer || self.left.overdue > 0);
        choices.extend(timers.map(|timer| Choice::Wait { instance, timer }));
        if self.left.crashes > 0 {
            choices.push(Choice::Crash { instance });
        }
        if self.left.closes > 0 && !process.core.is_ending() {
            choices.push(Choice::Close { instance });
        }
    }

    fn of_network(&self, bounds: &Bounds, choices: &mut Vec<Choice>) {
        for (r, request) in self.requests.iter().zip(0..) {
            let (waits, can_land) = (r.waits.is_some(), self.can_land(bounds, r));
            if can_land {
                choices.push(Choice::Land { request });
                if waits && self.left.delayed > 0 {
                    choices.push(Choice::LandUnheard { request });
                }
            } else if waits {
                choices.push(Choice::Refuse { request });
            }
            // one that can never land any more is refused: the instance hears the same either way
            if waits && self.left.unanswered > 0 && (can_land || self.left.roll_backs > 0) {
                choices.push(Choice::Unanswered { request });
            }
        }
    }

    fn of_group(&self, choices: &mut Vec<Choice>) {
        if self.left.moves == 0 {
            return;
        }
        for (partition, owner) in (0..).zip(&self.group.owner) {
            let others = (0..self.processes.len() as u8).filter(|to| to != owner);
            if self.group.promised[usize::from(partition)].is_none() {
                choices.extend(others.flat_map(|to| [Choice::Take { partition, to }, Choice::HandOver { partition, to }]));
            }
        }
    }

    fn of_other_engines(&self, choices: &mut Vec<Choice>) {
        let Some(head) = self.table.head() else { return };
        let past = self.table.line.len() as u8 - 1;
        if self.left.roll_backs > 0 {
            choices.extend((0..past).map(|snapshot| Choice::RollBack { snapshot }));
        }
        let files = 0..head.live.len() as u8;
        if self.left.deletes > 0 {
            choices.extend(files.clone().map(|file| Choice::Delete { file }));
        }
        if self.left.compactions > 0 {
            choices.extend(files.map(|file| Choice::Compact { file }));
        }
    }
}

/// The offset of the first record that isn't before `at`.
pub fn next_record<T>(log: &[Option<T>], at: Offset) -> Option<Offset> {
    (at..log.len() as Offset).find(|o| log[*o as usize].is_some())
}
