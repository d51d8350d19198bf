#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "protocol")]
mod adapter;
mod arguments;
#[cfg(feature = "alloc")]
mod builder;
#[cfg(feature = "alloc")]
mod client;
mod command;
mod decode;
mod encode;
mod error;
mod event;
mod frames;
#[cfg(feature = "alloc")]
mod hello;
#[cfg(feature = "alloc")]
mod inline;
mod limits;
mod number;
#[cfg(feature = "alloc")]
mod push;
mod scan;
#[cfg(feature = "alloc")]
mod server;
#[cfg(feature = "alloc")]
mod value;

pub use proto_buffer::{Buffer, NoSpace, SliceBuffer};

#[cfg(feature = "protocol")]
pub use adapter::*;
pub use arguments::{ArgumentWriter, Arguments, write_command};
#[cfg(feature = "alloc")]
pub use builder::ValueDecoder;
#[cfg(feature = "alloc")]
pub use client::{ClientConnection, ClientEvent, PreparedCommand};
pub use command::{ArgumentIter, Command, CommandDecoder};
pub use decode::Decoder;
pub use encode::Encoder;
pub use error::{Misuse, Violation};
pub use event::{Aggregate, Bulk, Event, Null, Version};
#[cfg(feature = "alloc")]
pub use hello::Hello;
pub use limits::{Leniency, Limits, MAX_DEPTH, Rules};
#[cfg(feature = "alloc")]
pub use push::{Published, Push};
#[cfg(feature = "alloc")]
pub use server::{CommandReader, PreparedPush, ReplyWriter, ServerConnection};
#[cfg(feature = "alloc")]
pub use value::{Attributed, ErrorReply, Value};
