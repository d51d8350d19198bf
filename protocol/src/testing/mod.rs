//! Drivers without sockets, and the conformance suite for drivers (feature `testing`).
//!
//! * [`Harness`] runs one protocol: pass bytes to it, look at its output, move its clock.
//! * [`Link`] connects two protocols, with latency and segments.
//! * [`Sim`] runs any number of pairs on a simulated network, and repeats exactly for the same seed.
//! * [`Faulty`] simulates a bad network around a protocol: it splits, delays and cuts the stream.
//! * [`conformance`] checks the numbered rules of the contract on any driver.
//!
//! ```
//! use protocol::testing::Harness;
//! use protocol::{Cx, Input, Protocol};
//!
//! struct Upper;
//! impl Protocol for Upper {
//!     type Message = std::convert::Infallible;
//!     type Error = std::convert::Infallible;
//!     fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
//!         let bytes = input.take_all();
//!         bytes.make_ascii_uppercase();
//!         cx.send(bytes);
//!         Ok(())
//!     }
//! }
//!
//! let mut harness = Harness::new(Upper);
//! harness.receive(b"hello");
//! assert_eq!(harness.take_sent(), b"HELLO");
//! ```

pub mod conformance;
mod faults;
mod harness;
mod link;
mod sim;

pub use faults::{Faults, Faulty};
pub use harness::{Harness, splits};
pub use link::{Link, LinkConfig};
pub use sim::{End, Ended, Sim, Weather};
