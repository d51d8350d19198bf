//! How channels are kept in Redis or Valkey.
//!
//! A channel is a stream, whose entries have the ids EPOCH-OFFSET: the epoch is the time at which the stream was made, in
//! milliseconds, and stands in all of its ids. Publishing is one script, so that an entry and the message that tells of it
//! come in the same order everywhere, and the message can say which number the entry got. A node that has missed messages
//! reads the stream; one that finds another epoch there knows that the stream was lost in between.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto_resp::Value;
use protocol::bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::order::{Command, Dialect, Order, Ticket, Wanted};
use crate::broker::{Inbox, Member, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Epoch, Position, Publication};

/// Makes the stream if there is none, with an entry of offset 0 that is no publication, and reads its end.
///
/// Keys: the stream. Arguments: the epoch that a new one gets; how many milliseconds it is kept; how many entries are read.
const READ: &str = "\
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], ARGV[1] .. '-0', 'e', '')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[3])";

/// Appends a publication and tells of it.
///
/// Keys: the stream. Arguments: the epoch that a new one gets; how many milliseconds it is kept; how many entries; the channel
/// of the message; user; data.
const PUBLISH: &str = "\
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local epoch, offset = ARGV[1], 1
if last then
  epoch, offset = string.match(last[1], '^(%d+)-(%d+)$')
  offset = offset + 1
end
local id = epoch .. '-' .. string.format('%.0f', offset)
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], id, 'u', ARGV[5], 'd', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], id .. ' ' .. #ARGV[5] .. ' ' .. ARGV[5] .. ARGV[6])
return id";

/// How long somebody counts as present who is not noted again.
const PRESENT: Duration = Duration::from_secs(60);

/// Speaks to Redis.
pub(crate) struct Redis {
    inbox: Weak<dyn Inbox>,
    prefix: String,
}

/// Somebody in a channel, as the field of a hash.
#[derive(Serialize, Deserialize)]
struct Present {
    user: Option<Arc<str>>,
    /// Milliseconds since 1970.
    until: u64,
}

impl Redis {
    /// All keys and channels begin with `prefix`.
    pub(crate) fn new(inbox: Weak<dyn Inbox>, prefix: String) -> Self {
        Redis { inbox, prefix }
    }

    fn key(&self, kind: &str, channel: &Name) -> Bytes {
        format!("{}{kind}:{channel}", self.prefix).into()
    }

    fn follow(&self, channel: &Name, keep: Keep) -> [Command; 2] {
        let subscribe = vec!["SUBSCRIBE".into(), self.key("channel", channel)];
        [
            (subscribe, Ticket::Nothing),
            (
                self.read(channel, keep),
                Ticket::Follow(channel.clone(), keep.publications),
            ),
        ]
    }

    fn read(&self, channel: &Name, keep: Keep) -> Vec<Bytes> {
        vec![
            "EVAL".into(),
            READ.into(),
            "1".into(),
            self.key("stream", channel),
            number(now()),
            lifetime(keep),
            // The last is read in any case, for its number.
            number(keep.publications.max(1) as u64),
        ]
    }

    fn publish(&self, draft: Draft, keep: Keep) -> Vec<Bytes> {
        let user = draft.user.as_deref().unwrap_or_default().to_owned();
        vec![
            "EVAL".into(),
            PUBLISH.into(),
            "1".into(),
            self.key("stream", &draft.channel),
            number(now()),
            lifetime(keep),
            // The last stays in any case, for its number.
            number(keep.publications.max(1) as u64),
            self.key("channel", &draft.channel),
            user.into(),
            draft.data,
        ]
    }

    fn enter(&self, channel: &Name, member: &Member) -> Command {
        let present = Present {
            user: member.user.clone(),
            until: now() + PRESENT.as_millis() as u64,
        };
        // Strings and numbers always make JSON.
        let present = serde_json::to_vec(&present).unwrap_or_default();
        let key = self.key("presence", channel);
        let client = Bytes::copy_from_slice(member.client.as_bytes());
        (vec!["HSET".into(), key, client, present.into()], Ticket::Nothing)
    }

    /// What would be forgotten in time.
    fn refresh(&self, wanted: &Wanted) -> Vec<Command> {
        let channels = wanted.channels.iter().map(|(channel, keep)| {
            let key = self.key("stream", channel);
            (vec!["PEXPIRE".into(), key, lifetime(*keep)], Ticket::Nothing)
        });
        let members = wanted
            .members
            .iter()
            .map(|((channel, _), member)| self.enter(channel, member));
        channels.chain(members).collect()
    }

    fn channel(&self, key: &[u8]) -> Option<Name> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"channel:")?;
        str::from_utf8(rest).ok()?.parse().ok()
    }
}

