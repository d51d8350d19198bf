//! Several processes, on every driver: how connections are shared, deaths of workers, channels, and a restart of all processes.
//!
//! Each test starts this program as the parent process, which starts the program again for each worker.
#![cfg(target_os = "linux")]

#[macro_use]
#[path = "../../drivers/tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::eventually;
use drivers::{Driver, Listening, Server, allowed_cpus};
use processes::{Ending, Prefork, Role, Signals, offer_sockets, take_over};
use protocol::{Cx, Input, Protocol};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, Socket, Type};

/// The environment variable with the task of a started program.
const TASK: &str = "DRIVERS_TEST_PREFORK";

/// A parent process under test.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts this test program, which does `task` in the test `name`.
    fn start(driver: Driver, name: &str, task: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{driver}::{name}"), "--nocapture"])
            .env(TASK, task)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { child, lines }
    }

    /// Reads lines up to one that contains `what`, and returns the rest of that line.
    fn told(&mut self, what: &str) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        let told = lines.find_map(|line| Some(line.split_once(what)?.1.to_owned()));
        told.unwrap_or_else(|| panic!("the program ended without {what:?}"))
    }

    fn address(&mut self) -> SocketAddr {
        self.told("listening on ").parse().unwrap()
    }

    /// Stops the program, and checks that it exits successfully.
    fn end(self) {
        kill(self.child.id(), Signal::TERM);
        self.end_of_itself();
    }

    fn end_of_itself(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process as i32).unwrap(), signal).unwrap();
}

/// Sends its process id, and echoes.
struct Greeter;

impl Protocol for Greeter {
    type Message = ();
    type Error = std::convert::Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.send(format!("{}\n", std::process::id()).as_bytes());
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        cx.send(input.take_all());
        Ok(())
    }
}

/// Runs the parent or a worker of a server of greeters.
fn greet(prefork: &Prefork, server: &Server) {
    match prefork.run("127.0.0.1:0", |address| println!("listening on {address}")) {
        Ok(Role::Worker { places, .. }) => {
            let server = server.serve_all(places, |_| Some(Greeter)).unwrap();
            Signals::catch()
                .unwrap()
                .then_stop(server, Duration::from_secs(5))
                .unwrap();
        }
        Ok(Role::Parent { restarts }) => println!("restarts {restarts}"),
        Err(error) => panic!("{error}"),
    }
}

/// Reads the greeting, and returns the process id and the connection.
fn greeting(mut stream: TcpStream) -> std::io::Result<(u32, TcpStream)> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut said = String::new();
    while !said.ends_with('\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        said.push(char::from(byte[0]));
    }
    Ok((said.trim().parse().unwrap(), stream))
}

/// Connects from a source address that follows from `number`, so that the kernel's hash spreads the connections.
fn connect(number: u32, to: SocketAddr) -> TcpStream {
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 2, 0, 1)) + number);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// One accept queue for all workers or one for each, as the task says.
fn prefork(workers: usize, task: &str) -> Prefork {
    let prefork = Prefork::new(workers);
    if task.contains("own") {
        prefork.queue_per_worker()
    } else {
        prefork
    }
}

/// With an accept queue for each of three workers, each gets 300 of 900 connections, within five standard deviations of 14. With a shared
/// queue it is only certain that every client is served.
fn shares(driver: Driver) {
    if let Ok(task) = std::env::var(TASK) {
        return greet(&prefork(3, &task), &Server::on(driver));
    }
    for task in ["shared", "own"] {
        let mut program = Program::start(driver, "shares", task);
        let to = program.address();
        let open: Vec<_> = (0..900).map(|n| greeting(connect(n, to)).unwrap()).collect();
        let mut shares: HashMap<u32, u32> = HashMap::new();
        for (process, _) in &open {
            *shares.entry(*process).or_default() += 1;
        }
        assert_eq!(shares.values().sum::<u32>(), 900);
        if task == "own" {
            let even = shares.len() == 3 && shares.values().all(|share| (230..=370).contains(share));
            assert!(even, "{shares:?}");
        }
        drop(open);
        program.end();
    }
}

