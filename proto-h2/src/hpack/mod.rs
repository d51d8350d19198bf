//! Header compression (RFC 7541).
//!
//! [`Decoder`] and [`Encoder`] each serve one direction of a connection, and work without the rest of this crate.

mod decode;
mod encode;
mod fixed;
mod huffman;
mod integer;
mod table;

pub(crate) use decode::Line;
pub use decode::{DecodeError, Decoder};
pub use encode::{Encoder, Indexing};
pub(crate) use fixed::Token;
