//! Requests allocate nothing once the connection's buffers have grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Buf;
use proto_h2::{ClientConnection, Head, Limits, Server, ServerConfig, StreamMessage};
use proto_http::{Request, Responder};
use protocol::testing::Harness;
use protocol::{Control, Cx, Input, Output, Peer, Protocol};

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

#[test]
fn a_request_allocates_nothing() {
    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    let factory = |_: &Peer<'_, Infallible>| {
        Some(|request: &Request<'_>, responder: &mut Responder<'_, '_>| {
            let agent = request.fields().get("user-agent").unwrap_or_default();
            responder.send(200, &[("Content-Type", "text/plain")], agent)
        })
    };
    let mut made = None;
    let config = Arc::new(ServerConfig::new(clock));
    let make = |peer: &Peer<'_, StreamMessage<Infallible>>| {
        made = Some(Server::new(Arc::clone(&config), factory, peer));
        Some(Server::new(Arc::clone(&config), factory, peer))
    };
    let harness = Harness::accept(protocol::Limits::default(), make).unwrap();
    let (mut server, now) = (made.unwrap(), harness.now());
    let (limits, mut client, mut bytes) = (Limits::DEFAULT, ClientConnection::new(), Vec::new());
    client.start(&limits, &mut bytes).unwrap();
    let (mut output, mut control) = (Output::new(), Control::default());
    server
        .connected(&mut Cx::new(
            now,
            &mut output,
            &mut control,
            &protocol::Limits::default(),
        ))
        .unwrap();
    let mut counts = [0; 12];
    for count in &mut counts {
        for _ in 0..16 {
            let head = Head::new("GET", "http", "a:80", "/a?b");
            let stream = client
                .request(head, &[("user-agent", "x")], &limits, &mut bytes)
                .unwrap();
            // The test does not look at the response.
            client
                .reset(stream, proto_h2::ErrorCode::CANCEL, &limits, &mut Vec::new())
                .unwrap();
        }
        let before = COUNT.get();
        let mut input = Input::new(&mut bytes);
        server
            .received(
                &mut Cx::new(now, &mut output, &mut control, &protocol::Limits::default()),
                &mut input,
            )
            .unwrap();
        assert!(input.is_empty() && output.len() > 16 * 10);
        *count = COUNT.get() - before;
        output.advance(output.len());
        bytes.clear();
    }
    assert!(counts[0] > 0, "the counter counts");
    assert_eq!(counts[2..], [0; 10]);
}
