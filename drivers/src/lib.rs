#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod driver;
mod worker;

pub use driver_common::{Config, Connect, Keepalive, Listening, Place, SocketOptions, Stats, allowed_cpus, listen};

pub use crate::driver::{Driver, UnknownDriver, serve_datagrams};
pub use crate::worker::EitherWorker;

/// Sets up a server or client on a driver that is chosen at run time: `Server::on(driver)`. `Server::new()` uses the default driver of the
/// platform.
pub type Server = driver_common::Server<Driver>;

/// A server or client that runs in the background.
pub type Running<P> = driver_common::Running<P, Driver>;

/// Controls a server or client from any thread.
pub type Handle<P> = driver_common::Handle<P, Driver>;
