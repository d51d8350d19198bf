//! The events that drivers send to `tracing`, with the feature of that name; without the feature these functions do nothing.

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

/// A connection has ended: the reason, and the error of its protocol.
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

/// Accepting pauses because file descriptors or memory ran out.
#[cold]
pub fn exhausted() {
    #[cfg(feature = "tracing")]
    tracing::warn!("descriptors or memory ran out; accepting pauses");
}
