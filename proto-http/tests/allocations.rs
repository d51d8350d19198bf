//! Requests allocate nothing once the output has grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Buf;
use proto_http::{Request, Responder, Server, ServerConfig};
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

#[test]
fn a_request_allocates_nothing() {
    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    let mut server = Server::new(
        Arc::new(ServerConfig::new(clock)),
        |request: &Request<'_>, responder: &mut Responder<'_, '_>| {
            let agent = request.fields().get("user-agent").unwrap_or_default();
            responder.send(200, &[("Content-Type", "text/plain")], agent)
        },
    );
    let now = Harness::new(Server::new(
        Arc::default(),
        |_: &Request<'_>, _: &mut Responder<'_, '_>| Ok(()),
    ))
    .now();
    let limits = Limits::default();
    let (mut output, mut control) = (Output::new(), Control::default());
    let mut requests = b"GET /a?b HTTP/1.1\r\nHost: a:80\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n".repeat(16);
    let mut counts = [0; 10];
    for count in &mut counts {
        let before = COUNT.get();
        let mut input = Input::new(&mut requests);
        server
            .received(&mut Cx::new(now, &mut output, &mut control, &limits), &mut input)
            .unwrap();
        assert!(input.is_empty());
        *count = COUNT.get() - before;
        output.advance(output.len());
    }
    assert!(counts[0] > 0, "the counter counts");
    assert_eq!(counts[1..], [0; 9]);
}
