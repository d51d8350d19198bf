//! How channels are kept in Redis or Valkey.
//!
//! A channel is a stream, whose entries have the ids EPOCH-OFFSET. A single script publishes, so that entries and the messages that
//! announce them have the same order everywhere, and each message contains the entry's number. A node that has missed messages reads the
//! stream.
//!
//! **Lives.** Redis may forget what it has acknowledged: when it is restarted from an older dump, or when a replica that lags is promoted.
//! Therefore every life of a Redis has a term, which the first node that connects draws, and every publication gets the term as its epoch,
//! unless the channel's own epoch is newer. An entry whose predecessor has another epoch names that epoch (`p`), and so does its message.
//! So a position always identifies one place in one history, and its holder can tell whether the present history continues from it. A node
//! that finds a break marks it in the stream (`m`), so that readers that had not come as far learn of it too.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto_resp::Value;
use protocol::bytes::Bytes;

use super::scripts;
use super::wire::{entry, id, message, position};
use crate::broker::dialect::{Dialect, Life, News, Refusal, Role, Side, Verdict, Words};
use crate::broker::reading::{Page, Range};
use crate::broker::{Member, Presence, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Epoch, Position};

/// How long a silent node's clients count as present, and how often the node reports them.
const PRESENT: Duration = Duration::from_secs(15);
const PRESENT_REFRESH: Duration = Duration::from_secs(5);
/// The interval at which the expiry of followed streams is extended.
const REFRESH: Duration = Duration::from_secs(30);
/// The shortest lifetime of a stream.
const SHORTEST: Duration = Duration::from_secs(60);

/// Scripts in the order of loading.
const SCRIPTS: [&str; 8] = [
    scripts::PUBLISH,
    scripts::READ,
    scripts::MARK,
    scripts::ENTER,
    scripts::LEAVE,
    scripts::REFRESH,
    scripts::PRESENCE,
    scripts::PART,
];
const PUBLISH: usize = 0;
const READ: usize = 1;
const MARK: usize = 2;
const ENTER: usize = 3;
const LEAVE: usize = 4;
const REFRESH_PRESENCE: usize = 5;
const PRESENCE: usize = 6;
const PART: usize = 7;

/// The dialect of Redis.
pub(crate) struct Redis {
    prefix: String,
    database: u32,
    /// Identifies this process among those that report presence.
    node: String,
    /// The hashes of the loaded scripts.
    loaded: OnceLock<Vec<Bytes>>,
}

impl Redis {
    /// All keys and channels begin with `prefix`. `node` identifies this process, and no other ever.
    pub(crate) fn new(prefix: String, database: u32, node: String) -> Self {
        Redis {
            prefix,
            database,
            node,
            loaded: OnceLock::new(),
        }
    }

    fn key(&self, kind: &str, channel: &Name) -> Bytes {
        format!("{}{kind}:{channel}", self.prefix).into()
    }

    fn life(&self) -> Bytes {
        format!("{}life", self.prefix).into()
    }

    /// The message channel for a channel's publications. Redis delivers messages across databases, so its name contains the database.
    fn say(&self, channel: &Name) -> Bytes {
        format!("{}{}:say:{channel}", self.prefix, self.database).into()
    }

    fn channel(&self, said: &[u8]) -> Option<Name> {
        let rest = said.strip_prefix(self.prefix.as_bytes())?;
        let rest = rest.strip_prefix(format!("{}:say:", self.database).as_bytes())?;
        str::from_utf8(rest).ok()?.parse().ok()
    }

    fn run(&self, script: usize, keys: &[Bytes], arguments: impl IntoIterator<Item = Bytes>) -> Words {
        let name = self.loaded.get().and_then(|loaded| loaded.get(script).cloned());
        let mut words = vec!["EVALSHA".into(), name.unwrap_or_default(), number(keys.len() as u64)];
        words.extend_from_slice(keys);
        words.extend(arguments);
        words
    }

