//! The promises of every broker, checked on each: in memory, at a hub, and in Redis, over either driver.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use drivers::{Driver, Server};
use proto_resp::{Client, ServerConfig};
use protocol::Peer;

use crate::broker::{
    Broker, Done, Hub, HubDialect, HubPost, HubSession, Inbox, Member, Memory, Part, RedisUrl, Snapshot, Speaker,
    Upstream, Who,
};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

const PATIENCE: Duration = Duration::from_secs(10);

const KEEP: Keep = Keep {
    publications: 5,
    bytes: 1 << 20,
    time: Duration::from_secs(60),
};

/// The deliveries to one node.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<Heard>>,
    news: Condvar,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    /// The position, and the data of the publications before it.
    Snapshot(Position, Vec<String>),
    Publication(Position, Option<String>, String),
}

impl Inbox for Ear {
    /// It has no position, so it gets the whole history every time.
    fn position(&self, _: &Name) -> Option<Position> {
        None
    }

    fn snapshot(&self, _: &Name, snapshot: Snapshot) {
        let data = snapshot
            .publications
            .iter()
            .map(|publication| data(publication))
            .collect();
        self.hear(Heard::Snapshot(snapshot.position, data));
    }

    fn publication(&self, publication: &Arc<Publication>) {
        let user = publication.user.as_deref().map(str::to_owned);
        self.hear(Heard::Publication(publication.position, user, data(publication)));
    }
}

fn data(publication: &Publication) -> String {
    String::from_utf8(publication.data.to_vec()).unwrap()
}

impl Ear {
    fn hear(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
        self.news.notify_all();
    }

    /// Waits for `count` deliveries, and takes them.
    fn take(&self, count: usize) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        let (mut heard, timeout) = self
            .news
            .wait_timeout_while(heard, PATIENCE, |heard| heard.len() < count)
            .unwrap();
        assert!(!timeout.timed_out(), "of {count} came {heard:?}");
        heard.drain(..count).collect()
    }
}

/// One node: its deliveries, and its broker.
struct Node {
    ear: Arc<Ear>,
    broker: Box<dyn Broker>,
}

impl Node {
    fn new(broker: impl FnOnce(Weak<dyn Inbox>) -> Box<dyn Broker>) -> Self {
        let ear = Arc::<Ear>::default();
        let weak: Weak<dyn Inbox> = Arc::downgrade(&(Arc::clone(&ear) as Arc<dyn Inbox>));
        let broker = broker(weak);
        let node = Node { ear, broker };
        node.connect();
        node
    }

