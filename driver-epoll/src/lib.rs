#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod batch;
mod event_loop;
mod listener;
mod mailbox;
mod poll;
mod queue;
mod server;
mod slab;
mod socket;
mod timers;
mod udp;

pub use driver_common::Stats;
pub use driver_common::{Config, Connect, Keepalive, Place, SocketOptions};
pub use driver_common::{Listening, allowed_cpus, listen};
pub use protocol::Limits;

pub use crate::event_loop::Loop;
pub use crate::server::{Epoll, Handle, Running, Server};
pub use crate::udp::serve_datagrams;
