//! Attacks that were tried on other implementations, by their ids in docs/security.md.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use proto_resp::{
    Caller, Client, ClientConnection, ClientEvent, Command, CommandDecoder, Decoder, Event, Misuse, Push, Requester,
    Responder, Rules, Server, ServerConfig, Value, ValueDecoder, Version, Violation, write_command,
};
use protocol::testing::Harness;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: everything is the system allocator's; counting touches only a thread's own cells, which need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and the memory came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes held at once while `what` runs, beyond those held before.
fn peak<T>(what: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let outcome = what();
    (outcome, PEAK.get() - before)
}

type Answer = fn(&Command<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>;

fn server() -> Harness<Server<Answer>> {
    server_of(ServerConfig::default())
}

fn server_of(config: ServerConfig) -> Harness<Server<Answer>> {
    Harness::new(Server::new(Arc::new(config), |_, responder| responder.simple("OK")))
}

#[test]
fn r01_claimed_lengths_take_no_memory() {
    for claim in [
        "$16777216\r\nab",
        "*1048576\r\n:1\r\n",
        "%524288\r\n:1\r\n",
        "~1048576\r\n:1\r\n",
        ">1048576\r\n+a\r\n",
        "|524287\r\n:1\r\n",
        "=16777216\r\ntxt:ab",
        "!16777216\r\nab",
        "$?\r\n;16777216\r\nab",
    ] {
        let ((), peak) = peak(|| {
            let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
            let mut rest = claim.as_bytes();
            assert_eq!(decoder.next(&mut rest), Ok(None), "{claim}");
        });
        assert!(peak < 1024, "{claim}: {peak} bytes");
    }
    // Nor does the server's side allocate for it.
    let mut harness = server();
    // The read buffer belongs to the thread, and is allocated at the first read.
    harness.receive(b"*1\r\n$4\r\nPING\r\n");
    let ((), peak) = peak(|| harness.receive(b"*2\r\n$4\r\nECHO\r\n$1000000\r\nab"));
    assert!(peak < 10_000, "{peak}");
    // Claims above the limits are refused at once.
    for (claim, violation) in [
        ("$16777217\r\n", Violation::BulkTooLong),
        ("*1048577\r\n", Violation::TooManyItems),
        ("%9223372036854775807\r\n", Violation::TooManyItems),
        ("*18446744073709551615\r\n", Violation::Length),
    ] {
        let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
        assert_eq!(decoder.next(&mut claim.as_bytes()), Err(violation));
    }
}

#[test]
fn r02_nesting_has_a_floor() {
    let deep = "*1\r\n".repeat(1_000_000);
    let (result, peak) = peak(|| ValueDecoder::new(Version::Resp3, Rules::DEFAULT).next(&mut deep.as_bytes()));
    assert_eq!(result, Err(Violation::TooDeep));
    assert!(peak < 100_000, "{peak}");
    // Whatever depth is permitted, memory per level is bounded, and nothing recurses deeper.
    let mut rules = Rules::DEFAULT;
    rules.limits.depth = u8::MAX;
    let wide = "*1000000\r\n".repeat(500);
    rules.limits.items = (1 << 28) - 1;
    let (result, peak) = self::peak(|| ValueDecoder::new(Version::Resp3, rules).next(&mut wide.as_bytes()));
    assert_eq!(result, Err(Violation::TooDeep));
    assert!(peak < 128 * 12_000, "{peak}");
}

#[test]
fn r03_items_have_a_budget() {
    let mut rules = Rules::DEFAULT;
    rules.limits.items = 1000;
    // Empty aggregates, attributes of nothing, and streams, none of which announces its length.
    for (begin, item) in [
        ("*?\r\n", ":1\r\n"),
        ("*?\r\n", "*0\r\n"),
        ("*?\r\n", "|0\r\n"),
        ("~?\r\n", "_\r\n"),
        ("%?\r\n", "*?\r\n.\r\n"),
        ("*2\r\n", "|0\r\n"),
        ("", "|0\r\n"),
    ] {
        let flood = begin.to_owned() + &item.repeat(2000);
        let mut decoder = ValueDecoder::new(Version::Resp3, rules);
        assert_eq!(
            decoder.next(&mut flood.as_bytes()),
            Err(Violation::TooManyItems),
            "{begin}{item}"
        );
    }
    // This violation is found before a wrong end of the last string, whose bytes may not have arrived.
    let wire = "*?\r\n".to_owned() + &":1\r\n".repeat(1000) + "$2\r\nabcd";
    for len in [wire.len() - 3, wire.len()] {
        let mut decoder = Decoder::new(Version::Resp3, rules);
        let mut rest = &wire.as_bytes()[..len];
        let outcome = std::iter::repeat_with(|| decoder.next(&mut rest).map(drop))
            .take(1002)
            .find(Result::is_err);
        assert_eq!(outcome, Some(Err(Violation::TooManyItems)), "{len}");
    }
    // Each reply has its own limit.
    let mut decoder = ValueDecoder::new(Version::Resp3, rules);
    let many = "*999\r\n".to_owned() + &":1\r\n".repeat(999);
    let all = many.repeat(3);
    let mut rest = all.as_bytes();
    for _ in 0..3 {
        assert!(decoder.next(&mut rest).unwrap().is_some());
    }
}

#[test]
fn r04_a_line_has_an_end() {
    for begin in ["+", "-", ",1", "(1"] {
        let mut wire = begin.to_owned();
        wire.push_str(&"1".repeat(17_000));
        let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
        let mut rest = wire.as_bytes();
        if begin == "-" {
            // Text up to the limit of a line is handed on; the rest is read and dropped.
            assert!(matches!(decoder.next(&mut rest), Ok(Some(Event::Error(text))) if text.len() == 16 * 1024));
            assert_eq!((decoder.next(&mut rest), rest), (Ok(None), &b""[..]));
            continue;
        }
        assert_eq!(decoder.next(&mut rest), Err(Violation::LineTooLong), "{begin}");
    }
    // The limit for headers is much lower.
    for begin in ["$", "*", ":", "%", "~"] {
        let wire = begin.to_owned() + &"1".repeat(25);
        let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
        assert!(decoder.next(&mut wire.as_bytes()).is_err(), "{begin}");
    }
    let mut harness = server();
    harness.receive(b"*");
    harness.receive(&b"1".repeat(100));
    assert!(harness.is_half_closed());
    let mut config = ServerConfig::default();
    config.rules.leniency.inline_commands = true;
    let mut harness = server_of(config);
    for _ in 0..40 {
        harness.receive(&[b'x'; 512]);
    }
    assert_eq!(harness.sent(), b"-ERR Protocol error: a line that is too long\r\n");
}

#[test]
fn r05_a_reply_has_a_size() {
    let mut rules = Rules::DEFAULT;
    rules.limits.reply = 10_000;
    for item in [
        "$100\r\n".to_owned() + &"x".repeat(100) + "\r\n",
        "+".to_owned() + &"x".repeat(100) + "\r\n",
    ] {
        let wire = "*1000\r\n".to_owned() + &item.repeat(1000);
        let (result, peak) = peak(|| ValueDecoder::new(Version::Resp3, rules).next(&mut wire.as_bytes()));
        assert_eq!(result, Err(Violation::ReplyTooLong));
        assert!(peak < 60_000, "{peak}");
    }
    let chunks = "$?\r\n".to_owned() + ";100\r\n";
    let wire = chunks + &"x".repeat(100) + "\r\n" + &(";1000\r\n".to_owned() + &"x".repeat(1000) + "\r\n").repeat(20);
    assert_eq!(
        ValueDecoder::new(Version::Resp3, rules).next(&mut wire.as_bytes()),
        Err(Violation::ReplyTooLong)
    );
}

/// Bytes that arrive one by one are scanned only once.
#[test]
fn r06_a_trickle_is_linear() {
    let mut array = b"*100000\r\n".to_vec();
    for _ in 0..100_000 {
        array.extend_from_slice(b"$1\r\nx\r\n");
    }
    let mut line = b"+".to_vec();
    line.resize(16_000, b'x');
    line.extend_from_slice(b"\r\n");
    for wire in [array, line] {
        // No byte is scanned twice: what is left in the input is short, or its length is known.
        let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
        let (mut from, mut events) = (0, 0);
        for to in 1..=wire.len() {
            let mut rest = &wire[from..to];
            while decoder.next(&mut rest).unwrap().is_some() {
                events += 1;
            }
            from = to - rest.len();
        }
        assert!(events >= 1 && from == wire.len());
    }
    // A command of many arguments stays in the input until it is complete, and is not scanned from the start again.
    let mut command = b"*2000\r\n".to_vec();
    for _ in 0..2000 {
        command.extend_from_slice(b"$1\r\nx\r\n");
    }
    let mut decoder = CommandDecoder::new();
    for to in 1..command.len() {
        assert!(decoder.next(&Rules::DEFAULT, &mut &command[..to]).unwrap().is_none());
    }
    let whole = decoder.next(&Rules::DEFAULT, &mut &command[..]).unwrap().unwrap();
    assert_eq!(whole.len(), 1999);
    // Proof that scanning continues: bytes that were already scanned can be changed unnoticed.
    let mut decoder = CommandDecoder::new();
    let half = command.len() / 2;
    assert!(decoder.next(&Rules::DEFAULT, &mut &command[..half]).unwrap().is_none());
    let mut changed = command.clone();
    changed[20] = b'!';
    changed[8] = b'9';
    assert!(decoder.next(&Rules::DEFAULT, &mut &changed[..]).unwrap().is_some());
    let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
    assert_eq!(decoder.next(&mut &b"+abcdefgh"[..]), Ok(None));
    assert!(decoder.next(&mut &b"+ab\ndefghi\r\n"[..]).unwrap().is_some());
}

#[test]
fn r07_a_reply_to_nothing() {
    for reply in ["+OK\r\n", "-ERR a\r\n", "*0\r\n", "_\r\n"] {
        let mut connection = ClientConnection::<()>::new(Rules::DEFAULT);
        connection.command((), "PING", &mut Vec::new()).unwrap();
        let mut wire = &*("+PONG\r\n".to_owned() + reply).into_bytes();
        let mut out = Vec::new();
        let version = connection.version();
        assert!(matches!(
            connection.next(&mut wire, &mut out),
            Ok(Some(ClientEvent::Reply((), _)))
        ));
        assert_eq!(version, Version::Resp2);
        let expected = match reply {
            "_\r\n" => Err(Violation::Resp3Type(b'_')),
            // The reason why the server closes; nothing more is read.
            "-ERR a\r\n" => Ok(Some(ClientEvent::Refused(Value::Error("ERR a".into())))),
            _ => Err(Violation::Unsolicited),
        };
        assert_eq!(connection.next(&mut wire, &mut out), expected);
        assert!(expected.is_err() || connection.next(&mut &b"+OK\r\n"[..], &mut out) == Ok(None));
    }
}

/// Counts pushes.
#[derive(Debug, Default)]
struct Counter(usize);

impl Caller for Counter {
    type Message = std::convert::Infallible;
    type Ticket = ();

    fn ready(&mut self, _: Value, _: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        Ok(())
    }

    fn reply(&mut self, (): (), _: Value, _: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        Ok(())
    }

    fn push(&mut self, _: Push, _: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn r08_a_flood_of_pushes_is_not_kept() {
    let mut harness = Harness::new(Client::new(Arc::default(), Counter::default()));
    harness.receive(b"%0\r\n");
    let push = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$100\r\n".to_vec();
    let push = [push, vec![b'x'; 100], b"\r\n".to_vec()].concat();
    let flood = push.repeat(400);
    let ((), peak) = peak(|| {
        for _ in 0..50 {
            harness.receive(&flood);
        }
    });
    assert_eq!(harness.protocol().caller().0, 20_000);
    // The rig's buffer for the bytes of one call, and no more.
    assert!(peak < 300_000, "{peak}");
}

#[test]
fn r09_slow_clients() {
    let minutes = |bytes: &[u8], drip: &[u8]| {
        let mut harness = server();
        harness.receive(bytes);
        for second in 0..900 {
            if harness.is_half_closed() {
                return second;
            }
            harness.receive(drip);
            harness.advance(Duration::from_secs(1));
        }
        900
    };
    assert!(minutes(b"", b"") <= 301);
    assert!(minutes(b"*", b"") <= 31);
    assert!(minutes(b"*1\r\n$100\r\n", b"x") <= 31);
    // A long command, which is collected in a buffer.
    let mut long = b"*2\r\n$4\r\nECHO\r\n$100000\r\n".to_vec();
    long.resize(50_000, b'x');
    assert!(minutes(&long, b"x") <= 31);
    assert!(minutes(b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$4\r\nPING\r\n") == 900);
}

#[test]
fn r10_a_client_that_does_not_read() {
    let mut harness = server();
    harness.set_window(Some(0));
    let mut pings = Vec::new();
    for _ in 0..4000 {
        write_command(&mut pings, "PING").unwrap();
    }
    for _ in 0..100 {
        harness.receive(&pings);
    }
    // Once 64 KiB of output wait, nothing more is read except the rest of the current piece.
    assert!(!harness.wants_input());
    assert!(harness.held() < 256 * 1024, "{}", harness.held());
    // The commands left are answered as the output drains; none is lost.
    let mut sent = harness.take_sent().len();
    for _ in 0..1000 {
        harness.set_window(Some(100_000));
        sent += harness.take_sent().len();
    }
    assert_eq!(sent, 400_000 * 5);
}

#[test]
fn r11_a_long_command_is_bounded() {
    // A command counts with the size that its headers claim, before its bytes arrive.
    let mut harness = server();
    let mut wire = b"*20\r\n".to_vec();
    for _ in 0..20 {
        wire.extend_from_slice(b"$100000\r\n");
        wire.resize(wire.len() + 100_000, b'x');
        wire.extend_from_slice(b"\r\n");
    }
    let ((), peak) = peak(|| {
        for piece in wire.chunks(10_000) {
            harness.receive(piece);
        }
    });
    assert_eq!(harness.sent(), b"-ERR Protocol error: a command that is too long\r\n");
    assert!(peak < 3 << 20, "{peak}");
    // The memory of a long command is freed with its reply.
    let mut harness = server();
    let mut command = Vec::new();
    write_command(&mut command, &("SET", "k", vec![b'x'; 900_000])).unwrap();
    let before = HELD.get();
    for piece in command.chunks(10_000) {
        harness.receive(piece);
    }
    harness.receive(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(harness.sent(), b"+OK\r\n+OK\r\n");
    assert!(HELD.get() - before < 100_000);
}

#[test]
fn r12_other_protocols() {
    // The first bytes of a browser tricked into sending commands, of TLS, and of a scanner.
    for hello in [
        &b"POST / HTTP/1.1\r\nHost: 127.0.0.1:6379\r\n\r\n*1\r\n$8\r\nFLUSHALL\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"SSH-2.0-x\r\n",
        b"\0\0\0\0",
    ] {
        let mut harness = server();
        harness.receive(hello);
        let sent = String::from_utf8(harness.take_sent()).unwrap();
        assert!(
            sent.starts_with("-ERR Protocol error: something other than a command"),
            "{sent}"
        );
        assert_eq!(sent.matches("\r\n").count(), 1, "input behind the error was read");
        assert!(harness.is_half_closed());
    }
}

#[test]
fn r13_what_a_handler_says_cannot_be_two_replies() {
    let mut harness = Harness::new(Server::new(
        Arc::default(),
        |command: &Command<'_>, responder: &mut Responder<'_, '_>| {
            let text = command.iter().next().unwrap_or_default();
            responder.error(std::str::from_utf8(text).unwrap_or_default())
        },
    ));
    harness.receive(b"*2\r\n$3\r\nBAD\r\n$15\r\nERR no\r\n+OK\r\n:1\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(harness.sent(), b"-ERR internal error\r\n");
    assert!(harness.is_half_closed());
}

#[test]
fn r14_secrets_are_not_shown() {
    let mut hello = proto_resp::Hello::default();
    hello.password = Some("hunter2".into());
    let mut config = proto_resp::ClientConfig::default();
    config.hello = hello;
    let client = Client::new(Arc::new(config), Counter::default());
    let shown = format!("{client:?}");
    assert!(shown.contains("Hello") && !shown.contains("hunter2"), "{shown}");
}
