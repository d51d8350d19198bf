//! The ways to cut a stream into pieces.

/// Random numbers seeded from the input, so that a finding repeats.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from(data: &[u8]) -> Self {
        let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Random(data.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) as usize % end
    }
}

/// Three ways to cut `data`, each as the ascending ends of its pieces: byte by byte, and twice at random. The last end is the length of
/// `data`.
pub(crate) fn cuts(data: &[u8]) -> [Vec<usize>; 3] {
    let mut random = Random::from(data);
    // Long inputs are cut every few bytes instead, so that a run takes time linear in its input.
    let step = data.len() / 2048 + 1;
    let every = (1..data.len()).step_by(step).chain([data.len()]).collect();
    let mut some = || {
        let mut ends: Vec<_> = (0..8)
            .map(|_| random.below(data.len() + 1))
            .chain([data.len()])
            .collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    };
    [every, some(), some()]
}

/// `data` in one piece.
pub(crate) fn whole(data: &[u8]) -> Vec<usize> {
    vec![data.len()]
}

/// Shows `data` piece by piece to `take`. Bytes that `take` leaves are shown again in front of the next piece.
pub(crate) fn arrive<'a>(data: &'a [u8], ends: &[usize], mut take: impl FnMut(&mut &'a [u8])) {
    let mut start = 0;
    for &end in ends {
        let mut rest = &data[start..end];
        take(&mut rest);
        start = end - rest.len();
    }
}
