//! WebSocket: messages read and written, masking, the check of text, fragments, compression.

use std::hint::black_box;
use std::sync::Arc;

use benches::json;
use benches::random::Xorshift;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use proto_ws::deflate::Parameters;
use proto_ws::mask::Mask;
use proto_ws::{Config, Connection, Decoder, Event, Message, PreparedMessage, Role};
use protocol::bytes::BytesMut;

/// Bytes of a read.
const READ: usize = 65_536;

/// As many messages as one read brings, from a client, and their number.
fn messages(message: Message<'_>, config: Config) -> (Vec<u8>, usize) {
    let count = (READ / (message.as_bytes().len() + 14)).max(1);
    let mut client = Connection::client(Arc::new(config), Xorshift::default());
    let mut frames = BytesMut::new();
    for _ in 0..count {
        let sent = client.writer.message(&mut frames, message);
        sent.expect("an open connection");
    }
    (frames.to_vec(), count)
}

/// Unmasking changes the bytes: each reading begins with new ones.
fn read(b: &mut criterion::Bencher<'_>, (bytes, count): &(Vec<u8>, usize)) {
    let mut connection = Connection::server(Arc::default());
    let mut out = BytesMut::new();
    b.iter_batched_ref(
        || bytes.clone(),
        |bytes| {
            connection.writer.refill(u32::MAX);
            let (mut input, mut seen) = (&mut bytes[..], 0);
            let Connection { reader, writer } = &mut connection;
            while let Some(event) = reader.next(writer, &mut input, &mut out).expect("valid frames") {
                seen += usize::from(matches!(black_box(event), Event::Message(_)));
            }
            assert_eq!(seen, *count);
        },
        BatchSize::SmallInput,
    );
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("websocket/read 64 KiB of");
    let bytes = vec![0x5a; READ];
    let ascii = "the quick brown fox ".repeat(52);
    let multi = "\u{6f22}\u{5b57}".repeat(170);
    let fragments = || {
        let mut config = Config::default();
        config.fragment = std::num::NonZeroUsize::new(1024);
        config
    };
    let cases = [
        ("16 bytes", messages(Message::Binary(&bytes[..16]), Config::default())),
        ("125 bytes", messages(Message::Binary(&bytes[..125]), Config::default())),
        ("1 KiB", messages(Message::Binary(&bytes[..1024]), Config::default())),
        ("64 KiB", messages(Message::Binary(&bytes), Config::default())),
        (
            "1 KiB of ASCII",
            messages(Message::Text(&ascii[..1024]), Config::default()),
        ),
        (
            "1 KiB of multi-byte text",
            messages(Message::Text(&multi[..1020]), Config::default()),
        ),
        (
            "64 KiB in fragments of 1 KiB",
            messages(Message::Binary(&bytes), fragments()),
        ),
    ];
    for (name, frames) in &cases {
        group.throughput(Throughput::Elements(frames.1 as u64));
        group.bench_function(*name, |b| read(b, frames));
    }
    group.finish();
}

fn writing(c: &mut Criterion) {
    let mut group = c.benchmark_group("websocket/write");
    let mut out = BytesMut::with_capacity(2 * READ);
    for size in [16, 1024, READ] {
        let payload = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |b| {
            let mut writer = Connection::server(Arc::default()).writer;
            b.iter(|| {
                out.clear();
                writer.binary(&mut out, black_box(&payload))
            });
        });
        group.bench_function(format!("{size} bytes, masked"), |b| {
            let mut writer = Connection::client(Arc::default(), Xorshift::default()).writer;
            b.iter(|| {
                out.clear();
                writer.binary(&mut out, black_box(&payload))
            });
        });
    }
    group.throughput(Throughput::Bytes(1024));
    group.bench_function("1024 bytes, prepared once", |b| {
        let prepared = PreparedMessage::new(Message::Binary(&[b'x'; 1024]));
        let mut writer = Connection::server(Arc::default()).writer;
        b.iter(|| writer.prepared(black_box(&prepared)));
    });
    group.finish();
}

fn pieces(c: &mut Criterion) {
    let mut group = c.benchmark_group("websocket/mask in place");
    for size in [16, 125, 1024, READ] {
        let mut payload = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |b| {
            b.iter(|| Mask::new(black_box([1, 2, 3, 4])).apply(&mut payload));
        });
    }
    group.finish();

    // A server's frames: nothing to unmask, so they can be read again and again.
    let mut group = c.benchmark_group("websocket/check text");
    let (ascii, multi) = ("the quick brown fox ".repeat(52), "\u{6f22}\u{5b57}".repeat(170));
    for (name, text) in [
        ("1 KiB of ASCII", &ascii[..1024]),
        ("1 KiB of multi-byte text", &multi[..1020]),
    ] {
        let mut frame = BytesMut::new();
        let sent = Connection::server(Arc::default()).writer.text(&mut frame, text);
        sent.expect("an open connection");
        let mut decoder = Decoder::new(Role::Client, Default::default());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| match decoder.next(&mut black_box(&mut frame[..])) {
                Ok(Some(Event::Message(message))) => message.as_bytes().len(),
                other => panic!("{other:?}"),
            });
        });
    }
    group.finish();
}

fn deflate(c: &mut Criterion) {
    let messages = json::messages();
    let mut group = c.benchmark_group("websocket/deflate 1 KiB of JSON");
    group.throughput(Throughput::Bytes(json::LEN as u64));
    for takeover in [true, false] {
        let mode = if takeover { "takeover" } else { "no takeover" };
        let parameters = Parameters {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        let mut config = Config::default();
        config.deflate.threshold = 0;
        let config = Arc::new(config);
        let mut out = BytesMut::with_capacity(2 * READ);
        group.bench_function(format!("written, {mode}"), |b| {
            let mut writer = Connection::server(Arc::clone(&config)).deflate(parameters).writer;
            let mut texts = messages.iter().cycle();
            b.iter(|| {
                out.clear();
                texts.next().map(|text| writer.text(&mut out, text))
            });
        });
        // What a client wrote, in its order, over and over: what a message refers to is always among those before it.
        let mut client = Connection::client(Arc::clone(&config), Xorshift::default()).deflate(parameters);
        let frames: Vec<Vec<u8>> = messages
            .iter()
            .map(|text| {
                out.clear();
                let sent = client.writer.text(&mut out, text);
                sent.expect("an open connection");
                out.to_vec()
            })
            .collect();
        group.bench_function(format!("read, {mode}"), |b| {
            let Connection { mut reader, mut writer } = Connection::server(Arc::clone(&config)).deflate(parameters);
            let (mut at, mut frame, mut answer) = (0, Vec::new(), BytesMut::new());
            b.iter(|| {
                frame.clone_from(&frames[at % frames.len()]);
                at += 1;
                match reader.next(&mut writer, &mut &mut frame[..], &mut answer) {
                    Ok(Some(Event::Message(message))) => assert_eq!(message.as_bytes().len(), json::LEN),
                    other => panic!("{other:?}"),
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reading, writing, pieces, deflate);
criterion_main!(benches);
