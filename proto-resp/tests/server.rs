//! The server's side: replies in order, late or in pieces, pushes between them, versions, and permissions.

use std::sync::Arc;
use std::time::Duration;

use proto_resp::{
    Bulk, Command, Event, Handler, Misuse, PreparedPush, Responder, Rules, Server, ServerConfig, ServerConnection,
    ServerError, Value, Version, write_command,
};
use protocol::testing::Harness;
use protocol::{Limits, Reason};

/// A handler that uses every way to answer.
#[derive(Default)]
struct Toy {
    /// Elements of a long reply still to be sent.
    left: u32,
    closed: Option<bool>,
}

#[derive(Debug, Clone)]
enum Note {
    Answer(&'static str),
    Publish(PreparedPush),
}

impl Handler for Toy {
    type Message = Note;

    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if command.is("ECHO")
            && let Some([text]) = command.arguments()
        {
            return responder.bulk(text);
        }
        match command.name() {
            b"PING" => responder.simple("PONG"),
            b"LATER" => Ok(()),
            b"LONG" => {
                self.left = 10_000;
                responder.array(self.left)?;
                self.drained(responder)
            }
            b"HALF" => responder.array(2),
            b"TWICE" => {
                responder.simple("OK")?;
                responder.simple("OK")
            }
            b"BREAK" => responder.error("ERR a\r\nb"),
            b"SUBSCRIBE" => {
                for (at, channel) in command.iter().enumerate() {
                    responder.push(|push, out| {
                        push.push(3, out)?;
                        push.bulk(b"subscribe", out)?;
                        push.bulk(channel, out)?;
                        push.integer(at as i64 + 1, out)
                    })?;
                }
                responder.none()
            }
            b"TYPES" => {
                responder.array(9)?;
                responder.map(1)?;
                responder.bulk(b"k")?;
                responder.double(0.5)?;
                responder.set(1)?;
                responder.boolean(true)?;
                responder.null()?;
                responder.null_array()?;
                responder.verbatim(*b"txt", b"hi")?;
                responder.event(&Event::BigNumber("12"))?;
                responder.event(&Event::Bulk(Bulk::Error, b"ERR a\r\nb"))?;
                responder.value(&Value::Boolean(false))?;
                responder.shared(bytes::Bytes::from_static(b"abc"))
            }
            b"WHO" => responder.boolean(responder.is_authenticated()),
            b"QUIT" => {
                responder.close();
                responder.simple("OK")
            }
            _ => responder.error("ERR unknown command"),
        }
    }

    fn authenticate(&mut self, username: &[u8], password: &[u8]) -> bool {
        (username, password) == (b"default", b"secret")
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        while self.left > 0 && !responder.is_congested() {
            self.left -= 1;
            responder.bulk(&[b'x'; 100])?;
        }
        Ok(())
    }

    fn posted(&mut self, note: Note, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match note {
            Note::Answer(text) if responder.is_due() => responder.simple(text),
            Note::Answer(_) => Ok(()),
            Note::Publish(push) => responder.prepared_push(&push),
        }
    }

    fn closed(&mut self, unanswered: bool) {
        self.closed = Some(unanswered);
    }
}

fn harness() -> Harness<Server<Toy>> {
    Harness::new(Server::new(Arc::default(), Toy::default()))
}

fn commands(all: &[&[&str]]) -> Vec<u8> {
    let mut out = Vec::new();
    for command in all {
        write_command(&mut out, *command).unwrap();
    }
    out
}

fn sent(harness: &mut Harness<Server<Toy>>) -> String {
    String::from_utf8(harness.take_sent()).unwrap().replace("\r\n", " ")
}

#[test]
fn pipelined_commands_are_answered_in_one_write() {
    let mut harness = harness();
    harness.receive(&commands(&[&["PING"], &["echo", "a"], &["NONE"], &["PING"]]));
    assert_eq!(sent(&mut harness), "+PONG $1 a -ERR unknown command +PONG ");
    assert_eq!(harness.writes(), 1);
}

