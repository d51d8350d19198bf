//! Messages posted to a connection before it is established.
#![cfg(target_os = "linux")]

use std::convert::Infallible;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use driver_epoll::Server;
use protocol::{Cx, Input, Protocol};
use rustix::net::{AddressFamily, SocketType};

/// Sends `c` when connected, and then each message.
struct Client;

impl Protocol for Client {
    type Message = u8;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b"c");
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, byte: u8) -> Result<(), Infallible> {
        cx.send(&[byte]);
        Ok(())
    }
}

/// A listener whose accept queue is full with the returned connection: the next client's SYN is dropped and repeated after a second.
fn full() -> (TcpListener, TcpStream) {
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let listener = TcpListener::from(listener);
    let first = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, first)
}

#[test]
fn early_messages_wait_for_the_connection() {
    let (listener, _first) = full();
    let (tell, told) = channel();
    let make = move |peer: &protocol::Peer<'_, u8>| {
        tell.send(peer.sender()).unwrap();
        Client
    };
    let client = Server::new().configure(|config| config.mailbox = 3);
    let client = client.connect(listener.local_addr().unwrap(), make).unwrap();
    let sender = told.recv().unwrap();
    for byte in b'0'..=b'3' {
        sender.send(byte).unwrap();
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(client.handle().stats().connected, 0);
    listener.accept().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"c012");
    drop(stream);
    // The message that exceeds the mailbox is counted as late.
    let stats = client.join().unwrap();
    assert_eq!((stats.connected, stats.messages, stats.messages_late), (1, 3, 1));
}

#[test]
fn early_messages_are_too_late_when_it_does_not_come() {
    let (listener, _first) = full();
    let (tell, told) = channel();
    let make = move |peer: &protocol::Peer<'_, u8>| {
        tell.send(peer.sender()).unwrap();
        Client
    };
    let client = Server::new().configure(|config| config.connect_timeout = Duration::from_millis(200));
    let client = client.connect(listener.local_addr().unwrap(), make).unwrap();
    told.recv().unwrap().send(b'0').unwrap();
    let stats = client.join().unwrap();
    assert_eq!((stats.io_errors, stats.messages, stats.messages_late), (1, 0, 1));
}
