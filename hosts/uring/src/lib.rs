//! An example driver on io_uring, whose kernel completes operations instead of saying what is ready.
//!
//! [`Loop`] is the driver of one thread. `ring::Ring` is the safe face of io_uring: operations own the memory that the kernel
//! uses. README.md says what was measured.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod connections;
mod event_loop;
mod mailbox;
mod ring;
mod timers;

pub use event_loop::{Handle, Loop};