impl Dialect for Redis {
    fn ready(&mut self, wanted: &Wanted) -> Vec<Command> {
        let follow = wanted
            .channels
            .iter()
            .flat_map(|(channel, keep)| self.follow(channel, *keep));
        let members = wanted
            .members
            .iter()
            .map(|((channel, _), member)| self.enter(channel, member));
        follow.chain(members).collect()
    }

    fn order(&mut self, order: Order) -> Vec<Command> {
        match order {
            Order::Follow(channel, keep) => self.follow(&channel, keep).into(),
            Order::Forget(channel) => {
                let unsubscribe = vec!["UNSUBSCRIBE".into(), self.key("channel", &channel)];
                vec![(unsubscribe, Ticket::Nothing)]
            }
            Order::Publish(draft, keep, done) => vec![(self.publish(draft, keep), Ticket::Published(done))],
            Order::Snapshot(channel, keep, done) => {
                vec![(
                    self.read(&channel, keep),
                    Ticket::Snapshot(channel, keep.publications, done),
                )]
            }
            Order::Enter(channel, member) => {
                let key = self.key("presence", &channel);
                let expire = vec!["PEXPIRE".into(), key, number(2 * PRESENT.as_millis() as u64)];
                vec![self.enter(&channel, &member), (expire, Ticket::Nothing)]
            }
            Order::Leave(channel, client) => {
                let client = Bytes::copy_from_slice(client.as_bytes());
                let leave = vec!["HDEL".into(), self.key("presence", &channel), client];
                vec![(leave, Ticket::Nothing)]
            }
            Order::Presence(channel, limit, done) => {
                let list = vec!["HGETALL".into(), self.key("presence", &channel)];
                vec![(list, Ticket::Presence(limit, done))]
            }
            Order::Refresh(wanted) => self.refresh(&wanted),
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: &Value) -> Result<(), String> {
        if let Some(error) = reply.as_error() {
            // With the ticket, those who wait are told.
            return Err(String::from_utf8_lossy(error.text()).into_owned());
        }
        match ticket {
            Ticket::Nothing => {}
            Ticket::Follow(channel, limit) => {
                let snapshot = snapshot(&channel, limit, reply).ok_or_else(|| unreadable(&channel))?;
                if let Some(inbox) = self.inbox.upgrade() {
                    inbox.snapshot(&channel, snapshot);
                }
            }
            Ticket::Snapshot(channel, limit, done) => {
                done.tell(Ok(snapshot(&channel, limit, reply).ok_or_else(|| unreadable(&channel))?));
            }
            Ticket::Published(done) => {
                let position = reply.as_bytes().and_then(position);
                done.tell(position.ok_or(Trouble::Unavailable));
            }
            Ticket::Presence(limit, done) => done.tell(Ok(presence(reply, limit))),
        }
        Ok(())
    }

    fn push(&mut self, kind: &[u8], data: &[Value]) -> Result<(), String> {
        let (b"message", [channel, Value::Bulk(payload)]) = (kind, data) else {
            return Ok(());
        };
        let Some(channel) = channel.as_bytes().and_then(|key| self.channel(key)) else {
            return Ok(());
        };
        let publication = message(&channel, payload).ok_or_else(|| unreadable(&channel))?;
        if let Some(inbox) = self.inbox.upgrade() {
            inbox.publication(&Arc::new(publication));
        }
        Ok(())
    }
}

fn unreadable(channel: &Name) -> String {
    format!("what it keeps of {channel} is not comet's")
}

/// A stream is kept for some time after its last publication is too old, so that one who comes back then learns that nothing was
/// missed.
fn lifetime(keep: Keep) -> Bytes {
    let time = keep.time.max(PRESENT) * 2;
    number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 1))
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn number(number: u64) -> Bytes {
    number.to_string().into()
}

/// Reads EPOCH-OFFSET.
fn position(id: &[u8]) -> Option<Position> {
    let (epoch, offset) = str::from_utf8(id).ok()?.split_once('-')?;
    Some(Position {
        epoch: Epoch(epoch.parse().ok()?),
        offset: offset.parse().ok()?,
    })
}

/// A message: the id, the length of the user's name, the name, and the data.
fn message(channel: &Name, payload: &Bytes) -> Option<Publication> {
    let mut parts = payload.splitn(3, |byte| *byte == b' ');
    let position = position(parts.next()?)?;
    let length: usize = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let rest = payload.slice_ref(parts.next()?);
    publication(channel, position, rest.get(..length)?, rest.slice(length..))
}

fn publication(channel: &Name, position: Position, user: &[u8], data: Bytes) -> Option<Publication> {
    let draft = Draft {
        channel: channel.clone(),
        user: (!user.is_empty()).then_some(str::from_utf8(user).ok()?.into()),
        data,
    };
    Some(Publication::new(draft, position))
}

