//! Several threads get equal shares of the connections.
#![cfg(target_os = "linux")]

#[macro_use]
mod common;

use std::convert::Infallible;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use common::eventually;
use drivers::{Driver, Server};
use protocol::{Cx, Input, Protocol};
use socket2::{Domain, Socket, Type};

/// Sends a byte to each client.
struct Greeter;

impl Protocol for Greeter {
    type Message = ();
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b"!");
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }
}

/// Connects from a source address that follows from `number`.
fn connect(number: u32, to: SocketAddr) -> TcpStream {
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// The kernel chooses a connection's thread by a hash of its addresses with a secret that differs from run to run. Of 10,000 connections
/// a thread gets half with a standard deviation of 50, so the allowed 5 % are five of those.
fn split_evenly(driver: Driver) {
    const CONNECTIONS: u32 = 10_000;
    const AT_ONCE: u32 = 500;
    let server = Server::on(driver)
        .threads(2)
        .serve("127.0.0.1:0", |_| Some(Greeter))
        .unwrap();
    let (to, handle) = (server.local_addr().unwrap(), server.handle());
    for first in (0..CONNECTIONS).step_by(AT_ONCE as usize) {
        let mut open: Vec<TcpStream> = (first..first + AT_ONCE).map(|number| connect(number, to)).collect();
        for stream in &mut open {
            stream.read_exact(&mut [0]).unwrap();
        }
        eventually("all are counted", || {
            handle.stats().accepted == u64::from(first + AT_ONCE)
        });
    }
    let shares: Vec<u64> = handle.stats_by_thread().iter().map(|stats| stats.accepted).collect();
    assert_eq!(shares.len(), 2);
    assert!(
        shares.iter().all(|share| (4750..=5250).contains(share)),
        "uneven: {shares:?}"
    );
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    ten_thousand_connections_split_evenly_on_two_threads: split_evenly;
}
