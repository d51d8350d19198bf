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

/// Ends both connections; they may be made again.
fn disconnect(upstream: &Arc<Upstream>, asked: &Asked) {
    let generation = upstream.lock().requests.generation;
    upstream.is_down(Role::Requests, generation, Refusal::Now("killed".to_owned()));
    asked.lock().unwrap().clear();
    let mut state = upstream.lock();
    let now = state.now;
    state.requests.is_connecting = false;
    (state.requests.retry, state.news.retry) = (now, now);
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

/// More channels than a connection may have outstanding commands: all must be subscribed to and read, a few at a time. Channels beyond the
/// limit used to be dropped; and reading all histories at once exceeded what Redis buffers for a subscriber, so Redis closed the
/// connection every time.
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
        disconnect(&upstream, &asked);
        assert!(!upstream.is_connected());
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

/// Only this node knows of a publication that was acknowledged and lost while nobody follows its channel here: it marks the loss for the
/// followers at other nodes. The loss used to be found, but not marked.
#[test]
fn a_loss_in_a_channel_that_nobody_follows_is_marked() {
    let (upstream, _inbox, asked) = upstream();
    connect(&upstream, &asked);
    upstream.lock().acknowledge(&name(1), KEEP, at(1, 3));
    upstream.lock().doubt_acknowledged();
    assert_eq!(page_of(&upstream), [name(1)]);
    upstream.replied(Ticket::Page(name(1)), &page(vec![entry("1-2")]));
    let marked = commands(&upstream, Role::Requests);
    assert!(matches!(&marked[..], [(_, Ticket::Broken(channel))] if *channel == name(1)));
}

/// Redis dropped a channel, which began anew: the epoch of the next acknowledgement shows that publications acknowledged before are lost.
/// That acknowledgement used to replace the earlier one, so the loss was not noticed.
#[test]
fn what_was_acknowledged_before_a_channel_began_anew_is_looked_for() {
    let (upstream, _inbox, asked) = upstream();
    connect(&upstream, &asked);
    upstream.lock().acknowledge(&name(1), KEEP, at(1, 3));
    upstream.lock().acknowledge(&name(1), KEEP, at(2, 1));
    assert_eq!(page_of(&upstream), [name(1)]);
    upstream.replied(Ticket::Page(name(1)), &page(vec![entry("2-1")]));
    let marked = commands(&upstream, Role::Requests);
    assert!(matches!(&marked[..], [(_, Ticket::Broken(_))]), "Redis has lost 1 to 3");
    // A late acknowledgement of an earlier position does not hide the later one.
    upstream.lock().acknowledge(&name(2), KEEP, at(2, 5));
    upstream.lock().acknowledge(&name(2), KEEP, at(2, 3));
    upstream.lock().look_again(&name(2));
    assert_eq!(page_of(&upstream), [name(2)]);
    upstream.replied(Ticket::Page(name(2)), &page(vec![entry("2-3")]));
    let marked = commands(&upstream, Role::Requests);
    assert!(matches!(&marked[..], [(_, Ticket::Broken(_))]), "Redis has lost 2 to 5");
}

fn at(epoch: u64, offset: u64) -> Position {
    Position {
        epoch: crate::publication::Epoch(epoch),
        offset,
    }
}

fn entry(id: &str) -> Value {
    let bulk = |text: &str| Value::Bulk(text.to_owned().into());
    let fields = ["u", "", "d", "1", "t", "900", "b", "9", "p", "0"].map(bulk);
    Value::Array(vec![bulk(id), Value::Array(fields.to_vec())])
}

/// The channels of which pages are requested now.
fn page_of(upstream: &Upstream) -> Vec<Name> {
    let commands = commands(upstream, Role::Requests).into_iter();
    let pages = commands.filter_map(|(_, ticket)| match ticket {
        Ticket::Page(channel) => Some(channel),
        _ => None,
    });
    pages.collect()
}

/// A client that left while the connection was down, so that Redis was not told, used to stay present for as long as the next client.
#[test]
fn the_first_who_comes_is_alone() {
    let (upstream, _inbox, asked) = upstream();
    connect(&upstream, &asked);
    let member = |client: &str| Member::new(client.into(), None);
    let sent = || -> Vec<Vec<String>> {
        let text = |word: &protocol::bytes::Bytes| String::from_utf8_lossy(word).into_owned();
        // The words behind the script and its keys.
        let words = |words: Words| words[5..].iter().map(text).collect();
        let commands = commands(&upstream, Role::Requests).into_iter();
        commands.map(|(sent, _)| words(sent)).collect()
    };
    upstream.enter(&name(1), member("a"));
    upstream.enter(&name(1), member("b"));
    assert_eq!(sent(), [["n", "15000", "1", "a", ""], ["n", "15000", "0", "b", ""]]);
    upstream.leave(&name(1), "a");
    upstream.leave(&name(1), "b");
    assert_eq!(sent(), [["n", "a"], ["n", "b"]]);
    // Redis does not get this command. Another client enters on the next connection.
    disconnect(&upstream, &asked);
    connect(&upstream, &asked);
    assert_eq!(sent(), Vec::<Vec<String>>::new());
    upstream.enter(&name(1), member("c"));
    assert_eq!(sent(), [["n", "15000", "1", "c", ""]]);
}

/// Redis is told later of a client that it could not note for lack of memory. Redis used not to be told of clients that joined others.
#[test]
fn who_could_not_be_noted_is_noted_later() {
    let (upstream, _inbox, asked) = upstream();
    connect(&upstream, &asked);
    let member = Member::new("a".into(), None);
    upstream.enter(&name(1), member);
    let entered = || {
        let (_, ticket) = commands(&upstream, Role::Requests).pop()?;
        assert!(matches!(&ticket, Ticket::Entered(channel) if *channel == name(1)));
        Some(ticket)
    };
    let no_memory = Value::Error("OOM command not allowed".into());
    assert!(!upstream.replied(entered().unwrap(), &no_memory));
    assert!(entered().is_none(), "it is not repeated at once");
    upstream.tick(Instant::now());
    assert!(!upstream.replied(entered().unwrap(), &Value::Integer(1)));
    upstream.tick(Instant::now());
    assert!(entered().is_none());
}
