//! Attacks, each by its id in docs/security.md, and their effects.

mod over;

use std::time::Duration;

use over::certificates::{Authority, Valid};
use over::client::{Client, Echo, Setup};
use proto_tls::{Clients, Error, FaultKind, Identity, IdentityError, Waiting, provider};
use protocol::Reason;

/// S01: a client that sends nothing.
#[test]
fn s01_silence_before_the_first_byte() {
    let setup = Setup::new();
    let mut server = setup.accept(Echo);
    server.advance(Duration::from_millis(4999));
    assert_eq!(server.ended(), None);
    server.advance(Duration::from_millis(1));
    assert_eq!((server.ended(), server.was_reset()), (Some(Reason::Error), true));
    assert_eq!(server.error(), Some(&Error::Timeout(Waiting::FirstByte)));
    assert_eq!(setup.acceptor.stats().timeouts, 1);
}

/// S02: a client that sends its hello one byte at a time, and never all of it.
#[test]
fn s02_a_hello_that_trickles() {
    let setup = Setup::new();
    let hello = setup.client("localhost").say();
    let mut server = setup.accept(Echo);
    for byte in &hello[..hello.len() - 1] {
        server.receive(&[*byte]);
        server.advance(Duration::from_millis(5));
    }
    assert_eq!(server.ended(), None);
    server.advance(Duration::from_secs(10));
    assert_eq!(server.error(), Some(&Error::Timeout(Waiting::Handshake)));
}

/// S03: a handshake without end: a hello that announces a great length, in whole records and in records of one byte.
#[test]
fn s03_a_handshake_without_end() {
    for size in [1, 100, 16_000] {
        let setup = Setup::new();
        let mut server = setup.accept(Echo);
        let mut sent = 0;
        let mut first = true;
        while !server.is_half_closed() && sent < 1 << 20 {
            let mut payload = vec![0; size.max(4)];
            if first {
                payload[..4].copy_from_slice(&[1, 0, 0xff, 0xff]);
            } else {
                payload.truncate(size);
            }
            first = false;
            let record = over::client::record(22, &payload);
            sent += record.len();
            server.receive(&record);
            assert!(server.held() + server.protocol().held() <= 100_000);
        }
        assert!(sent < 100_000, "{sent} bytes in records of {size}");
        server.eof();
        assert_eq!(server.ended(), Some(Reason::Error));
    }
}

/// S04: HTTP without TLS gets an answer that says so.
#[test]
fn s04_plain_http() {
    for trickle in [false, true] {
        let setup = Setup::new();
        let mut server = setup.accept(Echo);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        if trickle {
            server.trickle(request);
        } else {
            server.receive(request);
        }
        assert!(server.sent().starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
        server.eof();
        assert_eq!(server.error(), Some(&Error::PlainHttp));
        assert_eq!(setup.acceptor.stats().plain_http, 1);
    }
}

/// S05: bytes that are not TLS are refused at the fifth, with an alert.
#[test]
fn s05_garbage() {
    for garbage in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"\x80\x2e\x01\x03\x01",
        b"\x00\x00\x00\x00\x00",
        b"\x16\x02\x00\x00\x05",
        b"\x16\x03\x01\xff\xff",
    ] {
        let setup = Setup::new();
        let mut server = setup.accept(Echo);
        server.receive(garbage);
        assert_eq!(server.sent()[..3], [21, 3, 3], "{garbage:?}");
        server.eof();
        let Some(Error::Tls(fault)) = server.error() else {
            panic!("{garbage:?}: {:?}", server.error())
        };
        assert_eq!(fault.kind(), FaultKind::Peer);
    }
}

