#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

#[cfg(feature = "protocol")]
mod adapter;
mod assembled;
mod body;
mod client;
#[cfg(feature = "http")]
mod convert;
mod date;
mod encode;
mod error;
mod fields;
mod fold;
mod forward;
mod framing;
mod head;
#[cfg(feature = "alloc")]
mod kept;
mod limits;
mod scan;
mod scanner;
mod server;
pub mod state;
mod target;

#[cfg(feature = "protocol")]
pub use adapter::*;
pub use assembled::Assembled;
pub use body::{BodyDecoder, Piece};
pub use client::{ClientConnection, ClientEvent, PIPELINE};
#[cfg(feature = "http")]
pub use convert::Unframed;
pub use date::{DATE_LENGTH, imf_fixdate};
#[doc(hidden)]
pub use encode::AnyFields;
pub use encode::{Buffer, FieldBlock, FieldFacts, FieldLines, NoSpace, SliceBuffer, Status, reason};
pub use error::{Misuse, Violation, ViolationKind};
pub use fields::{Field, Fields, FieldsIter};
pub use forward::{EndToEnd, Without};
pub use framing::BodyLength;
pub use head::{Parsed, Request, Response, Version};
#[cfg(feature = "alloc")]
pub use kept::KeptRequest;
pub use limits::{Leniency, Limits, Rules};
pub use scanner::HeadScanner;
pub use server::{ServerConnection, ServerEvent};
pub use target::Target;