    /// Waits until publishing works.
    fn connect(&self) {
        let begun = Instant::now();
        while !self.broker.is_connected() {
            assert!(begun.elapsed() < PATIENCE, "no connection");
            self.broker.tick(Instant::now());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn publish(&self, channel: &Name, user: Option<&str>, data: &str) -> Position {
        let draft = Draft {
            channel: channel.clone(),
            user: user.map(Into::into),
            data: data.to_owned().into(),
            key: None,
        };
        outcome(|done| self.broker.publish(draft, KEEP, done))
    }

    fn snapshot(&self, channel: &Name, keep: Keep) -> (Position, Vec<String>) {
        let snapshot = outcome(|done| self.broker.snapshot(channel, Part::Newest, keep, done));
        let data = snapshot.publications.iter().map(|publication| data(publication));
        (snapshot.position, data.collect())
    }

    fn present(&self, channel: &Name, limit: usize) -> (usize, Vec<String>) {
        let presence = outcome(|done| self.broker.presence(channel, limit, done));
        let mut clients: Vec<_> = presence
            .clients
            .iter()
            .map(|member| format!("{} {}", member.client, member.user().map_or("-", |user| user)))
            .collect();
        clients.sort();
        (presence.total, clients)
    }
}

fn outcome<T: Send + 'static>(ask: impl FnOnce(Done<T>)) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    ask(Done::new(move |outcome| tell.send(outcome).unwrap()));
    told.recv_timeout(PATIENCE).unwrap().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The rules for a single node.
fn keeps_the_rules(node: &Node) {
    let news = name("news");
    node.broker.follow(&news, KEEP);
    let Heard::Snapshot(start, data) = node.ear.take(1).remove(0) else {
        panic!("no snapshot first")
    };
    assert_eq!((start.offset, data.len()), (0, 0));
    // In order, numbered without gaps, with the publisher's user, and with all kinds of characters.
    let texts = ["1", "{\"a\": \"b c\"}", "\"grüß dich ✓\"", "\"\\r\\n\""];
    let first = node.publish(&news, None, texts[0]);
    assert!(
        first.offset == 1 && first.epoch.0 >= start.epoch.0,
        "{start:?}, {first:?}"
    );
    let at = |offset| Position { offset, ..first };
    let expected = Heard::Publication(at(1), None, texts[0].to_owned());
    assert_eq!(node.ear.take(1), [expected]);
    for (offset, text) in (1..).zip(texts).skip(1) {
        let user = (offset % 2 == 0).then_some("ann b 7");
        assert_eq!(node.publish(&news, user, text), at(offset));
        let expected = Heard::Publication(at(offset), user.map(str::to_owned), text.to_owned());
        assert_eq!(node.ear.take(1), [expected]);
    }
    // Another call delivers another snapshot.
    node.broker.follow(&news, KEEP);
    let all: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(node.ear.take(1), [Heard::Snapshot(at(4), all.clone())]);
    // The history is bounded, and can be read in part.
    for number in 5..=8 {
        node.publish(&news, None, &number.to_string());
    }
    node.ear.take(4);
    let last: Vec<String> = ["\"\\r\\n\"", "5", "6", "7", "8"].map(str::to_owned).into();
    assert_eq!(node.snapshot(&news, KEEP), (at(8), last.clone()));
    let two = Keep {
        publications: 2,
        ..KEEP
    };
    assert_eq!(node.snapshot(&news, two).1, last[3..]);
    // After `forget`, publications are numbered but not delivered.
    node.broker.forget(&news);
    assert_eq!(node.publish(&news, None, "9"), at(9));
    let other = name("other");
    node.broker.follow(&other, KEEP);
    loop {
        match node.ear.take(1).remove(0) {
            Heard::Snapshot(position, _) => break assert_eq!(position.offset, 0),
            // It was in flight when the channel was forgotten.
            Heard::Publication(position, ..) => assert_eq!(position, at(9)),
        }
    }
    // A channel without history still has positions.
    let (ticker, none) = (
        name("ticker"),
        Keep {
            publications: 0,
            ..KEEP
        },
    );
    let publish = |data: &str| {
        let draft = Draft {
            channel: ticker.clone(),
            user: None,
            data: data.to_owned().into(),
            key: None,
        };
        outcome(|done| node.broker.publish(draft, none, done)).offset
    };
    assert_eq!((publish("1"), publish("2"), publish("3")), (1, 2, 3));
    assert_eq!(node.snapshot(&ticker, none).0.offset, 3);
    // Presence.
    let enter = |client: &str, user: Option<&str>| Member::new(client.into(), Who::new(user.map(Into::into), None));
    assert_eq!(node.present(&news, 10), (0, vec![]));
    node.broker.enter(&news, enter("a-1", None));
    node.broker.enter(&news, enter("a-2", Some("ann")));
    node.broker.enter(&other, enter("a-1", None));
    assert_eq!(
        node.present(&news, 10),
        (2, vec!["a-1 -".to_owned(), "a-2 ann".to_owned()])
    );
    assert_eq!((node.present(&news, 1).0, node.present(&news, 1).1.len()), (2, 1));
    node.broker.leave(&news, "a-1");
    assert_eq!(node.present(&news, 10), (1, vec!["a-2 ann".to_owned()]));
}

/// The rules between nodes: each sees the other's publications in the same order, whichever came first.
fn joins_nodes(one: &Node, two: &Node) {
    let room = name("room");
    for node in [one, two] {
        node.broker.follow(&room, KEEP);
        assert!(matches!(node.ear.take(1)[0], Heard::Snapshot(..)));
    }
    std::thread::scope(|scope| {
        for (node, name) in [(one, "one"), (two, "two")] {
            let room = &room;
            scope.spawn(move || {
                for _ in 0..100 {
                    node.publish(room, Some(name), "0");
                }
            });
        }
    });
    let heard = one.ear.take(200);
    assert_eq!(heard, two.ear.take(200));
    let offsets = heard.iter().map(|heard| match heard {
        Heard::Publication(position, ..) => position.offset,
        Heard::Snapshot(..) => panic!("{heard:?}"),
    });
    assert!(offsets.eq(1..=200));
    let member = Member::new("one-1".into(), None);
    one.broker.enter(&room, member);
    // Another connection: presence may arrive a moment later.
    let begun = Instant::now();
    while two.present(&room, 10).0 != 1 {
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn in_memory() {
    let node = Node::new(|inbox| Box::new(Memory::new(inbox, 200, 7)));
    keeps_the_rules(&node);
    bounds_histories(&node);
    reads_in_pages(&node);
    keeps_nobody_who_left(&node);
}

/// Histories are bounded, and reading creates none.
fn bounds_histories(node: &Node) {
    let (small, short) = (name("small"), name("short"));
    let publish = |channel: &Name, keep: Keep, data: String| {
        let draft = Draft {
            channel: channel.clone(),
            user: None,
            data: data.into(),
            key: None,
        };
        outcome(|done| node.broker.publish(draft, keep, done))
    };
    let keep = Keep {
        publications: 100,
        bytes: 5000,
        ..KEEP
    };
    for _ in 0..20 {
        publish(&small, keep, format!("\"{}\"", "x".repeat(1000)));
    }
    let (position, kept) = node.snapshot(&small, keep);
    assert!(
        position.offset == 20 && (2..=5).contains(&kept.len()),
        "{} publications are kept",
        kept.len()
    );
    let brief = Keep {
        time: Duration::from_millis(200),
        ..KEEP
    };
    publish(&short, brief, "1".to_owned());
    std::thread::sleep(Duration::from_millis(300));
    publish(&short, brief, "2".to_owned());
    assert_eq!(node.snapshot(&short, brief).1, ["2"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(node.snapshot(&short, brief).1, [""; 0]);
    // Two requests with the same key publish once.
    let draft = |key: &str| Draft {
        channel: name("keyed"),
        user: None,
        data: "1".into(),
        key: Some(key.into()),
    };
    let first = outcome(|done| node.broker.publish(draft("a"), KEEP, done));
    assert_eq!(outcome(|done| node.broker.publish(draft("a"), KEEP, done)), first);
    assert_eq!(outcome(|done| node.broker.publish(draft("b"), KEEP, done)).offset, 2);
}

/// Histories are read in pages, in both directions. Reading a page creates no channel.
fn reads_in_pages(node: &Node) {
    let pages = name("pages");
    let keep = Keep {
        publications: 30,
        ..KEEP
    };
    let page = |part, limit| {
        let keep = Keep {
            publications: limit,
            ..keep
        };
        let snapshot = outcome(|done| node.broker.snapshot(&pages, part, keep, done));
        let offsets: Vec<u64> = snapshot.publications.iter().map(|one| one.offset()).collect();
        (snapshot.position.offset, offsets, snapshot.more)
    };
    for part in [Part::Newest, Part::Before(7), Part::After(0)] {
        assert_eq!(page(part, 5), (0, vec![], false), "{part:?}");
    }
    for number in 1..=40 {
        let draft = Draft {
            channel: pages.clone(),
            user: None,
            data: number.to_string().into(),
            key: None,
        };
        outcome(|done| node.broker.publish(draft, keep, done));
    }
    for (part, expected, more) in [
        (Part::Newest, 31..=40, true),
        (Part::Before(31), 21..=30, true),
        (Part::Before(21), 11..=20, false),
        (Part::Before(13), 11..=12, false),
        (Part::Before(u64::MAX), 31..=40, true),
        (Part::After(0), 11..=20, true),
        (Part::After(20), 21..=30, true),
        (Part::After(30), 31..=40, false),
        (Part::After(38), 39..=40, false),
    ] {
        assert_eq!(page(part, 10), (40, expected.collect(), more), "{part:?}");
    }
    for part in [
        Part::Before(0),
        Part::Before(11),
        Part::After(40),
        Part::After(u64::MAX),
    ] {
        assert_eq!(page(part, 10), (40, vec![], false), "{part:?}");
    }
}

/// A key is remembered as long as the history, and a quiet channel is not dropped before its keys.
#[test]
fn keys_are_kept_as_long_as_the_history() {
    use crate::clock::by_hand;
    let begun = Instant::now();
    by_hand::set(Some(begun));
    let node = Node::new(|inbox| Box::new(Memory::new(inbox, 200, 7)));
    let publish = |seconds: u64, keep: Keep| {
        let now = begun + Duration::from_secs(seconds);
        by_hand::set(Some(now));
        node.broker.tick(now);
        let draft = Draft {
            channel: name("keyed"),
            user: None,
            data: "1".into(),
            key: Some("a".into()),
        };
        outcome(|done| node.broker.publish(draft, keep, done))
    };
    let long = Keep {
        time: Duration::from_secs(600),
        ..KEEP
    };
    let first = publish(0, long);
    assert_eq!(publish(599, long), first);
    assert_eq!(publish(601, long).offset, 2);
    // A short history: two minutes, although nothing else is left of the channel.
    let short = Keep {
        time: Duration::from_secs(1),
        ..KEEP
    };
    let first = publish(2000, short);
    assert_eq!(publish(2119, short), first);
    assert_ne!(publish(2121, short), first);
    by_hand::set(None);
}

/// Many clients come and go concurrently: no client that left remains present.
fn keeps_nobody_who_left(node: &Node) {
    let rooms: Vec<Name> = (0..100).map(|number| name(&format!("room:{number}"))).collect();
    for room in &rooms {
        node.broker.follow(room, KEEP);
    }
    for round in 0..30 {
        for room in &rooms {
            let client = format!("c-{round}");
            let member = Member::new(client.as_str().into(), None);
            node.broker.enter(room, member);
            node.broker.leave(room, &client);
        }
    }
    for room in &rooms {
        assert_eq!(node.present(room, 10), (0, vec![]), "{room}");
    }
}

/// A hub that listens on a port; in a server, it has a socket to each process.
fn at_a_hub(driver: Driver) {
    let hub = Hub::start(200, 7).unwrap();
    let mut processes = 0;
    let sessions = Arc::clone(&hub);
    let server = Server::on(driver)
        .serve("127.0.0.1:0", move |peer: &Peer<'_, HubPost>| {
            processes += 1;
            let session = HubSession::new(Arc::clone(&sessions), processes, peer.sender());
            Some(proto_resp::Server::new(Arc::new(ServerConfig::default()), session))
        })
        .unwrap();
    let address = server.local_addr().unwrap();
    let node = || {
        Node::new(|inbox| {
            let connect = move |upstream: Arc<Upstream>, role, generation| {
                let (tell, told) = std::sync::mpsc::channel();
                let speaker = Speaker::new(Arc::clone(&upstream), role, generation);
                let make = move |peer: &Peer<'_, _>| {
                    tell.send(peer.sender()).unwrap();
                    Client::new(Arc::default(), speaker)
                };
                Server::on(driver).connect(address, make).unwrap();
                upstream.linked(role, generation, Box::new(told.recv().unwrap()));
            };
            Box::new(Upstream::new(HubDialect, inbox, Box::new(connect)))
        })
    };
    let (one, two) = (node(), node());
    keeps_the_rules(&one);
    joins_nodes(&one, &two);
    bounds_histories(&one);
    reads_in_pages(&one);
    keeps_nobody_who_left(&one);
    // A process that ended is no longer present, and its channels are forgotten.
    drop(one);
    server.stop(Duration::from_secs(1)).unwrap();
    drop(two);
    let begun = Instant::now();
    while hub.follows() > 0 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} channels are still followed",
            hub.follows()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn at_a_hub_on_epoll() {
    at_a_hub(Driver::Epoll);
}

#[test]
fn at_a_hub_on_tokio() {
    at_a_hub(Driver::Tokio);
}

/// A Redis for one test.
struct RedisServer {
    process: Option<Child>,
    port: u16,
    directory: std::path::PathBuf,
}

impl RedisServer {
    /// `None` if Redis is not installed.
    fn start(name: &str) -> Option<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let directory = std::env::temp_dir().join(format!("comet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut server = RedisServer {
            process: None,
            port,
            directory,
        };
        if server.run().is_err() {
            println!("SKIPPED: there is no redis-server here");
            return None;
        }
        Some(server)
    }

    /// Starts it with the data it has saved.
    fn run(&mut self) -> std::io::Result<()> {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .arg("--dir")
            .arg(&self.directory)
            .stdout(Stdio::null())
            .spawn()?;
        self.process = Some(process);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The number of its keys.
    fn count(&self) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"DBSIZE\r\n").unwrap();
        let mut answer = [0; 32];
        let length = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn node(&self, driver: Driver) -> Node {
        let url = RedisUrl::read(&format!("redis://127.0.0.1:{}", self.port)).unwrap();
        Node::new(|inbox| Box::new(url.broker(driver, inbox, &instance(), 1 << 16)))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A name that no other node has.
fn instance() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("node-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn in_redis(driver: Driver, other: Driver) {
    let Some(mut server) = RedisServer::start(driver.name()) else {
        return;
    };
    let (one, two) = (server.node(driver), server.node(other));
    keeps_the_rules(&one);
    joins_nodes(&one, &two);
    bounds_histories(&one);
    reads_in_pages(&one);
    keeps_nobody_who_left(&one);
    // Reading creates nothing.
    let before = server.count();
    for number in 0..50 {
        let (position, kept) = one.snapshot(&name(&format!("made-up:{number}")), KEEP);
        assert_eq!((position.offset, kept.len()), (0, 0));
    }
    assert_eq!(server.count(), before);
    // Redis is restarted: nodes reconnect by themselves, and get the publications they missed.
    let room = name("room");
    let last = one.publish(&room, None, "before");
    one.ear.take(1);
    server.kill();
    let begun = Instant::now();
    while one.broker.is_connected() || two.broker.is_connected() {
        assert!(begun.elapsed() < PATIENCE, "the node did not notice the restart");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (tell, told) = std::sync::mpsc::channel();
    let draft = Draft {
        channel: room.clone(),
        user: None,
        data: "lost".into(),
        key: None,
    };
    one.broker
        .publish(draft, KEEP, Done::new(move |outcome| tell.send(outcome).unwrap()));
    assert!(
        told.recv_timeout(PATIENCE).unwrap().is_err(),
        "publishing succeeded without Redis"
    );
    server.run().unwrap();
    one.connect();
    let next = one.publish(&room, None, "after");
    // The channel has another epoch, which continues the previous one.
    assert!(
        next.epoch.0 > last.epoch.0 && next.offset == last.offset + 1,
        "{last:?}, {next:?}"
    );
    two.connect();
    let begun = Instant::now();
    loop {
        let heard = two.ear.take(1).remove(0);
        assert!(begun.elapsed() < PATIENCE, "{heard:?}");
        match heard {
            Heard::Snapshot(position, data) if position == next => break assert_eq!(data.last().unwrap(), "after"),
            Heard::Publication(position, _, data) if position == next => break assert_eq!(data, "after"),
            _ => {}
        }
    }
    // Pages reach across the two epochs.
    for (part, expected) in [
        (Part::After(last.offset - 1), vec![last.offset, next.offset]),
        (Part::Before(next.offset), vec![last.offset]),
    ] {
        let keep = Keep {
            publications: if part == Part::Before(next.offset) { 1 } else { 5 },
            ..KEEP
        };
        let snapshot = outcome(|done| one.broker.snapshot(&room, part, keep, done));
        let offsets: Vec<u64> = snapshot.publications.iter().map(|one| one.offset()).collect();
        assert_eq!((snapshot.position, offsets), (next, expected), "{part:?}");
    }
    // Present clients are present again.
    assert_eq!(two.present(&room, 10).0, 1);
}

#[test]
fn in_redis_by_our_codec() {
    in_redis(Driver::Epoll, Driver::Tokio);
}

#[test]
fn in_redis_by_the_crate() {
    in_redis(Driver::Tokio, Driver::Epoll);
}
