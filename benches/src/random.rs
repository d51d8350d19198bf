//! Numbers that are the same in every run.

/// Numbers that look random enough to measure with; as keys of masks, not for the network.
#[derive(Debug, Clone)]
pub struct Xorshift(u32);

impl Default for Xorshift {
    fn default() -> Self {
        Xorshift(0x9e37_79b9)
    }
}

impl Xorshift {
    /// The next four bytes.
    pub fn next_bytes(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_le_bytes()
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        u32::from_le_bytes(self.next_bytes()) as usize % end
    }
}

impl proto_ws::Entropy for Xorshift {
    fn fill(&mut self, bytes: &mut [u8]) {
        if let Some(key) = bytes.first_chunk_mut() {
            *key = self.next_bytes();
        }
    }
}
