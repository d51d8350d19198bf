#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "protocol")]
mod adapter;
mod close;
#[cfg(feature = "alloc")]
mod config;
#[cfg(feature = "alloc")]
mod connection;
mod decode;
#[cfg(feature = "deflate")]
pub mod deflate;
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
#[cfg(feature = "alloc")]
mod writer;

#[cfg(feature = "protocol")]
pub use adapter::{Client, ClientError, Delivery, Handler, NotOpened, Opening, Server, ServerError, Socket};
#[cfg(feature = "alloc")]
pub use close::State;
pub use close::{CloseCode, CloseReason};
#[cfg(feature = "alloc")]
pub use config::{Config, SlowConsumer};
#[cfg(feature = "alloc")]
pub use connection::{Connection, Reader};
pub use decode::{Decoder, Event, Kind, Message};
#[cfg(feature = "alloc")]
pub use encode::{Masked, PreparedMessage, Side, Unmasked};
pub use entropy::Entropy;
pub use error::{Misuse, Violation};
pub use frame::{Opcode, Role};
pub use limits::Limits;
#[cfg(feature = "alloc")]
pub use writer::Writer;
