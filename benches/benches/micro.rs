//! Small pieces, one at a time: `cargo bench -p benches`. What is compared with other crates has programs of its own.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto_http::{
    BodyDecoder, BodyLength, FieldBlock, Parsed, Piece, Request, Responder, Rules, ServerConfig, ServerConnection,
};
use proto_ws::{Connection, Decoder, Event, Message, PreparedMessage, Role};
use protocol::bytes::{Buf, Bytes, BytesMut};
use protocol::testing::Harness;
use protocol::{Cx, Input, Output, Protocol};

const CURL: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const BARE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn browser() -> Vec<u8> {
    let mut head = b"GET /a/page?with=query HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive\r\n".to_vec();
    for (name, length) in [
        ("User-Agent", 110),
        ("Accept", 120),
        ("Accept-Encoding", 23),
        ("Accept-Language", 30),
        ("Cookie", 400),
        ("Referer", 60),
    ] {
        head.extend_from_slice(format!("{name}: {}\r\n", "v".repeat(length)).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn http(c: &mut Criterion) {
    let browser = browser();
    let mut heads = c.benchmark_group("http/head");
    for (name, head) in [("bare", BARE), ("curl", CURL), ("browser", &browser)] {
        heads.throughput(Throughput::Bytes(head.len() as u64));
        heads.bench_function(name, |b| {
            b.iter(|| match Request::parse(black_box(head), &Rules::DEFAULT) {
                Ok(Parsed::Complete { length, .. }) => length,
                other => panic!("{other:?}"),
            });
        });
    }
    heads.finish();

    let mut chunked = Vec::new();
    for _ in 0..64 {
        chunked.extend_from_slice(b"400\r\n");
        chunked.extend_from_slice(&[b'x'; 1024]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut bodies = c.benchmark_group("http/body");
    bodies.throughput(Throughput::Bytes(chunked.len() as u64));
    bodies.bench_function("64 chunks of 1 KiB", |b| {
        b.iter(|| {
            let mut decoder = BodyDecoder::new(BodyLength::Chunked);
            let mut input = black_box(&chunked[..]);
            let mut content = 0;
            while let Ok(Some(Piece::Data(data))) = decoder.next(&mut input, &Rules::DEFAULT) {
                content += data.len();
            }
            content
        });
    });
    bodies.finish();

    let fields = FieldBlock::new("Content-Type: text/plain\r\n").expect("a field");
    let date = proto_http::imf_fixdate(784_111_777);
    c.bench_function("http/exchange on the codec", |b| {
        let mut out = Vec::with_capacity(1024);
        b.iter(|| {
            out.clear();
            let mut connection = ServerConnection::new();
            let mut input = black_box(CURL);
            let _ = connection.next_event(&Rules::DEFAULT, &mut input);
            connection.respond(200, &fields, b"Hello, World!", Some(&date), &mut out)
        });
    });
    c.bench_function("http/exchange on the adapter", |b| {
        let config = Arc::new(ServerConfig::default());
        let hello = |_: &Request<'_>, responder: &mut Responder<'_, '_>| responder.send(200, &(), b"Hello, World!");
        let mut harness = Harness::new(proto_http::Server::new(config, hello));
        b.iter(|| {
            harness.receive(black_box(CURL));
            harness.take_sent().len()
        });
    });
}

fn websocket(c: &mut Criterion) {
    let mut received = c.benchmark_group("websocket/receive");
    for size in [16, 125, 1024, 65_536] {
        let count = (65_536 / (size + 14)).max(1);
        let mut frames = BytesMut::new();
        let mut client = Connection::client(Arc::default(), Zeros);
        for _ in 0..count {
            client
                .writer
                .binary(&mut frames, &vec![b'x'; size])
                .expect("an open connection");
        }
        received.throughput(Throughput::Elements(count as u64));
        received.bench_function(format!("{size} bytes"), |b| {
            b.iter_batched_ref(
                || frames.to_vec(),
                |bytes| {
                    let mut decoder = Decoder::new(Role::Server, Default::default());
                    let mut input = &mut bytes[..];
                    let mut messages = 0;
                    while let Ok(Some(Event::Message(_))) = decoder.next(&mut input) {
                        messages += 1;
                    }
                    messages
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    received.finish();

    let mut sent = c.benchmark_group("websocket/send");
    for size in [16, 1024, 65_536] {
        let payload = vec![b'x'; size];
        sent.bench_function(format!("{size} bytes"), |b| {
            let Connection { mut writer, .. } = Connection::server(Arc::default());
            let mut out = BytesMut::with_capacity(size + 16);
            b.iter(|| {
                out.clear();
                writer.binary(&mut out, black_box(&payload))
            });
        });
    }
    sent.bench_function("prepared once", |b| {
        let prepared = PreparedMessage::new(Message::Binary(&[b'x'; 1024]));
        let Connection { mut writer, .. } = Connection::server(Arc::default());
        b.iter(|| writer.prepared(black_box(&prepared)));
    });
    sent.finish();
}

fn resp(c: &mut Criterion) {
    use proto_resp::{Decoder, Rules, ServerConnection, ValueDecoder, Version, write_command};
    let bulk = b"$16\r\n0123456789abcdef\r\n";
    let mut array = b"*100\r\n".to_vec();
    array.extend(bulk.repeat(100));
    let mut replies = c.benchmark_group("resp/reply");
    for (name, wire) in [("16 bytes", &bulk[..]), ("100 strings of 16 bytes", &array)] {
        replies.throughput(Throughput::Bytes(wire.len() as u64));
        replies.bench_function(format!("{name}, borrowed"), |b| {
            let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
            b.iter(|| {
                let mut input = black_box(wire);
                while let Ok(Some(event)) = decoder.next(&mut input) {
                    black_box(event);
                }
            });
        });
        replies.bench_function(format!("{name}, owned"), |b| {
            let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
            b.iter(|| decoder.next(&mut black_box(wire)));
        });
    }
    replies.finish();

    c.bench_function("resp/a command written, read and answered", |b| {
        let ServerConnection { mut reader, mut writer } = ServerConnection::new();
        let (mut wire, mut out) = (Vec::with_capacity(1024), Vec::with_capacity(1024));
        b.iter(|| {
            wire.clear();
            out.clear();
            write_command(&mut wire, &black_box(("SET", "key", "value"))).expect("a vector takes all");
            let mut input = &wire[..];
            if let Ok(Some(command)) = reader.next(&mut writer, &Rules::DEFAULT, &mut input) {
                black_box(command);
                writer.simple("OK", &mut out).expect("it is due");
            }
            out.len()
        });
    });
}

/// Keys that cost nothing, for benchmarks only.
struct Zeros;

impl proto_ws::Entropy for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

struct Echo;

impl Protocol for Echo {
    type Message = std::convert::Infallible;
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        cx.send(input.take_all());
        Ok(())
    }
}

fn contract(c: &mut Criterion) {
    let word = [b'x'; 64];
    c.bench_function("contract/a bare copy of 64 bytes", |b| {
        let mut out = BytesMut::with_capacity(1024);
        b.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&word));
        });
    });
    c.bench_function("contract/a call through Protocol", |b| exchange(b, Echo, word));
    type Object = Box<dyn Protocol<Message = std::convert::Infallible, Error = std::convert::Infallible>>;
    c.bench_function("contract/a call through Box<dyn Protocol>", |b| {
        exchange(b, Box::new(Echo) as Object, word)
    });
    c.bench_function("output/64 KiB shared between two copies", |b| {
        let shared = Bytes::from(vec![b'x'; 65_536]);
        let mut output = Output::new();
        b.iter(|| {
            output.extend_from_slice(b"head");
            output.push(shared.clone());
            output.extend_from_slice(b"tail");
            output.advance(output.len());
        });
    });
}

/// One exchange of a driver's half and a protocol, without a socket.
fn exchange<P: Protocol>(b: &mut criterion::Bencher<'_>, protocol: P, word: [u8; 64]) {
    let mut turn = protocol::driver::Turn::new(Default::default(), std::time::Instant::now());
    let mut connection = protocol::driver::Connection::new(protocol);
    connection.connected(&mut turn);
    b.iter(|| {
        connection.recv_buffer(&mut turn)[..64].copy_from_slice(black_box(&word));
        connection.received(&mut turn, 64);
        while connection.todo(&mut turn) == protocol::driver::Todo::Send {
            let n = turn.output.len();
            connection.sent(&mut turn, n);
        }
    });
}

criterion_group!(benches, http, websocket, resp, contract);
criterion_main!(benches);
