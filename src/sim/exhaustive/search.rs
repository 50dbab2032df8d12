//! Breadth first over all states, two threads at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::sim::exhaustive::choices::Choice;
use crate::sim::exhaustive::oracle::Violation;
use crate::sim::exhaustive::state::State;
use crate::sim::exhaustive::steps::Stepped;
use crate::sim::exhaustive::{Bounds, Explored, Trace};

const THREADS: usize = 2;
/// States that the threads share out before what they found is put together.
const ROUND: usize = 8_192;

/// The number of a state, in the order in which they were found.
type Number = u32;

/// Explores everything within the bounds.
pub fn explore(bounds: &Bounds) -> Explored {
    let mut search = Search::new(bounds);
    let violation = search.run();
    let complete = violation.is_none() && search.frontier.is_empty();
    let stuck = (complete && bounds.reach).then(|| search.stuck()).flatten();
    let violation = violation.or(stuck.map(|number| Found { number, choice: None, what: Violation::Stuck }));
    Explored {
        states: search.came_by.len(),
        transitions: search.transitions,
        depth: search.depth,
        took: search.began.elapsed(),
        complete,
        happened: std::mem::take(&mut search.happened),
        violation: violation.map(|found| Trace::of(bounds, &search.choices_to(&found), found.what)),
    }
}

/// A violation: in a state, or in the step that a choice makes from it.
struct Found {
    number: Number,
    choice: Option<Choice>,
    what: Violation,
}

struct Search<'a> {
    bounds: &'a Bounds,
    began: Instant,
    seen: HashMap<u128, Number>,
    /// The state before, and the choice that led from it; the first state has none.
    came_by: Vec<Option<(Number, Choice)>>,
    /// Transitions that no fault makes, as far as they are asked for.
    steps: Vec<(Number, Number)>,
    /// States in which every log is in the table.
    whole: Vec<Number>,
    frontier: Vec<(Number, State)>,
    transitions: usize,
    happened: BTreeMap<&'static str, usize>,
    depth: usize,
}

/// What a choice leads to.
enum Next {
    Seen(Number),
    New(u128, Box<State>),
    Violation(Violation),
}

/// What one thread found.
#[derive(Default)]
struct Share {
    transitions: Vec<(Number, Choice, Next)>,
    happened: BTreeMap<&'static str, usize>,
}

impl Share {
    fn count(&mut self, happened: &BTreeSet<&'static str>) {
        for what in happened {
            *self.happened.entry(what).or_default() += 1;
        }
    }
}

impl<'a> Search<'a> {
    fn new(bounds: &'a Bounds) -> Self {
        let first = State::beginning(bounds);
        Self {
            bounds,
            began: Instant::now(),
            seen: HashMap::from([(first.print(), 0)]),
            came_by: vec![None],
            steps: Vec::new(),
            whole: Vec::new(),
            frontier: vec![(0, first)],
            transitions: 0,
            happened: BTreeMap::new(),
            depth: 0,
        }
    }

    fn run(&mut self) -> Option<Found> {
        while !self.frontier.is_empty() {
            let layer = std::mem::take(&mut self.frontier);
            let mut rest = layer.as_slice();
            while !rest.is_empty() {
                if self.began.elapsed() > self.bounds.limit || self.came_by.len() > self.bounds.states_max {
                    self.frontier.extend(rest.iter().cloned());
                    return None;
                }
                let (round, later) = rest.split_at(rest.len().min(ROUND));
                if let Some(found) = self.round(round) {
                    return Some(found);
                }
                rest = later;
            }
            self.depth += usize::from(!self.frontier.is_empty());
        }
        None
    }

    fn round(&mut self, round: &[(Number, State)]) -> Option<Found> {
        let expanded: Vec<Share> = std::thread::scope(|scope| {
            let shares = round.chunks(round.len().div_ceil(THREADS));
            let threads: Vec<_> = shares.map(|share| scope.spawn(|| self.expand(share))).collect();
            threads.into_iter().map(|t| t.join().expect("panics of the core are caught")).collect()
        });
        for (number, state) in round {
            let whole = state.table.head().is_some_and(|head| head.truth.is_whole(self.bounds));
            if whole {
                self.whole.push(*number);
            }
        }
        for share in &expanded {
            for (what, times) in &share.happened {
                *self.happened.entry(what).or_default() += times;
            }
        }
        let mut transitions = expanded.into_iter().flat_map(|share| share.transitions);
        transitions.find_map(|(from, choice, next)| self.take_in(from, choice, next))
    }

    fn expand(&self, share: &[(Number, State)]) -> Share {
        let mut all = Share::default();
        for (number, state) in share {
            let print = state.print();
            for choice in state.choices(self.bounds) {
                let next = match step(self.bounds, state, choice) {
                    Err(violation) => Next::Violation(violation),
                    Ok((next, happened)) => match next.print() {
                        same if same == print => continue,
                        print => {
                            all.count(&happened);
                            match self.seen.get(&print) {
                                Some(number) => Next::Seen(*number),
                                None => Next::New(print, Box::new(next)),
                            }
                        }
                    },
                };
                all.transitions.push((*number, choice, next));
            }
        }
        all
    }

    fn take_in(&mut self, from: Number, choice: Choice, next: Next) -> Option<Found> {
        self.transitions += 1;
        let number = match next {
            Next::Violation(what) => return Some(Found { number: from, choice: Some(choice), what }),
            Next::Seen(number) => number,
            Next::New(print, state) => {
                let new = self.came_by.len() as Number;
                let number = *self.seen.entry(print).or_insert(new);
                if number == new {
                    self.came_by.push(Some((from, choice)));
                    self.frontier.push((new, *state));
                }
                number
            }
        };
        if self.bounds.reach && !choice.is_fault() {
            self.steps.push((from, number));
        }
        None
    }

    /// The first state from which no step but a fault leads to the end.
    fn stuck(&mut self) -> Option<Number> {
        let mut steps = std::mem::take(&mut self.steps);
        steps.sort_unstable_by_key(|(_, to)| *to);
        let mut reaches = vec![false; self.came_by.len()];
        let mut open = std::mem::take(&mut self.whole);
        open.iter().for_each(|number| reaches[*number as usize] = true);
        while let Some(to) = open.pop() {
            let first = steps.partition_point(|step| step.1 < to);
            for (from, _) in steps[first..].iter().take_while(|step| step.1 == to) {
                if !std::mem::replace(&mut reaches[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches).map(|number| number as Number)
    }

    fn choices_to(&self, found: &Found) -> Vec<Choice> {
        let mut choices: Vec<Choice> = found.choice.into_iter().collect();
        let mut at = found.number;
        while let Some((before, choice)) = self.came_by[at as usize] {
            choices.push(choice);
            at = before;
        }
        choices.reverse();
        choices
    }
}

/// One step; an assertion of the core that falls is a violation.
pub fn step(bounds: &Bounds, state: &State, choice: Choice) -> Result<Stepped, Violation> {
    catch_unwind(AssertUnwindSafe(|| state.after(bounds, choice))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(Violation::Panicked(text.unwrap_or_else(|| "without a word".into())))
    })
}
