//! Sets of message ids with a fixed hash: raw UUID bits clump, so they are mixed first, the same way in every process.

use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::types::MessageId;

/// 128 bits to 64 that are spread over all of them. The bits of a UUID are not: version and variant stand still, and ids
/// made by a clock differ in few places.
pub fn mix(id: MessageId) -> u64 {
    let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
    let mut x = high.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A set that is asked, and listed in order only: what the protocol sees never depends on hashing.
#[derive(Clone, Debug, Default)]
pub struct IdSet {
    ids: HashTable<MessageId>,
}

impl PartialEq for IdSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.ids.iter().all(|id| other.contains(*id))
    }
}

impl Eq for IdSet {}

impl Hash for IdSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sorted().hash(state);
    }
}

impl IdSet {
    /// False where it was there already.
    pub fn insert(&mut self, id: MessageId) -> bool {
        match self.ids.entry(mix(id), |held| *held == id, |held| mix(*held)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(id);
                true
            }
        }
    }

    /// False where it wasn't there.
    pub fn remove(&mut self, id: MessageId) -> bool {
        self.ids.find_entry(mix(id), |held| *held == id).map(|held| held.remove()).is_ok()
    }

    pub fn contains(&self, id: MessageId) -> bool {
        self.ids.find(mix(id), |held| *held == id).is_some()
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Ascending.
    pub fn sorted(&self) -> Vec<MessageId> {
        let mut ids: Vec<MessageId> = self.ids.iter().copied().collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_each_id_once_and_lists_them_in_order() {
        let mut set = IdSet::default();
        for id in [5, 3, 9, 3, 5] {
            set.insert(MessageId(id));
        }
        assert!(!set.insert(MessageId(9)));
        assert_eq!(set.sorted(), [3, 5, 9].map(MessageId));
        assert!(set.remove(MessageId(5)) && !set.remove(MessageId(5)));
        assert!(set.contains(MessageId(3)) && !set.contains(MessageId(5)));
        assert_eq!((set.len(), set.is_empty()), (2, false));
    }
}
