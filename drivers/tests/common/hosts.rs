//! Hosts for the tests of faults and abuse: the drivers of `drivers`, and the example driver on smol.

#[path = "../smol/driver.rs"]
mod driver;

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use driver_common::host::{Host, Hosted};
use driver_common::tasks::{Group, open};
use driver_common::{Config, Stats};
use drivers::{Driver, Running, Server};
use protocol::{Peer, Protocol};

/// One of the drivers of `drivers`.
pub(crate) struct On(pub(crate) Driver);

impl On {
    fn server(&self, config: Config, threads: usize) -> Server {
        Server::on(self.0)
            .threads(threads)
            .configure(|settings| *settings = config)
    }
}

impl Host for On {
    fn serve<P, F>(&self, config: Config, threads: usize, factory: F) -> Box<dyn Hosted>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let server = self.server(config, threads);
        Box::new(Runs(server.serve("127.0.0.1:0", factory).unwrap()))
    }

    fn connect<P, F>(&self, config: Config, to: SocketAddr, make: F) -> Box<dyn Hosted>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        Box::new(Runs(self.server(config, 1).connect(to, make).unwrap()))
    }
}

struct Runs<P: Protocol>(Running<P>);

impl<P> Hosted for Runs<P>
where
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
{
    fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }

    fn stats(&self) -> Stats {
        self.0.handle().stats()
    }

    fn stop(self: Box<Self>, drain: Duration) -> Stats {
        self.0.stop(drain).unwrap()
    }

    fn join(self: Box<Self>) -> Stats {
        self.0.join().unwrap()
    }
}

/// The example driver, which has one thread.
pub(crate) struct Smol;

struct RunsOnSmol {
    group: Arc<Group>,
    stop: Arc<Mutex<Option<Duration>>>,
    address: Option<SocketAddr>,
    thread: JoinHandle<()>,
}

impl Host for Smol {
    fn serve<P, F>(&self, config: Config, _: usize, factory: F) -> Box<dyn Hosted>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().ok();
        let (group, stop) = (Group::new(config), Arc::<Mutex<_>>::default());
        let (their_group, their_stop) = (Arc::clone(&group), Arc::clone(&stop));
        let thread = thread::spawn(move || driver::serve(&their_group, &their_stop, listener, factory));
        Box::new(RunsOnSmol {
            group,
            stop,
            address,
            thread,
        })
    }

    fn connect<P, F>(&self, config: Config, to: SocketAddr, make: F) -> Box<dyn Hosted>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        let group = Group::new(config);
        let their_group = Arc::clone(&group);
        let thread = thread::spawn(move || {
            let stream = smol::block_on(smol::Async::<TcpStream>::connect(to));
            let outcome = stream.as_ref().map(drop).map_err(std::io::Error::kind);
            let opened = open(&their_group, outcome, Some(to), &|| None, make);
            if let (Ok(task), Ok(stream)) = (opened, stream) {
                let mut connection = Box::pin(driver::connection(task, stream));
                let mut timer = smol::Timer::never();
                smol::block_on(poll_fn(|cx| {
                    let next = their_group.expire(Instant::now(), 64, cx.waker());
                    timer = next.map_or_else(smol::Timer::never, smol::Timer::at);
                    if Pin::new(&mut timer).poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                    connection.as_mut().poll(cx)
                }));
            }
        });
        Box::new(RunsOnSmol {
            group,
            stop: Arc::default(),
            address: None,
            thread,
        })
    }
}

impl Hosted for RunsOnSmol {
    fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    fn stats(&self) -> Stats {
        self.group.stats()
    }

    fn stop(self: Box<Self>, drain: Duration) -> Stats {
        *self.stop.lock().unwrap() = Some(drain);
        self.group.wake();
        self.join()
    }

    fn join(self: Box<Self>) -> Stats {
        self.thread.join().unwrap();
        self.group.stats()
    }
}
