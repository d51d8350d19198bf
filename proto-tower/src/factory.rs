//! Makes the protocol of each connection, for a driver's factory.

use std::error::Error;
use std::sync::Arc;

use http::Response;
use proto_h2::{Auto, StreamMessage};
use proto_http::WallClock;
use protocol::{Peer, Protocol, Woken};
use tower_service::Service;

use crate::adapter::Adapter;
use crate::body::Body;

/// Settings that all connections share, for both versions of HTTP.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Settings of HTTP/1.1 connections.
    pub one: Arc<proto_http::ServerConfig>,
    /// Settings of HTTP/2 connections.
    pub two: Arc<proto_h2::ServerConfig>,
}

impl Config {
    /// The defaults, with a Date from `clock` in each response. Outside of tests, `clock` is `SystemTime::now`. One default differs from
    /// the codecs': an HTTP/1.1 client that half-closes its connection counts as disconnected, and its request is cancelled, as with hyper.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        let mut one = proto_http::ServerConfig::new(clock);
        one.half_closed = false;
        Self {
            one: Arc::new(one),
            two: Arc::new(proto_h2::ServerConfig::new(clock)),
        }
    }

    /// Lets `change` change the settings of both versions.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut proto_http::ServerConfig, &mut proto_h2::ServerConfig)) -> Self {
        change(Arc::make_mut(&mut self.one), Arc::make_mut(&mut self.two));
        self
    }
}

/// The protocol of the connection to `peer`: HTTP/1.1 or HTTP/2, depending on the first bytes. Use it in a driver's factory. Clones of
/// `service` answer the requests. `peer` has the client's address, should the service need it.
///
/// The protocol is `Send` if the service and its futures are, as [`serve_in_runtime`] of the tokio driver requires.
///
/// ```
/// # use std::{convert::Infallible, future::{Ready, ready}, task::{Context, Poll}};
/// # #[derive(Clone)] struct App;
/// # impl tower_service::Service<http::Request<proto_tower::Body>> for App {
/// #     type Response = http::Response<proto_tower::Body>;
/// #     type Error = Infallible;
/// #     type Future = Ready<Result<Self::Response, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> { Poll::Ready(Ok(())) }
/// #     fn call(&mut self, _: http::Request<proto_tower::Body>) -> Self::Future { ready(Ok(http::Response::default())) }
/// # }
/// # let app = App;
/// let config = proto_tower::Config::new(std::time::SystemTime::now);
/// let server = driver_tokio::Server::new()
///     .threads(2)
///     .serve("127.0.0.1:0", move |peer| Some(proto_tower::connection(&config, app.clone(), peer)))?;
/// # server.stop(std::time::Duration::ZERO)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`serve_in_runtime`]: https://docs.rs/wirestate-driver-tokio/latest/driver_tokio/fn.serve_in_runtime.html
pub fn connection<S, B>(
    config: &Config,
    service: S,
    peer: &Peer<'_, StreamMessage<Woken>>,
) -> impl Protocol<Message = StreamMessage<Woken>> + use<S, B>
where
    S: Service<http::Request<Body>, Response = Response<B>> + Clone,
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let handlers = move |peer: &Peer<'_, Woken>| Some(Adapter::new(service.clone(), peer.sender()));
    Auto::new(Arc::clone(&config.one), Arc::clone(&config.two), handlers, peer)
}
