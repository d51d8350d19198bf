#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod adapter;
mod body;
mod factory;
mod head;
#[cfg(feature = "hyper")]
mod rehearsal;
mod tunnel;
mod upgrade;

pub use adapter::Adapter;
pub use body::{Body, BodyError};
pub use factory::{Config, connection};
pub use protocol::Woken;
pub use tunnel::Tunnel;
pub use upgrade::{OnUpgrade, UpgradeError, Upgraded, on_upgrade};
