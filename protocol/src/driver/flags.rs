//! Exceptional conditions of a connection.

/// A set of the constants below, so that "none" is one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// The peer has half-closed.
    pub(super) const EOF: Flags = Flags(1);
    /// This side has half-closed, or can send nothing more.
    pub(super) const FIN: Flags = Flags(1 << 1);
    /// Output rose above the high-water mark and has not yet fallen to the low-water mark.
    pub(super) const CONGESTED: Flags = Flags(1 << 2);
    /// The transport takes no output now.
    pub(super) const BLOCKED: Flags = Flags(1 << 3);
    /// Unconsumed input must be shown again without newer bytes.
    pub(super) const REDELIVER: Flags = Flags(1 << 4);
    /// The connection ends with a reset.
    pub(super) const RESET: Flags = Flags(1 << 5);
    /// The driver has taken output and not yet reported how much of it was sent.
    pub(super) const IN_FLIGHT: Flags = Flags(1 << 6);
    /// Input has arrived that the protocol does not want yet, and was never shown to it.
    pub(super) const UNSEEN: Flags = Flags(1 << 7);

    #[inline]
    pub(super) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }

    #[inline]
    pub(super) fn clear(&mut self, flag: Flags) {
        self.0 &= !flag.0;
    }
}
