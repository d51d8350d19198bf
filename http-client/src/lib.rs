#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod agent;
mod body;
mod client;
mod cookies;
mod decode;
mod dialer;
#[cfg(feature = "dns")]
pub mod dns;
mod error;
mod exchange;
mod greeting;
#[cfg(feature = "tokio")]
mod in_runtime;
mod line;
mod one;
mod pipe;
mod plan;
pub mod pool;
mod proxy;
pub mod redirect;
mod response;
mod settings;
mod two;
mod wait;

pub use bytes;
pub use http;
pub use url;

pub use driver_common::{Answer, Eyeballs, Family, Found, Pace, Resolve, SystemResolver};
pub use proto_tls as tls;

pub use crate::body::{Body, BodySender};
pub use crate::client::{Client, RequestBuilder};
#[cfg(feature = "cookies")]
pub use crate::cookies::CookieJar;
pub use crate::cookies::Cookies;
pub use crate::decode::{Decoder, accepted};
pub use crate::dialer::{Clock, Node};
pub use crate::error::{Error, Phase, ProxyError, RedirectError};
pub use crate::greeting::{Destination, Greeting, Handshake};
pub use crate::line::{Conn, Nudge};
pub use crate::pool::PoolLimits;
pub use crate::proxy::{Direct, Proxies, Proxy, ProxyKind};
pub use crate::redirect::{Hop, Redirects};
pub use crate::response::Response;
pub use crate::settings::{Settings, Timeouts};
pub use crate::wait::wait;