/// S06: the stream is cut at each of its bytes, and never seems to have ended in order.
#[test]
fn s06_truncation_at_each_byte() {
    let setup = Setup::new();
    // The first connection measures the length of the stream; in each of the others it is cut at another byte.
    let mut length = 1;
    let mut cut = 0;
    while cut < length {
        let mut server = setup.accept(Echo);
        let mut client = setup.client("localhost");
        client.shake_hands(&mut server);
        let stream = [client.seal(b"ping"), client.close()].concat();
        length = stream.len();
        server.receive(&stream[..cut]);
        server.eof();
        assert_eq!(server.error(), Some(&Error::Truncated), "{cut}");
        assert_eq!(setup.closed(), Some(Reason::Io(std::io::ErrorKind::UnexpectedEof)));
        cut += 1;
    }
    let mut server = setup.accept(Echo);
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    server.receive(&[client.seal(b"ping"), client.close()].concat());
    server.eof();
    assert_eq!((server.error(), server.ended()), (None, Some(Reason::Closed)));
    assert_eq!(client.open(server.sent()), (b"ping".to_vec(), true));
}

/// S07: a flood of requests for new keys (RFC 8446 section 4.6.3).
#[test]
fn s07_key_updates_without_end() {
    let setup = Setup::new();
    let mut server = setup.accept(Echo);
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    let mut updates = 0;
    while !server.is_half_closed() && updates < 1000 {
        server.receive(&client.update_keys());
        client.open(&server.take_sent());
        updates += 1;
    }
    server.eof();
    assert!(updates < 100, "{updates}");
    let Some(Error::Tls(fault)) = server.error() else {
        panic!("{:?}", server.error())
    };
    assert_eq!(fault.kind(), FaultKind::Peer);
    // Some key updates among messages are allowed.
    let mut server = setup.accept(Echo);
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    for _ in 0..100 {
        server.receive(&client.update_keys());
        server.receive(&client.seal(b"ping"));
        assert_eq!(client.open(&server.take_sent()).0, b"ping");
    }
}

/// S08: a client of TLS 1.2 asks to renegotiate, which is how CVE-2009-3555 mixed two streams. It is refused, and may not ask often.
#[test]
fn s08_renegotiation() {
    let setup = Setup::new();
    let mut server = setup.accept(Echo);
    let mut client = setup.client_of("localhost", &rustls::version::TLS12);
    client.shake_hands(&mut server);
    // A well-behaved client cannot be made to send a handshake record under the keys of the connection. A plain record serves as well: it
    // cannot be decrypted, and the connection ends.
    server.receive(&over::client::record(22, &[1, 0, 0, 0]));
    server.eof();
    assert!(matches!(server.error(), Some(Error::Tls(_))), "{:?}", server.error());
    assert_eq!(setup.acceptor.stats().broken, 1);
}

/// S09: early data, which anybody can replay (RFC 8446 section 8), is not accepted.
#[test]
fn s09_early_data() {
    let setup = Setup::new();
    let (mut server, mut client) = (setup.accept(Echo), setup.client("localhost"));
    client.shake_hands(&mut server);
    // The tickets do not allow early data.
    let mut early = setup.client("localhost");
    assert!(!early.offers_early_data());
    let mut server = setup.accept(Echo);
    early.shake_hands(&mut server);
    assert_eq!(setup.acceptor.stats().resumed, 1);
}

/// S10: empty records cost little, and their number is limited.
#[test]
fn s10_empty_records() {
    let setup = Setup::new();
    let mut server = setup.accept(Echo);
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    // A well-behaved client sends none. These are not encrypted, and the first ends the connection.
    for _ in 0..100 {
        server.receive(&over::client::record(23, &[]));
    }
    server.eof();
    assert!(matches!(server.error(), Some(Error::Tls(_))));
}

/// S11: a record that cannot be authenticated ends the connection with an alert; the bytes before it are shown.
#[test]
fn s11_a_broken_seal() {
    let setup = Setup::new();
    let mut server = setup.accept(Echo);
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    let mut stream = [client.seal(b"good"), client.seal(b"bad")].concat();
    *stream.last_mut().unwrap() ^= 1;
    server.receive(&stream);
    server.eof();
    assert!(matches!(server.error(), Some(Error::Tls(fault)) if fault.kind() == FaultKind::Peer));
    assert_eq!(setup.bytes(), b"good");
    assert_eq!(setup.closed(), Some(Reason::Io(std::io::ErrorKind::InvalidData)));
}

