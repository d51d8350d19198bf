//! What is told to `tracing`, with the feature of that name; nothing without.

use protocol::Reason;

use crate::slab::Key;

/// A connection was accepted, or opened by this side.
#[inline(always)]
pub(crate) fn connected(key: Key) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = key, "connected");
    #[cfg(not(feature = "tracing"))]
    let _ = key;
}

/// A connection has ended.
#[inline(always)]
pub(crate) fn ended(key: Key, reason: Reason) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = key, %reason, "ended");
    #[cfg(not(feature = "tracing"))]
    let _ = (key, reason);
}

/// A protocol has panicked.
#[cold]
pub(crate) fn panicked(key: Key) {
    #[cfg(feature = "tracing")]
    tracing::error!(connection = key, "the protocol panicked; its connection is reset");
    #[cfg(not(feature = "tracing"))]
    let _ = key;
}

/// Accepting pauses for want of descriptors or memory.
#[cold]
pub(crate) fn exhausted() {
    #[cfg(feature = "tracing")]
    tracing::warn!("descriptors or memory ran out; accepting pauses");
}
