//! When is an id that the registry doesn't know a dead letter? A registry that has lost its data answers 404 as well, and
//! must not cost a whole topic. Values only: the caller asks and tells the time.

use std::collections::HashMap;

/// An id must have been unknown for so long, from the first such answer to the last.
pub const ASKED_MS: u64 = 10_000;

/// Above so many unknown ids, those first met more than [`FORGOTTEN_MS`] ago are forgotten.
const REMEMBERED: usize = 10_000;
const FORGOTTEN_MS: u64 = 600_000;

/// Ids that the registry answered not to know, with the time of the first such answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnknownIds {
    first_ms: HashMap<u32, u64>,
}

/// What to do about one more answer that an id is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Ask again.
    TooShort { for_ms: u64 },
    /// Long enough: now see whether the registry still knows what it knew.
    LongEnough,
}

/// What the registry says of ids that it knew once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// No id is known from before.
    NothingToAsk,
    StillKnown,
    /// It no longer knows this one.
    Lost(u32),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The id is nobody's: its records are dead letters.
    DeadLetter,
    /// The registry has lost its data: wait.
    RegistryLostData { cached: u32 },
}

impl UnknownIds {
    /// The registry answered at `now_ms` (monotonic) that it doesn't know `id`.
    pub fn unknown(&mut self, id: u32, now_ms: u64) -> Asked {
        if self.first_ms.len() >= REMEMBERED {
            self.first_ms.retain(|_, first| now_ms - *first < FORGOTTEN_MS);
        }
        let first = *self.first_ms.entry(id).or_insert(now_ms);
        match now_ms - first {
            ASKED_MS.. => Asked::LongEnough,
            for_ms => Asked::TooShort { for_ms },
        }
    }

    /// It knows the id.
    pub fn known(&mut self, id: u32) {
        self.first_ms.remove(&id);
    }
}

/// For an id that was asked for long enough.
pub fn judge(control: Control) -> Verdict {
    match control {
        Control::NothingToAsk | Control::StillKnown => Verdict::DeadLetter,
        Control::Lost(cached) => Verdict::RegistryLostData { cached },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_unknown_only_after_ten_seconds_of_asking() {
        let mut ids = UnknownIds::default();
        assert_eq!(ids.unknown(7, 5_000), Asked::TooShort { for_ms: 0 });
        assert_eq!(ids.unknown(8, 9_000), Asked::TooShort { for_ms: 0 });
        assert_eq!(ids.unknown(7, 14_999), Asked::TooShort { for_ms: 9_999 });
        assert_eq!(ids.unknown(7, 15_000), Asked::LongEnough);
        assert_eq!(ids.unknown(8, 15_000), Asked::TooShort { for_ms: 6_000 });
    }

    #[test]
    fn a_settled_id_needs_one_answer_only_when_it_is_asked_for_again() {
        let mut ids = UnknownIds::default();
        ids.unknown(7, 0);
        assert_eq!(ids.unknown(7, ASKED_MS), Asked::LongEnough);
        assert_eq!(ids.unknown(7, ASKED_MS + 60_000), Asked::LongEnough);
    }

    #[test]
    fn an_id_that_became_known_starts_anew() {
        let mut ids = UnknownIds::default();
        ids.unknown(7, 0);
        ids.known(7);
        assert_eq!(ids.unknown(7, ASKED_MS), Asked::TooShort { for_ms: 0 });
    }

    #[test]
    fn a_registry_that_lost_a_cached_id_is_waited_for() {
        assert_eq!(judge(Control::NothingToAsk), Verdict::DeadLetter);
        assert_eq!(judge(Control::StillKnown), Verdict::DeadLetter);
        assert_eq!(judge(Control::Lost(3)), Verdict::RegistryLostData { cached: 3 });
    }

    #[test]
    fn random_ids_don_t_pile_up() {
        let mut ids = UnknownIds::default();
        for id in 0..100_000u32 {
            ids.unknown(id, u64::from(id) * 1_000);
        }
        assert!(ids.first_ms.len() <= REMEMBERED, "{}", ids.first_ms.len());
    }
}
