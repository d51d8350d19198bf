//! HTTP/2 on the `protocol` contract.

mod auto;
mod client;
mod config;
mod exchange;
mod origin;
mod server;
mod slot;
mod tunnel;

pub use auto::{Auto, AutoError};
pub use client::{Caller, Client, ClientError, Failure, Requester};
pub use config::{ClientConfig, ClientTimeouts, ServerConfig, ServerTimeouts};
pub use origin::StreamMessage;
pub use server::{Server, ServerError};

use std::cell::Cell;

use crate::Scratch;

thread_local! {
    /// Memory for field sections; a thread has one, as its connections decode one after the other.
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// Lends the thread's memory for field sections.
#[inline]
fn with_scratch<R>(body: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.with(Cell::take).unwrap_or_default();
    let result = body(&mut scratch);
    SCRATCH.with(|kept| kept.set(Some(scratch)));
    result
}
