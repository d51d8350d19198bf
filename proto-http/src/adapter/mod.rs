//! HTTP/1.1 on the `protocol` contract.

mod clock;
mod collect;
mod config;
mod handler;
mod responder;
mod server;

pub use clock::WallClock;
pub use collect::Collect;
pub use config::{ServerConfig, Timeouts};
pub use handler::{Handler, NoUpgrade};
pub use responder::Responder;
pub use server::{Server, ServerError, Timer};
