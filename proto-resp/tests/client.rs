//! The client's side: which reply belongs to which command, what is a push, and how the connection begins and ends.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto_resp::{
    Caller, Client, ClientConfig, ClientConnection, ClientError, ClientEvent, Hello, Misuse, PreparedCommand, Push,
    Requester, Rules, Timer, Unanswered, Value, ValueDecoder, Version, Violation,
};
use protocol::Reason;
use protocol::testing::Harness;

type Connection = ClientConnection<u32>;

fn bulk(text: &str) -> Value {
    Value::Bulk(text.to_owned().into())
}

fn simple(text: &str) -> Value {
    Value::Simple(text.to_owned().into())
}

/// All events of `input`.
fn read(connection: &mut Connection, input: &str) -> Result<Vec<ClientEvent<u32>>, Violation> {
    let (mut rest, mut out, mut events) = (input.as_bytes(), Vec::new(), Vec::new());
    while let Some(event) = connection.next(&mut rest, &mut out)? {
        events.push(event);
    }
    assert_eq!((rest.len(), out.len()), (0, 0));
    Ok(events)
}

fn resp3() -> Connection {
    let mut connection = Connection::new(Rules::DEFAULT);
    connection.hello(&Hello::default(), &mut Vec::new()).unwrap();
    let events = read(&mut connection, "%1\r\n$5\r\nproto\r\n:3\r\n").unwrap();
    assert!(matches!(events[..], [ClientEvent::Ready(Value::Map(_))]));
    connection
}

fn send(connection: &mut Connection, ticket: u32, arguments: &[&str]) {
    connection.command(ticket, arguments, &mut Vec::new()).unwrap();
}

#[test]
fn replies_come_in_order_and_pushes_between() {
    let mut connection = resp3();
    for ticket in 0..3 {
        send(&mut connection, ticket, &["GET", "a"]);
    }
    let events = read(
        &mut connection,
        "$1\r\nx\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n-ERR no\r\n_\r\n",
    )
    .unwrap();
    let [first, ClientEvent::Push(push), second, third] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*first, ClientEvent::Reply(0, bulk("x")));
    assert_eq!(
        (push.kind(), push.data()),
        (&b"invalidate"[..], &[Value::Array(vec![bulk("a")])][..])
    );
    assert!(matches!(second, ClientEvent::Reply(1, error) if error.as_error().unwrap().code() == b"ERR"));
    assert_eq!(*third, ClientEvent::Reply(2, Value::Null));
    assert_eq!(connection.outstanding(), 0);
}

#[test]
fn a_reply_that_nothing_asked_for_ends_it() {
    let mut connection = resp3();
    send(&mut connection, 1, &["PING"]);
    assert_eq!(read(&mut connection, "+PONG\r\n+PONG\r\n"), Err(Violation::Unsolicited));
    // A server that closes may send the reason unasked; here the client begins without HELLO.
    let mut connection = Connection::new(Rules::DEFAULT);
    let events = read(&mut connection, "-ERR max number of clients reached\r\n").unwrap();
    assert!(matches!(&events[..], [ClientEvent::Refused(error)] if error.as_error().unwrap().code() == b"ERR"));
    assert!(!connection.is_ready());
}

const SUNSUBSCRIBED: &str = ">3\r\n$12\r\nsunsubscribe\r\n$1\r\nx\r\n:0\r\n";
const MOVED: &str = "-MOVED 1 127.0.0.1:7001\r\n";
const MARKER: &str = "$19\r\nproto-resp marker 1\r\n";

/// The replies to SSUBSCRIBE, SUNSUBSCRIBE, GET a and GET b, as read from `input`.
fn moving(input: &str) -> (Vec<(u32, Value)>, usize, Option<Violation>) {
    let mut connection = resp3();
    for (ticket, command) in [
        &["SSUBSCRIBE", "x"],
        &["SUNSUBSCRIBE", "x"],
        &["GET", "a"],
        &["GET", "b"],
    ]
    .iter()
    .enumerate()
    {
        send(&mut connection, ticket as u32, *command);
    }
    let input = format!(">3\r\n$10\r\nssubscribe\r\n$1\r\nx\r\n:1\r\n{input}$1\r\nA\r\n$1\r\nB\r\n");
    let (mut rest, mut replies, mut pushes) = (input.as_bytes(), Vec::new(), 0);
    loop {
        match connection.next(&mut rest, &mut Vec::new()) {
            Ok(Some(ClientEvent::Reply(ticket, value))) => replies.push((ticket, value)),
            Ok(Some(_)) => pushes += 1,
            Ok(None) => return (replies, pushes, None),
            Err(violation) => {
                // After a violation, every command without a reply is returned as unanswered.
                let unanswered: Vec<_> = connection.take_unanswered().collect();
                assert_eq!(unanswered, (replies.len() as u32..4).collect::<Vec<_>>());
                return (replies, pushes, Some(violation));
            }
        }
    }
}

