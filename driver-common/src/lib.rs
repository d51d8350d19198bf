#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod config;
mod connect;
mod cpus;
mod eyeballs;
pub mod host;
#[cfg(target_os = "linux")]
mod linux;
mod listening;
mod options;
mod resolve;
mod server;
mod stats;
mod stopping;
pub mod tasks;
mod threads;
pub mod trace;
pub mod udp;

pub use socket2::{SockRef, Socket};

pub use crate::config::{ACCEPT_PAUSE, Config, Keepalive, SocketOptions};
pub use crate::connect::{Connect, Place, Resolver};
pub use crate::cpus::{allowed_cpus, pin};
pub use crate::eyeballs::{Eyeballs, Family, Pace};
pub use crate::listening::{Listening, deal, listen};
pub use crate::options::{connecting, prepare, reset};
pub use crate::resolve::{Answer, Found, Resolve, SystemResolver};
pub use crate::server::{Backend, Command, Handle, Make, Running, Server, Work, Worker};
pub use crate::stats::{SharedStats, Stats};
pub use crate::stopping::Stopping;
pub use crate::threads::{Ready, Threads};
