//! Bounds worth exploring, by name.

use std::time::Duration;

use crate::core::event_time::LatePolicy;
use crate::sim::exhaustive::{Bounds, Faults, Key};
use crate::types::{EventHour, MessageId};

/// A record of hour 10.
pub const fn row(id: u128) -> Option<Key> {
    row_of(10, id)
}

pub const fn row_of(hour: i64, id: u128) -> Option<Key> {
    Some((EventHour(hour), MessageId(id)))
}

const CONTROL: Option<Key> = None;

impl Bounds {
    /// Three records, two of them of one key, in a partition for each of two instances; nothing goes wrong.
    pub fn calm() -> Self {
        Self {
            name: "calm",
            logs: vec![vec![row(0), row(1)], vec![row(1)]],
            instances: 2,
            opened: true,
            late: LatePolicy::Admit,
            hot: true,
            faults: Faults::default(),
            limit: Duration::from_secs(600),
            states_max: 30_000_000,
            reach: true,
            broken: None,
        }
    }

    fn with(name: &'static str, faults: Faults) -> Self {
        Self { name, faults, ..Self::calm() }
    }

    /// The same with one crash and one unanswered request: the least that is worth the name.
    pub fn least() -> Self {
        Self::with("crash, unanswered", Faults { crashes: 1, unanswered: 1, ..Faults::default() })
    }

    /// The largest that ends in ten minutes on two shared cores: some 1.9 million states, 5 GB.
    pub fn largest() -> Self {
        Self::with("crash, unanswered, move", Faults { crashes: 1, unanswered: 1, moves: 1, ..Faults::default() })
    }

    /// Those that end within minutes together, the least first.
    pub fn short() -> Vec<Self> {
        let (none, least) = (Faults::default(), Self::least());
        let hours = vec![vec![row_of(10, 0), row_of(9, 1)], vec![row_of(9, 1)]];
        vec![
            least.clone(),
            Self { opened: false, ..Self::with("no table yet", none) },
            Self { name: "no ids in memory; crash, unanswered", hot: false, ..least.clone() },
            Self { name: "late, dropped; crash, unanswered", logs: hours, late: LatePolicy::Drop, ..least },
            Self::with("end, unanswered", Faults { closes: 1, unanswered: 1, ..none }),
            Self::with("move", Faults { moves: 1, ..none }),
            Self::with("roll-back", Faults { roll_backs: 1, ..none }),
            Self::with("delete", Faults { deletes: 1, ..none }),
            Self::with("compaction", Faults { compactions: 1, ..none }),
        ]
    }

    /// Those that take minutes, each up to some 700,000 states.
    pub fn long() -> Vec<Self> {
        let (none, least) = (Faults::default(), Self::least());
        let control = vec![vec![row(0), CONTROL, row(1), CONTROL], vec![row(1)]];
        let late = vec![vec![row_of(10, 0), row_of(9, 1)], vec![row_of(10, 2), row_of(9, 1)]];
        let roll_back = Self::with("late, dropped; roll-back", Faults { roll_backs: 1, ..none });
        vec![
            Self { opened: false, name: "no table yet; crash, unanswered", ..least.clone() },
            Self { name: "control records; crash, unanswered", logs: control, ..least.clone() },
            Self { name: "4 records; crash, unanswered", logs: vec![vec![row(0), row(1)], vec![row(1), row(0)]], ..least },
            Self { logs: late, late: LatePolicy::Drop, ..roll_back },
            Self::with("move, overdue", Faults { moves: 1, overdue: 1, ..none }),
            Self::with("move, unanswered", Faults { moves: 1, unanswered: 1, ..none }),
            Self::with("move, delete", Faults { moves: 1, deletes: 1, ..none }),
            Self::with("roll-back, unanswered", Faults { roll_backs: 1, unanswered: 1, ..none }),
            Self::with("roll-back, crash", Faults { roll_backs: 1, crashes: 1, ..none }),
            Self::with("roll-back, delete", Faults { roll_backs: 1, deletes: 1, ..none }),
        ]
    }
}
