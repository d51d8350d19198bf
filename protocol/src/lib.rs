#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod cx;
mod datagrams;
pub mod driver;
mod endpoint;
mod input;
mod limits;
mod output;
mod peer;
mod per_address;
mod protocol;
mod reason;
mod stats;
mod stopping;
#[cfg(feature = "testing")]
pub mod testing;
mod upgrade;

pub use bytes;

pub use crate::cx::{Control, Cx, Intent};
pub use crate::endpoint::{Datagram, Ecn, Endpoint, EndpointCx, Transmit};
pub use crate::input::Input;
pub use crate::limits::Limits;
pub use crate::output::Output;
pub use crate::peer::{Mailbox, Peer, PeerSource, SendError, Sender};
pub use crate::protocol::Protocol;
pub use crate::reason::Reason;
pub use crate::stats::{SharedStats, Stats};
pub use crate::upgrade::{Switch, SwitchError, Upgrade};
