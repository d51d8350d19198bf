//! The layers under the contract's rules: what the inner factory sees, which peers are refused, and the costs of a header.
#![cfg(feature = "protocol")]

mod behind;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use behind::ProxyLayer;
use proto_proxy::{Addresses, Announced, Command, Config, Header, HeaderWriter, Tlv, write_v1};
use protocol::testing::conformance::{self, InMemory, Layered, Simulated};
use protocol::testing::{Harness, splits};
use protocol::{Cx, Input, Peer, PeerSource, Protocol, Reason, Sender};

/// Sends the client's address that it was given, then echoes.
struct Whoami(Option<SocketAddr>);

impl Protocol for Whoami {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(format!("{:?}|", self.0).as_bytes());
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        cx.send(input.take_all());
        Ok(())
    }
}

/// A proxy at an address.
struct Proxy(&'static str);

impl<M: Send + 'static> PeerSource<M> for Proxy {
    fn remote(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }

    fn local(&self) -> Option<SocketAddr> {
        "192.0.2.9:80".parse().ok()
    }

    fn sender(&self) -> Sender<M> {
        Sender::new(Arc::new(Nobody), 0)
    }
}

struct Nobody;

impl<M: Send> protocol::Mailbox<M> for Nobody {
    fn send(&self, _: u64, message: M) -> Result<(), protocol::SendError<M>> {
        Err(protocol::SendError::Closed(message))
    }
}

fn whoami(peer: &Peer<'_, Infallible>, _: &Header<'_>) -> Option<Whoami> {
    Some(Whoami(peer.remote()))
}

fn v1() -> Vec<u8> {
    let addresses = Addresses::tcp("198.51.100.7:5555".parse().unwrap(), "203.0.113.1:443".parse().unwrap());
    write_v1(&mut [0; 107], &addresses).unwrap().to_vec()
}

fn v2() -> Vec<u8> {
    let addresses = Addresses::tcp(
        "[2001:db8::7]:5555".parse().unwrap(),
        "[2001:db8::1]:443".parse().unwrap(),
    );
    let mut memory = [0; 512];
    let mut writer = HeaderWriter::proxy(&mut memory, &addresses).unwrap();
    writer.tlv(&Tlv::Authority("example.org")).unwrap();
    writer.tlv(&Tlv::Checksum(0)).unwrap();
    writer.finish().to_vec()
}

fn local() -> Vec<u8> {
    HeaderWriter::local(&mut [0; 64]).unwrap().finish().to_vec()
}

#[test]
fn the_factory_sees_the_client_however_the_header_is_cut() {
    let headers = [
        (v1(), "Some(198.51.100.7:5555)|"),
        (v2(), "Some([2001:db8::7]:5555)|"),
        (local(), "Some(10.1.2.3:1000)|"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "Some(10.1.2.3:1000)|"),
    ];
    for (header, expected) in headers {
        let all = [&header[..], b"hello"].concat();
        for pieces in splits(&all) {
            let mut factory = Config::parse("10.0.0.0/8").unwrap().accept(whoami);
            let mut harness = Harness::new(factory(&Peer::new(&Proxy("10.1.2.3:1000"))).unwrap());
            for piece in pieces {
                harness.receive(piece);
            }
            assert_eq!(String::from_utf8_lossy(harness.sent()), format!("{expected}hello"));
            assert_eq!((harness.deadline(), harness.held()), (None, 0));
        }
    }
}

#[test]
fn the_factory_sees_the_header_and_may_refuse() {
    let only_org = |_: &Peer<'_, Infallible>, header: &Header<'_>| {
        (header.command() == Command::Proxy && header.authority()? == "example.com").then_some(Whoami(None))
    };
    let mut factory = Config::parse("::/0").unwrap().accept(only_org);
    let mut harness = Harness::new(factory(&Peer::new(&Proxy("[::1]:9"))).unwrap());
    harness.receive(&v2());
    assert_eq!((harness.ended(), harness.was_reset()), (Some(Reason::Error), true));
}

