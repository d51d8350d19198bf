//! What is told to `tracing`, with the feature of that name; nothing without.

use protocol::Reason;

/// A connection was accepted, or opened by this side.
#[inline(always)]
pub(crate) fn connected(token: u64) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = token, "connected");
    #[cfg(not(feature = "tracing"))]
    let _ = token;
}

/// A connection has ended.
#[inline(always)]
pub(crate) fn ended(token: u64, reason: Reason) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = token, %reason, "ended");
    #[cfg(not(feature = "tracing"))]
    let _ = (token, reason);
}

/// A protocol has panicked.
#[cold]
pub(crate) fn panicked(token: u64) {
    #[cfg(feature = "tracing")]
    tracing::error!(connection = token, "the protocol panicked; its connection is reset");
    #[cfg(not(feature = "tracing"))]
    let _ = token;
}

/// Accepting pauses for want of descriptors or memory.
#[cold]
pub(crate) fn exhausted() {
    #[cfg(feature = "tracing")]
    tracing::warn!("descriptors or memory ran out; accepting pauses");
}