/// No command ever gets another's reply, even when a slot moves away while its channel is being unsubscribed from.
#[test]
fn what_a_moving_slot_says_unasked_moves_no_reply() {
    let gets = [(2, bulk("A")), (3, bulk("B"))];
    // The server sends the confirmation; or an unasked one and then the error; or only the error; or an unasked one before.
    let (replies, pushes, violation) = moving(&format!("{SUNSUBSCRIBED}{MARKER}"));
    assert_eq!((&replies[2..], pushes, violation), (&gets[..], 0, None));
    assert_eq!(replies[1].1.as_slice().unwrap().len(), 1);
    for input in [format!("{SUNSUBSCRIBED}{MOVED}{MARKER}"), format!("{MOVED}{MARKER}")] {
        let (replies, pushes, violation) = moving(&input);
        assert_eq!((&replies[2..], pushes, violation), (&gets[..], 0, None), "{input}");
        assert_eq!(replies[1].1.as_error().unwrap().code(), b"MOVED");
    }
    let (replies, pushes, violation) = moving(&format!("{SUNSUBSCRIBED}{SUNSUBSCRIBED}{MARKER}"));
    assert_eq!((&replies[2..], pushes, violation), (&gets[..], 1, None));
    // A server that refuses the marker too: without a confirmation the replies are unambiguous; with one they are not, and the connection
    // fails.
    let (replies, _, violation) = moving("-NOAUTH no\r\n-NOAUTH no\r\n");
    assert_eq!((&replies[2..], violation), (&gets[..], None));
    for wrong in [
        format!("{SUNSUBSCRIBED}{MOVED}"),
        SUNSUBSCRIBED.to_string(),
        MOVED.to_string(),
        MARKER.to_string(),
        format!("{SUNSUBSCRIBED}{}", MARKER.replace("marker 1", "marker 2")),
        String::new(),
    ] {
        let (replies, _, violation) = moving(&wrong);
        assert_eq!((replies.len(), violation), (1, Some(Violation::Misordered)), "{wrong}");
    }
}

#[test]
fn an_unsubscription_is_marked() {
    for (version, reply) in [(Version::Resp2, ""), (Version::Resp3, "")] {
        let mut connection = if version == Version::Resp3 {
            resp3()
        } else {
            Connection::new(Rules::DEFAULT)
        };
        let mut out = Vec::new();
        connection.command(7, &["UNSUBSCRIBE", "a"], &mut out).unwrap();
        assert!(out.ends_with(b"*2\r\n$4\r\nPING\r\n$19\r\nproto-resp marker 1\r\n"));
        // Unasked confirmations come only for channels of a cluster's slots; for others, a refused marker is told from a refused command.
        let sort = if version == Version::Resp3 { '>' } else { '*' };
        let input = format!("{sort}3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n-NOPERM no ping\r\n{reply}");
        let events = read(&mut connection, &input).unwrap();
        assert!(
            matches!(&events[..], [ClientEvent::Reply(7, Value::Array(all))] if all.len() == 1),
            "{events:?}"
        );
        assert_eq!(connection.outstanding(), 0);
        // While the client is subscribed to something, RESP2 answers PING by an array.
        if version == Version::Resp2 {
            send(&mut connection, 8, &["SUBSCRIBE", "a", "b"]);
            send(&mut connection, 9, &["UNSUBSCRIBE", "a"]);
            let events = read(
                &mut connection,
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n\
                 *3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$19\r\nproto-resp marker 2\r\n",
            )
            .unwrap();
            assert!(
                matches!(&events[..], [ClientEvent::Reply(8, _), ClientEvent::Reply(9, _)]),
                "{events:?}"
            );
        }
    }
    // Without room for the marker, nothing is sent.
    let mut memory = [0; 60];
    let mut out = proto_resp::SliceBuffer::new(&mut memory);
    let mut connection = resp3();
    assert_eq!(
        connection.command(1, &["UNSUBSCRIBE", "a"], &mut out),
        Err(Misuse::NoSpace)
    );
    assert_eq!((out.as_slice(), connection.outstanding()), (&b""[..], 0));
}

/// An unsubscription from everything has as many confirmations as there are subscriptions left, so it is known to be complete when the
/// server refuses its marker.
#[test]
fn an_unsubscription_from_the_rest_is_complete() {
    let mut connection = resp3();
    let confirmed =
        |word: &str, channel, total| format!(">3\r\n${}\r\n{word}\r\n$1\r\n{channel}\r\n:{total}\r\n", word.len());
    send(&mut connection, 1, &["SUBSCRIBE", "a", "b"]);
    send(&mut connection, 2, &["UNSUBSCRIBE", "a"]);
    send(&mut connection, 3, &["UNSUBSCRIBE"]);
    let input = [
        confirmed("subscribe", 'a', 1),
        confirmed("subscribe", 'b', 2),
        confirmed("unsubscribe", 'a', 1),
        MARKER.to_string(),
        confirmed("unsubscribe", 'b', 0),
        "-NOPERM no ping\r\n".to_string(),
    ];
    let events = read(&mut connection, &input.concat()).unwrap();
    assert!(
        matches!(&events[2], ClientEvent::Reply(3, Value::Array(all)) if all.len() == 1),
        "{events:?}"
    );
    assert_eq!((connection.outstanding(), connection.subscriptions()), (0, 0));
}

