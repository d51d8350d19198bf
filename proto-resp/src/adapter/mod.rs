//! RESP as a protocol for the drivers.

mod caller;
mod client;
mod config;
mod greet;
mod handler;
mod requester;
mod responder;
mod server;
mod timer;

pub use caller::{Caller, Unanswered};
pub use client::{Client, ClientError};
pub use config::{ClientConfig, ClientTimeouts, ServerConfig, ServerTimeouts};
pub use handler::Handler;
pub use requester::Requester;
pub use responder::Responder;
pub use server::{Server, ServerError};
pub use timer::Timer;
