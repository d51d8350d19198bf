//! HTTP/1.1 as a protocol for the drivers.

mod backend;
mod client;
mod clock;
mod collect;
mod config;
mod handler;
mod responder;
mod server;
mod timer;

#[doc(hidden)]
pub use backend::Backend;
pub use client::{Caller, Client, ClientError, Requester, Unanswered};
pub use clock::WallClock;
#[doc(hidden)]
pub use clock::date;
pub use collect::{Collect, WholeHandler};
pub use config::{ClientConfig, ClientTimeouts, ServerConfig, ServerTimeouts};
pub use handler::{Handler, NoUpgrade};
pub use responder::Responder;
pub use server::{Server, ServerError};
pub use timer::Timer;