/// S12: bytes behind close_notify are ignored (RFC 8446 section 6.1), and not even read.
#[test]
fn s12_more_after_the_end() {
    let setup = Setup::new();
    let mut server = setup.accept(over::client::Kind::Stays);
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    let more = over::client::record(23, &[0; 100]);
    server.receive(&[client.seal(b"all"), client.close(), more.clone()].concat());
    server.receive(&more);
    assert_eq!((setup.bytes(), server.error()), (b"all".to_vec(), None));
    assert!(!server.wants_input());
    assert_eq!(server.held(), 0);
}

/// S13: where a client certificate is required: a client without one, with one of another authority, or with an expired one.
#[test]
fn s13_clients_without_the_right_certificate() {
    let trusted = Authority::new("trusted");
    let setup = Setup::with(|config| config.clients = Clients::Must(trusted.authorities()));
    let provider = provider().unwrap();
    let other = Authority::new("other");
    for authority in [None, Some(&other)] {
        let mut server = setup.accept(Echo);
        let mut client = Client::of(&setup.clients_of(authority), "localhost");
        client.shake_hands(&mut server);
        server.eof();
        let Some(Error::Tls(fault)) = server.error() else {
            panic!("{:?}", server.error())
        };
        assert_eq!(fault.kind(), FaultKind::Certificate);
    }
    assert_eq!(setup.acceptor.stats().bad_certificates, 2);
    let mut server = setup.accept(Echo);
    let mut client = Client::of(&setup.clients_of(Some(&trusted)), "localhost");
    client.shake_hands(&mut server);
    server.receive(&client.seal(b"ping"));
    assert_eq!(client.open(&server.take_sent()).0, b"ping");
    assert_eq!(setup.acceptor.stats().client_certificates, 1);
    // An expired certificate is refused when it is loaded.
    let (chain, key) = trusted.issue(&["client"], Valid::Before);
    let expired = Identity::from_pem(chain.as_bytes(), key.as_bytes(), &provider);
    assert_eq!(expired.err(), Some(IdentityError::Expired(0)));
}

/// S14: after a reload, a client whose authority is no longer trusted is refused, even with a ticket.
#[test]
fn s14_an_authority_that_is_trusted_no_longer() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let setup = Setup::with(|config| config.clients = Clients::Must(old.authorities()));
    let shared = setup.clients_of(Some(&old));
    let shake = || {
        let mut server = setup.accept(Echo);
        let mut client = Client::of(&shared, "localhost");
        client.shake_hands(&mut server);
        client.open(&server.take_sent());
        server.eof();
        server
    };
    shake();
    assert_eq!(shake().error(), Some(&Error::Truncated));
    assert_eq!(setup.acceptor.stats().resumed, 1);
    let identities = setup.acceptor.identities();
    setup
        .acceptor
        .reload(identities, Clients::Must(new.authorities()))
        .unwrap();
    assert!(matches!(shake().error(), Some(Error::Tls(fault)) if fault.kind() == FaultKind::Certificate));
    assert_eq!(setup.acceptor.stats().resumed, 1);
}

/// S15: RUSTSEC-2024-0336 (CVE-2024-32650): close_notify within the handshake made rustls loop for ever.
#[test]
fn s15_close_notify_within_the_handshake() {
    let setup = Setup::new();
    let hello = setup.client("localhost").say();
    let mut server = setup.accept(Echo);
    server.receive(&hello);
    server.receive(&over::client::record(21, &[1, 0]));
    server.eof();
    assert!(server.ended().is_some());
}

/// S16: RUSTSEC-2024-0399 (CVE-2024-11738): a hello in pieces made rustls' Acceptor panic.
#[test]
fn s16_a_hello_in_pieces() {
    let setup = Setup::new();
    let hello = setup.client("localhost").say();
    let payload = &hello[5..];
    for size in [1, 2, 3, 7, 100] {
        let mut server = setup.accept(Echo);
        for piece in payload.chunks(size) {
            server.receive(&over::client::record(22, piece));
        }
        // The server's own flight follows.
        assert_eq!(server.sent().first(), Some(&22), "{size}");
        assert_eq!(server.ended(), None);
    }
    // An empty piece is against the rules (RFC 8446 section 5.1).
    let mut server = setup.accept(Echo);
    server.receive(&over::client::record(22, &[]));
    server.eof();
    assert!(matches!(server.error(), Some(Error::Tls(_))));
}