/// Workers with a shared accept queue that are full leave connections to the others.
fn full_workers(driver: Driver) {
    if let Ok(task) = std::env::var(TASK) {
        let server = Server::on(driver).configure(|config| config.max_connections = 5);
        return greet(&prefork(3, &task), &server);
    }
    let mut program = Program::start(driver, "full", "shared");
    let to = program.address();
    let open: Vec<_> = (0..15).map(|n| greeting(connect(n, to)).unwrap()).collect();
    for (process, _) in &open {
        assert_eq!(open.iter().filter(|(other, _)| other == process).count(), 5);
    }
    drop(open);
    program.end();
}

/// Workers die under load: no client is refused, and only the connections of the dead workers are lost.
fn deaths(driver: Driver) {
    const CLIENTS: u64 = 4;
    const KILLED: u64 = 6;
    if let Ok(task) = std::env::var(TASK) {
        return greet(&prefork(2, &task).young_deaths(100), &Server::on(driver));
    }
    for task in ["shared", "own"] {
        let mut program = Program::start(driver, "deaths", task);
        let to = program.address();
        let over = AtomicBool::new(false);
        let [served, lost] = [AtomicU64::new(0), AtomicU64::new(0)];
        thread::scope(|scope| {
            for client in 0..CLIENTS as u32 {
                let (over, served, lost) = (&over, &served, &lost);
                scope.spawn(move || {
                    let mut number = client * 10_000;
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        // A refused connection fails the test.
                        let stream = connect(number, to);
                        match greeting(stream) {
                            Ok(_) => served.fetch_add(1, Ordering::Relaxed),
                            Err(_) => lost.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                });
            }
            for _ in 0..KILLED {
                let before = served.load(Ordering::Relaxed);
                eventually("others are served", || served.load(Ordering::Relaxed) > before + 50);
                let (victim, stream) = loop {
                    if let Ok(greeted) = greeting(TcpStream::connect(to).unwrap()) {
                        break greeted;
                    }
                };
                kill(victim, Signal::KILL);
                drop(stream);
            }
            let before = served.load(Ordering::Relaxed);
            eventually("all are served again", || served.load(Ordering::Relaxed) > before + 500);
            over.store(true, Ordering::Relaxed);
        });
        let lost = lost.into_inner();
        assert!(lost <= CLIENTS * KILLED, "{lost} connections lost");
        kill(program.child.id(), Signal::TERM);
        assert_eq!(program.told("restarts ").parse(), Ok(KILLED));
        program.end_of_itself();
    }
}

/// Sends the list of CPUs on which its process may run.
struct Where;

impl Protocol for Where {
    type Message = ();
    type Error = std::convert::Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.send(format!("{:?}", allowed_cpus().unwrap()).as_bytes());
        cx.close();
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        Ok(())
    }
}

/// Each worker is pinned to a CPU, and gets the connections whose SYN that CPU received: on loopback, those of clients on that CPU.
fn cpus(driver: Driver) {
    let all = allowed_cpus().unwrap();
    let [one, two, ..] = all[..] else {
        return eprintln!("SKIPPED: one CPU");
    };
    if std::env::var_os(TASK).is_none() {
        let mut program = Program::start(driver, "cpus", "serve");
        let to = program.address();
        let client = thread::spawn(move || {
            for cpu in [one, two].into_iter().cycle().take(20) {
                let mut set = CpuSet::new();
                set.set(cpu);
                sched_setaffinity(None, &set).unwrap();
                let mut said = String::new();
                TcpStream::connect(to).unwrap().read_to_string(&mut said).unwrap();
                assert_eq!(said, format!("[{cpu}]"));
            }
        });
        client.join().unwrap();
        return program.end();
    }
    let prefork = Prefork::new(2).queue_per_worker().configure(|config| {
        // The reverse of the default order.
        config.cpus = vec![two, one];
        config.steer = true;
    });
    match prefork.run("127.0.0.1:0", |address| println!("listening on {address}")) {
        Ok(Role::Worker { places, .. }) => {
            let server = Server::on(driver).serve_all(places, |_| Some(Where)).unwrap();
            Signals::catch()
                .unwrap()
                .then_stop(server, Duration::from_secs(5))
                .unwrap();
        }
        Ok(Role::Parent { restarts }) => assert_eq!(restarts, 0),
        Err(error) => panic!("{error}"),
    }
}

