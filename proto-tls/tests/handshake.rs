//! What both roles negotiate, and how the inner protocol sees the stream.

mod over;

use std::sync::Arc;
use std::time::Duration;

use over::certificates::{Authority, Key, Valid};
use over::client::{Client, Echo, Kind::Stays, Setup};
use proto_tls::{
    Acceptor, ClientConfig, Clients, ConfigError, Connector, Error, FaultKind, Files, Identity, IdentityError,
    InvalidName, NoFactory, ServerConfig, TicketKeys, Tls, Version, provider,
};
use protocol::testing::{Harness, Link, LinkConfig, splits};
use protocol::{Cx, Input, Protocol, Reason};

#[test]
fn every_split_of_a_stream_shows_the_same() {
    // Lengths below and above the size of a record.
    for length in [1, 5, 100] {
        let setup = Setup::new();
        let plain: Vec<u8> = (0..length).collect();
        let mut probe = setup.client("localhost");
        probe.shake_hands(&mut setup.accept(Echo));
        let sealed = [probe.seal(&plain), probe.close()].concat().len();
        for cut in 0..=sealed {
            let (mut server, mut client) = (setup.accept(Echo), setup.client("localhost"));
            client.shake_hands(&mut server);
            let stream = [client.seal(&plain), client.close()].concat();
            server.receive(&stream[..cut]);
            server.receive(&stream[cut..]);
            server.eof();
            assert_eq!(setup.bytes(), plain, "{cut}");
            assert_eq!((server.error(), server.ended()), (None, Some(Reason::Closed)), "{cut}");
            assert_eq!(client.open(&server.take_sent()), (plain.clone(), true), "{cut}");
        }
    }
}

#[test]
fn every_split_of_a_handshake_comes_to_the_same() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let setup = Setup::new();
        let hello = setup.client_of("localhost", version).say();
        // Each connection has a different hello of the same length.
        for pieces in splits(&hello) {
            let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
            let (mut server, mut client) = (setup.accept(Echo), setup.client_of("localhost", version));
            let hello = client.say();
            let mut rest = &hello[..];
            for length in lengths {
                let (piece, behind) = rest.split_at(length.min(rest.len()));
                server.receive(piece);
                rest = behind;
            }
            server.receive(rest);
            let flight = server.take_sent();
            client.open(&flight);
            client.shake_hands(&mut server);
            server.receive(&client.seal(b"ping"));
            assert_eq!(client.open(&server.take_sent()).0, b"ping");
        }
    }
}

#[test]
fn large_streams_come_whole_and_in_full_records() {
    let setup = Setup::new();
    let (mut server, mut client) = (setup.accept(Echo), setup.client("localhost"));
    client.shake_hands(&mut server);
    let plain: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let sealed = client.seal(&plain);
    let mut back = Vec::new();
    for part in sealed.chunks(70_001) {
        server.receive(part);
        back.extend(client.open(&server.take_sent()).0);
    }
    assert!(back == plain, "{} bytes", back.len());
    assert_eq!(server.held() + server.protocol().held(), 0);
    let one_answer = client.seal(&plain[..60_000]);
    server.receive(&one_answer);
    // 60,000 bytes need four records, in however many calls they were sent.
    assert_eq!(records(server.sent()), 4);
}

/// The number of records.
fn records(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(header) = bytes.first_chunk::<5>() {
        bytes = &bytes[5 + usize::from(u16::from_be_bytes([header[3], header[4]]))..];
        count += 1;
    }
    count
}

#[test]
fn messages_that_wait_at_once_make_one_record_and_one_write() {
    let setup = Setup::new();
    let mut sender = None;
    let mut factory = setup.acceptor.accept({
        let sent = Arc::new(std::sync::Mutex::new(None));
        sender = Some(Arc::clone(&sent)).or(sender);
        move |peer: &protocol::Peer<'_, Vec<u8>>, _: proto_tls::Session<'_>| {
            *sent.lock().unwrap() = Some(peer.sender());
            Some(Posts)
        }
    });
    let mut server = Harness::accept(protocol::Limits::default(), |peer| factory(peer)).unwrap();
    let mut client = setup.client("localhost");
    client.shake_hands(&mut server);
    let sender = sender.unwrap().lock().unwrap().take().unwrap();
    let writes = server.writes();
    for _ in 0..100 {
        sender.send(b"message".to_vec()).unwrap();
    }
    server.pump();
    assert_eq!((records(server.sent()), server.writes() - writes), (1, 1));
    assert_eq!(client.open(&server.take_sent()).0, b"message".repeat(100));
    assert_eq!(server.held() + server.protocol().held(), 0);
}

