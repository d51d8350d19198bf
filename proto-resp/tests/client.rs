//! The client's side: which reply is whose, what is a push, how the connection begins and ends.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto_resp::{
    Caller, Client, ClientConfig, ClientConnection, ClientError, ClientEvent, Hello, Misuse, PreparedCommand, Push,
    Requester, Rules, Timer, Unanswered, Value, Version, Violation,
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
    let mut connection = Connection::new(Rules::DEFAULT);
    assert_eq!(
        read(&mut connection, "-ERR max number of clients reached\r\n"),
        Err(Violation::Unsolicited)
    );
}

#[test]
fn subscriptions_in_resp3() {
    let mut connection = resp3();
    send(&mut connection, 1, &["SUBSCRIBE", "a", "b"]);
    send(&mut connection, 2, &["PING"]);
    send(&mut connection, 3, &["PSUBSCRIBE", "a*"]);
    // A message comes before the second confirmation, and one more behind.
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
         >3\r\n$11\r\nunsubscribe\r\n_\r\n:1\r\n$1\r\nv\r\n",
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
    // What nobody asked for, as when a shard moves, is a push.
    let events = read(&mut connection, ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n").unwrap();
    assert!(matches!(&events[..], [ClientEvent::Push(push)] if push.kind() == b"sunsubscribe"));
}

#[test]
fn subscriptions_in_resp2() {
    let mut connection = Connection::new(Rules::DEFAULT);
    // An array that looks like a message is a reply as long as nothing is subscribed to.
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
    // PING is answered by an array there, and other commands by errors.
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
    // And when nothing is subscribed to any more, arrays are replies again.
    send(&mut connection, 5, &["UNSUBSCRIBE", "a"]);
    send(&mut connection, 6, &["LRANGE", "l", "0", "-1"]);
    let events = read(
        &mut connection,
        &format!("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n{message}"),
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
    // One that a watched key stopped, one that could not be queued, one that is refused as a whole.
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

/// Events, and what was sent meanwhile.
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
        // RESP3 is no longer understood.
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
        ("-NOAUTH no\r\n", "NOAUTH"),
        ("-ERR unknown\r\n-ERR invalid password\r\n+OK\r\n+OK\r\n", "ERR"),
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
        self.log.lock().unwrap().ready += 1;
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

    fn message(&mut self, message: Vec<&'static str>, requester: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
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
    // Pushes are not what was asked for.
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
    // The next has time of its own.
    harness.advance(Duration::from_secs(20));
    assert_eq!(harness.ended(), None);
    // Parts of a long one are progress.
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
    harness.message(vec!["close"]);
    assert!(!harness.is_half_closed());
    harness.receive(b"$1\r\na\r\n");
    assert!(harness.is_half_closed());
    assert_eq!(log.lock().unwrap().replies.len(), 1);
    let (mut harness, _) = ready(vec![]);
    harness.stop();
    assert!(harness.is_half_closed());
    // A command behind that is refused, which ends it.
    let (mut harness, log) = ready(vec![vec!["GET", "a"]]);
    harness.message(vec!["close"]);
    harness.message(vec!["PING"]);
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
    harness.message(vec!["pause"]);
    harness.receive(b"$1\r\na\r\n>1\r\n+x\r\n");
    assert_eq!(log.lock().unwrap().replies, []);
    assert!(!harness.wants_input());
    // Nor is it called late for that.
    harness.advance(Duration::from_secs(100));
    harness.message(vec!["resume"]);
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
