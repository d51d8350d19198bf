//! The nodes, channels and clients of a schedule, and its random numbers.

use crate::broker::Bounds;

/// The nodes, channels and clients of a schedule, and their limits.
pub(super) struct Shape {
    /// The database of each node.
    pub(super) nodes: Vec<u32>,
    /// The name and the database of each channel.
    pub(super) channels: Vec<(String, u32)>,
    /// The node and the channel of each client.
    pub(super) listeners: Vec<(usize, usize)>,
    pub(super) bounds: Bounds,
    /// Bytes of padding in each publication.
    pub(super) padding: usize,
    /// The output limit of a client's connection, in bytes.
    pub(super) output: usize,
}

/// Random numbers that follow from a seed.
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
