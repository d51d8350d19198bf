//! HTTP/2 as a protocol for the drivers.

mod auto;
mod caller;
mod client;
mod config;
mod exchange;
mod kept;
mod origin;
mod requester;
mod server;
mod slot;
mod tunnel;

pub use auto::{Auto, AutoError};
pub use caller::{Caller, ClientError, Failure};
pub use client::Client;
pub use config::{ClientConfig, ClientTimeouts, ServerConfig, ServerTimeouts};
pub use kept::KeptRequest;
pub use origin::StreamMessage;
pub use requester::Requester;
pub use server::{Server, ServerError};

use std::cell::Cell;

use crate::Scratch;

thread_local! {
    /// Memory for field sections. One per thread is enough, because the connections of a thread decode one after the other.
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