#[test]
fn a_late_reply_keeps_its_place() {
    let mut harness = harness();
    harness.receive(&commands(&[
        &["PING"],
        &["LATER"],
        &["PING"],
        &["LATER"],
        &["ECHO", "a"],
    ]));
    assert_eq!(sent(&mut harness), "+PONG ");
    assert!(!harness.wants_input());
    let push = PreparedPush::message(b"c", b"hi").unwrap();
    harness.post(Note::Publish(push));
    assert_eq!(sent(&mut harness), "*3 $7 message $1 c $2 hi ");
    harness.post(Note::Answer("first"));
    assert_eq!(sent(&mut harness), "+first +PONG ");
    harness.post(Note::Answer("second"));
    harness.post(Note::Answer("third"));
    assert_eq!(sent(&mut harness), "+second $1 a ");
    assert!(harness.wants_input());
}

#[test]
fn a_half_close_waits_for_all_replies() {
    let mut harness = harness();
    harness.receive(&commands(&[&["LATER"], &["PING"], &["LATER"], &["PING"]]));
    harness.eof();
    harness.post(Note::Answer("first"));
    assert!(!harness.is_half_closed());
    harness.post(Note::Answer("second"));
    assert_eq!(sent(&mut harness), "+first +PONG +second +PONG ");
    assert!(harness.is_half_closed());
    assert!(harness.ended().is_some());
    assert_eq!(harness.protocol().handler().closed, Some(false));
}

#[test]
fn a_long_reply_is_sent_as_the_client_takes_it() {
    let mut harness = Harness::with_limits(
        Server::new(Arc::default(), Toy::default()),
        Limits::default().max_output(100_000),
    );
    harness.set_window(Some(1000));
    harness.receive(&commands(&[&["LONG"], &["PING"]]));
    let mut all = harness.take_sent();
    for _ in 0..10_000 {
        if all.ends_with(b"+PONG\r\n") {
            break;
        }
        harness.set_window(Some(1000));
        all.extend(harness.take_sent());
        assert!(harness.held() < 100_000);
    }
    assert!(all.starts_with(b"*10000\r\n$100\r\nxxx") && all.ends_with(b"x\r\n+PONG\r\n"));
    assert_eq!(all.len(), 8 + 10_000 * 108 + 7);
}

#[test]
fn commands_wait_while_the_client_takes_no_replies() {
    let mut harness = Harness::with_limits(
        Server::new(Arc::default(), Toy::default()),
        Limits::default().max_output(100_000),
    );
    harness.set_window(Some(0));
    let text = "x".repeat(100);
    harness.receive(&commands(&vec![&["ECHO", &text][..]; 5000]));
    // More output than the limit would end the connection.
    assert!(!harness.is_half_closed());
    harness.set_window(None);
    assert_eq!(harness.take_sent().len(), 5000 * 108);
}

#[test]
fn resp2_has_a_form_for_most() {
    let mut harness = harness();
    harness.receive(&commands(&[
        &["TYPES"],
        &["HELLO", "3", "SETNAME", "me"],
        &["TYPES"],
        &["HELLO", "2"],
        &["HELLO", "4"],
    ]));
    let sent = sent(&mut harness);
    let (old, rest) = sent.split_once(" %6 ").unwrap();
    assert_eq!(old, "*9 *2 $1 k $3 0.5 *1 :1 $-1 *-1 $2 hi $2 12 -ERR a  b :0 $3 abc");
    let (hello, rest) = rest.split_once("*9 ").unwrap();
    assert!(
        hello.starts_with("$6 server $10 proto-resp $7 version ") && hello.contains("$5 proto :3 "),
        "{hello}"
    );
    let (new, hello) = rest.split_once("*12 ").unwrap();
    assert_eq!(new, "%1 $1 k ,0.5 ~1 #t _ _ =6 txt:hi (12 !8 ERR a b #f $3 abc ");
    assert!(
        hello.contains("$5 proto :2 ") && hello.ends_with("-NOPROTO unsupported protocol version "),
        "{hello}"
    );
}

#[test]
fn subscribers_get_pushes() {
    let mut harness = harness();
    harness.receive(&commands(&[&["HELLO", "3"], &["SUBSCRIBE", "a", "b"], &["PING"]]));
    let hello = sent(&mut harness);
    assert!(
        hello.ends_with(">3 $9 subscribe $1 a :1 >3 $9 subscribe $1 b :2 +PONG "),
        "{hello}"
    );
    let push = PreparedPush::message(b"a", &[b'x'; 2000]).unwrap();
    harness.post(Note::Publish(push));
    assert!(harness.take_sent().starts_with(b">3\r\n$7\r\nmessage\r\n"));
}

