//! The contract: what a call costs over doing the work without it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::bytes::BytesMut;
use protocol::{Cx, Input, Protocol};

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
}

/// One exchange of a driver's half and a protocol, without a socket.
fn exchange<P: Protocol>(b: &mut criterion::Bencher<'_>, protocol: P, word: [u8; 64]) {
    let mut scratch = protocol::driver::Scratch::new(Default::default(), std::time::Instant::now());
    let mut connection = protocol::driver::Connection::new(protocol);
    connection.turn(&mut scratch).connected();
    b.iter(|| {
        let mut turn = connection.turn(&mut scratch);
        turn.recv_buffer()[..64].copy_from_slice(black_box(&word));
        turn.received(64);
        while turn.todo() == protocol::driver::Todo::Send {
            let n = turn.output().len();
            turn.sent(n);
        }
    });
}

criterion_group!(benches, contract);
criterion_main!(benches);
