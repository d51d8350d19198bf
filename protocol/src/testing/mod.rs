//! Drivers without sockets, and the suite that proves a driver (feature `testing`).
//!
//! * [`Harness`] runs one protocol: hand it bytes, look at what it sends, move its clock.
//! * [`Link`] joins two protocols with a connection that has latency and cuts the stream into segments.
//! * [`Sim`] runs any number of pairs on a network in any weather, the same every time.
//! * [`Faulty`] does to a protocol what a bad network does: it chops, delays and cuts.
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