#[test]
fn who_does_not_say_who_it_is_gets_nothing() {
    let mut config = ServerConfig::default();
    config.authentication = true;
    let config = Arc::new(config);
    let start = || Harness::new(Server::new(Arc::clone(&config), Toy::default()));
    let mut harness = start();
    harness.receive(&commands(&[
        &["PING"],
        &["HELLO", "3"],
        &["AUTH", "wrong"],
        &["AUTH", "ada", "secret"],
        &["AUTH"],
        &["auth", "secret"],
        &["WHO"],
        &["hello", "3"],
    ]));
    let sent = sent(&mut harness);
    let codes: Vec<_> = sent.split(" -").map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(codes, ["-NOAUTH", "NOAUTH", "WRONGPASS", "WRONGPASS", "ERR"], "{sent}");
    assert!(sent.contains(" +OK :1 %6 "), "{sent}");
    let mut harness = start();
    harness.receive(&commands(&[&["HELLO", "3", "AUTH", "default", "secret"], &["WHO"]]));
    assert!(harness.take_sent().ends_with(b"#t\r\n"));
    // The limits for unauthenticated clients are lower.
    for (long, refused) in [("x".repeat(5000), true), ("x".repeat(3000), false)] {
        let mut harness = start();
        harness.receive(&commands(&[&["PING", &long]]));
        let text = String::from_utf8(harness.take_sent()).unwrap();
        assert_eq!(
            text.starts_with("-ERR Protocol error: a command that is too long"),
            refused
        );
        assert_eq!(text.starts_with("-NOAUTH"), !refused);
        assert_eq!(harness.is_half_closed(), refused);
    }
    let mut harness = start();
    harness.receive(b"*17\r\n");
    assert!(harness.is_half_closed());
}

#[test]
fn a_handler_that_fails() {
    for (command, sent, reset) in [
        ("TWICE", &b"+OK\r\n-ERR internal error\r\n"[..], false),
        ("BREAK", b"-ERR internal error\r\n", false),
        ("HALF", b"*2\r\n-ERR no reply in time\r\n", false),
    ] {
        let mut harness = harness();
        harness.receive(&commands(&[&[command]]));
        if command == "HALF" {
            // An open reply cannot be ended by an error: the connection is reset.
            harness.advance(Duration::from_secs(61));
            assert!(harness.was_reset());
            assert_eq!(harness.protocol().handler().closed, Some(true));
            continue;
        }
        assert_eq!(harness.take_sent(), sent);
        assert!(harness.is_half_closed());
        assert_eq!(harness.was_reset(), reset);
    }
}

#[test]
fn deadlines() {
    // A client that sends nothing at all, and one that goes silent between two commands.
    let mut harness = harness();
    harness.advance(Duration::from_secs(200));
    harness.receive(&commands(&[&["PING"]]));
    harness.advance(Duration::from_secs(299));
    assert!(!harness.is_half_closed());
    // A push counts as activity too.
    harness.post(Note::Publish(PreparedPush::message(b"c", b"m").unwrap()));
    harness.advance(Duration::from_secs(299));
    assert!(!harness.is_half_closed());
    harness.post(Note::Answer("nobody waits"));
    harness.advance(Duration::from_secs(2));
    assert!(harness.is_half_closed());
    // A handler that never answers.
    let mut harness = self::harness();
    harness.receive(&commands(&[&["LATER"], &["PING"]]));
    harness.advance(Duration::from_secs(61));
    assert_eq!(harness.take_sent(), b"-ERR no reply in time\r\n");
    assert!(harness.is_half_closed());
}

#[test]
fn quit_ends_it() {
    let mut harness = harness();
    harness.receive(&commands(&[&["PING"], &["QUIT"], &["PING"]]));
    assert_eq!(sent(&mut harness), "+PONG +OK ");
    assert!(harness.is_half_closed());
    // When the driver stops, the reply under way is still awaited.
    let mut harness = self::harness();
    harness.receive(&commands(&[&["LATER"], &["PING"]]));
    harness.stop();
    assert!(!harness.is_half_closed());
    harness.post(Note::Answer("late"));
    assert_eq!(sent(&mut harness), "+late ");
    assert!(harness.is_half_closed());
}

