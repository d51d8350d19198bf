//! `Output`: what waits to be sent, in copied and shared pieces.

use std::hint::black_box;
use std::io::IoSlice;

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::Output;
use protocol::bytes::{Buf, Bytes};

fn output(c: &mut Criterion) {
    let mut group = c.benchmark_group("output");
    for size in [16, 1024] {
        let piece = vec![b'x'; size];
        group.bench_function(format!("copy {size} bytes and send them"), |b| {
            let mut output = Output::new();
            b.iter(|| {
                output.extend_from_slice(black_box(&piece));
                output.advance(output.len());
            });
        });
    }
    let shared = Bytes::from(vec![b'x'; 65_536]);
    group.bench_function("64 KiB shared between two copies", |b| {
        let mut output = Output::new();
        b.iter(|| {
            output.extend_from_slice(b"head");
            output.push(shared.clone());
            output.extend_from_slice(b"tail");
            output.advance(output.len());
        });
    });
    // As a stream of large messages behind short heads looks to a vectored write.
    let mut waiting = Output::new();
    for _ in 0..16 {
        waiting.extend_from_slice(b"head");
        waiting.push(shared.clone());
    }
    group.bench_function("32 pieces as slices", |b| {
        b.iter(|| {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = black_box(&waiting).chunks_vectored(&mut slices);
            assert_eq!(filled, 32);
            slices[31].len()
        });
    });
    // A slow peer takes less at a time than is in one piece.
    group.bench_function("32 pieces sent in writes of 60,000 bytes", |b| {
        b.iter_batched_ref(
            || waiting.clone(),
            |output| {
                while !output.is_empty() {
                    output.advance(output.len().min(60_000));
                }
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, output);
criterion_main!(benches);
