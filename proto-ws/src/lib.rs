#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod close;
#[cfg(feature = "alloc")]
mod config;
#[cfg(feature = "alloc")]
mod connection;
mod decode;
#[cfg(feature = "alloc")]
mod encode;
pub mod entropy;
mod error;
pub mod frame;
#[cfg(feature = "handshake")]
pub mod handshake;
mod limits;
pub mod mask;
mod utf8;

pub use close::{CloseCode, CloseReason, State};
#[cfg(feature = "alloc")]
pub use config::{Config, SlowConsumer};
#[cfg(feature = "alloc")]
pub use connection::Connection;
pub use decode::{Decoder, Event, Kind, Message};
#[cfg(feature = "alloc")]
pub use encode::{Masked, PreparedMessage, Side, Unmasked};
pub use entropy::Entropy;
pub use error::{Error, Misuse};
pub use frame::{Opcode, Role};
pub use limits::Limits;
