//! Links the codecs and the wheel without std: a dependency that brought std in would bring a second panic handler, which
//! does not link.

#![no_std]

use core::panic::PanicInfo;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Reads a request head, and tells how long it is.
#[unsafe(no_mangle)]
pub extern "C" fn head_length(byte: u8) -> usize {
    let mut head = *b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    head[5] = byte;
    match proto_http::Request::parse(&head, &Default::default()) {
        Ok(_) => head.len(),
        Err(_) => 0,
    }
}

/// Reads a frame, and tells how long its payload is.
#[unsafe(no_mangle)]
pub extern "C" fn payload_length(byte: u8) -> usize {
    let mut frame = [0x82, 0x81, 1, 2, 3, 4, byte];
    let mut input = &mut frame[..];
    let mut decoder = proto_ws::Decoder::new(proto_ws::Role::Server, Default::default());
    match decoder.next(&mut input) {
        Ok(Some(proto_ws::Event::Message(proto_ws::Message::Binary(payload)))) => payload.len(),
        _ => 0,
    }
}

/// Reads a reply and a command, writes both, and tells how long they are.
#[unsafe(no_mangle)]
pub extern "C" fn reply_length(byte: u8) -> usize {
    let mut decoder = proto_resp::Decoder::new(proto_resp::Version::Resp3, Default::default());
    let mut encoder = proto_resp::Encoder::new(proto_resp::Version::Resp3);
    let mut memory = [0; 64];
    let mut out = proto_resp::SliceBuffer::new(&mut memory);
    let reply = [b'*', b'1', b'\r', b'\n', b',', b'1', b'.', byte, b'\r', b'\n'];
    let mut input = &reply[..];
    while let Ok(Some(event)) = decoder.next(&mut input) {
        if encoder.event(&event, &mut out).is_err() {
            return 0;
        }
    }
    if proto_resp::write_command(&mut out, &("SET", [byte], 5)).is_err() {
        return 0;
    }
    match proto_resp::Command::parse(out.as_slice(), &Default::default()) {
        Ok(Some((_, length))) => length,
        _ => out.as_slice().len(),
    }
}

/// Reads a PROXY header and writes it again, and tells how long it is.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_length(byte: u8) -> usize {
    let mut line = *b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n";
    line[11] = byte;
    let mut memory = [0; 64];
    match proto_proxy::Header::parse(&line, &Default::default()) {
        Ok(Some((header, _))) => match proto_proxy::HeaderWriter::proxy(&mut memory, header.addresses()) {
            Ok(writer) => writer.finish().len(),
            Err(_) => 0,
        },
        _ => 0,
    }
}

#[cfg(feature = "alloc")]
mod with_memory {
    use core::alloc::{GlobalAlloc, Layout};

    struct None;

    // SAFETY: it never hands out memory, which every allocator may do.
    unsafe impl GlobalAlloc for None {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            core::ptr::null_mut()
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static MEMORY: None = None;

    /// Reads a request of HTTP/2, and tells how long the answer is.
    #[unsafe(no_mangle)]
    pub extern "C" fn h2_answer_length(byte: u8) -> usize {
        let (limits, mut scratch) = (proto_h2::Limits::DEFAULT, proto_h2::Scratch::new());
        let mut memory = [0; 256];
        let mut out = proto_h2::SliceBuffer::new(&mut memory);
        let mut connection = proto_h2::ServerConnection::new();
        let mut frame = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a'];
        frame[14] = byte;
        for mut input in [&proto_h2::PREFACE[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &frame[..]] {
            if let Ok(Some(proto_h2::ServerEvent::Request { stream, .. })) =
                connection.next(&limits, &mut input, &mut scratch, &mut out)
            {
                let _ = connection.respond(stream, 204, &(), b"", Option::None, &limits, &mut out);
            }
        }
        out.as_slice().len()
    }

    /// Arms a timer.
    #[unsafe(no_mangle)]
    pub extern "C" fn timers(deadline: u64) -> usize {
        let mut wheel = timing_wheel::Wheel::new(0);
        wheel.insert(deadline, ());
        wheel.len()
    }
}
