//! Content from files over HTTP/2: in frames, as the windows allow, one stream beside the other.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch, Server, ServerConfig, StreamMessage};
use proto_http::{Misuse, Request, Responder};
use protocol::testing::Harness;
use protocol::{FilePiece, Peer, Protocol, Reason};

const LENGTH: usize = 300_000;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 7 % 251) as u8).collect()
}

fn file(name: &str, bytes: &[u8]) -> Arc<File> {
    let path = std::env::temp_dir().join(format!("proto-h2-{}-{name}", std::process::id()));
    File::create(&path).unwrap().write_all(bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    Arc::new(file)
}

/// A client that keeps the content and the end of each stream.
struct Client {
    connection: ClientConnection,
    scratch: Scratch,
    out: Vec<u8>,
    bodies: BTreeMap<u32, Vec<u8>>,
    ended: Vec<u32>,
    reset: Vec<u32>,
}

impl Client {
    fn new() -> Self {
        let (mut connection, mut out) = (ClientConnection::new(), Vec::new());
        connection.start(&Limits::DEFAULT, &mut out).unwrap();
        Self {
            connection,
            scratch: Scratch::new(),
            out,
            bodies: BTreeMap::new(),
            ended: Vec::new(),
            reset: Vec::new(),
        }
    }

    fn ask(&mut self, method: &str, path: &str) -> u32 {
        let head = Head::new(method, "http", "a", path);
        self.connection
            .request(head, &(), &Limits::DEFAULT, &mut self.out)
            .unwrap()
    }

    fn exchange<P: Protocol>(&mut self, server: &mut Harness<P>) {
        loop {
            let bytes = std::mem::take(&mut self.out);
            if !bytes.is_empty() {
                server.receive(&bytes);
            }
            server.pump();
            let sent = server.take_sent();
            if (sent.is_empty() && bytes.is_empty()) || server.ended().is_some() {
                return;
            }
            self.read(&sent);
        }
    }

    fn read(&mut self, mut input: &[u8]) {
        let limits = &Limits::DEFAULT;
        while let Some(event) = self
            .connection
            .next(limits, &mut input, &mut self.scratch, &mut self.out)
            .unwrap()
        {
            match event {
                ClientEvent::Data { stream, data } => {
                    self.bodies.entry(stream).or_default().extend_from_slice(data);
                    let length = data.len();
                    self.connection.consume(stream, length, limits, &mut self.out).unwrap();
                }
                ClientEvent::Response { stream, end: true, .. } | ClientEvent::End { stream, .. } => {
                    self.ended.push(stream)
                }
                ClientEvent::Reset { stream, .. } => self.reset.push(stream),
                _ => {}
            }
        }
    }
}

type Answer = fn(&Arc<File>, &Request<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>;

fn server(file: Arc<File>, answer: Answer) -> Harness<impl Protocol<Message = StreamMessage<Infallible>>> {
    let make = |peer: &Peer<'_, StreamMessage<Infallible>>| {
        let factory = move |_: &Peer<'_, Infallible>| {
            let file = Arc::clone(&file);
            Some(move |request: &Request<'_>, responder: &mut Responder<'_, '_>| answer(&file, request, responder))
        };
        Some(Server::new(Arc::new(ServerConfig::default()), factory, peer))
    };
    Harness::accept(protocol::Limits::default(), make).unwrap()
}

#[test]
fn files_go_out_as_the_windows_allow() {
    let bytes = content();
    let mut server = server(file("windows", &bytes), |file, request, responder| {
        let whole = FilePiece::new(Arc::clone(file), 0, LENGTH as u64);
        let length = (request.path() == "/known").then_some(LENGTH as u64 + 10);
        responder.start(200, &(), length)?;
        responder.write(b"<")?;
        responder.write_file(whole.clone().split_to(100_000))?;
        responder.write(b"in between"[..8].as_ref())?;
        let mut rest = whole;
        rest.advance(100_000);
        responder.write_file(rest)?;
        responder.write(b">")?;
        responder.finish()
    });
    let mut client = Client::new();
    let streams = [
        client.ask("GET", "/known"),
        client.ask("GET", "/unknown"),
        client.ask("HEAD", "/known"),
    ];
    client.exchange(&mut server);
    let expected = [b"<", &bytes[..100_000], b"in betwe", &bytes[100_000..], b">"].concat();
    for stream in &streams[..2] {
        assert!(client.bodies[stream] == expected, "{stream}");
    }
    assert!(!client.bodies.contains_key(&streams[2]));
    client.ended.sort_unstable();
    assert_eq!((&client.ended[..], server.ended()), (&streams[..], None));
}

/// RFC 9113 section 8.1.1: the announced length is kept; the stream fails, not the connection.
#[test]
fn more_content_than_announced_is_refused() {
    let mut server = server(file("refused", b"0123456789"), |file, _, responder| {
        let piece = |length| FilePiece::new(Arc::clone(file), 0, length);
        assert_eq!(responder.write_file(piece(1)), Err(Misuse::OutOfTurn));
        responder.start(200, &(), Some(4))?;
        assert_eq!(responder.write_file(piece(5)), Err(Misuse::BodyTooLong));
        responder.write_file(piece(4))?;
        responder.write_file(piece(1))
    });
    let mut client = Client::new();
    let stream = client.ask("GET", "/");
    client.exchange(&mut server);
    assert_eq!((&client.reset[..], server.ended()), (&[stream][..], None));
}

/// A frame that was announced cannot be taken back, so the connection ends with the file.
#[test]
fn a_short_file_ends_the_connection() {
    let mut server = server(file("short", &content()), |file, _, responder| {
        responder.start(200, &(), Some(LENGTH as u64 + 1))?;
        responder.write_file(FilePiece::new(Arc::clone(file), 0, LENGTH as u64 + 1))?;
        responder.finish()
    });
    let mut client = Client::new();
    let stream = client.ask("GET", "/");
    client.exchange(&mut server);
    assert_eq!(server.ended(), Some(Reason::File(ErrorKind::UnexpectedEof)));
    assert!(!client.ended.contains(&stream));
    assert!(content().starts_with(&client.bodies[&stream]));
}
