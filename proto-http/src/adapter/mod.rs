//! HTTP/1.1 on the `protocol` contract.

mod client;
mod clock;
mod collect;
mod config;
mod handler;
mod responder;
mod server;
mod timer;

pub use client::{Caller, Client, ClientError, Requester, Unanswered};
pub use clock::WallClock;
pub use collect::Collect;
pub use config::{ClientConfig, ClientTimeouts, ServerConfig, ServerTimeouts};
pub use handler::{Handler, NoUpgrade};
pub use responder::Responder;
pub use server::{Server, ServerError};
pub use timer::Timer;
