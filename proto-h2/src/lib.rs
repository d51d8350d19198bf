#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "protocol")]
mod adapter;
mod both;
mod class;
mod client;
mod code;
mod error;
mod frame;
pub mod hpack;
mod limits;
mod machine;
mod priority;
mod section;
mod server;
pub mod state;
mod streams;

#[cfg(feature = "protocol")]
pub use adapter::*;
pub(crate) use both::both_roles;
pub use client::{ClientConnection, ClientEvent, Head};
pub use code::ErrorCode;
pub use error::{Violation, ViolationKind};
pub use frame::PREFACE;
pub use limits::Limits;
pub use priority::Priority;
pub use proto_http::{Buffer, FieldLines, Fields, Misuse, Request, Response, SliceBuffer};
pub use section::Scratch;
pub use server::{ServerConnection, ServerEvent};
