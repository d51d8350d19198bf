//! Several processes that accept in the same places.

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

/// Names the number of a worker and its parent, `3 of 4711`, in the worker's environment.
const WORKER: &str = "PREFORK_WORKER";

/// Runs a program as several processes that accept in the same places: for more connections than one process may have
/// descriptors, and so that a crash costs the connections of one process only.
///
/// The parent binds the sockets and starts the same program, with the same arguments, once per worker; what a worker gets
/// comes through its standard input, which is at its end then. Workers that die are started again, with a growing delay
/// when they die young. SIGINT and SIGTERM go to all workers, and the parent ends when they have. When the parent dies, its
/// workers get SIGTERM.
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
/// # One queue for all, or one for each
///
/// By default all workers accept from the same socket. Which one does is up to the kernel, and the shares are uneven: who
/// is waiting already gets more. But nobody waits for a worker that is down, and one that is full leaves new connections
/// to the others: set [`Config::max_connections`] below the limit of descriptors, for a worker that runs out of those
/// turns some away.
///
/// [`queue_per_worker`](Prefork::queue_per_worker) gives each worker a socket of its own on the same port. The kernel then
/// spreads connections evenly, by a hash of their addresses. But those that fall to a worker that is down or full wait
/// until it is back, though others are idle. They are not refused, for the parent keeps all sockets open. It is the better
/// choice where evenness matters more than that: many busy connections, workers that do not fill up.
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

/// What this process is.
#[derive(Debug)]
pub enum Role {
    /// A worker: serve in these places, with [`Server::serve_all`](driver_common::Server::serve_all).
    Worker {
        /// Which of the workers, from 0.
        number: usize,
        /// Where to accept, in the order in which the parent gave them.
        places: Vec<Listening>,
        /// What [`Prefork::inherit`] gave for this worker.
        inherited: Vec<OwnedFd>,
    },
    /// The parent, and all workers have ended.
    Parent {
        /// How many workers died and were started again.
        restarts: u64,
    },
}

impl Prefork {
    /// So many workers; 0 counts as 1.
    pub fn new(workers: usize) -> Self {
        Prefork {
            workers: workers.max(1),
            config: Config::default(),
            queue_per_worker: false,
            young_deaths: 10,
            inherit: None,
        }
    }

    /// Changes a setting: the options of the sockets that the parent binds ([`Config::socket`]), and the CPUs that the
    /// workers, each with all of its threads, are pinned to ([`Config::cpus`]). With
    /// [`queue_per_worker`](Prefork::queue_per_worker), connections are steered to them as well ([`Config::steer`]). The
    /// other settings are those of the workers' servers.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Binds a socket for each worker, where by default all accept from one. See [above](Prefork#one-queue-for-all-or-one-for-each).
    #[must_use]
    pub fn queue_per_worker(mut self) -> Self {
        self.queue_per_worker = true;
        self
    }

    /// How often in a row a worker may die within 5 seconds of its start before the parent gives up and stops all.
    /// Default 10.
    #[must_use]
    pub fn young_deaths(mut self, times: u32) -> Self {
        self.young_deaths = times;
        self
    }

    /// Hands each worker further descriptors: those that `make` gives when it is called, in the parent, with the number of a
    /// worker that is about to start, for the first time or again. What makes a private channel of it is a
    /// [`UnixStream::pair`]: the parent keeps one end and hands out the other, and sees the end of the stream when the
    /// worker dies.
    ///
    /// Calls of `make` come from several threads. An error counts as a worker that died young, or ends all when it comes
    /// before the first start.
    #[must_use]
    pub fn inherit(mut self, make: impl Fn(usize) -> io::Result<Vec<OwnedFd>> + Send + Sync + 'static) -> Self {
        self.inherit = Some(Arc::new(make));
        self
    }

    /// Becomes parent or worker, to accept at the first of `addresses` that can be bound. Returns at once in a worker, and
    /// in the parent at the end; `listening` is called once, in the parent, when the socket is bound.
    ///
    /// # Errors
    ///
    /// When no address can be bound, no worker can be started, or one died young too often.
    pub fn run(&self, addresses: impl ToSocketAddrs, listening: impl FnOnce(SocketAddr)) -> io::Result<Role> {
        self.run_with(|parent| {
            let address = parent.listen(addresses)?;
            listening(address);
            Ok(())
        })
    }

