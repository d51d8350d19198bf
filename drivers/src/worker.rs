//! The threads of either driver.

use std::io;
use std::sync::Arc;

use driver_common::{Backend, Command, Config, Stats, Threads, Work, Worker};
use protocol::{Peer, Protocol};

use crate::Driver;

/// A thread of one of the drivers.
#[derive(Debug)]
pub enum EitherWorker<P: Protocol> {
    /// A thread of `driver-epoll`.
    #[cfg(target_os = "linux")]
    Epoll(Arc<<driver_epoll::Epoll as Backend>::Worker<P>>),
    /// A thread of `driver-tokio`.
    Tokio(Arc<<driver_tokio::Tokio as Backend>::Worker<P>>),
}

impl Backend for Driver {
    type Worker<P: Protocol> = EitherWorker<P>;

    fn name(&self) -> &'static str {
        Driver::name(*self)
    }

    fn start<P, F>(&self, threads: &mut Threads, config: Config, work: Work<P, F>) -> io::Result<Arc<EitherWorker<P>>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let worker = match self {
            #[cfg(target_os = "linux")]
            Driver::Epoll => EitherWorker::Epoll(driver_epoll::Epoll.start(threads, config, work)?),
            Driver::Tokio => EitherWorker::Tokio(driver_tokio::Tokio.start(threads, config, work)?),
        };
        Ok(Arc::new(worker))
    }
}

impl<P: Protocol> Worker<P> for EitherWorker<P> {
    fn command(&self, command: Command<P>) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            EitherWorker::Epoll(worker) => worker.command(command),
            EitherWorker::Tokio(worker) => worker.command(command),
        }
    }

    fn stats(&self) -> Stats {
        match self {
            #[cfg(target_os = "linux")]
            EitherWorker::Epoll(worker) => worker.stats(),
            EitherWorker::Tokio(worker) => worker.stats(),
        }
    }
}