#[test]
fn nothing_is_subscribed_to_between_multi_and_exec() {
    for last in ["EXEC", "discard"] {
        let mut connection = resp3();
        send(&mut connection, 1, &["MULTI"]);
        for command in [&["SUBSCRIBE", "a"][..], &["unsubscribe"], &["SSUBSCRIBE", "a"]] {
            let sent = connection.command(2, command, &mut Vec::new());
            assert_eq!(sent, Err(Misuse::Unanswerable), "{command:?}");
        }
        let whole = connection.transaction(2, &["PING"], &mut Vec::new());
        assert_eq!(whole, Err(Misuse::Unanswerable));
        send(&mut connection, 3, &[last]);
        send(&mut connection, 4, &["SUBSCRIBE", "a"]);
    }
}

/// How Redis 7.0 reports a key that the client tracks: inside EXEC's reply, as a push that is no element of the reply.
#[test]
fn a_push_inside_of_execs_reply() {
    let mut connection = Connection::new(Rules::REPLIES);
    connection.hello(&Hello::default(), &mut Vec::new()).unwrap();
    read(&mut connection, "%1\r\n$5\r\nproto\r\n:3\r\n").unwrap();
    connection
        .transaction(1, &[["SET", "a"], ["GET", "a"]], &mut Vec::new())
        .unwrap();
    send(&mut connection, 2, &["PING"]);
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
    let input = format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{push}+OK\r\n{push}*1\r\n{push}$1\r\nv\r\n+PONG\r\n");
    let events = read(&mut connection, &input).unwrap();
    let [
        ClientEvent::Push(push),
        ClientEvent::Push(_),
        ClientEvent::Push(_),
        exec,
        ping,
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(push.kind(), b"invalidate");
    assert_eq!(
        *exec,
        ClientEvent::Reply(1, Value::Array(vec![simple("OK"), Value::Array(vec![bulk("v")])]))
    );
    assert_eq!(*ping, ClientEvent::Reply(2, simple("PONG")));
    // Under strict rules this is a violation; inside other pushes or attributes, always.
    let decode = |rules, input: &str| ValueDecoder::new(Version::Resp3, rules).next(&mut input.as_bytes());
    for (input, lenient) in [
        ("*1\r\n>1\r\n+x\r\n", false),
        (">2\r\n+x\r\n>1\r\n+y\r\n", true),
        (">2\r\n+x\r\n*1\r\n>1\r\n+y\r\n", true),
        ("*1\r\n|1\r\n+a\r\n+b\r\n>1\r\n+y\r\n", true),
    ] {
        assert_eq!(decode(Rules::DEFAULT, input), Err(Violation::NestedPush), "{input}");
        assert_eq!(
            decode(Rules::REPLIES, input) == Err(Violation::NestedPush),
            lenient,
            "{input}"
        );
    }
    // The same inside streamed aggregates; the push is no element of them.
    let mut input = &b"%?\r\n+k\r\n>1\r\n+x\r\n+v\r\n.\r\n"[..];
    let mut decoder = ValueDecoder::new(Version::Resp3, Rules::REPLIES);
    assert_eq!(decoder.next(&mut input), Ok(Some(Value::Push(vec![simple("x")]))));
    assert!(!decoder.is_between());
    assert_eq!(
        decoder.next(&mut input),
        Ok(Some(Value::Map(vec![(simple("k"), simple("v"))])))
    );
}

/// `redis.error_reply` puts any text into an error: a text that is too long is cut, with no other effect.
#[test]
fn a_long_error_line_is_cut() {
    let long = "x".repeat(20_000);
    let input = format!("-ERR {long}\r\n*2\r\n-ERR {long}\r\n:1\r\n+PONG\r\n").into_bytes();
    for step in [1, 7, 4096, 16_383, 16_384, 16_385, input.len()] {
        let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
        let (mut buffer, mut values, mut most) = (Vec::new(), Vec::new(), 0);
        for piece in input.chunks(step) {
            buffer.extend_from_slice(piece);
            let mut rest = &buffer[..];
            while let Some(value) = decoder.next(&mut rest).unwrap() {
                values.push(value);
            }
            buffer.drain(..buffer.len() - rest.len());
            most = most.max(buffer.len());
        }
        let [first, Value::Array(inner), last] = &values[..] else {
            panic!("{step}: {}", values.len())
        };
        assert_eq!(
            first.as_error().unwrap().text(),
            &format!("ERR {long}").as_bytes()[..16 * 1024]
        );
        assert_eq!((&inner[0], &inner[1]), (first, &Value::Integer(1)));
        assert_eq!(*last, simple("PONG"));
        assert!(buffer.is_empty() && most <= 16 * 1024 + 1, "{step}: {most}");
    }
    // The line ends like any other line, and its cost is bounded.
    for (end, violation) in [("\n", Violation::BareLf), ("\rx", Violation::BareCr)] {
        let input = format!("-{long}{end}");
        let mut decoder = ValueDecoder::new(Version::Resp2, Rules::DEFAULT);
        let mut rest = input.as_bytes();
        assert!(decoder.next(&mut rest).unwrap().is_some());
        assert_eq!(decoder.next(&mut rest), Err(violation));
    }
    let mut rules = Rules::DEFAULT;
    rules.limits.reply = 19_000;
    let input = format!("-{long}\r\n");
    let (mut decoder, mut rest) = (ValueDecoder::new(Version::Resp2, rules), input.as_bytes());
    assert!(decoder.next(&mut rest).unwrap().is_some());
    assert_eq!(decoder.next(&mut rest), Err(Violation::ReplyTooLong));
}

#[test]
fn subscriptions_in_resp3() {
    let mut connection = resp3();
    send(&mut connection, 1, &["SUBSCRIBE", "a", "b"]);
    send(&mut connection, 2, &["PING"]);
    send(&mut connection, 3, &["PSUBSCRIBE", "a*"]);
    // One message arrives before the second confirmation, and another behind it.
    let events = read(
        &mut connection,
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nm1\r\n\
         >3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n+PONG\r\n>3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n\
         >4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$2\r\nm2\r\n",
    )
    .unwrap();
    let [
        ClientEvent::Push(one),
        ClientEvent::Reply(1, both),
        ClientEvent::Reply(2, pong),
        ClientEvent::Reply(3, pattern),
        ClientEvent::Push(two),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(one.published().unwrap().payload, b"m1");
    assert_eq!(both.as_slice().unwrap().len(), 2);
    assert_eq!(*pong, simple("PONG"));
    assert_eq!(pattern.as_slice().unwrap().len(), 1);
    let published = two.published().unwrap();
    assert_eq!(
        (published.pattern, published.channel, published.payload),
        (Some(&b"a*"[..]), &b"a"[..], &b"m2"[..])
    );
    assert_eq!(connection.subscriptions(), 3);
    // All channels, of which there are two; then none, which is confirmed once.
    send(&mut connection, 4, &["UNSUBSCRIBE"]);
    send(&mut connection, 5, &["unsubscribe"]);
    send(&mut connection, 6, &["GET", "k"]);
    let events = read(
        &mut connection,
        ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n\
         $19\r\nproto-resp marker 1\r\n>3\r\n$11\r\nunsubscribe\r\n_\r\n:1\r\n$19\r\nproto-resp marker 2\r\n\
         $1\r\nv\r\n",
    )
    .unwrap();
    let tickets: Vec<_> = events
        .iter()
        .map(|event| matches!(event, ClientEvent::Reply(..)))
        .collect();
    assert_eq!(tickets, [true; 3]);
    assert!(matches!(&events[2], ClientEvent::Reply(6, value) if *value == bulk("v")));
    assert_eq!(connection.subscriptions(), 1);
}

#[test]
fn a_refused_subscription_is_a_reply() {
    let mut connection = resp3();
    send(&mut connection, 1, &["SUBSCRIBE", "a"]);
    send(&mut connection, 2, &["PING"]);
    let events = read(&mut connection, "-NOPERM no\r\n+PONG\r\n").unwrap();
    assert!(
        matches!(&events[..], [ClientEvent::Reply(1, error), ClientEvent::Reply(2, _)] if error.as_error().is_some())
    );
    // A confirmation that was not asked for, as when a shard moves, is a push.
    let events = read(&mut connection, ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n").unwrap();
    assert!(matches!(&events[..], [ClientEvent::Push(push)] if push.kind() == b"sunsubscribe"));
}

#[test]
fn subscriptions_in_resp2() {
    let mut connection = Connection::new(Rules::DEFAULT);
    // An array that looks like a message is a reply as long as the client is subscribed to nothing.
    send(&mut connection, 1, &["LRANGE", "l", "0", "-1"]);
    send(&mut connection, 2, &["SUBSCRIBE", "a"]);
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
    let confirmation = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    let events = read(&mut connection, &format!("{message}{confirmation}{message}")).unwrap();
    assert!(matches!(
        &events[..],
        [
            ClientEvent::Reply(1, Value::Array(_)),
            ClientEvent::Reply(2, Value::Array(_)),
            ClientEvent::Push(_)
        ]
    ));
    // In this mode PING is answered by an array, and other commands by errors.
    send(&mut connection, 3, &["PING"]);
    send(&mut connection, 4, &["GET", "a"]);
    let events = read(
        &mut connection,
        &format!("{message}*2\r\n$4\r\npong\r\n$0\r\n\r\n-ERR Can't execute 'get'\r\n"),
    )
    .unwrap();
    assert!(matches!(
        &events[..],
        [
            ClientEvent::Push(_),
            ClientEvent::Reply(3, Value::Array(_)),
            ClientEvent::Reply(4, Value::Error(_))
        ]
    ));
    // When nothing is subscribed to any more, arrays are replies again.
    send(&mut connection, 5, &["UNSUBSCRIBE", "a"]);
    send(&mut connection, 6, &["LRANGE", "l", "0", "-1"]);
    let events = read(
        &mut connection,
        &format!("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n$19\r\nproto-resp marker 1\r\n{message}"),
    )
    .unwrap();
    assert!(matches!(
        &events[..],
        [ClientEvent::Reply(5, _), ClientEvent::Reply(6, _)]
    ));
}

#[test]
fn transactions() {
    let mut connection = resp3();
    let mut out = Vec::new();
    connection
        .transaction(1, &[vec!["INCR", "a"], vec!["GET", "b"]], &mut out)
        .unwrap();
    assert!(out.starts_with(b"*1\r\n$5\r\nMULTI\r\n") && out.ends_with(b"*1\r\n$4\r\nEXEC\r\n"));
    // A transaction stopped by a watched key, one with a command that could not be queued, and one that is refused as a whole.
    for ticket in 2..5 {
        connection.transaction(ticket, &[["INCR", "a"]], &mut out).unwrap();
    }
    send(&mut connection, 5, &["PING"]);
    let events = read(
        &mut connection,
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n_\r\n\
         +OK\r\n+QUEUED\r\n_\r\n\
         +OK\r\n-ERR first\r\n-EXECABORT second\r\n\
         -ERR first\r\n:1\r\n-ERR EXEC without MULTI\r\n\
         +PONG\r\n",
    )
    .unwrap();
    assert_eq!(
        events[0],
        ClientEvent::Reply(1, Value::Array(vec![Value::Integer(1), Value::Null]))
    );
    assert_eq!(events[1], ClientEvent::Reply(2, Value::Null));
    for (event, ticket) in events[2..4].iter().zip([3, 4]) {
        assert_eq!(*event, ClientEvent::Reply(ticket, Value::Error("ERR first".into())));
    }
    assert_eq!(events[4], ClientEvent::Reply(5, simple("PONG")));
    assert_eq!(
        connection.transaction(6, &[["SUBSCRIBE", "a"]], &mut Vec::new()),
        Err(Misuse::Unanswerable)
    );
}

#[test]
fn what_may_not_be_sent() {
    let mut connection = Connection::new(Rules::DEFAULT);
    let mut out = Vec::new();
    for command in [
        &["MONITOR"][..],
        &["HELLO", "3"],
        &["reset"],
        &["CLIENT", "REPLY", "OFF"],
        &["PSYNC", "?", "-1"],
    ] {
        assert_eq!(
            connection.command(1, command, &mut out),
            Err(Misuse::Unanswerable),
            "{command:?}"
        );
    }
    assert_eq!(connection.command(1, "", &mut out), Err(Misuse::EmptyCommand));
    let mut limited = Rules::DEFAULT;
    limited.limits.outstanding = 2;
    let mut bounded = Connection::new(limited);
    send(&mut bounded, 1, &["PING"]);
    send(&mut bounded, 2, &["PING"]);
    let prepared = PreparedCommand::new(&("GET", "k")).unwrap();
    assert_eq!(bounded.command(3, "PING", &mut out), Err(Misuse::Outstanding));
    assert_eq!(bounded.prepared(3, &prepared, &mut out), Err(Misuse::Outstanding));
    assert_eq!(bounded.transaction(3, &["PING"], &mut out), Err(Misuse::Outstanding));
    assert_eq!(bounded.ping(&mut out), Err(Misuse::Outstanding));
    assert_eq!(bounded.hello(&Hello::default(), &mut out), Err(Misuse::NotReady));
    assert_eq!(out, b"");
    read(&mut bounded, "+PONG\r\n").unwrap();
    bounded.prepared(3, &prepared, &mut out).unwrap();
    assert_eq!(out, prepared.as_bytes());
    assert_eq!(bounded.take_unanswered().collect::<Vec<_>>(), [2, 3]);
}

fn hello() -> Hello {
    let mut hello = Hello::default();
    hello.password = Some("secret".into());
    hello.name = Some("me".into());
    hello.database = Some(5);
    hello
}

const MAP: &str = "%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n";

/// The events, and the bytes sent meanwhile.
fn shake(connection: &mut Connection, input: &str) -> (Vec<ClientEvent<u32>>, String) {
    let (mut rest, mut out, mut events) = (input.as_bytes(), Vec::new(), Vec::new());
    while let Some(event) = connection.next(&mut rest, &mut out).unwrap() {
        events.push(event);
    }
    (events, String::from_utf8(out).unwrap().replace("\r\n", " "))
}

#[test]
fn the_handshake_in_resp3() {
    let mut connection = Connection::new(Rules::DEFAULT);
    let mut out = Vec::new();
    connection.hello(&hello(), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap().replace("\r\n", " "),
        "*7 $5 HELLO $1 3 $4 AUTH $7 default $6 secret $7 SETNAME $2 me "
    );
    assert_eq!(connection.command(1, "PING", &mut Vec::new()), Err(Misuse::NotReady));
    let (events, sent) = shake(&mut connection, MAP);
    assert_eq!((events, &*sent), (vec![], "*2 $6 SELECT $1 5 "));
    assert!(!connection.is_ready());
    let (events, _) = shake(&mut connection, "+OK\r\n");
    assert!(matches!(&events[..], [ClientEvent::Ready(greeting)] if greeting.pairs().unwrap().count() == 2));
    assert!(connection.is_ready());
    assert_eq!(connection.version(), Version::Resp3);
}

#[test]
fn an_old_server_is_spoken_to_in_resp2() {
    for error in [
        "-ERR unknown command 'HELLO'\r\n",
        "-NOPROTO unsupported protocol version\r\n",
        "-ERR Unknown command `HELLO`, with args beginning with: `3`\r\n",
        "-NOAUTH Authentication required.\r\n",
    ] {
        let mut connection = Connection::new(Rules::DEFAULT);
        connection.hello(&hello(), &mut Vec::new()).unwrap();
        let (events, sent) = shake(&mut connection, error);
        assert_eq!(events, []);
        assert_eq!(
            sent,
            "*2 $4 AUTH $6 secret *3 $6 CLIENT $7 SETNAME $2 me *2 $6 SELECT $1 5 "
        );
        let (events, _) = shake(&mut connection, "+OK\r\n+OK\r\n");
        assert_eq!(events, []);
        let (events, _) = shake(&mut connection, "+OK\r\n");
        assert_eq!(events, [ClientEvent::Ready(Value::Null)]);
        assert_eq!(connection.version(), Version::Resp2);
        // RESP3 is no longer accepted.
        send(&mut connection, 1, &["PING"]);
        assert_eq!(read(&mut connection, "_\r\n"), Err(Violation::Resp3Type(b'_')));
    }
    // Where there is nothing more to say, all is said.
    let mut connection = Connection::new(Rules::DEFAULT);
    connection.hello(&Hello::default(), &mut Vec::new()).unwrap();
    let (events, sent) = shake(&mut connection, "-ERR unknown command\r\n");
    assert_eq!((events, &*sent), (vec![ClientEvent::Ready(Value::Null)], ""));
}

#[test]
fn a_handshake_that_is_refused() {
    for (replies, code) in [
        ("-WRONGPASS no\r\n", "WRONGPASS"),
        ("-NOAUTH no\r\n-WRONGPASS no\r\n+OK\r\n+OK\r\n", "WRONGPASS"),
        ("-ERR max number of clients reached\r\n", "ERR"),
        ("-ERR unknown command\r\n-ERR invalid password\r\n+OK\r\n+OK\r\n", "ERR"),
        ("%0\r\n-ERR DB index is out of range\r\n", "ERR"),
    ] {
        let mut connection = Connection::new(Rules::DEFAULT);
        connection.hello(&hello(), &mut Vec::new()).unwrap();
        let (events, _) = shake(&mut connection, replies);
        let [ClientEvent::Refused(error)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(error.as_error().unwrap().code(), code.as_bytes());
        assert!(!connection.is_ready());
        assert_eq!(connection.command(1, "PING", &mut Vec::new()), Err(Misuse::NotReady));
    }
    assert!(!format!("{:?}", hello()).contains("secret"));
}

#[test]
fn resp2_by_choice() {
    let mut connection = Connection::new(Rules::DEFAULT);
    let mut hello = hello();
    hello.version = Version::Resp2;
    hello.username = Some("ada".into());
    let mut out = Vec::new();
    connection.hello(&hello, &mut out).unwrap();
    assert!(out.starts_with(b"*3\r\n$4\r\nAUTH\r\n$3\r\nada\r\n"));
    let (events, _) = shake(&mut connection, "+OK\r\n+OK\r\n+OK\r\n");
    assert_eq!(events, [ClientEvent::Ready(Value::Null)]);
    // Nothing to ask for.
    let mut plain = Hello::default();
    plain.version = Version::Resp2;
    let mut connection = Connection::new(Rules::DEFAULT);
    connection.hello(&plain, &mut Vec::new()).unwrap();
    assert!(connection.is_ready());
}

// On the contract.

#[derive(Debug, Default, PartialEq)]
struct Log {
    ready: usize,
    version: Option<Version>,
    replies: Vec<(u32, Value)>,
    pushes: Vec<Push>,
    closed: Option<(Option<ClientError>, Reason, Vec<u32>)>,
}

struct Recorder {
    log: Arc<Mutex<Log>>,
    first: Vec<Vec<&'static str>>,
}

impl Caller for Recorder {
    type Message = Vec<&'static str>;
    type Ticket = u32;

    fn ready(&mut self, _: Value, requester: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        let mut log = self.log.lock().unwrap();
        log.ready += 1;
        log.version = Some(requester.version());
        drop(log);
        for (ticket, command) in self.first.drain(..).enumerate() {
            requester.command(ticket as u32, &command)?;
        }
        Ok(())
    }

    fn reply(&mut self, ticket: u32, reply: Value, _: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        self.log.lock().unwrap().replies.push((ticket, reply));
        Ok(())
    }

    fn push(&mut self, push: Push, _: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        self.log.lock().unwrap().pushes.push(push);
        Ok(())
    }

    fn posted(&mut self, message: Vec<&'static str>, requester: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        match message[..] {
            ["close"] => requester.close(),
            ["pause"] => requester.pause(true),
            ["resume"] => requester.pause(false),
            _ => requester.command(99, &message)?,
        }
        Ok(())
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: Unanswered<'_, u32>) {
        self.log.lock().unwrap().closed = Some((error, reason, unanswered.into_iter().collect()));
    }
}

fn client(first: Vec<Vec<&'static str>>) -> (Harness<Client<Recorder>>, Arc<Mutex<Log>>) {
    let log = Arc::<Mutex<Log>>::default();
    let recorder = Recorder {
        log: Arc::clone(&log),
        first,
    };
    (
        Harness::new(Client::new(Arc::new(ClientConfig::default()), recorder)),
        log,
    )
}

fn ready(first: Vec<Vec<&'static str>>) -> (Harness<Client<Recorder>>, Arc<Mutex<Log>>) {
    let (mut harness, log) = client(first);
    assert_eq!(harness.take_sent(), b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
    harness.receive(MAP.as_bytes());
    assert_eq!(log.lock().unwrap().ready, 1);
    (harness, log)
}

#[test]
fn commands_go_out_in_one_write() {
    let (mut harness, log) = ready(vec![vec!["PING"], vec!["ECHO", "a"]]);
    assert_eq!(
        harness.take_sent(),
        b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\na\r\n"
    );
    assert_eq!(harness.writes(), 2);
    harness.trickle(b"+PONG\r\n$1\r\na\r\n");
    assert_eq!(log.lock().unwrap().replies, [(0, simple("PONG")), (1, bulk("a"))]);
}

#[test]
fn silence_is_answered_by_a_ping_and_then_by_the_end() {
    let (mut harness, log) = ready(vec![]);
    harness.advance(Duration::from_secs(29));
    assert_eq!(harness.take_sent(), b"");
    harness.advance(Duration::from_secs(2));
    assert_eq!(harness.take_sent(), b"*1\r\n$4\r\nPING\r\n");
    harness.receive(b"+PONG\r\n");
    assert_eq!(log.lock().unwrap().replies, []);
    harness.advance(Duration::from_secs(31));
    assert_eq!(harness.take_sent(), b"*1\r\n$4\r\nPING\r\n");
    // Pushes do not count as the awaited reply.
    harness.advance(Duration::from_secs(15));
    harness.receive(b">1\r\n+x\r\n");
    harness.advance(Duration::from_secs(6));
    assert!(harness.was_reset());
    let log = log.lock().unwrap();
    assert_eq!(log.closed.as_ref().unwrap().0, Some(ClientError::TimedOut(Timer::Pong)));
    assert_eq!(log.pushes.len(), 1);
}

#[test]
fn a_reply_that_does_not_come() {
    let (mut harness, log) = ready(vec![vec!["GET", "a"], vec!["GET", "b"]]);
    harness.advance(Duration::from_secs(20));
    harness.receive(b"$1\r\na\r\n");
    // The next reply has its own time.
    harness.advance(Duration::from_secs(20));
    assert_eq!(harness.ended(), None);
    // Parts of a long reply are progress.
    harness.receive(b"$5\r\nab");
    harness.advance(Duration::from_secs(20));
    assert_eq!(harness.ended(), None);
    harness.advance(Duration::from_secs(11));
    let log = log.lock().unwrap();
    let (error, _, unanswered) = log.closed.as_ref().unwrap();
    assert_eq!(*error, Some(ClientError::TimedOut(Timer::Reply)));
    assert_eq!(*unanswered, [1]);
}

#[test]
fn a_handshake_that_does_not_end() {
    let (mut harness, log) = client(vec![]);
    harness.receive(b"%1\r\n");
    harness.advance(Duration::from_secs(11));
    assert!(harness.was_reset());
    let log = log.lock().unwrap();
    assert_eq!(
        log.closed.as_ref().unwrap().0,
        Some(ClientError::TimedOut(Timer::Handshake))
    );
    assert_eq!(log.ready, 0);
}

#[test]
fn a_handshake_that_is_refused_on_the_contract() {
    let (mut harness, log) = client(vec![]);
    harness.receive(b"-NOAUTH HELLO must be called with the client already authenticated\r\n");
    assert!(harness.is_half_closed());
    harness.eof();
    let log = log.lock().unwrap();
    let (error, reason, _) = log.closed.as_ref().unwrap();
    assert!(matches!(error, Some(ClientError::Refused(text)) if text.starts_with(b"NOAUTH")));
    assert_eq!(*reason, Reason::Error);
}

#[test]
fn closing_waits_for_replies() {
    let (mut harness, log) = ready(vec![vec!["GET", "a"]]);
    harness.post(vec!["close"]);
    assert!(!harness.is_half_closed());
    harness.receive(b"$1\r\na\r\n");
    assert!(harness.is_half_closed());
    assert_eq!(log.lock().unwrap().replies.len(), 1);
    let (mut harness, _) = ready(vec![]);
    harness.stop();
    assert!(harness.is_half_closed());
    // A command behind that is refused, which ends the connection.
    let (mut harness, log) = ready(vec![vec!["GET", "a"]]);
    harness.post(vec!["close"]);
    harness.post(vec!["PING"]);
    harness.eof();
    let log = log.lock().unwrap();
    assert_eq!(
        log.closed.as_ref().unwrap().0,
        Some(ClientError::Misuse(Misuse::NotReady))
    );
}

#[test]
fn a_server_that_goes_leaves_tickets() {
    let (mut harness, log) = ready(vec![vec!["GET", "a"], vec!["SUBSCRIBE", "c"]]);
    harness.eof();
    let log = log.lock().unwrap();
    assert_eq!(*log.closed.as_ref().unwrap(), (None, Reason::Closed, vec![0, 1]));
}

#[test]
fn a_paused_caller_gets_nothing() {
    let (mut harness, log) = ready(vec![vec!["GET", "a"]]);
    harness.post(vec!["pause"]);
    harness.receive(b"$1\r\na\r\n>1\r\n+x\r\n");
    assert_eq!(log.lock().unwrap().replies, []);
    assert!(!harness.wants_input());
    // Nor is it called late for that.
    harness.advance(Duration::from_secs(100));
    harness.post(vec!["resume"]);
    assert_eq!(log.lock().unwrap().replies.len(), 1);
    assert_eq!(log.lock().unwrap().pushes.len(), 1);
}

/// Sends a large payload without copying it.
struct Sender;

impl Caller for Sender {
    type Message = Infallible;
    type Ticket = ();

    fn ready(&mut self, _: Value, requester: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        requester.command_with((), &("SET", "k"), vec![b'x'; 5000].into())?;
        requester.command((), "PING")
    }

    fn reply(&mut self, (): (), _: Value, _: &mut Requester<'_, '_, ()>) -> Result<(), Misuse> {
        Ok(())
    }
}

#[test]
fn a_payload_is_shared() {
    let mut harness = Harness::new(Client::new(Arc::default(), Sender));
    harness.take_sent();
    harness.receive(MAP.as_bytes());
    let mut expected = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000\r\n".to_vec();
    expected.resize(expected.len() + 5000, b'x');
    expected.extend_from_slice(b"\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(harness.take_sent(), expected);
}

/// By default, clients of the adapter accept `-nan`, which Redis before 7.2 sends.
#[test]
fn any_nan_by_default_on_the_contract() {
    let (mut harness, log) = ready(vec![vec!["GET", "a"], vec!["GET", "b"]]);
    harness.receive(b",-nan\r\n,nan(0x7)\r\n");
    let log = log.lock().unwrap();
    let nan = |value: &Value| matches!(value, Value::Double(double) if double.is_nan());
    assert!(
        log.replies.len() == 2 && log.replies.iter().all(|(_, value)| nan(value)),
        "{log:?}"
    );
    drop(log);
    let strict = ValueDecoder::new(Version::Resp3, Rules::DEFAULT).next(&mut &b",-nan\r\n"[..]);
    assert_eq!(strict, Err(Violation::Double));
}

#[test]
fn the_version_is_known_when_commands_may_be_sent() {
    // An old server does not know HELLO.
    for (greeting, version) in [(MAP, Version::Resp3), ("-ERR unknown command\r\n", Version::Resp2)] {
        let (mut harness, log) = client(vec![]);
        harness.receive(greeting.as_bytes());
        assert_eq!(log.lock().unwrap().version, Some(version));
    }
}

/// The reason is reported, whether or not the server waits for a command first.
#[test]
fn a_server_that_is_full_says_so() {
    let mut resp2 = ClientConfig::default();
    resp2.hello.version = Version::Resp2;
    for config in [ClientConfig::default(), resp2] {
        let log = Arc::<Mutex<Log>>::default();
        let recorder = Recorder {
            log: Arc::clone(&log),
            first: vec![],
        };
        let mut harness = Harness::new(Client::new(Arc::new(config), recorder));
        harness.receive(b"-ERR max number of clients reached\r\n");
        harness.eof();
        let log = log.lock().unwrap();
        let (error, ..) = log.closed.as_ref().unwrap();
        assert_eq!(
            *error,
            Some(ClientError::Refused("ERR max number of clients reached".into()))
        );
    }
}

/// A push inside a reply is refused, unless the rules permit it (Redis 7.0 puts one into the reply of EXEC). Never in another push.
#[test]
fn pushes_in_replies() {
    let nested = "*1\r\n>2\r\n+a\r\n+b\r\n";
    let of = |leniency: proto_resp::Leniency, input: &str| {
        let mut rules = Rules::DEFAULT;
        rules.leniency = leniency;
        ValueDecoder::new(Version::Resp3, rules).next(&mut input.as_bytes())
    };
    let (strict, lenient) = (proto_resp::Leniency::STRICT, proto_resp::Leniency::REPLIES);
    assert_eq!(of(strict, nested), Err(Violation::NestedPush));
    assert!(of(lenient, nested).is_ok());
    let in_push = ">2\r\n+a\r\n>2\r\n+b\r\n+c\r\n";
    assert_eq!(of(lenient, in_push), Err(Violation::NestedPush));
    assert_eq!(of(strict, in_push), Err(Violation::NestedPush));
    let with_attribute = "*1\r\n|1\r\n+k\r\n+v\r\n>2\r\n+a\r\n+b\r\n";
    assert_eq!(of(lenient, with_attribute), Err(Violation::NestedPush));
}
