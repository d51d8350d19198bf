#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod drive;
mod handle;
mod listener;
mod server;
mod udp;
mod worker;

pub use driver_common::Stats;
pub use driver_common::{Config, Connect, Keepalive, SocketOptions};
pub use driver_common::{Listening, allowed_cpus, listen};
pub use protocol::Limits;

pub use crate::drive::{Drive, connect, drive};
pub use crate::handle::Handle;
pub use crate::listener::Listener;
pub use crate::server::{Running, Server};
pub use crate::udp::serve_datagrams;
