#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod config;
mod connect;
mod cpus;
pub mod host;
#[cfg(target_os = "linux")]
mod linux;
mod listening;
mod nearest;
mod options;
mod stats;
mod stopping;
pub mod tasks;
mod threads;
pub mod trace;
pub mod udp;

pub use socket2::{SockRef, Socket};

pub use crate::config::{Config, Keepalive, SocketOptions};
pub use crate::connect::Connect;
pub use crate::cpus::{allowed_cpus, pin};
pub use crate::listening::{Listening, deal, listen};
pub use crate::nearest::{nearest, runs_here};
pub use crate::options::{connecting, prepare, reset};
pub use crate::stats::{SharedStats, Stats};
pub use crate::stopping::Stopping;
pub use crate::threads::{Ready, Threads};