    /// The keys of the clients that are present through this node.
    fn present_keys(&self, channel: &Name) -> [Bytes; 2] {
        let clients = format!("{}here:{channel} {}", self.prefix, self.node);
        [clients.into(), self.key("nodes", channel)]
    }
}

impl Dialect for Redis {
    fn has_news_apart(&self) -> bool {
        true
    }

    fn greeted(&self, greeting: &Value) -> Result<(), Refusal> {
        let field = |name: &str| {
            let mut pairs = greeting.pairs().into_iter().flatten();
            let found = pairs.find(|(key, _)| key.as_str() == Some(name));
            found.and_then(|(_, value)| value.as_str())
        };
        match field("mode") {
            Some("cluster") => return Err(Refusal::Ever(CLUSTER.to_owned())),
            Some("sentinel") => return Err(Refusal::Ever(SENTINEL.to_owned())),
            _ => {}
        }
        if let (Some("redis"), Some(version)) = (field("server"), field("version")) {
            let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
            let number: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            if number < (6, 2) {
                return Err(Refusal::Ever(format!(
                    "Redis {version} is too old: comet needs 6.2 or later"
                )));
            }
        }
        Ok(())
    }

    fn begin(&self, role: Role) -> Vec<Words> {
        match role {
            Role::Requests => {
                let load = |script: &&'static str| vec!["SCRIPT".into(), "LOAD".into(), (*script).into()];
                let mut begin: Vec<Words> = SCRIPTS.iter().map(load).collect();
                begin.push(vec![
                    "EVAL".into(),
                    scripts::BEGIN.into(),
                    "1".into(),
                    self.life(),
                    nonce(),
                ]);
                begin
            }
            Role::News => vec![vec!["INFO".into(), "server".into()]],
        }
    }

    fn begun(&self, role: Role, replies: &[Value]) -> Result<Life, Refusal> {
        for reply in replies {
            if let Some(error) = reply.as_error() {
                let text = String::from_utf8_lossy(error.text()).into_owned();
                return Err(match error.code() {
                    b"MOVED" | b"CROSSSLOT" | b"CLUSTERDOWN" => Refusal::Ever(CLUSTER.to_owned()),
                    b"NOPERM" => Refusal::Now(format!("the user lacks a right that comet needs: {text}")),
                    _ if says(error.text(), "READONLY") => {
                        Refusal::Now("it is a replica, where nothing can be published".to_owned())
                    }
                    _ => Refusal::Now(text),
                });
            }
        }
        let unreadable = || Refusal::Now("what it says of itself is not what Redis says".to_owned());
        match (role, replies) {
            (Role::News, [info]) => {
                let info = info.as_str().ok_or_else(unreadable)?;
                let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
                Ok(Life {
                    run: run.ok_or_else(unreadable)?.trim().to_owned(),
                    ..Life::default()
                })
            }
            (Role::Requests, [loaded @ .., life]) => {
                let loaded = loaded.iter().filter_map(Value::as_bytes).map(Bytes::copy_from_slice);
                // A script's hash depends only on its text, so it is the same every time.
                let _ = self.loaded.set(loaded.collect());
                let [term, run, replication, policy] = life.as_slice().ok_or_else(unreadable)? else {
                    return Err(unreadable());
                };
                let word = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(unreadable);
                if !matches!(policy.as_str(), Some("noeviction" | "")) {
                    tracing::warn!(
                        "the broker: maxmemory-policy is {}: when memory is short, Redis may drop channels, whose \
                         readers are then told that they begin anew",
                        policy.as_str().unwrap_or_default()
                    );
                }
                Ok(Life {
                    term: word(term)?.parse().map_err(|_| unreadable())?,
                    run: word(run)?,
                    replication: word(replication)?,
                })
            }
            _ => Err(unreadable()),
        }
    }

    fn follow(&self, channels: &[(Name, Keep)]) -> Words {
        let channels = channels.iter().map(|(channel, _)| self.say(channel));
        core::iter::once("SUBSCRIBE".into()).chain(channels).collect()
    }

