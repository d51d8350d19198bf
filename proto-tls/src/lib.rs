#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod client;
mod engine;
mod error;
mod files;
mod identity;
mod layer;
mod limits;
mod plain_http;
mod provider;
mod resolver;
mod server;
mod session;
mod staging;
mod stats;
mod tickets;

pub use rustls::crypto::CryptoProvider;
pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use client::{ClientConfig, Connector, InvalidName, Pin, Roots};
pub use error::{Error, Fault, FaultKind, Waiting};
pub use files::{Files, FilesError, Stamp};
pub use identity::{Identity, IdentityError, expiry};
pub use layer::{Factory, NoFactory, Tls};
pub use limits::Limits;
pub use provider::{NoProvider, provider};
pub use server::{Acceptor, Authorities, Clients, ConfigError, ServerConfig};
pub use session::{Session, Version};
pub use stats::Stats;
pub use tickets::{EXPORTED, TicketError, TicketKeys};
