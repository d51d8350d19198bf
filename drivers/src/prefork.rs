//! Several processes that accept from one socket.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::{Domain, Socket, Type};

/// Names the number of a worker in its environment.
const WORKER: &str = "PREFORK_WORKER";

/// Runs a program as several processes that accept from one socket: for more connections than one process may have
/// descriptors, and so that a crash costs the connections of one process only.
///
/// The parent binds the socket and starts the same program, with the same arguments, once per worker; a worker finds the
/// socket as its standard input. Workers that die are started again, with a growing delay when they die young. SIGINT and
/// SIGTERM go to all workers, and the parent ends when they have. When the parent dies, its workers get SIGTERM.
///
/// Which worker accepts is up to the kernel, and the shares are uneven. Set [`Config::max_connections`](crate::Config)
/// below the limit of descriptors: a worker that is full then leaves new connections to the others, where one that runs
/// out of descriptors turns some away.
///
/// ```no_run
/// use drivers::{Driver, Prefork, Role, Server};
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
/// match Prefork::new(4).run("127.0.0.1:7000".parse().unwrap(), |address| println!("listening on {address}"))? {
///     Role::Worker { listener, .. } => {
///         let server = Server::new(Driver::default()).serve_on(listener, |_| Some(Echo))?;
///         server.until_signal(std::time::Duration::from_secs(10))?;
///     }
///     Role::Parent { restarts } => println!("all workers have ended; {restarts} had to be started again"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prefork {
    workers: usize,
    young: Duration,
    young_deaths: u32,
    backlog: i32,
}

/// What this process is.
#[derive(Debug)]
pub enum Role {
    /// A worker: serve on `listener`.
    Worker {
        /// Which of the workers, from 0.
        number: usize,
        /// The socket all workers accept from.
        listener: OwnedFd,
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
            young: Duration::from_secs(5),
            young_deaths: 10,
            backlog: 4096,
        }
    }

    /// How often in a row a worker may die within 5 seconds of its start before the parent gives up and stops all.
    /// Default 10.
    #[must_use]
    pub fn young_deaths(mut self, times: u32) -> Self {
        self.young_deaths = times;
        self
    }

    /// Becomes parent or worker. Returns at once in a worker, and in the parent at the end; `listening` is called once,
    /// in the parent, when the socket is bound.
    ///
    /// # Errors
    ///
    /// When the socket cannot be bound, a worker cannot be started, or one died young too often.
    pub fn run(&self, address: SocketAddr, listening: impl FnOnce(SocketAddr)) -> io::Result<Role> {
        if let Some(number) = std::env::var_os(WORKER) {
            return worker(number);
        }
        let socket = self.bind(address)?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let closer = signals.handle();
        listening(socket.local_addr()?.as_socket().unwrap_or(address));
        let crew = Arc::new(Crew::default());
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                for signal in signals.forever() {
                    crew.stop(if signal == SIGINT { Signal::INT } else { Signal::TERM });
                }
            });
            let tend = |number| {
                let (socket, crew) = (&socket, &crew);
                move || {
                    let outcome = self.tend(number, socket, crew);
                    if outcome.is_err() {
                        crew.stop(Signal::TERM);
                    }
                    outcome
                }
            };
            let tending: Vec<_> = (0..self.workers).map(|number| scope.spawn(tend(number))).collect();
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

    fn bind(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(self.backlog)?;
        Ok(socket)
    }

    /// Keeps one worker running until all are to stop. Returns how often it was started again.
    fn tend(&self, number: usize, socket: &Socket, crew: &Crew) -> io::Result<u64> {
        let (mut restarts, mut young) = (0, 0);
        loop {
            let begun = Instant::now();
            let Some(mut child) = crew.start(number, || spawn(number, socket))? else {
                return Ok(restarts);
            };
            let status = child.wait()?;
            crew.gone(number);
            if crew.is_stopping() {
                return Ok(restarts);
            }
            young = if begun.elapsed() < self.young { young + 1 } else { 0 };
            if young > self.young_deaths {
                return Err(io::Error::other(format!(
                    "worker {number} dies again and again: {status}"
                )));
            }
            restarts += 1;
            // 0, 100 ms, 200 ms, 400 ms and so on, 5 s at most.
            let delay = Duration::from_millis(50 << young.min(7)).min(self.young);
            crew.wait(if young <= 1 { Duration::ZERO } else { delay });
        }
    }
}

fn worker(number: OsString) -> io::Result<Role> {
    let number = number.to_str().and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| io::Error::other("the number of the worker is no number"))?;
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(Role::Worker { number, listener })
}

fn spawn(number: usize, socket: &Socket) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(std::env::args_os().skip(1))
        .env(WORKER, number.to_string());
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone()?))).spawn()
}

/// The workers that run, by number, through descriptors that never come to mean another process.
#[derive(Debug, Default)]
struct Crew(Mutex<(bool, Vec<Option<OwnedFd>>)>);

impl Crew {
    fn lock(&self) -> MutexGuard<'_, (bool, Vec<Option<OwnedFd>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.lock().0
    }

    /// Starts a worker; `None` when all are to stop.
    fn start(&self, number: usize, spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Option<Child>> {
        let mut crew = self.lock();
        if crew.0 {
            return Ok(None);
        }
        let child = spawn()?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        if crew.1.len() <= number {
            crew.1.resize_with(number + 1, || None);
        }
        crew.1[number] = Some(pidfd);
        Ok(Some(child))
    }

    fn gone(&self, number: usize) {
        if let Some(slot) = self.lock().1.get_mut(number) {
            *slot = None;
        }
    }

    fn stop(&self, signal: Signal) {
        let mut crew = self.lock();
        crew.0 = true;
        for pidfd in crew.1.iter().flatten() {
            // It fails only when the worker has just ended.
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Waits, but not longer than until all are to stop.
    fn wait(&self, delay: Duration) {
        let end = Instant::now() + delay;
        while !self.is_stopping() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
