//! Chance from a seed: everything that a history leaves open is drawn here, and nowhere else.

use std::hash::{Hash, Hasher};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub struct Chance(SmallRng);

impl Chance {
    /// A stream of its own for each part of a history, so that what one part draws doesn't shift the others.
    pub fn of(seed: u64, part: impl Hash) -> Self {
        let mut hasher = stable_hasher();
        part.hash(&mut hasher);
        Self(SmallRng::seed_from_u64(seed ^ hasher.finish().rotate_left(17)))
    }

    pub fn happens(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.0.random_bool(rate.min(1.0))
    }

    /// Both ends included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match from.len() {
            0 => None,
            n => Some(&from[self.between(0, n as u64 - 1) as usize]),
        }
    }

    pub fn u64(&mut self) -> u64 {
        self.0.random()
    }

    pub fn u128(&mut self) -> u128 {
        self.0.random()
    }

    /// Milliseconds that something takes: mostly next to nothing, now and then a while, seldom very long.
    pub fn delay_ms(&mut self, slow: f64) -> u64 {
        if !self.happens(slow) {
            return self.between(0, 5);
        }
        match self.between(0, 9) {
            0..=5 => self.between(5, 100),
            6..=8 => self.between(100, 1_000),
            _ => self.between(1_000, 12_000),
        }
    }
}

/// A hash that is the same in every process.
pub fn stable_hasher() -> impl Hasher {
    Fnv(0xcbf2_9ce4_8422_2325)
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        // FNV's low bits are weak on short input: mix once more
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
