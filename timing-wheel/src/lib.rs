#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
mod iter;
mod key;
mod slots;
mod wheel;

pub use iter::{Drain, Iter};
pub use key::Key;
pub use wheel::Wheel;
