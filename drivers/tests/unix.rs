//! Sockets that are handed to a driver: Unix sockets, listening sockets and connections.
#![cfg(unix)]

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use drivers::{Driver, Server};
use protocol::{Cx, Input, Protocol};

struct Echo;

impl Protocol for Echo {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        cx.send(input.take_all());
        Ok(())
    }
}

fn echoes(mut stream: impl Read + Write) {
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

fn serves_a_unix_socket(driver: Driver) {
    let path = std::env::temp_dir().join(format!("drivers-test-{}-{driver}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::on(driver).threads(2).serve_on(listener, |peer| {
        assert_eq!(peer.remote(), None);
        Some(Echo)
    });
    let server = server.unwrap();
    assert_eq!(server.local_addr(), None);
    for _ in 0..10 {
        echoes(UnixStream::connect(&path).unwrap());
    }
    let stats = server.stop(Duration::from_secs(5)).unwrap();
    assert_eq!(stats.closed, 10);
    std::fs::remove_file(&path).unwrap();
}

fn serves_a_socket_that_listens(driver: Driver) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::on(driver)
        .threads(2)
        .serve_on(listener, |_| Some(Echo))
        .unwrap();
    assert_eq!(server.local_addr(), Some(address));
    for _ in 0..10 {
        echoes(TcpStream::connect(address).unwrap());
    }
    server.stop(Duration::from_secs(5)).unwrap();
}

fn adopts_connected_sockets(driver: Driver) {
    // A driver that serves only one end of a socket pair.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let running = Server::on(driver)
        .adopt(theirs, |peer| {
            assert_eq!((peer.remote(), peer.local()), (None, None));
            Echo
        })
        .unwrap();
    echoes(&ours);
    // Beside it, a connection accepted by the test.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, from) = listener.accept().unwrap();
    let adopted = running.handle().adopt(accepted, move |peer| {
        assert_eq!(peer.remote(), Some(from));
        Echo
    });
    assert!(adopted);
    echoes(&client);
    echoes(&ours);
    drop((ours, client));
    let stats = running.join().unwrap();
    assert_eq!((stats.connected, stats.closed, stats.active), (2, 2, 0));
}

fn tells_of_sockets_that_cannot_be_adopted(driver: Driver) {
    struct Told(std::sync::mpsc::Sender<protocol::Reason>);
    impl Protocol for Told {
        type Message = ();
        type Error = std::convert::Infallible;
        fn received(&mut self, _: &mut Cx<'_>, _: &mut Input<'_>) -> Result<(), Self::Error> {
            Ok(())
        }
        fn closed(&mut self, reason: protocol::Reason) {
            self.0.send(reason).unwrap();
        }
    }
    let (tell, told) = std::sync::mpsc::channel();
    // A regular file cannot be polled.
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let running = Server::on(driver).adopt(file, |_| Told(tell)).unwrap();
    assert!(matches!(told.recv().unwrap(), protocol::Reason::Io(_)));
    assert_eq!(running.join().unwrap().io_errors, 1);
}

on_every_driver! {
    adopted_sockets: adopts_connected_sockets;
    sockets_that_are_none: tells_of_sockets_that_cannot_be_adopted;
    unix_socket: serves_a_unix_socket;
    listening_socket: serves_a_socket_that_listens;
}
