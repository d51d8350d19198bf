//! Workers on threads of their own, and in an existing runtime.

use std::future::Future;
use std::io;
use std::sync::Arc;

use driver_common::tasks::Group;
use driver_common::{Backend, Config, Stats, Threads, Work, Worker as _};
use protocol::{Peer, Protocol};
use tokio::runtime::{Builder, LocalOptions};

use crate::listener::Listener;
use crate::remote::Remote;
use crate::worker::{Anywhere, Here, Worker};

/// This driver for [`Server`], which starts its threads: each runs its own runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokio;

/// Sets up workers that serve and connect, one per thread.
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
/// let server = driver_tokio::Server::new().threads(2).configure(|config| config.max_connections = 10_000);
/// let places = [server.listen("127.0.0.1:0")?, server.listen("127.0.0.2:0")?];
/// let server = server.serve_all(places, |_| Some(Echo))?;
/// assert_eq!(server.local_addrs().len(), 2);
/// server.stop(std::time::Duration::ZERO)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type Server = driver_common::Server<Tokio>;

/// Workers that run in the background.
pub type Running<P> = driver_common::Running<P, Tokio>;

/// Controls one worker, or all workers of a server, from any thread.
pub type Handle<P> = driver_common::Handle<P, Tokio>;

impl Backend for Tokio {
    type Worker<P: Protocol> = Remote<P>;

    fn name(&self) -> &'static str {
        "tokio"
    }

    fn start<P, F>(&self, threads: &mut Threads, config: Config, work: Work<P, F>) -> io::Result<Arc<Remote<P>>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let remote = Remote::new(Group::new(config));
        let theirs = Arc::clone(&remote);
        threads.start(move |ready| {
            let group = Arc::clone(&theirs.group);
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())?;
            let entered = runtime.enter();
            let accepting = match work {
                Work::Accept { sockets, factory } => {
                    let listeners: io::Result<_> = sockets.into_iter().map(Listener::new).collect();
                    Some((listeners?, factory))
                }
                Work::Open(command) => {
                    theirs.command(command);
                    None
                }
            };
            let worker = Worker::<P, F, Here>::new(theirs, accepting);
            drop(entered);
            ready.tell(());
            runtime.block_on(worker.run());
            Ok(group.stats())
        })?;
        Ok(remote)
    }
}

/// Serves in the runtime that calls this function, on any of its threads: for programs that already have a runtime.
///
/// The future runs until [`Handle::stop`] was called and the last connection has ended, and returns the counters. Dropping
/// the future stops accepting and disables the timers of connections, so keep it running.
pub fn serve_in_runtime<P, F, L>(
    config: Config,
    listeners: L,
    factory: F,
) -> (Handle<P>, impl Future<Output = Stats> + Send + use<P, F, L>)
where
    L: IntoIterator<Item: Into<Listener>>,
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
{
    let group = Group::new(config);
    let remote = Remote::new(Arc::clone(&group));
    let handle = Handle::new(Arc::clone(&remote));
    let listeners = listeners.into_iter().map(Into::into).collect();
    let worker = Worker::<P, F, Anywhere>::new(remote, Some((listeners, factory)));
    (handle, async move {
        worker.run().await;
        group.stats()
    })
}
