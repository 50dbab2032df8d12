//! Sets of message ids with a fixed hash: raw UUID bits clump, so they are mixed first, the same way in every process.

use std::hash::{BuildHasherDefault, Hasher};

use crate::types::MessageId;

#[derive(Clone, Copy, Default)]
pub struct IdHasher(u64);

/// 128 bits to 64, every input bit reaching every output bit.
pub fn mix(id: MessageId) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd6e8_feb8_6659_fd93;
    let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
    let product = u128::from(low ^ A) * u128::from(high ^ B);
    let folded = (product as u64) ^ (product >> 64) as u64 ^ low.rotate_left(32) ^ high;
    let x = (folded ^ (folded >> 32)).wrapping_mul(B);
    x ^ (x >> 29)
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16) {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            self.write_u128(u128::from_le_bytes(block));
        }
    }
    fn write_u128(&mut self, i: u128) {
        self.0 = self.0.rotate_left(5) ^ mix(MessageId(i));
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub type IdSet = hashbrown::HashSet<MessageId, BuildHasherDefault<IdHasher>>;

/// In ascending order: iteration over a hash set is never shown to the protocol.
pub fn sorted(ids: &IdSet) -> Vec<MessageId> {
    let mut ids: Vec<MessageId> = ids.iter().copied().collect();
    ids.sort_unstable();
    ids
}
