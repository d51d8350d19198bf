//! Attacks on RESP servers, over sockets, on every driver. Each test is named by its id in docs/security.md. It checks the answer, that the
//! connection then ends, and that an honest client of the same server is still served.

#[macro_use]
mod common;
#[path = "common/hosts.rs"]
mod hosts;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::eventually;
use driver_common::Config;
use driver_common::host::{Host, Hosted};
use proto_resp::{Caller, Client, ClientConfig, ClientError, Command, Misuse, Requester, Responder, ServerConfig};
use proto_resp::{Unanswered, Value};
use protocol::{Limits, Reason};

on_every_host! {
    r01_claimed_lengths_take_no_memory: claimed;
    r07_a_reply_to_nothing: unsolicited;
    r09_slow_clients: slow;
    r10_a_client_that_does_not_read: unread;
    r11_a_long_command_is_bounded: long;
    r12_other_protocols: other;
    r15_one_client_that_never_stops: endless;
    r16_two_that_could_wait_for_each_other: both;
}

type Answer = fn(&Command<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>;

/// A server and an honest client.
struct Scene {
    running: Box<dyn Hosted>,
    to: SocketAddr,
    honest: TcpStream,
}

/// Answers with the last argument, or with the name where there is none.
fn echo(command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    responder.bulk(command.iter().last().unwrap_or(command.name()))
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn with(limits: Limits) -> Config {
    let mut config = Config::default();
    config.limits = limits;
    config
}

impl Scene {
    fn new(host: &impl Host) -> Scene {
        Scene::with(host, ServerConfig::default(), Limits::default())
    }

    fn with(host: &impl Host, config: ServerConfig, limits: Limits) -> Scene {
        let config = Arc::new(config);
        let running = host.serve(with(limits), 1, move |_| {
            Some(proto_resp::Server::new(Arc::clone(&config), echo as Answer))
        });
        let to = running.address().unwrap();
        let mut scene = Scene {
            running,
            to,
            honest: connect(to),
        };
        scene.serves();
        scene
    }

    /// Checks that the honest client is served promptly.
    fn serves(&mut self) {
        let start = Instant::now();
        self.honest.write_all(b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n").unwrap();
        let mut reply = [0; 8];
        self.honest.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"$2\r\nhi\r\n");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    fn end(mut self) {
        self.serves();
        drop(self.honest);
        self.running.stop(Duration::from_secs(5));
    }
}

/// The answer up to the end of the stream.
fn answer(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(to);
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8(all).unwrap()
}

fn claimed(host: &impl Host) {
    let scene = Scene::new(host);
    for claim in [
        "*99999999\r\n",
        "*1\r\n$9999999999\r\n",
        "*1\r\n$99999999999999999999\r\n",
        "*2\r\n$4\r\nECHO\r\n$1048576\r\n",
    ] {
        let answer = answer(scene.to, claim.as_bytes());
        assert!(
            answer.starts_with("-ERR Protocol error: ") && answer.ends_with("\r\n"),
            "{claim}: {answer}"
        );
    }
    // Bytes that are allowed but do not arrive cost nothing: these connections all stay open.
    let open: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(scene.to);
            stream.write_all(b"*2\r\n$4\r\nECHO\r\n$1000000\r\n").unwrap();
            stream
        })
        .collect();
    scene.end();
    drop(open);
}

struct Asker(std::sync::mpsc::Sender<Option<ClientError>>);

impl Caller for Asker {
    type Message = std::convert::Infallible;
    type Ticket = ();

    fn ready(&mut self, _: Value, requester: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        requester.command((), "PING")
    }

    fn reply(&mut self, (): (), _: Value, _: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        Ok(())
    }

    fn closed(&mut self, error: Option<ClientError>, _: Reason, _: Unanswered<'_, ()>) {
        let _ = self.0.send(error);
    }
}

fn unsolicited(host: &impl Host) {
    use proto_resp::Violation;
    for (replies, violation) in [
        (&b"%0\r\n+PONG\r\n+PONG\r\n"[..], Violation::Unsolicited),
        (b"%0\r\n>2\r\n+a\r\n>1\r\n+a\r\n", Violation::NestedPush),
        (b"%0\r\n*99999999\r\n", Violation::TooManyItems),
        (b"%0\r\n+PONG\n", Violation::BareLf),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (report, seen) = std::sync::mpsc::channel();
        let to = listener.local_addr().unwrap();
        let limits = Limits::default().linger(Duration::from_millis(100));
        let running = host.connect(with(limits), to, move |_| {
            Client::new(Arc::new(ClientConfig::default()), Asker(report))
        });
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(replies).unwrap();
        let error = seen.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(error, Some(ClientError::Violation(violation)));
        drop(server);
        running.join();
    }
}

fn slow(host: &impl Host) {
    let mut config = ServerConfig::default();
    config.timeouts.command = Some(Duration::from_millis(300));
    config.timeouts.idle = Some(Duration::from_secs(60));
    let scene = Scene::with(host, config, Limits::default());
    let mut drip = connect(scene.to);
    drip.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    drip.write_all(b"*2\r\n$4\r\nECHO\r\n$100000\r\n").unwrap();
    let start = Instant::now();
    let mut all = Vec::new();
    let mut byte = [0; 256];
    loop {
        assert!(start.elapsed() < Duration::from_secs(10), "the client was not stopped");
        let _ = drip.write_all(b"x");
        match drip.read(&mut byte) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&byte[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(_) => {}
        }
    }
    assert_eq!(
        String::from_utf8(all).unwrap(),
        "-ERR the command did not end in time\r\n"
    );
    scene.end();
}

fn unread(host: &impl Host) {
    let limits = Limits::default().write_timeout(Some(Duration::from_millis(500)));
    let mut scene = Scene::with(host, ServerConfig::default(), limits);
    let mut greedy = connect(scene.to);
    greedy.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = b"*2\r\n$4\r\nECHO\r\n$60000\r\n".to_vec();
    command.resize(command.len() + 60_000, b'x');
    command.extend_from_slice(b"\r\n");
    // The client never reads: in the end its socket buffers are full, and the connection is reset.
    let start = Instant::now();
    while greedy.write_all(&command).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "the server keeps reading");
    }
    scene.serves();
    eventually("it is reset", || scene.running.stats().write_timeouts == 1);
    scene.end();
}

