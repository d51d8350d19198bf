//! Endpoints on UDP sockets, on every driver.

#[macro_use]
mod common;

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use drivers::{Driver, serve_datagrams};
use protocol::bytes::Bytes;
use protocol::{Datagram, Endpoint, EndpointCx, Reason, Transmit};

/// Echoes; answers `many` with three datagrams in one transmit and `later` at a deadline; ends with `bye`.
#[derive(Default)]
struct Echo {
    later: Option<(Instant, SocketAddr)>,
}

fn answer(cx: &mut EndpointCx<'_>, to: SocketAddr, payload: &'static [u8], segment_size: Option<NonZeroU16>) {
    let transmit = Transmit {
        to,
        payload: Bytes::from_static(payload),
        segment_size,
        ecn: None,
    };
    assert!(cx.transmit(transmit).is_ok());
}

impl Endpoint for Echo {
    type Message = SocketAddr;
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Self::Error> {
        match &*datagram.payload {
            b"many" => answer(cx, datagram.from, b"one two six!", NonZeroU16::new(4)),
            b"later" => self.later = Some((cx.now() + Duration::from_millis(20), datagram.from)),
            b"bye" => {
                answer(cx, datagram.from, b"bye", None);
                cx.close();
            }
            payload => {
                let payload = Bytes::copy_from_slice(payload);
                let transmit = Transmit {
                    to: datagram.from,
                    payload,
                    segment_size: None,
                    ecn: datagram.ecn,
                };
                assert!(cx.transmit(transmit).is_ok());
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.later.map(|(deadline, _)| deadline)
    }

    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Self::Error> {
        if let Some((_, to)) = self.later.take() {
            answer(cx, to, b"now", None);
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut EndpointCx<'_>, to: SocketAddr) -> Result<(), Self::Error> {
        answer(cx, to, b"message", None);
        Ok(())
    }
}

fn an_endpoint_answers_waits_and_ends(driver: Driver) {
    let (tell, told) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let make = |peer: &protocol::Peer<'_, SocketAddr>| {
            tell.send((peer.local().unwrap(), peer.sender())).unwrap();
            Echo::default()
        };
        serve_datagrams(driver, socket, make).unwrap()
    });
    let (to, sender) = told.recv().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(to).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || {
        let mut buffer = [0; 2000];
        let n = client.recv(&mut buffer).unwrap();
        buffer[..n].to_vec()
    };
    for size in [0, 1, 1000] {
        client.send(&vec![b'x'; size]).unwrap();
        assert_eq!(hear(), vec![b'x'; size]);
    }
    for n in 0..500_u16 {
        client.send(&n.to_be_bytes()).unwrap();
        assert_eq!(hear(), n.to_be_bytes());
    }
    client.send(b"many").unwrap();
    assert_eq!(
        [hear(), hear(), hear()],
        [b"one ".to_vec(), b"two ".to_vec(), b"six!".to_vec()]
    );
    client.send(b"later").unwrap();
    assert_eq!(hear(), b"now");
    sender.send(client.local_addr().unwrap()).unwrap();
    assert_eq!(hear(), b"message");
    client.send(b"bye").unwrap();
    assert_eq!(hear(), b"bye");
    assert_eq!(serving.join().unwrap(), Reason::Closed);
}

on_every_driver! {
    endpoint: an_endpoint_answers_waits_and_ends;
}
