//! Several processes that accept connections on the same addresses.

mod crew;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use driver_common::Config;
use driver_common::{Listening, Socket, deal, pin};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::SIGINT;

use self::crew::Crew;
use crate::descriptors;
use crate::signals::{self, Signals};

/// Environment variable of a worker: its number and its parent, such as `3 of 4711`.
const WORKER: &str = "PREFORK_WORKER";

/// Runs a program as several processes that accept connections on the same addresses: for more connections than one process
/// may have file descriptors, and so that a crash costs only the connections of one process.
///
/// The parent binds the sockets and starts the same program, with the same arguments, once per worker. A worker receives its sockets
/// through its standard input, which is then at its end. The parent restarts workers that die, with a growing delay if they die young. The
/// parent passes SIGINT and SIGTERM on to all workers, and ends when they have ended. If the parent dies, its workers get SIGTERM.
///
/// ```no_run
/// use driver_tokio::Server;
/// use processes::{Prefork, Role, Signals};
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
///
/// match Prefork::new(4).run("127.0.0.1:7000", |address| println!("listening on {address}"))? {
///     Role::Worker { places, .. } => {
///         let signals = Signals::catch()?;
///         let server = Server::new().serve_all(places, |_| Some(Echo))?;
///         signals.then_stop(server, std::time::Duration::from_secs(10))?;
///     }
///     Role::Parent { restarts } => println!("all workers have ended; {restarts} had to be started again"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # One accept queue for all workers, or one for each
///
/// By default all workers accept from the same socket. The kernel chooses the worker, and the shares are uneven: a worker
/// that is already waiting gets more. But no connection waits for a worker that is down, and a full worker leaves new
/// connections to the others. Set [`Config::max_connections`] below the limit of file descriptors, because a worker that
/// runs out of descriptors turns some connections away.
///
/// [`queue_per_worker`](Prefork::queue_per_worker) gives each worker its own socket on the same port. The kernel then
/// spreads connections evenly, by a hash of their addresses. But the connections of a worker that is down or full wait until
/// it is back, although other workers are idle. They are not refused, because the parent keeps all sockets open. Choose this
/// if an even spread matters more: for many busy connections, and workers that do not fill up.
#[derive(Clone)]
pub struct Prefork {
    workers: usize,
    config: Config,
    queue_per_worker: bool,
    young_deaths: u32,
    inherit: Option<Arc<Inherit>>,
}

type Inherit = dyn Fn(usize) -> io::Result<Vec<OwnedFd>> + Send + Sync;

/// How long a worker must live to count as healthy.
const YOUNG: Duration = Duration::from_secs(5);

/// The role of this process.
#[derive(Debug)]
pub enum Role {
    /// A worker: serve these sockets with [`Server::serve_all`](driver_common::Server::serve_all).
    Worker {
        /// The number of the worker, from 0.
        number: usize,
        /// The sockets to accept from, in the order in which the parent gave them.
        places: Vec<Listening>,
        /// The descriptors that [`Prefork::inherit`] made for this worker.
        inherited: Vec<OwnedFd>,
    },
    /// The parent; all workers have ended.
    Parent {
        /// The number of times that a worker died and was started again.
        restarts: u64,
    },
}

impl Prefork {
    /// Sets the number of workers; 0 counts as 1.
    pub fn new(workers: usize) -> Self {
        Prefork {
            workers: workers.max(1),
            config: Config::default(),
            queue_per_worker: false,
            young_deaths: 10,
            inherit: None,
        }
    }

    /// Changes a setting: the options of the sockets that the parent binds ([`Config::socket`]), and the CPUs that the workers are pinned
    /// to, each with all of its threads ([`Config::cpus`]). With [`queue_per_worker`](Prefork::queue_per_worker), connections are also
    /// steered to these CPUs ([`Config::steer`]). Other settings belong to the workers' own servers.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Binds a socket for each worker. By default all workers accept from one socket. See
    /// [above](Prefork#one-accept-queue-for-all-workers-or-one-for-each).
    #[must_use]
    pub fn queue_per_worker(mut self) -> Self {
        self.queue_per_worker = true;
        self
    }

    /// How often in a row a worker may die within 5 seconds of its start before the parent gives up and stops all workers.
    /// Default 10.
    #[must_use]
    pub fn young_deaths(mut self, times: u32) -> Self {
        self.young_deaths = times;
        self
    }

