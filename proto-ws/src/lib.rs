#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
mod close;
mod decode;
mod error;
pub mod frame;
mod limits;
pub mod mask;
mod utf8;

pub use close::{CloseCode, CloseReason, State};
pub use decode::{Decoder, Event, Kind, Message};
pub use error::{Error, Misuse};
pub use frame::{Opcode, Role};
pub use limits::Limits;
