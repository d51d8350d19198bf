#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod listening;
mod options;
mod threads;
pub mod udp;

pub use socket2::{SockRef, Socket};

pub use crate::listening::{Listening, deal};
pub use crate::options::{connecting, prepare, reset};
pub use crate::threads::{Ready, Threads};