    fn forget(&self, channels: &[Name]) -> Words {
        let channels = channels.iter().map(|channel| self.say(channel));
        core::iter::once("UNSUBSCRIBE".into()).chain(channels).collect()
    }

    fn publish(&self, life: &Life, draft: Draft, keep: Keep) -> Words {
        let channel = &draft.channel;
        let mut keys = vec![self.life(), self.key("log", channel)];
        if let Some(key) = &draft.key {
            keys.push(format!("{}key:{channel} {key}", self.prefix).into());
        }
        let user = draft.user.as_deref().unwrap_or_default().to_owned();
        let arguments = [
            number(life.term),
            life.run.clone().into(),
            life.replication.clone().into(),
            nonce(),
            lifetime(keep),
            // The last entry is always kept, for its number.
            number(keep.publications.max(1) as u64),
            number(keep.bytes as u64),
            millis(keep.time),
            self.say(channel),
            user.into(),
            draft.data,
            millis(keep.wish()),
        ];
        self.run(PUBLISH, &keys, arguments)
    }

    fn published(&self, reply: &Value) -> Option<Position> {
        position(reply.as_bytes()?)
    }

    fn read(&self, channel: &Name, range: &Range) -> Words {
        let place = |position: Option<Position>| position.map(id).unwrap_or_default();
        let arguments = [
            place(range.before),
            place(range.down_to),
            number(range.publications as u64),
            number(range.bytes as u64),
        ];
        self.run(READ, &[self.key("log", channel)], arguments)
    }

    fn page(&self, channel: &Name, reply: &Value) -> Option<Page> {
        let [now, more, entries] = reply.as_slice()? else {
            return None;
        };
        let now: u64 = now.as_str()?.parse().ok()?;
        let entries = entries.as_slice()?.iter().map(|read| entry(channel, now, read));
        Some(Page {
            // A history that begins later has a greater epoch.
            empty: Some(Position {
                epoch: Epoch(now << 10),
                offset: 0,
            }),
            entries: entries.collect::<Option<_>>()?,
            more: more.as_str() == Some("1"),
        })
    }

    fn read_part(&self, channel: &Name, side: Side, publications: usize, bytes: usize) -> Words {
        let (side, offset) = side.words();
        let arguments = [side, offset, number(publications as u64), number(bytes as u64)];
        self.run(PART, &[self.key("log", channel)], arguments)
    }

    fn part(&self, channel: &Name, reply: &Value) -> Option<(Position, Page)> {
        let [now, more, entries, last] = reply.as_slice()? else {
            return None;
        };
        let page = Value::Array(vec![now.clone(), more.clone(), entries.clone()]);
        let page = self.page(channel, &page)?;
        let last = last.as_bytes()?;
        let position = if last.is_empty() { page.empty? } else { position(last)? };
        Some((position, page))
    }

    fn mark_broken(&self, channel: &Name, last: Option<Position>, keep: Keep) -> Option<Words> {
        let keys = [self.life(), self.key("log", channel)];
        let last = last.map(id).unwrap_or_default();
        Some(self.run(MARK, &keys, [last, nonce(), lifetime(keep), self.say(channel)]))
    }

    fn enter(&self, channel: &Name, members: &[&Member], alone: bool) -> Words {
        let alone = if alone { "1" } else { "0" };
        let head = [self.node.clone().into(), millis(PRESENT), alone.into()];
        let members = members
            .iter()
            .flat_map(|member| [member.client.to_string(), member.text()].map(Bytes::from));
        self.run(ENTER, &self.present_keys(channel), head.into_iter().chain(members))
    }

    fn leave(&self, channel: &Name, client: &str) -> Words {
        let arguments = [self.node.clone().into(), Bytes::copy_from_slice(client.as_bytes())];
        self.run(LEAVE, &self.present_keys(channel), arguments)
    }