/// Sends posted messages.
struct Posts;

impl Protocol for Posts {
    type Message = Vec<u8>;
    type Error = std::convert::Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Vec<u8>) -> Result<(), Self::Error> {
        cx.send(&message);
        Ok(())
    }
}

#[test]
fn each_direction_ends_by_itself() {
    let setup = Setup::new();
    let (mut server, mut client) = (setup.accept(Stays), setup.client("localhost"));
    client.shake_hands(&mut server);
    // This side half-closes first, and goes on reading.
    server.post(b"shutdown".to_vec());
    assert_eq!(client.open(&server.take_sent()), (Vec::new(), true));
    assert!(server.is_half_closed());
    server.receive(&client.seal(b"still"));
    assert_eq!(setup.bytes(), b"still");
    server.receive(&client.close());
    assert_eq!((setup.seen().eofs, server.ended()), (1, None));
    server.post(b"close".to_vec());
    server.eof();
    assert_eq!(server.ended(), Some(Reason::Closed));
    // The peer half-closes first, and goes on reading.
    let (mut server, mut client) = (setup.accept(Stays), setup.client("localhost"));
    client.shake_hands(&mut server);
    server.receive(&client.close());
    assert_eq!(setup.seen().eofs, 1);
    server.post(b"still".to_vec());
    assert_eq!(client.open(&server.take_sent()), (b"still".to_vec(), false));
    server.post(b"close".to_vec());
    assert_eq!(client.open(&server.take_sent()), (Vec::new(), true));
    server.eof();
    assert_eq!((server.ended(), server.error()), (Some(Reason::Closed), None));
}

#[test]
fn a_client_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let setup = Setup::new();
    let name = |names: &[&str]| setup.authority.identity(names);
    let identities = vec![
        name(&["first.example"]),
        name(&["www.example.org", "example.org"]),
        name(&["*.example.org"]),
    ];
    setup.acceptor.reload(identities, Clients::Anonymous).unwrap();
    let shown = |asked: &str| {
        let (mut server, mut client) = (setup.accept(Echo), setup.client(asked));
        client.shake_hands(&mut server);
        let trusted = !client.tls.is_handshaking();
        let session = setup.seen().session.clone();
        (trusted, session.contains(&format!("server_name: Some({asked:?})")))
    };
    for asked in ["first.example", "www.example.org", "example.org", "other.example.org"] {
        assert_eq!(shown(asked), (true, true), "{asked}");
    }
    // A client that asks for an unknown name is shown the first certificate, which is not valid for that name.
    assert_eq!(shown("a.b.example.org"), (false, false));
    assert_eq!(setup.acceptor.stats().alerts, 1);
}

#[test]
fn both_agree_on_an_application_protocol_or_have_none() {
    let setup = Setup::new();
    let offering = |protocols: &[&str]| {
        let mut config = (*setup.clients_of(None)).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (mut server, mut client) = (setup.accept(Echo), Client::of(&Arc::new(config), "localhost"));
        client.shake_hands(&mut server);
        server.eof();
        let incompatible = matches!(server.error(), Some(Error::Tls(fault)) if fault.kind() == FaultKind::Incompatible);
        (client.tls.alpn_protocol().map(<[u8]>::to_vec), incompatible)
    };
    assert_eq!(offering(&["h2", "http/1.1"]), (Some(b"http/1.1".to_vec()), false));
    assert_eq!(offering(&[]), (None, false));
    assert_eq!(offering(&["h2"]), (None, true));
}

