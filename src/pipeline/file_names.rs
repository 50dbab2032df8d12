//! Names of data files. A path that was named in a request never gets other content, so each write has a name of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::planted::{Bug, planted};

/// Of one batch: a random id, counted on with every write.
pub struct FileNames {
    batch: uuid::Uuid,
    writes: AtomicU64,
}

impl FileNames {
    pub fn of_batch(random: u128) -> Self {
        Self { batch: uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid(), writes: AtomicU64::new(0) }
    }

    /// For the rows of one hour, written now. Never the same again, also when the write before failed.
    pub fn next(&self) -> String {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        match planted(Bug::FileRewrittenInPlace) {
            true => self.batch.to_string(),
            false => format!("{}-{write}", self.batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_writes_share_a_name() {
        let (one, other) = (FileNames::of_batch(1), FileNames::of_batch(2));
        let names = std::collections::BTreeSet::from([one.next(), one.next(), other.next(), other.next()]);
        assert_eq!(names.len(), 4);
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn a_rewrite_in_place_is_what_the_planted_bug_does() {
        crate::core::planted::plant(Some(Bug::FileRewrittenInPlace));
        let names = FileNames::of_batch(1);
        assert_eq!(names.next(), names.next());
        crate::core::planted::plant(None);
    }
}
