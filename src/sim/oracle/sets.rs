//! Sets that are copied for every snapshot: keys get small numbers, and a set of them is a few words.

use hashbrown::HashMap;

use crate::sim::history::Key;

/// Number of a key, in the order in which keys were first met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyNumber(u32);

#[derive(Default)]
pub(super) struct Keys {
    numbers: HashMap<Key, KeyNumber>,
    keys: Vec<Key>,
}

impl Keys {
    pub fn number(&mut self, key: Key) -> KeyNumber {
        let Self { numbers, keys } = self;
        *numbers.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            KeyNumber(keys.len() as u32 - 1)
        })
    }

    pub fn key(&self, number: KeyNumber) -> &Key {
        &self.keys[number.0 as usize]
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct KeySet(Vec<u64>);

impl KeySet {
    /// Whether it is new.
    pub fn insert(&mut self, key: KeyNumber) -> bool {
        let (word, bit) = place(key);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    pub fn remove(&mut self, key: KeyNumber) {
        let (word, bit) = place(key);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    pub fn contains(&self, key: KeyNumber) -> bool {
        let (word, bit) = place(key);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The first that `other` doesn't have.
    pub fn first_beyond(&self, other: &KeySet) -> Option<KeyNumber> {
        self.0.iter().enumerate().find_map(|(at, word)| {
            let beyond = word & !other.0.get(at).copied().unwrap_or(0);
            (beyond != 0).then(|| KeyNumber(at as u32 * 64 + beyond.trailing_zeros()))
        })
    }
}

fn place(key: KeyNumber) -> (usize, u64) {
    (key.0 as usize / 64, 1 << (key.0 % 64))
}