#[test]
fn sessions_are_resumed_by_all_who_have_the_keys() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let setup = Setup::new();
        let config = {
            let mut config = (*setup.clients_of(None)).clone();
            if version.version == rustls::ProtocolVersion::TLSv1_2 {
                config = rustls::ClientConfig::builder_with_provider(provider().unwrap())
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_root_certificates(roots(&setup.authority))
                    .with_no_client_auth();
            }
            Arc::new(config)
        };
        let other = |keys: Option<TicketKeys>| {
            let mut config = ServerConfig::new(provider().unwrap(), setup.acceptor.identities());
            config.tickets = keys;
            Acceptor::new(config).unwrap()
        };
        let sibling = other(Some(setup.acceptor.tickets().clone()));
        let exported = setup.acceptor.tickets().export();
        let successor = other(Some(TicketKeys::import(&provider().unwrap(), &exported).unwrap()));
        let stranger = other(None);
        let visit = |acceptor: &Acceptor| {
            let before = acceptor.stats().resumed;
            let (mut server, mut client) = (setup.accept_by(acceptor, Echo), Client::of(&config, "localhost"));
            client.shake_hands(&mut server);
            server.receive(&client.seal(b"ping"));
            assert_eq!(client.open(&server.take_sent()).0, b"ping");
            acceptor.stats().resumed > before
        };
        assert!(!visit(&setup.acceptor), "{version:?}");
        assert!(visit(&setup.acceptor), "{version:?}");
        assert!(visit(&sibling), "{version:?}");
        assert!(visit(&successor), "{version:?}");
        assert!(!visit(&stranger), "{version:?}");
    }
}

fn roots(authority: &Authority) -> rustls::RootCertStore {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    roots
}

#[test]
fn what_is_no_identity_is_refused_and_the_old_one_stays() {
    let setup = Setup::new();
    let provider = provider().unwrap();
    let (chain, key) = setup.authority.issue(&["localhost"], Valid::Now);
    let read = |chain: &str, key: &str| Identity::from_pem(chain.as_bytes(), key.as_bytes(), &provider).map(drop);
    assert_eq!(read(&chain, &key), Ok(()));
    assert_eq!(read("", &key), Err(IdentityError::NoCertificate));
    assert!(matches!(
        read(&chain[..chain.len() / 2], &key),
        Err(IdentityError::BrokenChain(_))
    ));
    assert!(matches!(read(&chain, ""), Err(IdentityError::BrokenKey(_))));
    assert!(matches!(
        read(&chain, &key[..key.len() / 2]),
        Err(IdentityError::BrokenKey(_))
    ));
    assert_eq!(read(&chain, &Key::new().pem()), Err(IdentityError::Mismatch));
    for (valid, error) in [
        (Valid::Before, IdentityError::Expired(0)),
        (Valid::Later, IdentityError::NotYetValid(0)),
    ] {
        let (chain, key) = setup.authority.issue(&["localhost"], valid);
        assert_eq!(read(&chain, &key), Err(error));
    }
    let (old, _) = setup.authority.issue(&["an issuer"], Valid::Before);
    assert_eq!(read(&(chain.clone() + &old), &key), Err(IdentityError::Expired(1)));
    assert_eq!(
        setup.acceptor.reload(Vec::new(), Clients::Anonymous),
        Err(ConfigError::NoIdentity)
    );
    let (mut server, mut client) = (setup.accept(Echo), setup.client("localhost"));
    client.shake_hands(&mut server);
    assert!(!client.tls.is_handshaking());
}

