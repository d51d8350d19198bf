//! HTTP/1.1: heads, bodies, encoders, and exchanges as a whole.

use std::hint::black_box;
use std::sync::Arc;

use benches::heads;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto_http::{
    BodyDecoder, BodyLength, ClientConnection, ClientEvent, FieldBlock, Parsed, Piece, Request, Responder, Response,
    Rules, ServerConfig, ServerConnection,
};
use protocol::testing::Harness;

/// Fields as a service gives them, by name and value.
const FIELDS: [(&str, &str); 8] = [
    ("Content-Type", "application/json"),
    ("Cache-Control", "private, max-age=0"),
    ("ETag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
    ("Vary", "Accept-Encoding"),
    ("X-Request-Id", "0b7c2d6e-8f4d-4f0f-a6e5-7d1d2a0f9f51"),
    ("X-Content-Type-Options", "nosniff"),
    ("Strict-Transport-Security", "max-age=31536000"),
    (
        "Set-Cookie",
        "session=8f14e45fceea167a5a36dedd4bea2543; HttpOnly; Secure",
    ),
];

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("http/request head");
    for (name, head) in heads::requests() {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| match Request::parse(black_box(&head), &Rules::DEFAULT) {
                Ok(Parsed::Complete { length, .. }) => length,
                other => panic!("{other:?}"),
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("http/response head");
    for (name, head) in heads::responses() {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| match Response::parse(black_box(&head), &Rules::DEFAULT) {
                Ok(Parsed::Complete { length, .. }) => length,
                other => panic!("{other:?}"),
            });
        });
    }
    group.finish();
}

fn bodies(c: &mut Criterion) {
    const CONTENT: usize = 65_536;
    let mut group = c.benchmark_group("http/64 KiB of chunks");
    group.throughput(Throughput::Bytes(CONTENT as u64));
    for size in [16, 1024, 16_384] {
        let chunk = vec![b'x'; size];
        let mut body = Vec::new();
        for _ in 0..CONTENT / size {
            body.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            body.extend_from_slice(&chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        group.bench_function(format!("read, {size} bytes each"), |b| {
            b.iter(|| {
                let mut decoder = BodyDecoder::new(BodyLength::Chunked);
                let (mut input, mut content) = (black_box(&body[..]), 0);
                while let Ok(Some(piece)) = decoder.next(&mut input, &Rules::DEFAULT) {
                    if let Piece::Data(data) = piece {
                        content += data.len();
                    }
                }
                assert_eq!(content, CONTENT);
            });
        });
        group.bench_function(format!("written, {size} bytes each"), |b| {
            let mut out = Vec::with_capacity(2 * CONTENT);
            b.iter(|| {
                out.clear();
                let mut connection = asked();
                let mut respond = || {
                    connection.send_response(200, &(), None, None, &mut out)?;
                    for _ in 0..CONTENT / size {
                        connection.send_data(black_box(&chunk), &mut out)?;
                    }
                    connection.finish(&(), &mut out)
                };
                respond().expect("the response may be sent");
            });
        });
    }
    group.finish();
}

/// A server that has read a request.
fn asked() -> ServerConnection {
    let mut connection = ServerConnection::new();
    let _ = connection.next(&Rules::DEFAULT, &mut &heads::BARE[..]);
    let _ = connection.next(&Rules::DEFAULT, &mut &b""[..]);
    connection
}

fn encoders(c: &mut Criterion) {
    let lines: String = FIELDS
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let block = FieldBlock::new(&lines).expect("fields");
    let date = proto_http::imf_fixdate(784_111_777);
    let mut out = Vec::with_capacity(4096);
    let mut group = c.benchmark_group("http/encode");
    group.bench_function("a response without fields", |b| {
        let connection = asked();
        b.iter(|| {
            out.clear();
            connection
                .clone()
                .respond(200, &(), black_box(b"Hello, World!"), Some(&date), &mut out)
        });
    });
    group.bench_function("a response with 8 fields by name", |b| {
        let connection = asked();
        b.iter(|| {
            out.clear();
            connection
                .clone()
                .respond(200, black_box(&FIELDS), b"{}", Some(&date), &mut out)
        });
    });
    group.bench_function("a response with 8 fields checked before", |b| {
        let connection = asked();
        b.iter(|| {
            out.clear();
            connection
                .clone()
                .respond(200, black_box(&block), b"{}", Some(&date), &mut out)
        });
    });
    let few = [
        ("Host", "localhost:8080"),
        ("User-Agent", "bench/1.0"),
        ("Accept", "*/*"),
    ];
    group.bench_function("a request with 3 fields", |b| {
        b.iter(|| {
            out.clear();
            ClientConnection::new().send_request("GET", "/", black_box(&few), BodyLength::Empty, &mut out)
        });
    });
    let many: Vec<_> = [("Host", "localhost:8080")].into_iter().chain(FIELDS).collect();
    group.bench_function("a request with 9 fields", |b| {
        b.iter(|| {
            out.clear();
            ClientConnection::new().send_request("POST", "/orders", &many[..], BodyLength::Length(2048), &mut out)
        });
    });
    group.finish();
    assert!(!out.is_empty());
}

fn exchanges(c: &mut Criterion) {
    let fields = FieldBlock::new("Content-Type: text/plain\r\n").expect("a field");
    let date = proto_http::imf_fixdate(784_111_777);
    let mut group = c.benchmark_group("http/exchange");
    group.bench_function("a server's codec", |b| {
        let mut out = Vec::with_capacity(1024);
        b.iter(|| {
            out.clear();
            let mut connection = ServerConnection::new();
            let mut input = black_box(heads::CURL);
            let _ = connection.next(&Rules::DEFAULT, &mut input);
            connection.respond(200, &fields, b"Hello, World!", Some(&date), &mut out)
        });
    });
    group.bench_function("a server's adapter", |b| {
        let config = Arc::new(ServerConfig::default());
        let hello = |_: &Request<'_>, responder: &mut Responder<'_, '_>| responder.send(200, &(), b"Hello, World!");
        let mut harness = Harness::new(proto_http::Server::new(config, hello));
        b.iter(|| {
            harness.receive(black_box(heads::CURL));
            harness.take_sent().len()
        });
    });
    group.bench_function("a client's codec", |b| {
        let answer = [heads::SMALL, b"Hello, World!"].concat();
        let mut out = Vec::with_capacity(1024);
        b.iter(|| {
            out.clear();
            let mut connection = ClientConnection::new();
            let sent = connection.send_request("GET", "/", &[("Host", "localhost")], BodyLength::Empty, &mut out);
            sent.expect("the response may be sent");
            let (mut input, mut content) = (black_box(&answer[..]), 0);
            loop {
                match connection.next(&Rules::DEFAULT, &mut input) {
                    Ok(Some(ClientEvent::Data(data))) => content += data.len(),
                    Ok(Some(ClientEvent::End(_))) => break,
                    Ok(_) => {}
                    Err(violation) => panic!("{violation}"),
                }
            }
            assert_eq!(content, 13);
        });
    });
    group.finish();
}

criterion_group!(benches, parse, bodies, encoders, exchanges);
criterion_main!(benches);
