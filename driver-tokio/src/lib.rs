#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod drive;
mod listener;
mod race;
mod remote;
mod server;
mod udp;
mod worker;

pub use driver_common::Stats;
pub use driver_common::{Config, Connect, Keepalive, Place, SocketOptions};
pub use driver_common::{Listening, allowed_cpus, listen};
pub use protocol::Limits;

pub use crate::drive::{Drive, connect, drive};
pub use crate::listener::Listener;
pub use crate::server::{Handle, Running, Server, Tokio, serve_in_runtime};
pub use crate::udp::serve_datagrams;
