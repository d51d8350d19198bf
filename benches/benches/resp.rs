//! RESP: replies borrowed and owned, and an exchange.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto_resp::{Decoder, Rules, ServerConnection, ValueDecoder, Version, write_command};

fn resp(c: &mut Criterion) {
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
                writer.simple("OK", &mut out).expect("a reply is due");
            }
            out.len()
        });
    });
}

criterion_group!(benches, resp);
criterion_main!(benches);
