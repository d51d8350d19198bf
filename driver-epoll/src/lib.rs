#![doc = include_str!("../README.md")]
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod config;
mod event_loop;
mod listener;
mod mailbox;
mod server;
mod slab;
mod socket;
mod timers;

pub use protocol::{Limits, Stats};

pub use crate::config::{Config, SocketOptions};
pub use crate::event_loop::Loop;
pub use crate::mailbox::Handle;
pub use crate::server::{Running, Server};
