//! Faults that occur in production, on every driver: each affects only the connections that it hits.

#[macro_use]
mod common;
#[path = "common/hosts.rs"]
mod hosts;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::eventually;
use driver_common::Config;
use driver_common::host::{Host, Hosted};
use protocol::{Cx, Input, Protocol};

/// Echoes. It panics on `!`, at the end of a connection that has sent `?`, and when dropped after `%`.
#[derive(Default)]
struct Fragile {
    doomed: bool,
    dropped_badly: bool,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!self.dropped_badly || thread::panicking(), "told to panic when dropped");
    }
}

impl Protocol for Fragile {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        let bytes = input.take_all();
        assert!(!bytes.contains(&b'!'), "told to panic");
        self.doomed |= bytes.contains(&b'?');
        self.dropped_badly |= bytes.contains(&b'%');
        cx.send(bytes);
        Ok(())
    }

    fn closed(&mut self, _: protocol::Reason) {
        assert!(!self.doomed, "told to panic at the end");
    }
}

fn serve(host: &impl Host, threads: usize, change: impl FnOnce(&mut Config)) -> (Box<dyn Hosted>, SocketAddr) {
    let mut config = Config::default();
    change(&mut config);
    let running = host.serve(config, threads, |_| Some(Fragile::default()));
    let address = running.address().unwrap();
    (running, address)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn echoes(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"ping")?;
    let mut back = [0; 4];
    stream.read_exact(&mut back)?;
    assert_eq!(&back, b"ping");
    Ok(())
}

