//! What a schedule is played with, and the chance that decides.

use crate::broker::Bounds;

/// What a schedule is played with.
pub(super) struct Shape {
    /// The database of each node.
    pub(super) nodes: Vec<u32>,
    /// The name and the database of each channel.
    pub(super) channels: Vec<(String, u32)>,
    /// The node and the channel of each client.
    pub(super) listeners: Vec<(usize, usize)>,
    pub(super) bounds: Bounds,
    /// Bytes by which a publication is longer than its number.
    pub(super) padding: usize,
    /// Bytes that may wait for a client.
    pub(super) output: usize,
}

/// Numbers that follow from a seed.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}