#[test]
fn inline_commands_where_permitted() {
    let mut config = ServerConfig::default();
    config.rules.leniency.inline_commands = true;
    let mut harness = Harness::new(Server::new(Arc::new(config), Toy::default()));
    harness.trickle(b"\r\nPING\r\necho \"a b\"\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(sent(&mut harness), "+PONG $3 a b +PONG ");
    harness.receive(b"POST / HTTP/1.1\r\n");
    assert_eq!(sent(&mut harness), "-ERR Protocol error: a line of HTTP ");
    harness.eof();
    assert_eq!(harness.ended(), Some(Reason::Error));
}

#[test]
fn an_error_is_compared_by_value() {
    let error = ServerError::Misuse(Misuse::NotDue);
    assert_eq!(error, ServerError::Misuse(Misuse::NotDue));
    assert_eq!(error.to_string(), "the handler failed: no reply is due");
}

// Pulled.

#[test]
fn a_writer_writes_one_reply_for_each_command() {
    let ServerConnection { mut reader, mut writer } = ServerConnection::new();
    let mut out = Vec::new();
    assert_eq!(writer.simple("OK", &mut out), Err(Misuse::NotDue));
    assert_eq!(writer.none(), Err(Misuse::NotDue));
    let wire = commands(&[&["A"], &["B"]]);
    let mut rest = &wire[..];
    assert!(
        reader
            .next(&mut writer, &Rules::DEFAULT, &mut rest)
            .unwrap()
            .unwrap()
            .is("a")
    );
    // The next is not handed out before.
    assert!(reader.next(&mut writer, &Rules::DEFAULT, &mut rest).unwrap().is_none());
    writer.array(2, &mut out).unwrap();
    assert!(writer.is_open() && writer.is_due());
    assert_eq!(writer.none(), Err(Misuse::Unfinished));
    assert_eq!(
        writer.push(&mut out, |push, out| push.push(1, out)),
        Err(Misuse::Unfinished)
    );
    let push = Event::Begin {
        kind: proto_resp::Aggregate::Push,
        len: Some(1),
    };
    assert_eq!(writer.event(&push, &mut out), Err(Misuse::Push));
    let attribute = Event::Begin {
        kind: proto_resp::Aggregate::Attribute,
        len: Some(1),
    };
    assert_eq!(writer.event(&attribute, &mut out), Err(Misuse::Resp3));
    writer.integer(1, &mut out).unwrap();
    writer.array(0, &mut out).unwrap();
    assert!(!writer.is_due());
    assert!(
        reader
            .next(&mut writer, &Rules::DEFAULT, &mut rest)
            .unwrap()
            .unwrap()
            .is("b")
    );
    // An invalid push leaves no bytes in the output.
    let before = out.len();
    assert_eq!(
        writer.push(&mut out, |push, out| push.push(2, out)),
        Err(Misuse::Unfinished)
    );
    assert_eq!(out.len(), before);
    writer
        .push(&mut out, |push, out| {
            push.push(1, out)?;
            push.bulk(b"x", out)
        })
        .unwrap();
    writer.none().unwrap();
    assert_eq!(out, b"*2\r\n:1\r\n*0\r\n*1\r\n$1\r\nx\r\n");
    assert_eq!(writer.version(), Version::Resp2);
}

#[test]
fn what_an_encoder_refuses_leaves_nothing() {
    use proto_resp::{Aggregate, Encoder};
    let mut out = b"x".to_vec();
    let mut encoder = Encoder::new(Version::Resp3);
    let begin = |kind, len| Event::Begin { kind, len };
    let end = |kind| Event::End { kind, streamed: true };
    let part = |bytes, left| Event::Part {
        of: Bulk::String,
        bytes,
        left,
    };
    for (event, misuse) in [
        (Event::Simple(b"a\nb"), Misuse::LineBreak),
        (Event::Error(b"a\rb"), Misuse::LineBreak),
        (Event::BigNumber("1.5"), Misuse::BigNumber),
        (begin(Aggregate::Push, Some(0)), Misuse::Push),
        (begin(Aggregate::Push, None), Misuse::Unbalanced),
        (begin(Aggregate::Map, Some(1 << 28)), Misuse::TooLarge),
        (end(Aggregate::Array), Misuse::Unbalanced),
    ] {
        assert_eq!(encoder.event(&event, &mut out), Err(misuse), "{event:?}");
    }
    assert_eq!(out, b"x");
    encoder.event(&begin(Aggregate::Map, None), &mut out).unwrap();
    encoder.bulk(b"k", &mut out).unwrap();
    assert_eq!(encoder.push(1, &mut out), Err(Misuse::Push));
    assert_eq!(encoder.event(&end(Aggregate::Map), &mut out), Err(Misuse::Unbalanced));
    encoder.event(&part(b"ab", Some(2)), &mut out).unwrap();
    assert_eq!(encoder.bulk(b"v", &mut out), Err(Misuse::Unfinished));
    assert_eq!(encoder.event(&part(b"abc", Some(0)), &mut out), Err(Misuse::Unbalanced));
    assert_eq!(encoder.event(&part(b"a", None), &mut out), Err(Misuse::Unbalanced));
    encoder.event(&part(b"cd", Some(0)), &mut out).unwrap();
    assert_eq!(encoder.event(&end(Aggregate::Array), &mut out), Err(Misuse::Unbalanced));
    encoder.event(&end(Aggregate::Map), &mut out).unwrap();
    assert!(encoder.is_between());
    assert_eq!(out, b"x%?\r\n$1\r\nk\r\n$4\r\nabcd\r\n.\r\n");
    encoder.event(&begin(Aggregate::Attribute, Some(0)), &mut out).unwrap();
    assert!(!encoder.is_between(), "an attribute of nothing");
    encoder.null(&mut out).unwrap();
    for _ in 0..128 {
        encoder.array(1, &mut out).unwrap();
    }
    assert_eq!(encoder.array(1, &mut out), Err(Misuse::TooLarge));
}

/// Checks the README's statement about memory.
#[test]
fn an_idle_server_is_small() {
    type Answer = fn(&Command<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>;
    let size = size_of::<Server<Answer>>();
    assert!(size <= 160, "{size}");
}

/// A command has one deadline from its first byte, however slowly its bytes arrive; the next command has its own.
#[test]
fn a_command_has_time_of_its_own() {
    let mut harness = Harness::new(Server::new(Arc::new(ServerConfig::default()), Toy::default()));
    let ping = b"*1\r\n$4\r\nPING\r\n";
    harness.receive(&ping[..5]);
    harness.advance(Duration::from_secs(20));
    // The end of one command and the beginning of the next in one read.
    harness.receive(&[&ping[5..], &ping[..7]].concat());
    assert_eq!(harness.take_sent(), b"+PONG\r\n");
    harness.advance(Duration::from_secs(29));
    assert_eq!(harness.ended(), None);
    harness.receive(&ping[7..8]);
    assert!(!harness.is_half_closed());
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.take_sent(), b"-ERR the command did not end in time\r\n");
    assert!(harness.is_half_closed());

    // After a complete command only the idle time runs; a long command that is being collected counts as begun.
    let mut harness = Harness::new(Server::new(Arc::new(ServerConfig::default()), Toy::default()));
    harness.receive(ping);
    harness.advance(Duration::from_secs(31));
    harness.receive(b"*2\r\n$4\r\nECHO\r\n$40000\r\n");
    for _ in 0..3 {
        harness.advance(Duration::from_secs(9));
        harness.receive(&[b'x'; 10_000]);
    }
    assert_eq!(harness.take_sent(), b"+PONG\r\n");
    assert!(!harness.is_half_closed());
    harness.advance(Duration::from_secs(3));
    assert_eq!(harness.take_sent(), b"-ERR the command did not end in time\r\n");
}

/// The rewritten form of an inline command is longer than its line; the limit of a command's bytes is for the other form.
#[test]
fn an_inline_command_is_limited_by_its_line() {
    let mut config = ServerConfig::default();
    (config.rules.limits.command, config.rules.limits.line) = (12, 12);
    config.rules.leniency.inline_commands = true;
    let mut harness = Harness::new(Server::new(Arc::new(config), Toy::default()));
    harness.trickle(b"ECHO \"a b\"\r\n");
    assert_eq!(sent(&mut harness), "$3 a b ");
}
