//! The number of commands in flight to a broker.

use std::collections::HashSet;
use std::sync::Weak;

use proto_resp::Value;

use super::*;
use crate::broker::dialect::{Ticket, Words};
use crate::broker::redis::RedisDialect;
use crate::publication::Publication;

struct Nobody;

impl Inbox for Nobody {
    fn snapshot(&self, _: &Name, _: Snapshot) {}
    fn publication(&self, _: &Arc<Publication>) {}
    fn position(&self, _: &Name) -> Option<Position> {
        None
    }
}

const KEEP: Keep = Keep {
    publications: 100,
    bytes: 1 << 20,
    time: Duration::from_secs(60),
};

/// The connections that were requested, by role and number.
type Asked = Arc<Mutex<Vec<(Role, u64)>>>;

fn upstream() -> (Arc<Upstream>, Arc<dyn Inbox>, Asked) {
    let inbox: Arc<dyn Inbox> = Arc::new(Nobody);
    let weak: Weak<dyn Inbox> = Arc::downgrade(&inbox);
    let asked = Asked::default();
    let connects = Arc::clone(&asked);
    let connect = move |_: Arc<Upstream>, role, generation| connects.lock().unwrap().push((role, generation));
    let dialect = RedisDialect::new("c:".to_owned(), 0, "n".to_owned());
    (Upstream::new(dialect, weak, Box::new(connect)), inbox, asked)
}

/// Establishes both connections.
fn connect(upstream: &Arc<Upstream>, asked: &Asked) {
    for role in [Role::Requests, Role::News] {
        upstream.tick(Instant::now());
        let (connecting, generation) = asked.lock().unwrap().pop().unwrap();
        assert_eq!(connecting, role);
        upstream.is_up(role, generation, Life::default()).unwrap();
    }
}

fn commands(upstream: &Upstream, role: Role) -> Vec<(Words, Ticket)> {
    let mut commands = Vec::new();
    while let Some(command) = upstream.next_command(role, commands.len()) {
        commands.push(command);
    }
    commands
}

fn name(number: usize) -> Name {
    format!("channel:{number}").parse().unwrap()
}

fn page(entries: Vec<Value>) -> Value {
    let bulk = |text: &str| Value::Bulk(text.to_owned().into());
    Value::Array(vec![bulk("1000"), bulk("0"), Value::Array(entries)])
}

/// More channels than a connection may have outstanding commands: all must be subscribed to and read, a few at a time. Once, channels
/// beyond the limit were dropped; and all histories at once exceeded what Redis buffers for a subscriber, so that it cut the connection
/// every time.
#[test]
fn forty_thousand_channels_come_back_a_few_at_a_time() {
    let (upstream, _inbox, asked) = upstream();
    for number in 0..40_000 {
        upstream.follow(&name(number), KEEP);
    }
    for _ in 0..2 {
        connect(&upstream, &asked);
        let (mut subscribed, mut read) = (HashSet::new(), HashSet::new());
        loop {
            let news = commands(&upstream, Role::News);
            assert!(news.len() <= 1024, "{}", news.len());
            for (_, ticket) in &news {
                let Ticket::Followed(channels) = ticket else {
                    panic!("not a subscription")
                };
                subscribed.extend(channels.iter().map(|(channel, _)| channel.clone()));
            }
            let is_over = news.is_empty();
            for (_, ticket) in news {
                upstream.replied(ticket, &Value::Null);
            }
            loop {
                let pages = commands(&upstream, Role::Requests);
                let under_way = pages
                    .iter()
                    .filter(|(_, ticket)| matches!(ticket, Ticket::Page(_)))
                    .count();
                assert!(under_way <= 8, "{under_way} pages at once");
                if under_way == 0 {
                    break;
                }
                for (_, ticket) in pages {
                    if let Ticket::Page(channel) = &ticket {
                        read.insert(channel.clone());
                    }
                    upstream.replied(ticket, &page(Vec::new()));
                }
            }
            if is_over {
                break;
            }
        }
        assert_eq!((subscribed.len(), read.len()), (40_000, 40_000));
        let generation = upstream.lock().requests.generation;
        upstream.is_down(Role::Requests, generation, Refusal::Now("killed".to_owned()));
        assert!(!upstream.is_connected());
        asked.lock().unwrap().clear();
        upstream.lock().requests.is_connecting = false;
        upstream.lock().requests.retry = Instant::now();
    }
}

/// A request that was not sent had no effect; the result of a sent one is unknown.
#[test]
fn those_who_wait_learn_whether_it_was_sent() {
    let (upstream, _inbox, asked) = upstream();
    let outcomes = Arc::<Mutex<Vec<Trouble>>>::default();
    let publish = || {
        let told = Arc::clone(&outcomes);
        let done = Done::new(move |outcome: Result<Position, Trouble>| told.lock().unwrap().push(outcome.unwrap_err()));
        let draft = Draft {
            channel: name(1),
            user: None,
            data: "1".into(),
            key: None,
        };
        upstream.publish(draft, KEEP, done);
    };
    publish();
    assert_eq!(core::mem::take(&mut *outcomes.lock().unwrap()), [Trouble::Unavailable]);
    connect(&upstream, &asked);
    publish();
    let sent = upstream.next_command(Role::Requests, 0).unwrap();
    publish();
    let generation = upstream.lock().requests.generation;
    upstream.is_down(Role::Requests, generation, Refusal::Now("killed".to_owned()));
    drop(sent);
    assert_eq!(*outcomes.lock().unwrap(), [Trouble::Unavailable, Trouble::Unknown]);
}

/// Reports of an earlier connection are ignored.
#[test]
fn late_words_of_an_earlier_connection_change_nothing() {
    let (upstream, _inbox, asked) = upstream();
    connect(&upstream, &asked);
    upstream.is_down(Role::Requests, 0, Refusal::Now("late".to_owned()));
    assert!(upstream.is_connected());
    let generation = upstream.lock().news.generation;
    assert!(upstream.is_up(Role::News, generation + 1, Life::default()).is_err());
}

/// Reading from one broker and writing to another would miss publications.
#[test]
fn both_connections_must_reach_the_same_broker() {
    let (upstream, _inbox, asked) = upstream();
    upstream.tick(Instant::now());
    let (_, generation) = asked.lock().unwrap().pop().unwrap();
    upstream.is_up(Role::Requests, generation, Life::default()).unwrap();
    let (_, generation) = asked.lock().unwrap().pop().unwrap();
    let other = Life {
        run: "another".to_owned(),
        ..Life::default()
    };
    assert!(upstream.is_up(Role::News, generation, other).is_err());
    assert!(!upstream.is_connected());
}
