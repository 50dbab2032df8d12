//! Reproducible randomness: a record's content is a function of the seed and its number, in every build and on every
//! machine. (Generators of the `rand` crate may change their streams between versions.)

/// SplitMix64, as published by Steele, Lea and Flood (2014).
#[derive(Clone, Debug)]
pub struct Draw(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// An independent stream for every (seed, purpose, number).
    pub fn of(seed: u64, purpose: u64, number: u64) -> Self {
        let mut draw = Self(seed ^ purpose.wrapping_mul(GOLDEN));
        let mixed = draw.bits() ^ number.wrapping_mul(GOLDEN);
        let mut draw = Self(mixed);
        Self(draw.bits())
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; 0 for a bound of 0 or 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True once in `times` on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_fixed_for_ever() {
        // First outputs of the reference implementation for the state 1234567.
        let mut draw = Draw(1_234_567);
        assert_eq!(draw.bits(), 6_457_827_717_110_365_317);
        assert_eq!(draw.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_bound_is_kept_and_reached() {
        let mut draw = Draw::of(1, 2, 3);
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[draw.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }
}