#[test]
fn files_are_read_again_all_of_them_or_none() {
    let folder = std::env::temp_dir().join(format!("proto-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let setup = Setup::new();
    let (chain, key) = setup.authority.issue(&["one.example"], Valid::Now);
    write("chain", &chain);
    write("key", &key);
    let files = Files {
        pairs: vec![(folder.join("chain"), folder.join("key"))],
        client_ca: None,
    };
    let provider = provider().unwrap();
    let acceptor = Acceptor::new(files.load(Arc::clone(&provider)).unwrap()).unwrap();
    let names = || acceptor.identities()[0].names();
    let stamp = files.stamp();
    // The certificate is renewed, but its key is not.
    let (chain, key) = setup.authority.issue(&["another.example"], Valid::Now);
    write("chain", &chain);
    assert!(files.reload(&acceptor, Arc::clone(&provider)).is_err());
    assert_eq!(names(), ["one.example"]);
    assert_ne!(files.stamp(), stamp);
    write("key", &key);
    files.reload(&acceptor, Arc::clone(&provider)).unwrap();
    assert_eq!(names(), ["another.example"]);
    let missing = Files {
        client_ca: Some(folder.join("missing")),
        ..files
    };
    let error = missing.reload(&acceptor, provider).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// Sends a question, and keeps the answer.
#[derive(Default)]
struct Ask {
    answer: Vec<u8>,
    closed: Option<Reason>,
}

impl Protocol for Ask {
    type Message = Vec<u8>;
    type Error = std::convert::Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.send(b"first ");
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        self.answer.extend_from_slice(input.take_all());
        if self.answer.ends_with(b"last") {
            cx.close();
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Vec<u8>) -> Result<(), Self::Error> {
        cx.send(&message);
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        self.closed = Some(reason);
    }
}

fn ask(setup: &Setup, change: impl FnOnce(&mut ClientConfig)) -> (Harness<Tls<Ask, NoFactory>>, Connector) {
    let mut config = ClientConfig::new(provider().unwrap(), setup.authority.roots());
    change(&mut config);
    let connector = Connector::new(config).unwrap();
    let tls = connector.connect("localhost", Ask::default()).unwrap();
    (Harness::new(tls), connector)
}

#[test]
fn a_client_talks_to_a_server() {
    for tls12 in [false, true] {
        let setup = Setup::with(|config| config.tls12 = tls12);
        let (mut client, connector) = ask(&setup, |config| config.tls12 = tls12);
        // Bytes sent before the handshake is done must wait.
        client.post(b"second ".to_vec());
        client.post(b"last".to_vec());
        let segment = 100;
        let config = LinkConfig {
            segment,
            ..LinkConfig::default()
        };
        let mut link = Link::new(client, setup.accept(Echo), config);
        link.run(Duration::from_secs(5));
        let tls = link.a.protocol();
        assert_eq!(tls.protocol().unwrap().answer, b"first second last");
        assert_eq!(tls.protocol().unwrap().closed, Some(Reason::Closed));
        assert_eq!(tls.session().unwrap().version(), Version::Tls13);
        assert_eq!(tls.session().unwrap().key_exchange(), Some("X25519MLKEM768"));
        assert_eq!(
            (link.a.ended(), link.b.ended()),
            (Some(Reason::Closed), Some(Reason::Closed))
        );
        assert_eq!((connector.stats().handshakes, connector.stats().failed()), (1, 0));
    }
}

#[test]
fn a_client_trusts_whom_it_is_told_to() {
    let setup = Setup::new();
    let outcome = |client: Harness<Tls<Ask, NoFactory>>| {
        let mut link = Link::new(client, setup.accept(Echo), LinkConfig::default());
        link.run(Duration::from_secs(5));
        let closed = link.a.protocol().protocol().unwrap().closed;
        match link.a.error() {
            Some(Error::Tls(fault)) => (Some(fault.kind()), closed),
            _ => (None, closed),
        }
    };
    let (stranger, _) = ask(&setup, |config| config.roots = Authority::new("other").roots());
    assert_eq!(outcome(stranger), (Some(FaultKind::Certificate), Some(Reason::Error)));
    let (unpinned, _) = ask(&setup, |config| config.pin = Some(Arc::new(|_| false)));
    assert_eq!(outcome(unpinned), (Some(FaultKind::Certificate), Some(Reason::Error)));
    let (pinned, _) = ask(&setup, |config| config.pin = Some(Arc::new(|chain| chain.len() == 1)));
    assert_eq!(outcome(pinned), (None, None));
    let connector = Connector::new(ClientConfig::new(provider().unwrap(), setup.authority.roots())).unwrap();
    let wrong = connector.connect("another.example", Ask::default()).unwrap();
    assert_eq!(
        outcome(Harness::new(wrong)),
        (Some(FaultKind::Certificate), Some(Reason::Error))
    );
    let no_name = connector.connect("no name", Ask::default()).err();
    assert_eq!(no_name, Some(InvalidName("no name".into())));
}

#[test]
fn a_client_bounds_what_waits_for_a_silent_server() {
    let setup = Setup::new();
    let (mut client, _) = ask(&setup, |config| config.limits.messages = 3);
    for _ in 0..4 {
        assert_eq!(client.error(), None);
        client.post(b"message".to_vec());
    }
    assert_eq!(client.error(), Some(&Error::TooManyMessages));
    let (mut client, _) = ask(&setup, |_| {});
    client.advance(Duration::from_secs(5));
    assert!(matches!(client.error(), Some(Error::Timeout(_))));
}