/// Several listening places, a channel to each worker and to its replacement, and a parent that stops all workers.
fn channels(driver: Driver) {
    let Ok(task) = std::env::var(TASK) else {
        let path = std::env::temp_dir().join(format!("drivers-prefork-{}-{driver}", std::process::id()));
        let mut program = Program::start(driver, "channels", path.to_str().unwrap());
        let addresses: Vec<SocketAddr> = (0..2).map(|_| program.address()).collect();
        for address in &addresses {
            greeting(TcpStream::connect(address).unwrap()).unwrap();
        }
        let mut said = [0];
        UnixStream::connect(&path).unwrap().read_exact(&mut said).unwrap();
        let first = program.told("worker 1 is ");
        kill(first.parse().unwrap(), Signal::KILL);
        assert_eq!(program.told("gone is "), first);
        let second = program.told("worker 1 is ");
        assert_ne!(first, second);
        // A thread of the parent stops all workers.
        greeting(TcpStream::connect(addresses[0]).unwrap()).unwrap();
        UnixStream::connect(path.with_extension("stop")).unwrap();
        assert_eq!(program.told("restarts "), "1");
        program.end_of_itself();
        return;
    };
    let path = PathBuf::from(task);
    let reports = |number: usize| {
        let (ours, theirs) = UnixStream::pair()?;
        thread::spawn(move || {
            let mut name = String::new();
            BufReader::new(&ours).read_line(&mut name).unwrap();
            println!("worker {number} is {}", name.trim());
            // The worker sends nothing more; the channel ends when the worker dies.
            assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
            println!("gone is {}", name.trim());
        });
        Ok(vec![OwnedFd::from(theirs)])
    };
    let role = Prefork::new(2).inherit(reports).run_with(|parent| {
        for _ in 0..2 {
            println!("listening on {}", parent.listen("127.0.0.1:0")?);
        }
        parent.accept_in(UnixListener::bind(&path)?);
        assert_eq!((parent.local_addrs().len(), parent.sockets().len()), (2, 3));
        let (stopper, stop) = (parent.stopper(), UnixListener::bind(path.with_extension("stop"))?);
        thread::spawn(move || {
            stop.accept().unwrap();
            stopper.stop();
        });
        Ok(())
    });
    match role.unwrap() {
        Role::Worker { places, inherited, .. } => {
            let server = Server::on(driver).serve_all(places, |_| Some(Greeter)).unwrap();
            let mut channel = UnixStream::from(inherited.into_iter().next().unwrap());
            writeln!(channel, "{}", std::process::id()).unwrap();
            Signals::catch()
                .unwrap()
                .then_stop(server, Duration::from_secs(5))
                .unwrap();
        }
        Role::Parent { restarts } => {
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_file(path.with_extension("stop")).unwrap();
            println!("restarts {restarts}");
        }
    }
}

/// Answers a question with a name. Does not close before, even while draining.
struct Answerer(Arc<str>);

