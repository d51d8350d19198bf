//! The RESP client with a real server, Redis or Valkey, on every driver. If neither is installed, these tests print a note and pass.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use drivers::{Driver, Running, Server};
use proto_resp::{
    Caller, Client, ClientConfig, ClientError, Misuse, PreparedCommand, Push, Requester, Unanswered, Value, Version,
};
use protocol::{Reason, Sender};

#[macro_use]
mod common;

on_every_driver! {
    strings_of_any_bytes_come_back: strings;
    ten_thousand_commands_in_a_pipeline: pipeline;
    messages_come_between_replies: pubsub;
    resp2_does_the_same: resp2;
    transactions_and_streams: transactions;
    a_password_is_asked_for: password;
    a_restart_is_seen: restart;
    long_replies: long;
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A server process, killed when dropped.
struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    /// Starts a server. Returns `None`, with a note, if none is installed.
    fn start(arguments: &[&str]) -> Option<Redis> {
        let Some(program) = ["redis-server", "valkey-server"].into_iter().find_map(find) else {
            eprintln!("SKIPPED: neither redis-server nor valkey-server is installed");
            return None;
        };
        // Another process may take the port first; then try another port.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = Command::new(&program)
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .args(arguments)
                .current_dir(std::env::temp_dir())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut redis = Redis {
                child,
                address: SocketAddr::from(([127, 0, 0, 1], port)),
            };
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end && redis.child.try_wait().unwrap().is_none() {
                if TcpStream::connect(redis.address).is_ok() {
                    return Some(redis);
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("the server did not start");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// What a connection reports to its test.
#[derive(Debug)]
enum Seen {
    Ready(Value, Version),
    Reply(u32, Value),
    Push(Push),
    Closed(Option<ClientError>, Reason, Vec<u32>),
}

/// What a test asks of its connection.
enum Order {
    Command(u32, PreparedCommand),
    /// Several commands in one call.
    Commands(Vec<(u32, PreparedCommand)>),
    Shared(u32, &'static str, Bytes),
    Transaction(u32, Vec<Vec<&'static str>>),
    Close,
}

struct Forwarder(mpsc::Sender<Seen>);

impl Caller for Forwarder {
    type Message = Order;
    type Ticket = u32;

    fn ready(&mut self, greeting: Value, requester: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        let _ = self.0.send(Seen::Ready(greeting, requester.version()));
        Ok(())
    }

    fn reply(&mut self, ticket: u32, reply: Value, _: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        let _ = self.0.send(Seen::Reply(ticket, reply));
        Ok(())
    }

    fn push(&mut self, push: Push, _: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        let _ = self.0.send(Seen::Push(push));
        Ok(())
    }

    fn posted(&mut self, order: Order, requester: &mut Requester<'_, '_, u32>) -> Result<(), Misuse> {
        match order {
            Order::Command(ticket, command) => requester.prepared(ticket, &command),
            Order::Commands(all) => all
                .iter()
                .try_for_each(|(ticket, command)| requester.prepared(*ticket, command)),
            Order::Shared(ticket, key, payload) => requester.command_with(ticket, &("SET", key), payload),
            Order::Transaction(ticket, commands) => requester.transaction(ticket, &commands),
            Order::Close => {
                requester.close();
                Ok(())
            }
        }
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: Unanswered<'_, u32>) {
        let _ = self
            .0
            .send(Seen::Closed(error, reason, unanswered.into_iter().collect()));
    }
}

/// One connection, as its test sees it.
struct Link {
    seen: mpsc::Receiver<Seen>,
    sender: Sender<Order>,
    running: Option<Running<Client<Forwarder>>>,
}

impl Link {
    fn open(driver: Driver, redis: &Redis, config: ClientConfig) -> Link {
        let (report, seen) = mpsc::channel();
        let (give, take) = mpsc::channel();
        let running = Server::on(driver)
            .connect(redis.address, move |peer| {
                give.send(peer.sender()).unwrap();
                Client::new(Arc::new(config), Forwarder(report))
            })
            .unwrap();
        let sender = take.recv_timeout(PATIENCE).unwrap();
        Link {
            seen,
            sender,
            running: Some(running),
        }
    }

    /// Opens a connection that speaks RESP3.
    fn ready(driver: Driver, redis: &Redis) -> Link {
        let link = Link::open(driver, redis, ClientConfig::default());
        match link.next() {
            Seen::Ready(Value::Map(_), Version::Resp3) => link,
            other => panic!("{other:?}"),
        }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    fn send(&self, order: Order) {
        assert!(self.sender.send(order).is_ok());
    }

    fn command(&self, ticket: u32, arguments: &[&str]) {
        self.send(Order::Command(ticket, PreparedCommand::new(arguments).unwrap()));
    }

    /// The next reply, which must be to the command with this ticket.
    fn reply(&self, ticket: u32) -> Value {
        match self.next() {
            Seen::Reply(came, value) if came == ticket => value,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, arguments: &[&str]) -> Value {
        self.command(u32::MAX, arguments);
        self.reply(u32::MAX)
    }

    fn push(&self) -> Push {
        match self.next() {
            Seen::Push(push) => push,
            other => panic!("{other:?}"),
        }
    }

    /// Closes the connection in order.
    fn close(mut self) {
        self.send(Order::Close);
        let last = self.next();
        assert!(
            matches!(&last, Seen::Closed(None, Reason::Closed, left) if left.is_empty()),
            "{last:?}"
        );
        self.running.take().unwrap().join().unwrap();
    }
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn bulk(bytes: &[u8]) -> Value {
    Value::Bulk(Bytes::copy_from_slice(bytes))
}

fn strings(driver: Driver) {
    // DEBUG PROTOCOL replies with a value of any type.
    let Some(redis) = Redis::start(&["--enable-debug-command", "local"]) else {
        return;
    };
    let link = Link::ready(driver, &redis);
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for value in [&b""[..], b"\r\n$-1\r\n\0\xff", &all] {
        link.send(Order::Command(
            1,
            PreparedCommand::new(&("SET", b"a\r\n\0", value)).unwrap(),
        ));
        assert_eq!(link.reply(1), ok());
        link.send(Order::Command(2, PreparedCommand::new(&("GET", b"a\r\n\0")).unwrap()));
        assert_eq!(link.reply(2), bulk(value));
    }
    link.send(Order::Shared(3, "shared", all.clone().into()));
    assert_eq!(link.reply(3), ok());
    assert_eq!(link.ask(&["GET", "shared"]), bulk(&all));
    assert_eq!(link.ask(&["GET", "none"]), Value::Null);
    assert_eq!(link.ask(&["NONE"]).as_error().unwrap().code(), b"ERR");
    // The types of RESP3.
    link.ask(&["ZADD", "z", "1.5", "a"]);
    assert_eq!(link.ask(&["ZSCORE", "z", "a"]), Value::Double(1.5));
    link.ask(&["HSET", "h", "f", "v"]);
    assert_eq!(link.ask(&["HGETALL", "h"]), Value::Map(vec![(bulk(b"f"), bulk(b"v"))]));
    link.ask(&["SADD", "s", "m"]);
    assert_eq!(link.ask(&["SMEMBERS", "s"]), Value::Set(vec![bulk(b"m")]));
    assert!(matches!(link.ask(&["INFO", "server"]), Value::Verbatim(encoding, _) if &encoding == b"txt"));
    for (what, value) in [
        ("true", Value::Boolean(true)),
        ("false", Value::Boolean(false)),
        ("null", Value::Null),
        ("double", Value::Double(3_141.0 / 1_000.0)),
        (
            "bignum",
            Value::BigNumber("1234567999999999999999999999999999999".into()),
        ),
        (
            "verbatim",
            Value::Verbatim(*b"txt", "This is a verbatim\nstring".into()),
        ),
    ] {
        assert_eq!(link.ask(&["DEBUG", "PROTOCOL", what]), value, "{what}");
    }
    assert!(matches!(
        link.ask(&["DEBUG", "PROTOCOL", "attrib"]),
        Value::Attributed(_)
    ));
    link.close();
}

fn pipeline(driver: Driver) {
    let Some(redis) = Redis::start(&[]) else { return };
    let link = Link::ready(driver, &redis);
    let incr = PreparedCommand::new(&("INCR", "n")).unwrap();
    link.send(Order::Commands(
        (0..10_000).map(|ticket| (ticket, incr.clone())).collect(),
    ));
    for ticket in 0..10_000 {
        assert_eq!(link.reply(ticket), Value::Integer(i64::from(ticket) + 1));
    }
    link.close();
}

fn pubsub(driver: Driver) {
    let Some(redis) = Redis::start(&[]) else { return };
    let (link, other) = (Link::ready(driver, &redis), Link::ready(driver, &redis));
    link.command(1, &["SUBSCRIBE", "a", "b"]);
    assert_eq!(link.reply(1).as_slice().unwrap().len(), 2);
    link.command(2, &["PSUBSCRIBE", "a*"]);
    assert_eq!(link.reply(2).as_slice().unwrap().len(), 1);
    // Replies arrive between the messages, of which each comes twice: by channel and by pattern.
    for round in 0..100 {
        let payload = format!("{round}\r\n");
        assert_eq!(other.ask(&["PUBLISH", "a", &payload]), Value::Integer(2));
        link.command(3, &["PING"]);
        let (mut messages, mut pongs) = (0, 0);
        while (messages, pongs) != (2, 1) {
            match link.next() {
                Seen::Push(push) => {
                    let published = push.published().unwrap();
                    assert_eq!((published.channel, published.payload), (&b"a"[..], payload.as_bytes()));
                    messages += 1;
                }
                Seen::Reply(3, pong) => {
                    assert_eq!(pong, Value::Simple("PONG".into()));
                    pongs += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // A message published by the connection itself may come before or behind the reply.
    link.command(4, &["UNSUBSCRIBE"]);
    assert_eq!(link.reply(4).as_slice().unwrap().len(), 2);
    link.command(5, &["PUNSUBSCRIBE"]);
    assert_eq!(link.reply(5).as_slice().unwrap().len(), 1);
    link.command(6, &["UNSUBSCRIBE"]);
    assert_eq!(link.reply(6).as_slice().unwrap().len(), 1);
    assert_eq!(other.ask(&["PUBLISH", "a", "x"]), Value::Integer(0));
    // The server reports changes of keys that the client has read.
    assert_eq!(link.ask(&["CLIENT", "TRACKING", "on"]), ok());
    link.ask(&["GET", "tracked"]);
    other.ask(&["SET", "tracked", "1"]);
    assert_eq!(link.push().kind(), b"invalidate");
    link.close();
    other.close();
}

fn resp2(driver: Driver) {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut config = ClientConfig::default();
    config.hello.version = Version::Resp2;
    config.hello.name = Some("old".into());
    let link = Link::open(driver, &redis, config);
    assert!(matches!(link.next(), Seen::Ready(Value::Null, Version::Resp2)));
    let other = Link::ready(driver, &redis);
    assert_eq!(link.ask(&["CLIENT", "GETNAME"]), bulk(b"old"));
    assert_eq!(link.ask(&["GET", "none"]), Value::Null);
    link.ask(&["RPUSH", "l", "message", "a", "x"]);
    // A reply that looks like a message, but is not one.
    assert_eq!(link.ask(&["LRANGE", "l", "0", "-1"]).as_slice().unwrap().len(), 3);
    link.command(1, &["SUBSCRIBE", "a"]);
    assert_eq!(link.reply(1).as_slice().unwrap().len(), 1);
    other.ask(&["PUBLISH", "a", "m"]);
    assert_eq!(link.push().published().unwrap().payload, b"m");
    assert_eq!(link.ask(&["PING"]), Value::Array(vec![bulk(b"pong"), bulk(b"")]));
    assert_eq!(link.ask(&["GET", "a"]).as_error().unwrap().code(), b"ERR");
    link.command(2, &["UNSUBSCRIBE"]);
    link.command(3, &["LRANGE", "l", "0", "-1"]);
    assert_eq!(link.reply(2).as_slice().unwrap().len(), 1);
    assert_eq!(link.reply(3).as_slice().unwrap().len(), 3);
    link.close();
    other.close();
}

fn transactions(driver: Driver) {
    let Some(redis) = Redis::start(&[]) else { return };
    let (link, other) = (Link::ready(driver, &redis), Link::ready(driver, &redis));
    link.send(Order::Transaction(
        1,
        vec![vec!["SET", "t", "1"], vec!["INCR", "t"], vec!["LPUSH", "t", "x"]],
    ));
    let Value::Array(replies) = link.reply(1) else { panic!() };
    assert_eq!(replies[..2], [ok(), Value::Integer(2)]);
    assert_eq!(replies[2].as_error().unwrap().code(), b"WRONGTYPE");
    // One transaction is aborted by another client's write, and one has a command that cannot be queued.
    link.ask(&["WATCH", "t"]);
    other.ask(&["SET", "t", "7"]);
    link.send(Order::Transaction(2, vec![vec!["SET", "t", "8"]]));
    assert_eq!(link.reply(2), Value::Null);
    link.send(Order::Transaction(3, vec![vec!["SET", "t"], vec!["GET", "t"]]));
    assert!(
        link.reply(3)
            .as_error()
            .unwrap()
            .to_string()
            .contains("wrong number of arguments")
    );
    assert_eq!(link.ask(&["GET", "t"]), bulk(b"7"));
    // A transaction with separate commands.
    assert_eq!(link.ask(&["MULTI"]), ok());
    assert_eq!(link.ask(&["GET", "t"]), Value::Simple("QUEUED".into()));
    assert_eq!(link.ask(&["EXEC"]), Value::Array(vec![bulk(b"7")]));
    // Streams.
    let ids: Vec<_> = (0..3)
        .map(|n| link.ask(&["XADD", "log", "*", "n", &n.to_string()]))
        .collect();
    let range = link.ask(&["XRANGE", "log", "-", "+"]);
    for (n, (entry, id)) in range.as_slice().unwrap().iter().zip(&ids).enumerate() {
        let expected = Value::Array(vec![bulk(b"n"), bulk(n.to_string().as_bytes())]);
        assert_eq!(entry.as_slice().unwrap(), [id.clone(), expected]);
    }
    // A blocking command waits for an entry that the other client adds.
    link.command(9, &["XREAD", "BLOCK", "10000", "STREAMS", "log", "$"]);
    link.command(10, &["PING"]);
    thread::sleep(Duration::from_millis(50));
    other.ask(&["XADD", "log", "*", "n", "3"]);
    assert!(matches!(link.reply(9), Value::Map(streams) if streams.len() == 1));
    assert_eq!(link.reply(10), Value::Simple("PONG".into()));
    link.close();
    other.close();
}

fn password(driver: Driver) {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else {
        return;
    };
    let open = |password: Option<&str>, version| {
        let mut config = ClientConfig::default();
        config.hello.password = password.map(str::to_owned);
        config.hello.version = version;
        config.hello.database = Some(3);
        Link::open(driver, &redis, config)
    };
    for version in [Version::Resp2, Version::Resp3] {
        let link = open(Some("secret"), version);
        assert!(matches!(link.next(), Seen::Ready(_, spoken) if spoken == version));
        assert!(link.ask(&["CLIENT", "LIST"]).as_str().unwrap().contains(" db=3 "));
        link.close();
        for password in [None, Some("wrong")] {
            let link = open(password, version);
            let seen = link.next();
            assert!(
                matches!(&seen, Seen::Closed(Some(ClientError::Refused(_)), Reason::Error, _)),
                "{seen:?}"
            );
        }
    }
}

fn restart(driver: Driver) {
    let Some(redis) = Redis::start(&[]) else { return };
    let link = Link::ready(driver, &redis);
    link.command(7, &["BLPOP", "nothing", "0"]);
    thread::sleep(Duration::from_millis(50));
    drop(redis);
    let seen = link.next();
    assert!(
        matches!(&seen, Seen::Closed(None, _, left) if left[..] == [7]),
        "{seen:?}"
    );
    // The connection reports nothing more and takes no more orders.
    assert!(link.seen.recv_timeout(PATIENCE).is_err());
    link.running.unwrap().join().unwrap();
    assert!(link.sender.send(Order::Close).is_err());
}

fn long(driver: Driver) {
    let Some(redis) = Redis::start(&[]) else { return };
    let link = Link::ready(driver, &redis);
    // Replies that take many reads: one of eight megabytes, and one of a hundred thousand elements.
    let big = vec![b'x'; 8 << 20];
    link.send(Order::Shared(1, "big", big.clone().into()));
    assert_eq!(link.reply(1), ok());
    assert_eq!(link.ask(&["GET", "big"]), bulk(&big));
    let names: Vec<String> = (0..1000).map(|n| format!("element {n}")).collect();
    let push: Vec<&str> = ["RPUSH", "list"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    for _ in 0..100 {
        link.ask(&push);
    }
    let list = link.ask(&["LRANGE", "list", "0", "-1"]);
    let list = list.as_slice().unwrap();
    assert_eq!(list.len(), 100_000);
    assert!(
        list.iter()
            .zip(names.iter().cycle())
            .all(|(value, name)| value.as_str() == Some(name))
    );
    // The descriptions of all commands: arrays in sets in arrays.
    assert!(link.ask(&["COMMAND"]).as_slice().unwrap().len() > 200);
    link.close();
}