#[test]
fn p07_who_is_not_trusted_is_refused() {
    let mut factory = Config::parse("10.0.0.0/8, 192.0.2.1").unwrap().accept(whoami);
    for (proxy, trusted) in [
        ("10.9.9.9:1", true),
        ("[::ffff:10.9.9.9]:1", true),
        ("192.0.2.1:1", true),
        ("192.0.2.2:1", false),
        ("[2001:db8::1]:1", false),
        ("a Unix socket", false),
    ] {
        assert_eq!(factory(&Peer::new(&Proxy(proxy))).is_some(), trusted, "{proxy}");
    }
    let mut config = Config::parse("10.0.0.0/8").unwrap();
    config.trust_unix = true;
    assert!(config.accept(whoami)(&Peer::new(&Proxy("a Unix socket"))).is_some());
    assert!(Config::parse("10.0.0.0/8,nonsense").is_err());
}

/// proxy-protocol.txt section 2: a connection without a header is reset, and a header is bounded in time and size.
#[test]
fn p08_what_is_no_header_is_reset_unanswered() {
    let start = || {
        let mut factory = Config::parse("10.0.0.0/8").unwrap().accept(whoami);
        Harness::new(factory(&Peer::new(&Proxy("10.1.2.3:1000"))).unwrap())
    };
    for input in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01",
        b"PROXY TCP4 1.2.3.4",
        b"PROXY TCP5",
    ] {
        let mut harness = start();
        harness.receive(input);
        harness.advance(Duration::from_secs(5));
        assert_eq!(
            (harness.ended(), harness.was_reset()),
            (Some(Reason::Error), true),
            "{input:?}"
        );
        assert!(harness.sent().is_empty());
    }
    let mut harness = start();
    harness.receive(&v1()[..20]);
    harness.eof();
    assert_eq!((harness.ended(), harness.was_reset()), (Some(Reason::Error), true));
    let mut huge = v2();
    huge[14..16].copy_from_slice(&60_000_u16.to_be_bytes());
    let mut harness = start();
    harness.receive(&huge);
    assert_eq!(harness.ended(), Some(Reason::Error));
}

#[test]
fn p09_connections_are_counted_by_the_client() {
    let mut config = Config::parse("10.0.0.0/8").unwrap();
    config.max_per_address = Some(2);
    let mut factory = config.accept(whoami);
    let mut open = |header: &[u8]| {
        let mut harness = Harness::new(factory(&Peer::new(&Proxy("10.1.2.3:1000"))).unwrap());
        harness.receive(header);
        harness
    };
    let (first, second) = (open(&v1()), open(&v1()));
    assert_eq!((first.ended(), second.ended()), (None, None));
    assert_eq!(open(&v1()).ended(), Some(Reason::Error));
    // Other clients are counted separately, and the proxy itself is not counted.
    assert_eq!(open(&v2()).ended(), None);
    for _ in 0..3 {
        assert_eq!(open(&local()).ended(), None);
    }
    drop(first);
    assert_eq!(open(&v1()).ended(), None);
}

#[test]
fn a_proxy_announces_its_client_in_one_write() {
    let mut harness = Harness::new(Announced::new(v1(), Whoami(None)));
    assert_eq!(harness.writes(), 1);
    assert_eq!(harness.take_sent(), [&v1()[..], b"None|"].concat());
    harness.receive(b"hi");
    assert_eq!(harness.take_sent(), b"hi");
}

#[test]
fn the_contract_holds_behind_a_proxy() {
    let layer = ProxyLayer::new();
    conformance::run(&Layered {
        driver: InMemory,
        layer: layer.clone(),
    });
    for seed in 0..5 {
        conformance::run(&Layered {
            driver: Simulated::new(seed),
            layer: layer.clone(),
        });
    }
}
