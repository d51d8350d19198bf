#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "std")]
extern crate std;

mod arena;
mod chunk;
mod clock;
mod error;
mod iter;
mod key;
mod slots;
mod wheel;

#[cfg(feature = "std")]
pub use clock::Clock;
pub use clock::Ticks;
pub use error::InsertError;
pub use iter::{Drain, DrainWithDeadlines, Iter};
pub use key::Key;
pub use wheel::Wheel;
