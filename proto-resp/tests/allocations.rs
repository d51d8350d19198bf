//! The decoder and commands allocate nothing, on either side, once the output has grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use bytes::Buf;
use proto_resp::{
    Aggregate, ClientConnection, ClientEvent, Command, Decoder, Encoder, Event, Misuse, Responder, Rules,
};
use proto_resp::{Server, Version};
use protocol::testing::Harness;
use protocol::{Control, Cx, Input, Limits, Output, Protocol};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's; counting touches only a thread's own cell, which needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the memory came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of allocations in each of ten rounds.
fn rounds(mut round: impl FnMut()) -> [usize; 10] {
    std::array::from_fn(|_| {
        let before = COUNT.get();
        round();
        COUNT.get() - before
    })
}

#[test]
fn the_decoder_allocates_nothing() {
    let wire =
        b"*3\r\n$5\r\nhello\r\n%1\r\n+a\r\n,1.5\r\n~1\r\n=7\r\ntxt:abc\r\n(123\r\n$?\r\n;1\r\na\r\n;0\r\n>1\r\n+x\r\n";
    let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
    let counts = rounds(|| {
        let mut seen = 0;
        // In two pieces; the second begins with the bytes left from the first.
        let mut rest = &wire[..20];
        while decoder.next(&mut rest).unwrap().is_some() {
            seen += 1;
        }
        let mut rest = &wire[20 - rest.len()..];
        while decoder.next(&mut rest).unwrap().is_some() {
            seen += 1;
        }
        assert!(seen > 16 && rest.is_empty());
    });
    assert_eq!(counts, [0; 10]);
}

#[test]
fn the_encoder_allocates_nothing() {
    let mut out = Vec::with_capacity(4096);
    let counts = rounds(|| {
        out.clear();
        let mut encoder = Encoder::new(Version::Resp3);
        encoder.map(1, &mut out).unwrap();
        encoder.bulk(b"key", &mut out).unwrap();
        encoder.array(2, &mut out).unwrap();
        encoder.double(1.0 / 3.0, &mut out).unwrap();
        encoder.null(&mut out).unwrap();
        let event = Event::Begin {
            kind: Aggregate::Set,
            len: None,
        };
        encoder.event(&event, &mut out).unwrap();
    });
    assert_eq!(counts, [0; 10]);
}

#[test]
fn commands_and_short_replies_allocate_nothing() {
    let mut connection = ClientConnection::new(Rules::DEFAULT);
    let mut out = Vec::with_capacity(4096);
    let counts = rounds(|| {
        out.clear();
        for ticket in 0..16 {
            connection
                .command(ticket, &("SETEX", "key", 60, "value"), &mut out)
                .unwrap();
        }
        let mut rest = &b"+OK\r\n:1\r\n"[..];
        for ticket in 0..16 {
            let event = connection.next(&mut rest, &mut out).unwrap();
            assert!(matches!(event, Some(ClientEvent::Reply(came, _)) if came == ticket));
            if ticket % 2 == 1 {
                rest = b"+OK\r\n:1\r\n";
            }
        }
    });
    // The queue has grown in the first round.
    assert_eq!(counts[1..], [0; 9]);
}

#[test]
fn a_served_command_allocates_nothing() {
    let answer = |command: &Command<'_>, responder: &mut Responder<'_, '_>| -> Result<(), Misuse> {
        if let Some([key]) = command.arguments() {
            responder.bulk(key)
        } else if let Some([key, value]) = command.arguments() {
            responder.map(1)?;
            responder.bulk(key)?;
            responder.bulk(value)
        } else {
            responder.simple("PONG")
        }
    };
    let mut server = Server::new(Arc::default(), answer);
    let now = Harness::new(Server::new(Arc::default(), answer)).now();
    let limits = Limits::default();
    let (mut output, mut control) = (Output::new(), Control::default());
    let mut commands =
        b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n".repeat(16);
    let counts = rounds(|| {
        let mut input = Input::new(&mut commands);
        server
            .received(&mut Cx::new(now, &mut output, &mut control, &limits), &mut input)
            .unwrap();
        assert!(input.is_empty());
        output.advance(output.len());
    });
    assert!(counts[0] > 0, "the counter counts");
    assert_eq!(counts[1..], [0; 9]);
}