    fn presence(&self, channel: &Name, limit: usize) -> Words {
        let clients = format!("{}here:{channel} ", self.prefix);
        self.run(
            PRESENCE,
            &[self.key("nodes", channel)],
            [clients.into(), number(limit as u64)],
        )
    }

    fn present(&self, reply: &Value, limit: usize) -> Option<Presence> {
        let [total, named] = reply.as_slice()? else { return None };
        let named = named.as_slice()?.as_chunks::<2>().0.iter();
        let clients = named
            .take(limit)
            .map(|[client, text]| Some(Member::read(client.as_str()?.into(), text.as_str()?)));
        Some(Presence {
            total: usize::try_from(total.as_integer()?).ok()?,
            clients: clients.collect::<Option<_>>()?,
        })
    }

    fn refresh(&self, channel: &Name, keep: Keep) -> Option<Words> {
        Some(vec!["PEXPIRE".into(), self.key("log", channel), lifetime(keep)])
    }

    fn refresh_presence(&self, channel: &Name) -> Option<Words> {
        let arguments = [self.node.clone().into(), millis(PRESENT)];
        Some(self.run(REFRESH_PRESENCE, &self.present_keys(channel), arguments))
    }

    fn refresh_times(&self) -> [Duration; 2] {
        [REFRESH, PRESENT_REFRESH]
    }

    fn news(&self, kind: &[u8], data: &[Value]) -> News {
        let (b"message", [said, Value::Bulk(payload)]) = (kind, data) else {
            return News::Nothing;
        };
        let Some(channel) = said.as_bytes().and_then(|said| self.channel(said)) else {
            return News::Nothing;
        };
        if payload.ends_with(b" mark") && payload.len() < 64 {
            return News::Look(channel);
        }
        let publication = message(&channel, payload).map(Arc::new);
        publication.map_or(News::Unreadable, News::Publication)
    }

    fn judge(&self, error: &[u8]) -> Verdict {
        // Redis returns these errors before it does anything. For scripts before Redis 7.0, they are inside the message.
        let elsewhere = [
            "ANOTHERLIFE",
            "READONLY",
            "NOSCRIPT",
            "MOVED",
            "ASK",
            "CLUSTERDOWN",
            "NOAUTH",
            "MASTERDOWN",
            "LOADING",
        ];
        let refused = ["OOM", "MISCONF", "NOREPLICAS", "BUSY", "NOPERM", "WRONGTYPE"];
        let begin_again = elsewhere.iter().any(|code| says(error, code));
        let did_nothing = begin_again || refused.iter().any(|code| says(error, code));
        Verdict {
            trouble: if did_nothing {
                Trouble::Unavailable
            } else {
                Trouble::Unknown
            },
            begin_again,
        }
    }
}

const CLUSTER: &str = "Redis Cluster cannot be comet's broker: use a single Redis or Valkey, with replicas if need be";
const SENTINEL: &str = "this is Redis Sentinel, which keeps no channels: give the address of the Redis that it watches";

/// Whether an error has this code.
fn says(error: &[u8], code: &str) -> bool {
    let text = String::from_utf8_lossy(error);
    text.split(' ').next() == Some(code) || text.contains(&format!("-{code} "))
}

/// A stream is kept for some time after its last publication expired, so that a client that returns then learns that it has missed nothing.
fn lifetime(keep: Keep) -> Bytes {
    millis(keep.time.max(SHORTEST).saturating_mul(2))
}

fn millis(time: Duration) -> Bytes {
    number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(1 << 52))
}

/// A number that others are unlikely to draw at the same time: it only distinguishes nodes that start in the same millisecond.
///
/// In tests it is constant, so that a schedule of faults follows from its seed.
fn nonce() -> Bytes {
    let mut bytes = [0; 2];
    if cfg!(test) {
        return number(7);
    }
    if getrandom::fill(&mut bytes).is_err() {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes = (time.subsec_nanos() as u16).to_ne_bytes();
    }
    number(u64::from(u16::from_ne_bytes(bytes) & 1023))
}