    /// Passes each worker further descriptors. The parent calls `make` with the number of a worker that is about to start, for the first
    /// time or again, and passes the result. For a private channel, make a [`UnixStream::pair`]: the parent keeps one end and passes the
    /// other, and reads the end of the stream when the worker has died.
    ///
    /// Several threads call `make`. An error counts as a worker that died young; an error before the first start ends all
    /// workers.
    #[must_use]
    pub fn inherit(mut self, make: impl Fn(usize) -> io::Result<Vec<OwnedFd>> + Send + Sync + 'static) -> Self {
        self.inherit = Some(Arc::new(make));
        self
    }

    /// Whether this process is a worker: its parent has started it. A worker may get its settings from the parent instead of reading them.
    pub fn is_worker() -> bool {
        std::env::var_os(WORKER).is_some()
    }

    /// Becomes parent or worker, to accept on the first of `addresses` that can be bound. Returns at once in a worker, and at the end in
    /// the parent. `listening` is called once, in the parent, when the socket is bound.
    ///
    /// # Errors
    ///
    /// If no address can be bound, if no worker can be started, or if a worker died young too often.
    pub fn run(&self, addresses: impl ToSocketAddrs, listening: impl FnOnce(SocketAddr)) -> io::Result<Role> {
        self.run_with(|parent| {
            let address = parent.listen(addresses)?;
            listening(address);
            Ok(())
        })
    }

    /// Becomes parent or worker, to accept on the sockets that `set_up` gives the parent. `set_up` is called only in the
    /// parent, before the first worker is started.
    ///
    /// `set_up` may start threads in the parent, which then run beside those that manage the workers. This method waits only
    /// for the workers, so such threads end at the latest with the program. They can stop the workers with a [`Stopper`].
    ///
    /// ```no_run
    /// # use processes::{Prefork, Role};
    /// # use std::os::unix::net::UnixListener;
    /// let role = Prefork::new(4).run_with(|parent| {
    ///     parent.listen("0.0.0.0:80")?;
    ///     parent.accept_in(UnixListener::bind("/run/program.sock")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of `set_up`, or those of [`run`](Prefork::run).
    pub fn run_with(&self, set_up: impl FnOnce(&mut Parent<'_>) -> io::Result<()>) -> io::Result<Role> {
        if let Some(named) = std::env::var_os(WORKER) {
            let named = named.to_str().and_then(|named| named.split_once(" of "));
            let numbers = named.and_then(|(number, parent)| Some((number.parse().ok()?, parent.parse().ok()?)));
            let (number, parent) = numbers.ok_or_else(|| io::Error::other("no number of a worker and its parent"))?;
            return self.worker(number, parent);
        }
        // From here on, signals are for the workers, although none has started yet.
        let Signals(signals) = Signals::catch()?;
        let mut parent = Parent {
            prefork: self,
            places: Vec::new(),
            crew: Arc::default(),
        };
        set_up(&mut parent)?;
        let (_, dealt) = deal(parent.places, self.workers)?;
        parent.crew.accept_from(dealt);
        self.tend_all(signals, &parent.crew)
    }

    /// Reads the descriptors that the parent has put into the standard input.
    fn worker(&self, number: usize, parent: i32) -> io::Result<Role> {
        // The parent may send a signal as soon as it has started this process.
        signals::prepare()?;
        set_parent_process_death_signal(Some(Signal::TERM))?;
        if getppid().is_none_or(|now| now.as_raw_nonzero().get() != parent) {
            // The parent died before PDEATHSIG was set, so nobody would end this worker.
            return Err(io::Error::new(ErrorKind::BrokenPipe, "the parent is gone"));
        }
        if let Some(cpu) = self.cpu(number) {
            pin(cpu)?;
        }
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let [sockets, inherited] = descriptors::receive(&stream)?;
        Ok(Role::Worker {
            number,
            places: Listening::group(sockets),
            inherited,
        })
    }

    fn cpu(&self, number: usize) -> Option<usize> {
        let cpus = &self.config.cpus;
        cpus.get(number % cpus.len().max(1)).copied()
    }

    fn tend_all(&self, mut signals: signal_hook::iterator::Signals, crew: &Crew) -> io::Result<Role> {
        let closer = signals.handle();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                for signal in signals.forever() {
                    crew.stop(if signal == SIGINT { Signal::INT } else { Signal::TERM });
                }
            });
            let tending: Vec<_> = (0..self.workers)
                .map(|number| scope.spawn(move || self.tend(number, crew)))
                .collect();
            let mut outcome = Ok(0);
            for thread in tending {
                let ended = thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("the thread of a worker panicked")));
                outcome = outcome.and_then(|sum: u64| ended.map(|restarts| sum + restarts));
            }
            closer.close();
            let _ = watcher.join();
            outcome.map(|restarts| Role::Parent { restarts })
        })
    }

    /// Keeps one worker running. Stops all workers if that is impossible. Returns how often the worker was restarted.
    fn tend(&self, number: usize, crew: &Crew) -> io::Result<u64> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.keep_running(number, crew)));
        let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("what tends a worker panicked")));
        if outcome.is_err() {
            crew.stop(Signal::TERM);
        }
        outcome
    }

    fn keep_running(&self, number: usize, crew: &Crew) -> io::Result<u64> {
        let (mut restarts, mut young) = (0, 0);
        loop {
            let begun = Instant::now();
            // Called outside of `start`, because `make` may stop the crew.
            let inherited = self.inherit.as_ref().map_or(Ok(Vec::new()), |make| make(number));
            let started =
                inherited.and_then(|inherited| crew.start(number, |sockets| spawn(number, sockets, &inherited)));
            let ended = match started {
                Ok(None) => return Ok(restarts),
                Ok(Some(mut child)) => {
                    let status = child.wait()?;
                    crew.gone(number);
                    io::Error::other(format!("worker {number} died young too often: {status}"))
                }
                // A start that succeeded before may succeed again.
                Err(error) if restarts > 0 => error,
                Err(error) => return Err(error),
            };
            if crew.is_stopping() {
                return Ok(restarts);
            }
            young = if begun.elapsed() < YOUNG { young + 1 } else { 0 };
            if young > self.young_deaths {
                return Err(ended);
            }
            restarts += 1;
            // 0, 100 ms, 200 ms, 400 ms and so on, at most 5 s.
            let delay = Duration::from_millis(50 << young.min(7)).min(YOUNG);
            crew.wait(if young <= 1 { Duration::ZERO } else { delay });
        }
    }
}

