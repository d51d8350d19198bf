#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg(unix)]
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(target_os = "linux")]
mod prefork;
mod signals;

#[cfg(target_os = "linux")]
pub use crate::handover::{Offer, Taken, offer_sockets, offer_sockets_with, take_over};
#[cfg(target_os = "linux")]
pub use crate::prefork::{Parent, Prefork, Role, Stopper};
pub use crate::signals::{Ending, Signals};
