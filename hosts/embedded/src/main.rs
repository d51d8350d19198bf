//! HTTP on one serial line and WebSocket frames on another, without std, an allocator or a panic handler: two tasks, as an async
//! executor for microcontrollers runs them.

#![no_std]
#![no_main]

mod board;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Waker};

use board::{UART0, UART1, Uart};
use proto_http::{Limits, Rules, ServerConnection, ServerEvent, SliceBuffer};
use proto_ws::frame::{Header, Opcode, Role};
use proto_ws::{Decoder, Event, Kind};

/// What waits for the end of a head must fit into the buffer.
const RULES: Rules = {
    let mut limits = Limits::DEFAULT;
    (limits.request_line, limits.fields_bytes, limits.fields) = (256, 700, 32);
    (limits.trailers_bytes, limits.chunk_line) = (512, 128);
    Rules::DEFAULT.with_limits(limits)
};

/// Answers requests on a line that never closes: after an error, a new connection begins.
async fn http(line: &Uart) {
    let (mut input, mut length) = ([0; 1024], 0);
    let mut connection = ServerConnection::new();
    let mut wants_stack = false;
    loop {
        length += line.read(input.get_mut(length..).unwrap_or_default()).await;
        let mut rest = input.get(..length).unwrap_or_default();
        loop {
            let answer = match connection.next(&RULES, &mut rest) {
                Ok(Some(ServerEvent::Request(request))) => {
                    wants_stack = request.path() == "/stack";
                    request.body().is_empty().then_some(200)
                }
                Ok(Some(ServerEvent::End(_))) => Some(200),
                Ok(Some(ServerEvent::Data(_))) => None,
                Ok(_) => break,
                Err(violation) => Some(violation.status()),
            };
            let Some(status) = answer else { continue };
            let mut memory = [0; 256];
            let mut out = SliceBuffer::new(&mut memory);
            let mut digits = [0; 10];
            let body = match (status, wants_stack) {
                (200, true) => decimal(board::stack_used(), &mut digits),
                (200, false) => b"Hello, World!",
                _ => b"",
            };
            if connection.respond(status, &(), body, None, &mut out).is_ok() {
                line.write(out.as_slice()).await;
            }
            if status != 200 {
                connection = ServerConnection::new();
                rest = &[];
            } else if connection.must_close() {
                connection = ServerConnection::new();
            }
        }
        let kept = rest.len().min(length);
        input.copy_within(length - kept..length, 0);
        length = kept;
    }
}

/// Echoes messages, answers Pings, and echoes Close frames.
async fn frames(line: &Uart) {
    let (mut input, mut length) = ([0; 512], 0);
    let mut limits = proto_ws::Limits::default();
    (limits.frame, limits.message) = (4096, 4096);
    let mut decoder = Decoder::new(Role::Server, limits);
    let mut first = true;
    loop {
        length += line.read(input.get_mut(length..).unwrap_or_default()).await;
        let mut rest = input.get_mut(..length).unwrap_or_default();
        let mut over = false;
        loop {
            match decoder.next(&mut rest) {
                Ok(Some(Event::Message(message))) => {
                    send(line, opcode(message.kind()), true, message.as_bytes()).await;
                }
                Ok(Some(Event::Part { part, last })) => {
                    let opcode = if first {
                        opcode(part.kind())
                    } else {
                        Opcode::Continuation
                    };
                    send(line, opcode, last, part.as_bytes()).await;
                    first = last;
                }
                Ok(Some(Event::Ping(payload))) => send(line, Opcode::Pong, true, payload).await,
                Ok(Some(Event::Close(reason))) => {
                    send(line, Opcode::Close, true, &reason.code.get().to_be_bytes()).await;
                    over = true;
                    break;
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(violation) => {
                    send(line, Opcode::Close, true, &violation.close_code().get().to_be_bytes()).await;
                    rest = &mut [];
                    over = true;
                    break;
                }
            }
        }
        let kept = rest.len().min(length);
        input.copy_within(length - kept..length, 0);
        length = kept;
        if over {
            decoder = Decoder::new(Role::Server, limits);
            first = true;
        }
    }
}

fn opcode(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    }
}

async fn send(line: &Uart, opcode: Opcode, fin: bool, payload: &[u8]) {
    let header = Header {
        fin,
        rsv: 0,
        opcode,
        mask: None,
        len: payload.len() as u64,
    };
    line.write(&header.encode()).await;
    line.write(payload).await;
}

fn decimal(mut number: usize, digits: &mut [u8; 10]) -> &[u8] {
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(10 - used..).unwrap_or_default()
}

/// Runs both tasks for ever. A board with interrupts sleeps between two rounds.
fn main() -> ! {
    UART0.begin();
    UART1.begin();
    let (mut http, mut frames) = (pin!(http(&UART0)), pin!(frames(&UART1)));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let _ = http.as_mut().poll(&mut context);
        let _ = frames.as_mut().poll(&mut context);
    }
}