fn spawn(number: usize, sockets: &[Socket], inherited: &[OwnedFd]) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let inherited: Vec<BorrowedFd<'_>> = inherited.iter().map(AsFd::as_fd).collect();
    // The descriptors wait in the stream. They therefore always have close-on-exec, and never leak into a process that another thread
    // starts.
    descriptors::send(&ours, [&sockets, &inherited])?;
    Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(WORKER, format!("{number} of {}", std::process::id()))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
}

impl fmt::Debug for Prefork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefork")
            .field("workers", &self.workers)
            .field("queue_per_worker", &self.queue_per_worker)
            .finish_non_exhaustive()
    }
}

/// The parent of a [`Prefork`], before it starts its workers.
#[derive(Debug)]
pub struct Parent<'a> {
    prefork: &'a Prefork,
    places: Vec<Listening>,
    crew: Arc<Crew>,
}

impl Parent<'_> {
    /// Listens on the first of `addresses` that can be bound, with the options of the [`Prefork`], and returns that address.
    ///
    /// # Errors
    ///
    /// When no address can be bound.
    pub fn listen(&mut self, addresses: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let Prefork { workers, config, .. } = self.prefork;
        let sockets = if self.prefork.queue_per_worker { *workers } else { 1 };
        let place = Listening::bind(addresses, config, sockets)?;
        let address = place.local_addr().ok_or(ErrorKind::AddrNotAvailable)?;
        self.places.push(place);
        Ok(address)
    }

    /// Makes the workers accept from a socket that already listens: a Unix socket, or a socket that was [taken
    /// over](crate::take_over).
    pub fn accept_in(&mut self, place: impl Into<Listening>) {
        self.places.push(place.into());
    }

    /// The addresses where the workers will accept so far, in order. Unix sockets have no such address.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.places.iter().filter_map(Listening::local_addr).collect()
    }

    /// All sockets so far, for [`offer_sockets`](crate::offer_sockets).
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.places.iter().flat_map(Listening::as_fds).collect()
    }

    /// Calls `leave` once, when the workers must stop: to withdraw an [offer](crate::Offer) of their sockets, or to stop other work of the
    /// parent. Calls it at once if the workers are already stopping.
    pub fn when_stopped(&self, leave: impl FnOnce() + Send + 'static) {
        self.crew.when_stopped(Box::new(leave));
    }

    /// A handle that stops the workers from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.crew))
    }
}

/// Stops the workers of a [`Prefork`], as a signal to the parent does.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Crew>);

impl Stopper {
    /// Sends SIGTERM to all workers, and starts no more workers. Returns at once.
    pub fn stop(&self) {
        self.0.stop(Signal::TERM);
    }
}
