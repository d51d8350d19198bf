//! Content from files, in memory: the framing of other content, and no lie about a file that is too short.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

use proto_http::{Misuse, Request, Responder, Server, ServerConfig};
use protocol::testing::Harness;
use protocol::{FilePiece, Reason};

fn file(bytes: &[u8], name: &str) -> Arc<File> {
    let path = std::env::temp_dir().join(format!("proto-http-{}-{name}", std::process::id()));
    File::create(&path).unwrap().write_all(bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    Arc::new(file)
}

/// What an answer that `answer` writes looks like, and how the connection has ended.
fn answer(
    request: &str,
    answer: impl FnMut(&Request<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>,
) -> (String, Option<Reason>) {
    let config = Arc::new(ServerConfig::default());
    let mut client = Harness::new(Server::new(config, answer));
    client.receive(request.as_bytes());
    (String::from_utf8(client.take_sent()).unwrap(), client.ended())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// RFC 9112 sections 6.2 and 7.1, RFC 9110 sections 9.3.2 and 15.4.5.
#[test]
fn content_from_a_file_is_framed_as_any_other() {
    let content = file(b"0123456789", "framed");
    let piece = |offset, length| FilePiece::new(Arc::clone(&content), offset, length);
    let known = |request: &str, status: u16| {
        answer(request, |_, responder| {
            responder.start(status, &(), Some(7))?;
            responder.write(b"<")?;
            responder.write_file(piece(2, 5))?;
            responder.write_file(piece(0, 0))?;
            responder.write(b">")?;
            responder.finish()
        })
    };
    assert_eq!(known(GET, 200).0, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<23456>");
    let head = known("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200).0;
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(
        known(GET, 304).0,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"
    );
    let chunked = |request: &str| {
        answer(request, |_, responder| {
            responder.start(200, &(), None)?;
            responder.write_file(piece(0, 10))?;
            responder.write_file(piece(9, 1))?;
            responder.finish()
        })
        .0
    };
    assert_eq!(
        chunked(GET),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\n9\r\n0\r\n\r\n"
    );
    assert!(chunked("GET / HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n01234567899"));
}

#[test]
fn more_content_than_announced_is_refused() {
    let content = file(b"0123456789", "refused");
    let mut seen = Vec::new();
    answer(GET, |_, responder| {
        let piece = |length| FilePiece::new(Arc::clone(&content), 0, length);
        seen.push(responder.write_file(piece(1)));
        responder.start(200, &(), Some(4))?;
        seen.push(responder.write_file(piece(5)));
        seen.push(responder.write_file(piece(u64::MAX)));
        seen.push(responder.write_file(piece(4)));
        seen.push(responder.write_file(piece(1)));
        responder.finish()
    });
    let (long, done) = (Err(Misuse::BodyTooLong), Ok(()));
    assert_eq!(seen, [Err(Misuse::OutOfTurn), long, long, done, long]);
}

/// The next answer does not stand in for the bytes that are missing (RFC 9112 section 8).
#[test]
fn a_short_file_ends_the_connection() {
    let content = file(b"0123456789", "short");
    let config = Arc::new(ServerConfig::default());
    let mut client = Harness::new(Server::new(
        config,
        |_: &Request<'_>, responder: &mut Responder<'_, '_>| {
            responder.start(200, &(), Some(200_000))?;
            responder.write_file(FilePiece::new(Arc::clone(&content), 0, 200_000))?;
            responder.finish()
        },
    ));
    client.receive(format!("{GET}{GET}").as_bytes());
    assert_eq!(client.ended(), Some(Reason::File(ErrorKind::UnexpectedEof)));
    assert!(client.was_reset());
    assert_eq!(
        client.take_sent().windows(4).filter(|bytes| bytes == b"HTTP").count(),
        1
    );
}