fn number(number: u64) -> Bytes {
    number.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::reading::Entry;

    fn redis() -> Redis {
        Redis::new("x:".to_owned(), 3, "n".to_owned())
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn entries(entries: &[(&str, &[&str])]) -> Value {
        let entry = |(id, fields): &(&str, &[&str])| {
            let fields = fields.iter().map(|field| bulk(field)).collect();
            Value::Array(vec![bulk(id), Value::Array(fields)])
        };
        Value::Array(vec![
            bulk("5000"),
            bulk("0"),
            Value::Array(entries.iter().map(entry).collect()),
        ])
    }

    fn channel() -> Name {
        "news".parse().unwrap()
    }

    #[test]
    fn entries_are_read_with_what_was_before_them() {
        let page = entries(&[
            ("7-3", &["u", "ann", "d", "{}", "t", "4000", "b", "9"]),
            ("7-2", &["u", "", "d", "2", "t", "4000", "b", "9", "p", "5"]),
            ("6-1", &["m", "", "t", "1", "b", "9"]),
        ]);
        let page = redis().page(&channel(), &page).unwrap();
        let [Entry::Publication(three), Entry::Publication(two), Entry::Mark(mark)] = &page.entries[..] else {
            panic!("{page:?}");
        };
        assert_eq!(
            (three.offset(), three.previous, three.user.as_deref()),
            (3, Epoch(7), Some("ann"))
        );
        assert_eq!(
            (two.before().epoch, two.before().offset, &two.user),
            (Epoch(5), 1, &None)
        );
        assert_eq!((mark.epoch, mark.offset), (Epoch(6), 1));
        assert_eq!(page.empty.unwrap().epoch, Epoch(5000 * 1024));
        for bad in [
            Value::Null,
            entries(&[("x", &["u", "", "d", "1", "t", "1"])]),
            entries(&[("7-1", &["u", "", "d", "1"])]),
            Value::Array(vec![bulk("1"), bulk("0")]),
        ] {
            assert!(redis().page(&channel(), &bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn messages_of_other_databases_are_not_ours() {
        let say = |said: &str| redis().news(b"message", &[bulk(said), bulk("7-1 0 1")]);
        assert!(matches!(say("x:3:say:news"), News::Publication(_)));
        for other in ["x:2:say:news", "x:say:news", "y:3:say:news", "x:3:say:a b"] {
            assert!(matches!(say(other), News::Nothing), "{other}");
        }
        let marked = redis().news(b"message", &[bulk("x:3:say:news"), bulk("7-1 mark")]);
        assert!(matches!(marked, News::Look(channel) if channel.as_str() == "news"));
    }

    #[test]
    fn what_did_nothing_is_told_from_what_nobody_knows() {
        let judge = |text: &str| {
            let Verdict { trouble, begin_again } = redis().judge(text.as_bytes());
            (trouble, begin_again)
        };
        assert_eq!(judge("OOM command not allowed"), (Trouble::Unavailable, false));
        assert_eq!(judge("READONLY You can't write"), (Trouble::Unavailable, true));
        assert_eq!(
            judge("ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed"),
            (Trouble::Unavailable, false)
        );
        assert_eq!(judge("ERR something"), (Trouble::Unknown, false));
    }

    #[test]
    fn servers_that_cannot_serve_are_refused() {
        let greet = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| (bulk(key), bulk(value))).collect();
            redis().greeted(&Value::Map(pairs))
        };
        assert_eq!(
            greet(&[("server", "redis"), ("version", "7.0.15"), ("mode", "standalone")]),
            Ok(())
        );
        assert_eq!(
            greet(&[("server", "valkey"), ("version", "8.1.0"), ("mode", "standalone")]),
            Ok(())
        );
        for bad in [
            [("mode", "cluster"), ("server", "redis")],
            [("mode", "sentinel"), ("server", "redis")],
            [("version", "6.0.9"), ("server", "redis")],
        ] {
            assert!(matches!(greet(&bad), Err(Refusal::Ever(_))), "{bad:?}");
        }
    }
}