fn long(host: &impl Host) {
    let scene = Scene::new(host);
    let mut wire = b"*20\r\n".to_vec();
    for _ in 0..20 {
        wire.extend_from_slice(b"$100000\r\n");
        wire.resize(wire.len() + 100_000, b'x');
        wire.extend_from_slice(b"\r\n");
    }
    let answer = answer(scene.to, &wire);
    assert_eq!(answer, "-ERR Protocol error: a command that is too long\r\n");
    // A command within the limit is served completely.
    let mut stream = connect(scene.to);
    let mut command = b"*2\r\n$4\r\nECHO\r\n$1000000\r\n".to_vec();
    command.resize(command.len() + 1_000_000, b'x');
    command.extend_from_slice(b"\r\n");
    stream.write_all(&command).unwrap();
    let mut back = vec![0; 10 + 1_000_000 + 2];
    stream.read_exact(&mut back).unwrap();
    assert!(back.starts_with(b"$1000000\r\nxx") && back.ends_with(b"x\r\n"));
    scene.end();
}

fn other(host: &impl Host) {
    let scene = Scene::new(host);
    for hello in [
        &b"POST / HTTP/1.1\r\nHost: a\r\n\r\n*1\r\n$8\r\nFLUSHALL\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PING\r\n",
    ] {
        let answer = answer(scene.to, hello);
        assert!(
            answer.starts_with("-ERR Protocol error: something other than a command"),
            "{answer}"
        );
        assert_eq!(answer.matches("\r\n").count(), 1, "{answer}");
    }
    scene.end();
}

fn endless(host: &impl Host) {
    let mut scene = Scene::new(host);
    let to = scene.to;
    let talker = thread::spawn(move || {
        let mut stream = connect(to);
        let mut reader = stream.try_clone().unwrap();
        let drain = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let commands = b"*1\r\n$4\r\nPING\r\n".repeat(5000);
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            stream.write_all(&commands).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        drain.join().unwrap().unwrap()
    });
    while !talker.is_finished() {
        scene.serves();
        thread::sleep(Duration::from_millis(20));
    }
    assert!(talker.join().unwrap() > 100_000);
    scene.end();
}

/// Sends far more at once than the socket buffers hold, and gets as much back.
struct Burst {
    left: usize,
    report: std::sync::mpsc::Sender<(usize, Reason)>,
}

impl Caller for Burst {
    type Message = std::convert::Infallible;
    type Ticket = ();

    fn ready(&mut self, _: Value, requester: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        for _ in 0..self.left {
            requester.command((), &("ECHO", vec![b'x'; 9000]))?;
        }
        requester.close();
        Ok(())
    }

    fn reply(&mut self, (): (), _: Value, _: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        self.left -= 1;
        Ok(())
    }

    fn closed(&mut self, _: Option<ClientError>, reason: Reason, _: Unanswered<'_, ()>) {
        let _ = self.report.send((self.left, reason));
    }
}

fn both(host: &impl Host) {
    let scene = Scene::new(host);
    let (report, seen) = std::sync::mpsc::channel();
    let running = host.connect(Config::default(), scene.to, move |_| {
        Client::new(Arc::new(ClientConfig::default()), Burst { left: 1500, report })
    });
    assert_eq!(seen.recv_timeout(Duration::from_secs(20)), Ok((0, Reason::Closed)));
    running.join();
    scene.end();
}
