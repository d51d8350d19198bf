//! Messages from other threads and connections, on every driver.

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::eventually;
use drivers::{Driver, Server};
use protocol::{Cx, Input, Limits, Protocol, Sender};

/// The senders of all connections.
type Everybody = Arc<Mutex<Vec<Sender<usize>>>>;

/// For each received byte, posts that many messages to each connection, in turns. Sends `size` bytes for each message it gets.
struct Poster {
    everybody: Everybody,
    size: usize,
}

impl Protocol for Poster {
    type Message = usize;
    type Error = std::convert::Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        for count in input.take_all() {
            let everybody = self.everybody.lock().unwrap();
            for number in 0..usize::from(*count) {
                for sender in everybody.iter() {
                    sender.send(number).unwrap();
                }
            }
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, number: usize) -> Result<(), Self::Error> {
        cx.send(&vec![number as u8; self.size]);
        Ok(())
    }
}

fn serve(driver: Driver, limits: Limits, size: usize) -> drivers::Running<Poster> {
    let everybody = Everybody::default();
    let factory = move |peer: &protocol::Peer<'_, usize>| {
        everybody.lock().unwrap().push(peer.sender());
        Some(Poster {
            everybody: Arc::clone(&everybody),
            size,
        })
    };
    Server::on(driver).limits(limits).serve("127.0.0.1:0", factory).unwrap()
}

fn clients(server: &drivers::Running<Poster>, count: u64) -> Vec<TcpStream> {
    let to = server.local_addr().unwrap();
    let clients = (0..count).map(|_| TcpStream::connect(to).unwrap()).collect();
    let handle = server.handle();
    eventually("all are there", || handle.stats().accepted == count);
    clients
}

fn what_waits_at_once_is_one_write(driver: Driver) {
    let server = serve(driver, Limits::default(), 3);
    let mut clients = clients(&server, 10);
    clients[3].write_all(&[100]).unwrap();
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut said = [0; 300];
        client.read_exact(&mut said).unwrap();
        assert!((0..300).all(|at| usize::from(said[at]) == at / 3), "{said:?}");
    }
    drop(clients);
    let stats = server.stop(Duration::from_secs(5)).unwrap();
    assert_eq!((stats.messages, stats.writes), (1000, 10));
}

fn they_do_not_pile_up_before_they_are_sent(driver: Driver) {
    let limits = Limits::default().max_output(1 << 20);
    // The kernel buffers a few megabytes; 255 messages are a hundred.
    let server = serve(driver, limits, 400_000);
    let mut clients = clients(&server, 2);
    clients[0].write_all(&[255]).unwrap();
    let handle = server.handle();
    eventually("both are full", || handle.stats().over_limits == 2);
    let stats = handle.stats();
    // Each message is written before the next is handled, until the socket is full; then the output has room for three.
    assert!(stats.messages <= stats.writes + 2 * 3, "{stats:?}");
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    one_write: what_waits_at_once_is_one_write;
    bounded: they_do_not_pile_up_before_they_are_sent;
}
