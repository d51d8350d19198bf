#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod cpus;
#[cfg(target_os = "linux")]
mod linux;
mod listening;
mod options;
pub mod tasks;
mod threads;
pub mod trace;
pub mod udp;

pub use socket2::{SockRef, Socket};

pub use crate::cpus::{allowed_cpus, pin};
pub use crate::listening::{Listening, deal, listen};
pub use crate::options::{connecting, prepare, reset};
pub use crate::threads::{Ready, Threads};