/// The end of a stream, newest first: its position, and at most so many publications before it.
fn snapshot(channel: &Name, limit: usize, entries: &Value) -> Option<Snapshot> {
    let mut entries = entries.as_slice()?.iter();
    let read = |entry: &Value| -> Option<(Position, Option<Publication>)> {
        let [id, fields] = entry.as_slice()? else { return None };
        let position = position(id.as_bytes()?)?;
        let fields = fields.as_slice()?;
        let field = |name: &[u8]| {
            let pairs = fields.as_chunks::<2>().0.iter();
            let mut found = pairs.filter(|[known, _]| known.as_bytes() == Some(name));
            found.next().and_then(|[_, value]| value.as_bytes())
        };
        let publication = match (field(b"u"), field(b"d")) {
            (Some(user), Some(data)) => publication(channel, position, user, Bytes::copy_from_slice(data)),
            _ => None,
        };
        Some((position, publication))
    };
    let (position, last) = read(entries.next()?)?;
    let mut publications: Vec<_> = last.into_iter().take(limit).map(Arc::new).collect();
    for entry in entries.take(limit.saturating_sub(1)) {
        // Without gap, or not at all.
        let next = publications.last().map_or(position.offset, |next| next.offset());
        match read(entry)? {
            (before, Some(publication)) if before.epoch == position.epoch && before.offset + 1 == next => {
                publications.push(Arc::new(publication));
            }
            _ => break,
        }
    }
    publications.reverse();
    Some(Snapshot { position, publications })
}

/// Those of a hash whose time is not over.
fn presence(reply: &Value, limit: usize) -> Presence {
    let now = now();
    let mut presence = Presence::default();
    for (client, present) in reply.pairs().into_iter().flatten() {
        let (Some(client), Some(present)) = (client.as_str(), present.as_bytes()) else {
            continue;
        };
        let Ok(Present { user, until }) = serde_json::from_slice(present) else {
            continue;
        };
        if until < now {
            continue;
        }
        presence.total += 1;
        if presence.clients.len() < limit {
            presence.clients.push(Member {
                client: client.into(),
                user,
            });
        }
    }
    presence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn entry(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![
            bulk(id),
            Value::Array(fields.iter().map(|field| bulk(field)).collect()),
        ])
    }

    fn channel() -> Name {
        "news".parse().unwrap()
    }

    #[test]
    fn a_stream_is_read_up_to_its_beginning_or_a_gap() {
        let entries = Value::Array(vec![
            entry("7-3", &["u", "ann", "d", "{}"]),
            entry("7-2", &["u", "", "d", "2"]),
            entry("7-0", &["e", ""]),
        ]);
        let read = snapshot(&channel(), 10, &entries).unwrap();
        assert_eq!((read.position.epoch, read.position.offset), (Epoch(7), 3));
        let offsets: Vec<_> = read
            .publications
            .iter()
            .map(|publication| publication.offset())
            .collect();
        assert_eq!(offsets, [2, 3]);
        assert_eq!(read.publications[1].user.as_deref(), Some("ann"));
        assert_eq!(read.publications[0].user, None);
        let fresh = snapshot(&channel(), 10, &Value::Array(vec![entry("7-0", &["e", ""])])).unwrap();
        assert_eq!((fresh.position.offset, fresh.publications.len()), (0, 0));
        for bad in [
            Value::Null,
            Value::Array(vec![]),
            Value::Array(vec![entry("x", &[])]),
            Value::Array(vec![bulk("7-1")]),
        ] {
            assert!(snapshot(&channel(), 10, &bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn messages_carry_their_position() {
        let read = |text: &str| message(&channel(), &Bytes::copy_from_slice(text.as_bytes()));
        let publication = read("7-12 3 ann{\"a\": 1}").unwrap();
        assert_eq!((publication.offset(), &publication.data[..]), (12, &b"{\"a\": 1}"[..]));
        assert_eq!(publication.user.as_deref(), Some("ann"));
        assert_eq!(read("7-12 0 1").unwrap().user, None);
        for bad in ["", "7-12", "7-12 9 ann", "x 0 1", "7-12 x 1"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn those_whose_time_is_over_are_not_present() {
        let later = now() + 1000;
        let pairs = vec![
            (bulk("a"), bulk(&format!("{{\"user\":\"ann\",\"until\":{later}}}"))),
            (bulk("b"), bulk("{\"user\":null,\"until\":5}")),
            (bulk("c"), bulk("nonsense")),
            (bulk("d"), bulk(&format!("{{\"user\":null,\"until\":{later}}}"))),
        ];
        let read = presence(&Value::Map(pairs), 1);
        assert_eq!((read.total, read.clients.len()), (2, 1));
        assert_eq!(read.clients[0].user.as_deref(), Some("ann"));
    }
}
