//! Event loops on threads.

use std::io;
use std::sync::Arc;

use driver_common::{Backend, Config, Threads, Work, Worker};
use protocol::{Peer, Protocol};

use crate::event_loop::Loop;
use crate::mailbox::Shared;

/// This driver for [`Server`], which starts its threads: each runs a [`Loop`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoll;

/// Sets up event loops that serve and connect, one per thread.
///
/// ```
/// # use protocol::{Cx, Input, Protocol};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     type Message = std::convert::Infallible;
/// #     type Error = std::convert::Infallible;
/// #     fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
/// #         cx.send(input.take_all());
/// #         Ok(())
/// #     }
/// # }
/// let server = driver_epoll::Server::new().threads(2).configure(|config| config.max_connections = 10_000);
/// let places = [server.listen("127.0.0.1:0")?, server.listen("127.0.0.2:0")?];
/// let server = server.serve_all(places, |_| Some(Echo))?;
/// assert_eq!(server.local_addrs().len(), 2);
/// server.stop(std::time::Duration::ZERO)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type Server = driver_common::Server<Epoll>;

/// Event loops that run in the background.
pub type Running<P> = driver_common::Running<P, Epoll>;

/// Controls one event loop, or all event loops of a server, from any thread.
pub type Handle<P> = driver_common::Handle<P, Epoll>;

impl Backend for Epoll {
    type Worker<P: Protocol> = Shared<P>;

    fn name(&self) -> &'static str {
        "epoll"
    }

    fn start<P, F>(&self, threads: &mut Threads, config: Config, work: Work<P, F>) -> io::Result<Arc<Shared<P>>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        threads.start(move |ready| {
            let mut looped = Loop::new(config)?;
            match work {
                Work::Accept { sockets, factory } => {
                    let mut sockets = sockets.into_iter();
                    sockets.try_for_each(|socket| looped.listen(socket, factory.clone()))?;
                }
                Work::Open(command) => {
                    looped.shared().command(command);
                }
            }
            ready.tell(looped.shared());
            looped.run()?;
            Ok(looped.stats())
        })
    }
}
