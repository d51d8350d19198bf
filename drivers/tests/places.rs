//! One server with several listening sockets, on every driver.
#![cfg(unix)]

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use drivers::{Driver, Server};
use protocol::{Cx, Input, Protocol};

/// Sends the kind of socket that accepted it, and closes when its peer does.
#[derive(Debug)]
struct Place(String);

impl Protocol for Place {
    type Message = ();
    type Error = std::convert::Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.send(self.0.as_bytes());
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        Ok(())
    }
}

fn said(mut stream: impl Read + Write, expected: &str) {
    let mut said = vec![0; expected.len()];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), expected);
}

fn serves_them_all(driver: Driver) {
    let path = std::env::temp_dir().join(format!("drivers-places-{}-{driver}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let server = Server::on(driver).threads(2);
    let handed_over = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let places = vec![
        server.listen("127.0.0.1:0").unwrap(),
        UnixListener::bind(&path).unwrap().into(),
        server.listen("[::1]:0").unwrap(),
        handed_over.into(),
    ];
    let bound: Vec<_> = places.iter().filter_map(|place| place.local_addr()).collect();
    let server = server.serve_all(places, |peer| {
        let here = peer.local().map_or("a path".into(), |address| address.to_string());
        Some(Place(here))
    });
    let server = server.unwrap();
    assert_eq!(server.local_addrs(), bound);
    assert_eq!(server.local_addr(), Some(bound[0]));
    // So many connections that each thread gets some of each socket.
    for _ in 0..20 {
        said(UnixStream::connect(&path).unwrap(), "a path");
        for address in &bound {
            said(TcpStream::connect(address).unwrap(), &address.to_string());
        }
    }
    let stats = server.stop(Duration::from_secs(5)).unwrap();
    assert_eq!(stats.accepted, 80);
    // All sockets are closed.
    for address in &bound {
        TcpStream::connect(address).unwrap_err();
    }
    std::fs::remove_file(&path).unwrap();
}

fn one_that_does_not_listen_is_an_error(driver: Driver) {
    let server = Server::on(driver);
    let stream = UnixStream::pair().unwrap().0;
    let places = [
        server.listen("127.0.0.1:0").unwrap(),
        std::os::fd::OwnedFd::from(stream).into(),
    ];
    let refused = server.serve_all(places, |_| Some(Place(String::new()))).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

on_every_driver! {
    all: serves_them_all;
    no_listener: one_that_does_not_listen_is_an_error;
}
