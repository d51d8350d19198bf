#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "protocol"))]
extern crate std;

#[cfg(feature = "protocol")]
#[cfg_attr(docsrs, doc(cfg(feature = "protocol")))]
mod adapter;
mod address;
mod block;
mod checksum;
mod decode;
mod error;
mod header;
mod line;
mod rules;
mod ssl;
mod text;
mod tlv;
mod write;

#[cfg(feature = "protocol")]
#[cfg_attr(docsrs, doc(cfg(feature = "protocol")))]
pub use adapter::{Announced, Config, Counted, Error, NoNetwork, Preamble, Proxied};
pub use address::{Addresses, Transport, UnixAddress};
pub use decode::Decoder;
pub use error::{Misuse, Violation, ViolationKind};
pub use header::{Command, Header, Version};
pub use rules::{Limits, Rules, V1_MAX, V2_MAX, Versions};
pub use ssl::{Ssl, SslTlv, SslTlvs};
pub use tlv::{Tlv, Tlvs, UNIQUE_ID_MAX, kind};
pub use write::{HeaderWriter, write_v1};