    /// Becomes parent or worker, to accept in the places that `set_up` gives the parent, which is called in the parent
    /// alone, before the first worker is started.
    ///
    /// It may start threads of the parent's own, which then run beside those that tend the workers. This waits for the
    /// workers alone, so such threads end at the latest with the program; they can stop the workers by a [`Stopper`].
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
    /// What `set_up` returns; else as [`run`](Prefork::run).
    pub fn run_with(&self, set_up: impl FnOnce(&mut Parent<'_>) -> io::Result<()>) -> io::Result<Role> {
        if let Some(named) = std::env::var_os(WORKER) {
            let named = named.to_str().and_then(|named| named.split_once(" of "));
            let numbers = named.and_then(|(number, parent)| Some((number.parse().ok()?, parent.parse().ok()?)));
            let (number, parent) = numbers.ok_or_else(|| io::Error::other("no number of a worker and its parent"))?;
            return self.worker(number, parent);
        }
        // From here on a signal is for the workers, though there is none yet.
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

    /// What the parent left in the standard input.
    fn worker(&self, number: usize, parent: i32) -> io::Result<Role> {
        // The parent may send one as soon as it has started this process.
        signals::prepare()?;
        set_parent_process_death_signal(Some(Signal::TERM))?;
        if getppid().is_none_or(|now| now.as_raw_nonzero().get() != parent) {
            // It died before that: nobody would end this worker.
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

    /// Keeps one worker running, and stops all when that does not go. Returns how often it was started again.
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
            // Outside of `start`, for it may stop the crew.
            let inherited = self.inherit.as_ref().map_or(Ok(Vec::new()), |make| make(number));
            let started =
                inherited.and_then(|inherited| crew.start(number, |sockets| spawn(number, sockets, &inherited)));
            let ended = match started {
                Ok(None) => return Ok(restarts),
                Ok(Some(mut child)) => {
                    let status = child.wait()?;
                    crew.gone(number);
                    io::Error::other(format!("worker {number} dies again and again: {status}"))
                }
                // What went well before may do so again.
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
            // 0, 100 ms, 200 ms, 400 ms and so on, 5 s at most.
            let delay = Duration::from_millis(50 << young.min(7)).min(YOUNG);
            crew.wait(if young <= 1 { Duration::ZERO } else { delay });
        }
    }
}

fn spawn(number: usize, sockets: &[Socket], inherited: &[OwnedFd]) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let inherited: Vec<BorrowedFd<'_>> = inherited.iter().map(AsFd::as_fd).collect();
    // They wait in the stream. So none ever lacks close-on-exec, and strays into a process that another thread starts.
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

/// The parent of a [`Prefork`], about to start its workers.
#[derive(Debug)]
pub struct Parent<'a> {
    prefork: &'a Prefork,
    places: Vec<Listening>,
    crew: Arc<Crew>,
}

impl Parent<'_> {
    /// Listens on the first of `addresses` that can be bound, with the options of the [`Prefork`], and tells on which.
    ///
    /// # Errors
    ///
    /// When none can be bound.
    pub fn listen(&mut self, addresses: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let Prefork { workers, config, .. } = self.prefork;
        let sockets = if self.prefork.queue_per_worker { *workers } else { 1 };
        let place = Listening::bind(addresses, config, sockets)?;
        let address = place.local_addr().ok_or(ErrorKind::AddrNotAvailable)?;
        self.places.push(place);
        Ok(address)
    }

    /// Has the workers accept in a place that listens already: a Unix socket, what was [taken over](crate::take_over).
    pub fn accept_in(&mut self, place: impl Into<Listening>) {
        self.places.push(place.into());
    }

    /// Where the workers will accept so far, in the order of the places. Unix sockets have no such address.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.places.iter().filter_map(Listening::local_addr).collect()
    }

    /// The sockets of all places so far, for [`offer_sockets`](crate::offer_sockets).
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.places.iter().flat_map(Listening::as_fds).collect()
    }

    /// Has `leave` called, once, when the workers are to stop: to withdraw an [offer](crate::Offer) of their sockets, or to stop
    /// what else runs in the parent. Called at once when they stop already.
    pub fn when_stopped(&self, leave: impl FnOnce() + Send + 'static) {
        self.crew.when_stopped(Box::new(leave));
    }

    /// What stops the workers, from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.crew))
    }
}

/// Stops the workers of a [`Prefork`], as a signal to the parent does.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Crew>);

impl Stopper {
    /// Sends SIGTERM to all workers and starts none any more. Returns at once.
    pub fn stop(&self) {
        self.0.stop(Signal::TERM);
    }
}
