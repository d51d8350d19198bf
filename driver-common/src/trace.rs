//! What drivers tell `tracing`, with the feature of that name; nothing without.

use std::error::Error;

use protocol::Reason;

/// A connection was accepted, or opened by this side.
#[inline(always)]
pub fn connected(token: u64) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = token, "connected");
    #[cfg(not(feature = "tracing"))]
    let _ = token;
}

/// A connection has ended: why, and what its protocol said went wrong.
#[inline(always)]
pub fn ended(token: u64, reason: Reason, error: Option<&(dyn Error + 'static)>) {
    #[cfg(feature = "tracing")]
    match error {
        None => tracing::debug!(connection = token, %reason, "ended"),
        Some(error) => tracing::debug!(connection = token, %reason, %error, "ended"),
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (token, reason, error);
}

/// A protocol has panicked.
#[cold]
pub fn panicked(token: u64) {
    #[cfg(feature = "tracing")]
    tracing::error!(connection = token, "the protocol panicked; its connection is reset");
    #[cfg(not(feature = "tracing"))]
    let _ = token;
}

/// Accepting pauses for want of descriptors or memory.
#[cold]
pub fn exhausted() {
    #[cfg(feature = "tracing")]
    tracing::warn!("descriptors or memory ran out; accepting pauses");
}