fn a_panic_costs_one_connection(host: &impl Host) {
    let (server, to) = serve(host, 1, |_| {});
    let mut bystander = connect(to);
    echoes(&mut bystander).unwrap();
    for last in [b"!", b"?", b"%"] {
        let mut victim = connect(to);
        victim.write_all(last).unwrap();
        if last != b"!" {
            victim.read_exact(&mut [0]).unwrap();
            victim.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let seen = victim.read(&mut [0; 8]);
        assert!(matches!(seen, Ok(0) | Err(_)), "{seen:?}");
    }
    echoes(&mut bystander).unwrap();
    drop(bystander);
    let stats = server.stop(Duration::from_secs(5));
    assert_eq!(stats.panics, 3);
    assert_eq!(stats.active, 0);
}

fn a_full_server_lets_others_wait(host: &impl Host) {
    let (server, to) = serve(host, 1, |config| config.max_connections = 3);
    let mut inside: Vec<TcpStream> = (0..3).map(|_| connect(to)).collect();
    for stream in &mut inside {
        echoes(stream).unwrap();
    }
    let mut waiting = connect(to);
    waiting.write_all(b"ping").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let seen = waiting.read(&mut [0; 4]).unwrap_err();
    assert!(
        matches!(seen.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{seen}"
    );
    drop(inside.pop());
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut back = [0; 4];
    waiting.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
    for stream in &mut inside {
        echoes(stream).unwrap();
    }
    drop((inside, waiting));
    server.stop(Duration::from_secs(5));
}

fn an_address_gets_its_share(host: &impl Host) {
    let (server, to) = serve(host, 1, |config| config.max_per_address = Some(2));
    let mut inside: Vec<TcpStream> = (0..2).map(|_| connect(to)).collect();
    for stream in &mut inside {
        echoes(stream).unwrap();
    }
    assert!(echoes(&mut connect(to)).is_err());
    drop(inside.pop());
    eventually("a place is free", || server.stats().active == 1);
    echoes(&mut connect(to)).unwrap();
    drop(inside);
    let stats = server.stop(Duration::from_secs(5));
    assert_eq!((stats.accepted, stats.refused), (3, 1));
}

/// Many clients at once that reset, half-close, close or send slowly, at random.
fn storms_leave_nothing_behind(host: &impl Host) {
    let (server, to) = serve(host, 2, |_| {});
    let mut bystander = connect(to);
    let clients: Vec<_> = (0..4_u64)
        .map(|client| {
            thread::spawn(move || {
                let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(client + 1);
                for _ in 0..500 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let mut stream = connect(to);
                    match random >> 61 {
                        0 => {}
                        1 => stream.write_all(b"unread").unwrap(),
                        2 => stream.shutdown(std::net::Shutdown::Write).unwrap(),
                        3 => {
                            stream.write_all(b"some").unwrap();
                            stream.shutdown(std::net::Shutdown::Write).unwrap();
                            let mut back = Vec::new();
                            stream.read_to_end(&mut back).unwrap();
                            assert_eq!(back, b"some");
                        }
                        4 => {
                            // Unread input turns the close into a reset.
                            stream.write_all(&[b'x'; 100_000]).unwrap();
                            stream.read_exact(&mut [0]).unwrap();
                        }
                        _ => echoes(&mut stream).unwrap(),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    echoes(&mut bystander).unwrap();
    drop(bystander);
    eventually("every connection has ended", || server.stats().active == 0);
    let stats = server.stop(Duration::from_secs(5));
    assert_eq!(stats.accepted, 2001);
    assert_eq!(stats.closed + stats.io_errors, 2001, "{stats:?}");
}

fn stopping_ends_what_does_not_end_itself(host: &impl Host) {
    /// A protocol that does not end when the driver stops.
    struct Stubborn;
    impl Protocol for Stubborn {
        type Message = ();
        type Error = std::convert::Infallible;
        fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
            cx.send(input.take_all());
            Ok(())
        }
        fn stop(&mut self, _: &mut Cx<'_>) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let server = host.serve(Config::default(), 1, |_| Some(Stubborn));
    let mut stream = connect(server.address().unwrap());
    echoes(&mut stream).unwrap();
    let begun = Instant::now();
    let stopping = thread::spawn(move || server.stop(Duration::from_millis(300)));
    // It is served until the drain time is over.
    thread::sleep(Duration::from_millis(50));
    echoes(&mut stream).unwrap();
    let stats = stopping.join().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(stats.stopped, 1);
    assert!(stream.read(&mut [0]).is_err(), "the connection was not reset");
}

/// Set in the process that serves with few descriptors.
const SERVER: &str = "DRIVERS_TEST_FEW_DESCRIPTORS";

/// A server with 64 descriptors and 100 clients: accepted clients are served; the others wait or learn that their connection failed; when
/// some leave, others are accepted. The loop does not spin meanwhile.
fn want_of_descriptors(host: &impl Host) {
    if std::env::var_os(SERVER).is_some() {
        return serve_until_told(host);
    }
    let program = std::env::current_exe().unwrap();
    // A test runs in a thread that is named after it.
    let this = thread::current();
    let test = this.name().unwrap();
    let command = format!("ulimit -n 64; exec '{}' --exact {test} --nocapture", program.display());
    let mut server = Command::new("sh")
        .args(["-c", &command])
        .env(SERVER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut told = |what: &str| {
        let lines = lines.by_ref();
        lines
            .find_map(|line| Some(line.split_once(what)?.1.to_owned()))
            .unwrap()
    };
    let to: SocketAddr = told("listening on ").parse().unwrap();

    let mut clients: Vec<TcpStream> = (0..100).map(|_| connect(to)).collect();
    let served = clients.iter_mut().filter_map(|client| {
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        echoes(client).ok()
    });
    let served = served.count();
    assert!((20..=60).contains(&served), "{served} of 100 are served");
    drop(clients);
    echoes(&mut connect(to)).unwrap();

    drop(server.stdin.take());
    let pauses: u64 = told("pauses ").parse().unwrap();
    // The server waits 100 ms between two attempts; a spinning loop would make thousands.
    assert!((1..200).contains(&pauses), "{pauses} pauses");
    assert!(server.wait().unwrap().success());
}

fn serve_until_told(host: &impl Host) {
    let (server, to) = serve(host, 1, |_| {});
    println!("listening on {to}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    println!("pauses {}", server.stop(Duration::from_secs(5)).accept_pauses);
}

on_every_host! {
    panics: a_panic_costs_one_connection;
    full: a_full_server_lets_others_wait;
    per_address: an_address_gets_its_share;
    storms: storms_leave_nothing_behind;
    stopping: stopping_ends_what_does_not_end_itself;
    t07_few_descriptors: want_of_descriptors;
}
