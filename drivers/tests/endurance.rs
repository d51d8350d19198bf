//! Much data and many connections, on every driver: nothing is lost, and nothing leaks.

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::eventually;
use drivers::{Driver, Server};
use protocol::{Cx, Input, Protocol, Reason};

/// Echoes, and counts itself in and out.
struct Echo {
    alive: Arc<AtomicUsize>,
}

impl Echo {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Echo {
            alive: Arc::clone(alive),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Protocol for Echo {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        cx.send(input.take_all());
        Ok(())
    }
}

/// The number of open descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// A gibibyte of the bytes 0 to 255, written by one thread and compared by another.
fn echo_a_gibibyte(driver: Driver) {
    const TOTAL: usize = 1 << 30;
    const PIECE: usize = 1 << 18;
    let alive = Arc::default();
    let server = Server::on(driver)
        .serve("127.0.0.1:0", move |_| Some(Echo::new(&alive)))
        .unwrap();
    let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let expected: Vec<u8> = (0..PIECE).map(|i| i as u8).collect();
    let pieces = expected.clone();
    let writing = thread::spawn(move || {
        for _ in 0..TOTAL / PIECE {
            writer.write_all(&pieces).unwrap();
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut piece = vec![0; PIECE];
    for n in 0..TOTAL / PIECE {
        stream.read_exact(&mut piece).unwrap();
        assert!(piece == expected, "piece {n} differs");
    }
    assert_eq!(
        stream.read(&mut piece).unwrap(),
        0,
        "more bytes came back than were sent"
    );
    writing.join().unwrap();
    let stats = server.stop(Duration::from_secs(5)).unwrap();
    assert_eq!((stats.bytes_in, stats.bytes_out), (TOTAL as u64, TOTAL as u64));
}

fn exchange(to: SocketAddr, n: usize) {
    let mut stream = TcpStream::connect(to).unwrap();
    let word = n.to_be_bytes();
    stream.write_all(&word).unwrap();
    let mut back = [0; 8];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, word);
}

/// Opens this many connections at once, each this many times; half of the clients reset instead of closing.
fn reconnect(driver: Driver, connections: usize, times: usize) {
    let alive: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&alive);
    let server = Server::on(driver)
        .threads(2)
        .serve("127.0.0.1:0", move |_| Some(Echo::new(&counted)))
        .unwrap();
    let to = server.local_addr().unwrap();
    exchange(to, 0);
    eventually("the first connection is gone", || alive.load(Ordering::Relaxed) == 0);
    let before = descriptors();
    for time in 0..times {
        let mut open: Vec<TcpStream> = (0..connections).map(|_| TcpStream::connect(to).unwrap()).collect();
        for (n, stream) in open.iter_mut().enumerate() {
            stream.write_all(&(time * connections + n).to_be_bytes()).unwrap();
        }
        for (n, stream) in open.iter_mut().enumerate() {
            if n % 2 == 0 {
                let mut back = [0; 8];
                stream.read_exact(&mut back).unwrap();
                assert_eq!(back, (time * connections + n).to_be_bytes());
            }
            // The other half closes with unread input, which resets.
        }
    }
    eventually("all connections are gone", || alive.load(Ordering::Relaxed) == 0);
    eventually("all descriptors are closed", || descriptors() <= before);
    let stats = server.stop(Duration::from_secs(5)).unwrap();
    assert_eq!(stats.accepted as usize, connections * times + 1);
    assert_eq!((stats.closed + stats.io_errors) as usize, connections * times + 1);
    assert_eq!(stats.active, 0);
}

/// Clients on the driver itself open this many connections to a server on the same driver.
fn clients(driver: Driver) {
    struct Asker {
        done: Arc<AtomicUsize>,
    }
    impl Protocol for Asker {
        type Message = ();
        type Error = std::convert::Infallible;
        fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
            cx.send(b"ask");
            Ok(())
        }
        fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
            if input.len() == 3 && input.take_all() == b"ask" {
                cx.close();
            }
            Ok(())
        }
        fn closed(&mut self, reason: Reason) {
            assert_eq!(reason, Reason::Closed);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
    let alive = Arc::default();
    let server = Server::on(driver)
        .serve("127.0.0.1:0", move |_| Some(Echo::new(&alive)))
        .unwrap();
    let to = server.local_addr().unwrap();
    let done: Arc<AtomicUsize> = Arc::default();
    let count = Arc::clone(&done);
    let client = Server::on(driver).connect(to, move |_| Asker { done: count }).unwrap();
    let handle = client.handle();
    for _ in 0..499 {
        let count = Arc::clone(&done);
        if !handle.connect(to, move |_| Asker {
            done: Arc::clone(&count),
        }) {
            // All clients opened so far have ended, and the driver with them.
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    client.join().unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 500);
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    a_gibibyte_is_echoed: echo_a_gibibyte;
    clients_come_and_go: clients;
}

/// Counts the descriptors of the process, so no other test may run in it.
#[test]
#[ignore = "counts the descriptors of the whole process: run alone, as ci does"]
fn connections_come_and_go_without_a_leak() {
    for driver in Driver::ALL {
        reconnect(*driver, 256, 5);
        reconnect(*driver, 2000, 50);
    }
}
