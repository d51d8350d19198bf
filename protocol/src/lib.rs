#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod cx;
mod deadline;
pub mod driver;
mod either;
mod endpoint;
mod file;
mod input;
mod limits;
mod output;
mod peer;
mod protocol;
mod reason;
mod simple;
#[cfg(feature = "testing")]
pub mod testing;
mod tracer;
mod upgrade;
mod wake;
mod wrapper;

pub use bytes;

pub use crate::cx::{Control, Cx, Intent};
pub use crate::deadline::Deadline;
pub use crate::either::Either;
pub use crate::endpoint::{Datagram, Ecn, Endpoint, EndpointCx, Transmit};
pub use crate::file::{FilePiece, Load};
pub use crate::input::Input;
pub use crate::limits::Limits;
pub use crate::output::{Output, OutputPiece};
pub use crate::peer::{KeptPeer, Mailbox, Peer, PeerSource, SendError, Sender};
pub use crate::protocol::Protocol;
pub use crate::reason::Reason;
pub use crate::simple::{Simple, SimpleProtocol};
pub use crate::tracer::{Capture, Tracer};
pub use crate::upgrade::{Switch, SwitchError, Upgrade};
pub use crate::wake::{Waking, Woken};
pub use crate::wrapper::Wrapper;
