//! The settings of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use driver_common::Resolve;
use http::HeaderMap;

use crate::{Cookies, PoolLimits, Proxies, Redirects};

/// The settings of a [`Client`](crate::Client). Every limit is finite by default, except [`Timeouts::total`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The time limits.
    pub timeouts: Timeouts,
    /// Which redirects to follow.
    pub redirects: Redirects,
    /// Which requests take a proxy. Default none, whatever the environment says: see [`Proxies::from_env`].
    pub proxies: Proxies,
    /// The limits of the pool of connections.
    pub pool: PoolLimits,
    /// TLS: the trusted authorities, certificates, versions. Default: the provider and the roots that were compiled in. The client sets
    /// [`alpn`](proto_tls::ClientConfig::alpn) by itself.
    pub tls: Option<proto_tls::ClientConfig>,
    /// Whether to offer HTTP/2 over TLS. Default true.
    pub http2: bool,
    /// Looks up names. Default: the system.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Whether to ask for compressed content and to decompress it. Default true.
    pub decompress: bool,
    /// Keeps cookies between requests. Default: nobody does, and a `Cookie` field is the request's own.
    pub cookies: Option<Arc<dyn Cookies>>,
    /// The fields of every request, unless the request sets them. Default: `User-Agent` and `Accept`.
    pub headers: HeaderMap,
    /// The most bytes that [`Response::bytes`](crate::Response::bytes) and the like collect, after decompression. Default 64 MiB.
    pub max_content: u64,
    /// Bytes of an answer that wait for a reader before the connection is not read any more. Default 256 KiB. Over HTTP/2, as much as the
    /// window of a stream may come on top.
    pub buffer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let mut headers = HeaderMap::new();
        let agent = concat!("wirestate/", env!("CARGO_PKG_VERSION"));
        headers.insert(http::header::USER_AGENT, http::HeaderValue::from_static(agent));
        headers.insert(http::header::ACCEPT, http::HeaderValue::from_static("*/*"));
        Settings {
            timeouts: Timeouts::default(),
            redirects: Redirects::default(),
            proxies: Proxies::default(),
            pool: PoolLimits::default(),
            tls: None,
            http2: true,
            resolver: None,
            decompress: true,
            cookies: None,
            headers,
            max_content: 64 * 1024 * 1024,
            buffer: 256 * 1024,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("timeouts", &self.timeouts)
            .field("redirects", &self.redirects)
            .field("proxies", &self.proxies)
            .field("pool", &self.pool)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}

/// Time limits of the phases of a request. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For looking up the name. Default 10 s.
    pub resolve: Option<Duration>,
    /// For the look-up and for connecting, over all addresses. Default 15 s.
    pub connect: Duration,
    /// For the handshake of TLS, and for that of the proxy. Default 15 s.
    pub handshake: Option<Duration>,
    /// From the request to the head of its answer. Default 60 s.
    pub answer: Option<Duration>,
    /// Between two pieces of the content. Does not run while the reader does not keep up. Default 30 s.
    pub body: Option<Duration>,
    /// For the whole request, with redirects and repetitions, to the last byte of the content. Default none.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            resolve: Some(Duration::from_secs(10)),
            connect: Duration::from_secs(15),
            handshake: Some(Duration::from_secs(15)),
            answer: Some(Duration::from_secs(60)),
            body: Some(Duration::from_secs(30)),
            total: None,
        }
    }
}
