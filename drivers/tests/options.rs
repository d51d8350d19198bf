//! The effects of socket options, on every driver.
#![cfg(target_os = "linux")]

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::eventually;
use drivers::{Config, Connect, Driver, Running, Server};
use protocol::{Cx, Input, Protocol, Reason};

/// Echoes.
struct Echo;

impl Protocol for Echo {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        cx.send(input.take_all());
        Ok(())
    }
}

fn serve(driver: Driver, configure: impl FnOnce(&mut Config)) -> (Running<Echo>, SocketAddr) {
    let server = Server::on(driver).configure(configure);
    let running = server.serve("127.0.0.1:0", |_| Some(Echo)).unwrap();
    let address = running.local_addr().unwrap();
    (running, address)
}

fn echoes(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

fn defers(driver: Driver) {
    let (server, to) = serve(driver, |config| {
        config.socket.defer_accept = Some(Duration::from_secs(3));
    });
    let handle = server.handle();
    let begun = Instant::now();
    let (mut talks, silent) = (TcpStream::connect(to).unwrap(), TcpStream::connect(to).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(handle.stats().accepted, 0);
    echoes(&mut talks);
    assert_eq!(handle.stats().accepted, 1);
    assert!(begun.elapsed() < Duration::from_millis(2900), "the machine is too slow");
    // A silent client is accepted in the end.
    eventually("the silent one is accepted", || handle.stats().accepted == 2);
    assert!(begun.elapsed() >= Duration::from_millis(2900), "{:?}", begun.elapsed());
    drop((talks, silent));
    server.stop(Duration::from_secs(5)).unwrap();
}

fn listens_on_v6_only(driver: Driver) {
    let only = |config: &mut Config| config.socket.only_v6 = true;
    let server = Server::on(driver).configure(only).threads(2);
    // A port that is free for IPv6 may be taken for IPv4.
    let mut pairs = (0..100).map(|_| {
        let v6 = server.serve((Ipv6Addr::UNSPECIFIED, 0), |_| Some(Echo)).unwrap();
        let port = v6.local_addr().unwrap().port();
        (v6, server.serve(("0.0.0.0", port), |_| Some(Echo)), port)
    });
    let (v6, v4, port) = pairs.find(|(_, v4, _)| v4.is_ok()).unwrap();
    let v4 = v4.unwrap();
    echoes(&mut TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap());
    echoes(&mut TcpStream::connect(("127.0.0.1", port)).unwrap());
    for server in [v6, v4] {
        assert_eq!(server.stop(Duration::from_secs(5)).unwrap().accepted, 1);
    }
}

/// Asks for an echo, and reports the result.
struct Asker(Sender<Result<Vec<u8>, Reason>>);

impl Protocol for Asker {
    type Message = ();
    type Error = std::convert::Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.send(b"ask");
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        if input.len() >= 3 {
            self.0.send(Ok(input.take_all().to_vec())).unwrap();
            cx.close();
        }
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        let _ = self.0.send(Err(reason));
    }
}

fn ask(driver: Driver, connect: Connect) -> Receiver<Result<Vec<u8>, Reason>> {
    let (tell, told) = channel();
    let client = Server::on(driver).connect(connect, move |_| Asker(tell)).unwrap();
    client.join().unwrap();
    told
}

fn comes_from_an_address_of_its_own(driver: Driver) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let free = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap();
    let (tell, told) = channel();
    let server = Server::on(driver);
    let server = server.serve_on(listener, move |peer| {
        tell.send(peer.remote().unwrap()).unwrap();
        Some(Echo)
    });
    let server = server.unwrap();
    for local in [SocketAddr::from(([127, 0, 0, 8], 0)), free] {
        let answers = ask(driver, Connect::new(to).local(local));
        assert_eq!(answers.recv().unwrap(), Ok(b"ask".to_vec()));
        let seen = told.recv().unwrap();
        assert_eq!(seen.ip(), local.ip());
        assert!(local.port() == 0 || seen.port() == local.port(), "{seen}");
    }
    // Addresses of other hosts or of another family cannot be bound.
    for local in ["192.0.2.1:0", "[::1]:0"] {
        let answers = ask(driver, Connect::new(to).local(local.parse().unwrap()));
        assert!(matches!(answers.recv().unwrap(), Err(Reason::Io(_))));
    }
    server.stop(Duration::from_secs(5)).unwrap();
}

/// Set in the process that has its own network namespace with Fast Open enabled.
const ALONE: &str = "DRIVERS_TEST_FAST_OPEN";

/// Connects twice: the first time the client gets the server's cookie, and the second time its question is in the SYN.
fn opens_fast(driver: Driver) {
    if std::env::var_os(ALONE).is_none() {
        let command = format!(
            "ip link set lo up && echo 3 >/proc/sys/net/ipv4/tcp_fastopen && \
             exec '{}' --exact {driver}::fast_open --nocapture",
            std::env::current_exe().unwrap().display()
        );
        let network = |command: &str| {
            let mut unshare = Command::new("unshare");
            unshare.args(["--net", "--map-root-user", "sh", "-c", command]);
            unshare
        };
        if !network("ip link set lo up")
            .output()
            .is_ok_and(|output| output.status.success())
        {
            eprintln!("SKIPPED: no network namespace");
            return;
        }
        let output = network(&command).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let (server, to) = serve(driver, |config| config.socket.fast_open = Some(16));
    let served = || {
        let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let mut counters = names.split(' ').zip(values.split(' '));
        let (_, count) = counters.find(|(name, _)| *name == "TCPFastOpenPassive").unwrap();
        count.parse::<u64>().unwrap()
    };
    for (connect, fast) in [
        (Connect::new(to).fast_open(), 0),
        (Connect::new(to).fast_open(), 1),
        (Connect::new(to), 1),
    ] {
        assert_eq!(ask(driver, connect).recv().unwrap(), Ok(b"ask".to_vec()));
        assert_eq!(served(), fast);
    }
    // A refused connection is reported later, but still reported.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answers = ask(driver, Connect::new(nobody).fast_open());
    assert!(matches!(answers.recv().unwrap(), Err(Reason::Io(_))));
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    defer_accept: defers;
    only_v6: listens_on_v6_only;
    local: comes_from_an_address_of_its_own;
    fast_open: opens_fast;
}