impl Protocol for Answerer {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        cx.send(self.0.as_bytes());
        cx.close();
        Ok(())
    }

    fn stop(&mut self, _: &mut Cx<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A parent with its workers is replaced by another under load: every client is accepted and answered, whether the number of workers
/// stays, grows or shrinks.
fn restart(driver: Driver) {
    if let Ok(task) = std::env::var(TASK) {
        return answer(driver, &task);
    }
    for (how, before, after) in [("shared", 2, 3), ("own", 2, 2), ("own", 3, 2), ("own", 2, 3)] {
        let path = std::env::temp_dir().join(format!("drivers-prefork-restart-{}-{driver}", std::process::id()));
        let path = path.to_str().unwrap();
        let mut old = Program::start(driver, "restart", &format!("old {how} {before} {path}"));
        let to = old.address();
        let over = AtomicBool::new(false);
        let answers: [AtomicU64; 2] = Default::default();
        let answered = |which: usize| answers[which].load(Ordering::Relaxed);
        let new = thread::scope(|scope| {
            for client in 0..4 {
                let (over, answers) = (&over, &answers);
                scope.spawn(move || {
                    let mut number = client * 10_000;
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        let mut stream = connect(number, to);
                        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                        stream.write_all(b"who?").unwrap();
                        let mut name = [0; 3];
                        stream.read_exact(&mut name).unwrap();
                        answers[usize::from(&name == b"new")].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            eventually("the old ones answer", || answered(0) > 100);
            let mut new = Program::start(driver, "restart", &format!("new {how} {after} {path}"));
            assert_eq!(new.address(), to);
            assert_eq!(old.told("restarts "), "0");
            let old = answered(0);
            eventually("the new ones answer", || answered(1) > 200);
            assert_eq!(answered(0), old, "the old workers still answer");
            over.store(true, Ordering::Relaxed);
            new
        });
        new.end();
        old.end_of_itself();
        std::fs::remove_file(path).unwrap();
    }
}

fn answer(driver: Driver, task: &str) {
    let words: Vec<&str> = task.split(' ').collect();
    let [name, how, workers, path] = words[..] else {
        panic!("{task}")
    };
    let role = prefork(workers.parse().unwrap(), how).run_with(|parent| {
        let taken = match take_over(path)? {
            Some(mut taken) => {
                for place in Listening::group(std::mem::take(&mut taken.sockets)) {
                    parent.accept_in(place);
                }
                Some(taken)
            }
            None => {
                parent.listen("127.0.0.1:0")?;
                None
            }
        };
        let stopper = parent.stopper();
        let offer = offer_sockets(path, &parent.sockets(), move || stopper.stop())?;
        parent.when_stopped(move || offer.withdraw());
        println!("listening on {}", parent.local_addrs()[0]);
        taken.map_or(Ok(()), |taken| taken.ready())
    });
    match role.unwrap() {
        Role::Worker { places, .. } => {
            let name: Arc<str> = name.into();
            let factory = move |_: &protocol::Peer<'_, ()>| Some(Answerer(Arc::clone(&name)));
            let server = Server::on(driver).serve_all(places, factory).unwrap();
            let stats = Signals::catch()
                .unwrap()
                .then_stop(server, Duration::from_secs(10))
                .unwrap();
            assert_eq!(stats.stopped, 0, "{stats:?}");
        }
        Role::Parent { restarts } => println!("restarts {restarts}"),
    }
}

/// Draining workers serve their connections to the end, and new connections are refused: neither the parent nor its offer to a successor
/// keeps a listening socket open.
fn draining(driver: Driver) {
    let path = std::env::temp_dir().join(format!("drivers-draining-{}-{driver}", std::process::id()));
    if let Ok(task) = std::env::var(TASK) {
        let (how, path) = task.split_once(' ').unwrap();
        let role = prefork(2, how).run_with(|parent| {
            let address = parent.listen("127.0.0.1:0")?;
            let offer = offer_sockets(path, &parent.sockets(), || panic!("no successor takes the sockets"))?;
            parent.when_stopped(move || offer.withdraw());
            println!("listening on {address}");
            Ok(())
        });
        if let Role::Worker { places, .. } = role.unwrap() {
            let factory = |_: &protocol::Peer<'_, ()>| Some(Answerer(Arc::from("yes")));
            let server = Server::on(driver).serve_all(places, factory).unwrap();
            Signals::catch()
                .unwrap()
                .then_stop(server, Duration::from_secs(60))
                .unwrap();
        }
        return;
    }
    for how in ["shared", "own"] {
        let mut program = Program::start(driver, "draining", &format!("{how} {}", path.display()));
        let to = program.address();
        let mut inside: Vec<_> = (0..8).map(|number| connect(number, to)).collect();
        // Connections in an accept queue are reset when the workers stop; these were accepted.
        for stream in &mut inside {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        thread::sleep(Duration::from_millis(300));
        kill(program.child.id(), Signal::TERM);
        eventually("nobody can connect", || TcpStream::connect(to).is_err());
        assert!(take_over(&path).unwrap().is_none());
        for mut stream in inside {
            stream.write_all(b"who?").unwrap();
            let mut name = [0; 3];
            stream.read_exact(&mut name).unwrap();
            assert_eq!(&name, b"yes");
        }
        program.end_of_itself();
        std::fs::remove_file(&path).unwrap();
    }
}

/// An end that says when each of its phases begins. The first lasts as long as the task says.
struct Phases(Duration);

impl Ending for Phases {
    fn leave(&mut self) -> Duration {
        println!("leaving");
        self.0
    }

    fn drain(&mut self) -> Duration {
        println!("draining");
        Duration::from_secs(60)
    }
}

/// Until the first phase of an end is over, or a second signal arrives, connections are accepted and served; then they are refused. In one
/// process and as a worker of a parent.
fn phases(driver: Driver) {
    if let Ok(task) = std::env::var(TASK) {
        let (kind, millis) = task.split_once(' ').unwrap();
        let serve = |places| {
            let signals = Signals::catch().unwrap();
            let server = Server::on(driver)
                .serve_all(places, |_| Some(Answerer(Arc::from("yes"))))
                .unwrap();
            println!("serving");
            let delay = Duration::from_millis(millis.parse().unwrap());
            signals.then_stop_as(server, Phases(delay)).unwrap();
        };
        if kind == "alone" {
            let place = Server::on(driver).listen("127.0.0.1:0").unwrap();
            println!("listening on {}", place.local_addr().unwrap());
            return serve(vec![place]);
        }
        let is_worker = Prefork::is_worker();
        let role = Prefork::new(1).run("127.0.0.1:0", |address| println!("listening on {address}"));
        match role.unwrap() {
            Role::Worker { places, .. } => {
                assert!(is_worker);
                serve(places);
            }
            Role::Parent { .. } => assert!(!is_worker),
        }
        return;
    }
    for kind in ["alone", "crew"] {
        for (millis, hurries) in [(400, false), (600_000, true)] {
            let mut program = Program::start(driver, "phases", &format!("{kind} {millis}"));
            let to = program.address();
            program.told("serving");
            let begun = std::time::Instant::now();
            kill(program.child.id(), Signal::TERM);
            program.told("leaving");
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(b"who?").unwrap();
            let mut name = String::new();
            stream.read_to_string(&mut name).unwrap();
            assert_eq!(name, "yes");
            // The server waits for the end of a connection that it has closed.
            drop(stream);
            if hurries {
                kill(program.child.id(), Signal::TERM);
            }
            program.told("draining");
            let took = begun.elapsed();
            assert!(
                took < Duration::from_secs(30) && (hurries || took >= Duration::from_millis(400)),
                "{took:?}"
            );
            program.end_of_itself();
            assert!(TcpStream::connect(to).is_err());
        }
    }
}

on_every_driver! {
    phases: phases;
    draining: draining;
    shares: shares;
    full: full_workers;
    deaths: deaths;
    channels: channels;
    cpus: cpus;
    restart: restart;
}
