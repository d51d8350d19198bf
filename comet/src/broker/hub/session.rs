//! The hub's side of a connection from one worker process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proto_resp::{Command, Encoder, Handler, Misuse, PreparedPush, Responder, Value};
use protocol::Sender;
use protocol::bytes::Bytes;

use super::Hub;
use crate::broker::{Broker, Done, Member, Part, Presence, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

/// A message to such a connection.
pub(crate) enum HubPost {
    Push(Arc<PreparedPush>),
    /// The answer to the current command.
    Answer(Result<Value, Trouble>),
}

/// A process and its subscriptions, which end with its connection.
pub(crate) struct Session {
    hub: Arc<Hub>,
    process: u64,
    me: Sender<HubPost>,
    followed: HashMap<Name, Keep>,
    present: HashSet<(Name, Arc<str>)>,
}

/// How a command is answered.
enum Answered {
    Ok,
    With(Value),
    Later,
    Unknown,
}

impl Session {
    /// A session for the process whose connection is `me`. `process` differs between all processes.
    pub(crate) fn new(hub: Arc<Hub>, process: u64, me: Sender<HubPost>) -> Self {
        Session {
            hub,
            process,
            me,
            followed: HashMap::new(),
            present: HashSet::new(),
        }
    }

    fn carry_out(&mut self, command: &Command<'_>) -> Answered {
        let name = |bytes: &[u8]| str::from_utf8(bytes).ok()?.parse::<Name>().ok();
        let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(Arc::<str>::from);
        let hub = Arc::clone(&self.hub);
        let broker = &hub.memory;
        let done = (|| match command.name() {
            b"FOLLOW" => {
                let words: Vec<&[u8]> = command.iter().collect();
                let (channels, []) = words.as_chunks::<4>() else {
                    return None;
                };
                for [channel, a, b, c] in channels {
                    let (channel, keep) = (name(channel)?, keep([a, b, c])?);
                    // If there are too many channels, this one is not followed, and those who wait for it time out.
                    let _ = self.hub.follow(&channel, keep, self.process, self.me.clone());
                    self.followed.insert(channel, keep);
                }
                Some(Answered::Ok)
            }
            b"FORGET" => {
                for channel in command.iter() {
                    let channel = name(channel)?;
                    if let Some(keep) = self.followed.remove(&channel) {
                        self.hub.forget(&channel, keep, self.process);
                    }
                }
                Some(Answered::Ok)
            }
            b"PUBLISH" => {
                let [channel, user, data, key, a, b, c] = command.arguments()?;
                let draft = Draft {
                    channel: name(channel)?,
                    user: text(user).filter(|user| !user.is_empty()),
                    data: Bytes::copy_from_slice(data),
                    key: text(key).filter(|key| !key.is_empty()),
                };
                let answer = self.answer(|position: Position| Value::Bulk(position.to_string().into()));
                broker.publish(draft, keep([a, b, c])?, answer);
                Some(Answered::Later)
            }
            b"READ" => {
                let [channel, before, publications, bytes] = command.arguments()?;
                let number = |word: &[u8]| str::from_utf8(word).ok()?.parse::<u64>().ok();
                let before = if before.is_empty() { None } else { Some(number(before)?) };
                let limits = [number(publications)?, number(bytes)?].map(|limit| usize::try_from(limit).unwrap_or(0));
                let (position, publications, more) = broker.read_back(&name(channel)?, before, limits[0], limits[1]);
                Some(Answered::With(page_value(position, &publications, more)))
            }
            b"PART" => {
                let [channel, side, offset, publications, bytes] = command.arguments()?;
                let number = |word: &[u8]| str::from_utf8(word).ok()?.parse::<u64>().ok();
                let part = match side {
                    b"before" => Part::Before(number(offset)?),
                    _ => Part::After(number(offset)?),
                };
                let limits = [number(publications)?, number(bytes)?].map(|limit| usize::try_from(limit).unwrap_or(0));
                let (position, publications, more) = broker.read(&name(channel)?, part, limits[0], limits[1]);
                Some(Answered::With(page_value(position, &publications, more)))
            }
            b"ENTER" => {
                let words: Vec<&[u8]> = command.iter().collect();
                let [channel, members @ ..] = &words[..] else {
                    return None;
                };
                let channel = name(channel)?;
                for [client, who] in members.as_chunks::<2>().0 {
                    let client = text(client)?;
                    broker.enter(&channel, Member::read(Arc::clone(&client), &text(who)?));
                    self.present.insert((channel.clone(), client));
                }
                Some(Answered::Ok)
            }
            b"LEAVE" => {
                let [channel, client] = command.arguments()?;
                let (channel, client) = (name(channel)?, text(client)?);
                broker.leave(&channel, &client);
                self.present.remove(&(channel, client));
                Some(Answered::Ok)
            }
            b"PRESENCE" => {
                let [channel, limit] = command.arguments()?;
                let limit = str::from_utf8(limit).ok()?.parse().ok()?;
                broker.presence(
                    &name(channel)?,
                    limit,
                    self.answer(|presence| presence_value(&presence)),
                );
                Some(Answered::Later)
            }
            _ => None,
        })();
        done.unwrap_or(Answered::Unknown)
    }

    /// Makes an outcome post its answer to this connection.
    fn answer<T: 'static>(&self, value: impl FnOnce(T) -> Value + Send + 'static) -> Done<T> {
        let me = self.me.clone();
        Done::new(move |outcome: Result<T, Trouble>| {
            // The mailbox has room for the answer to the one current command, unless the process has ended.
            let _ = me.send(HubPost::Answer(outcome.map(value)));
        })
    }
}

impl Handler for Session {
    type Message = HubPost;

    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match self.carry_out(command) {
            Answered::Later => Ok(()),
            Answered::Ok => responder.simple("OK"),
            Answered::With(value) => responder.value(&value),
            Answered::Unknown => responder.error("ERR not a command of comet's hub"),
        }
    }

    fn posted(&mut self, post: HubPost, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match post {
            HubPost::Push(push) => responder.prepared_push(&push),
            HubPost::Answer(_) if !responder.is_due() => Ok(()),
            HubPost::Answer(Ok(value)) => responder.value(&value),
            HubPost::Answer(Err(trouble)) => responder.error(match trouble {
                Trouble::TooManyChannels => "TOOMANY channels",
                Trouble::Unavailable => "UNAVAILABLE now",
                Trouble::Unknown => "ERR nobody knows",
            }),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for (channel, keep) in &self.followed {
            self.hub.forget(channel, *keep, self.process);
        }
        for (channel, client) in &self.present {
            self.hub.memory.leave(channel, client);
        }
    }
}

fn keep(words: [&[u8]; 3]) -> Option<Keep> {
    let number = |word: &[u8]| str::from_utf8(word).ok()?.parse::<u64>().ok();
    let [publications, bytes, time] = words.map(number);
    Some(Keep {
        publications: usize::try_from(publications?).ok()?,
        bytes: usize::try_from(bytes?).ok()?,
        time: Duration::from_millis(time?),
    })
}

fn user(publication: &Publication) -> Bytes {
    Bytes::copy_from_slice(publication.user.as_deref().unwrap_or_default().as_bytes())
}

fn page_value(position: Position, publications: &[Arc<Publication>], more: bool) -> Value {
    let now = std::time::Instant::now();
    let text = |text: String| Value::Bulk(text.into());
    let entries = publications.iter().map(|publication| {
        let age = now.saturating_duration_since(publication.at).as_millis();
        Value::Array(vec![
            text(publication.offset().to_string()),
            text(age.to_string()),
            Value::Bulk(user(publication)),
            Value::Bulk(publication.data.clone()),
        ])
    });
    Value::Array(vec![
        text(position.to_string()),
        text(u8::from(more).to_string()),
        Value::Array(entries.collect()),
    ])
}

fn presence_value(presence: &Presence) -> Value {
    let clients = presence.clients.iter().map(|member| {
        let bulk = |text: &str| Value::Bulk(Bytes::copy_from_slice(text.as_bytes()));
        Value::Array(vec![bulk(&member.client), bulk(&member.text())])
    });
    let total = i64::try_from(presence.total).unwrap_or(i64::MAX);
    Value::Array(vec![Value::Integer(total), Value::Array(clients.collect())])
}

/// A push that tells a process to read a channel again.
pub(super) fn look_push(channel: &Name) -> Option<Arc<PreparedPush>> {
    prepare("look", &[Value::Bulk(channel.to_string().into())])
}

/// A push with a publication.
pub(super) fn publication_push(publication: &Publication) -> Option<Arc<PreparedPush>> {
    let parts = [
        Value::Bulk(publication.channel.to_string().into()),
        Value::Bulk(publication.position.to_string().into()),
        Value::Bulk(user(publication)),
        Value::Bulk(publication.data.clone()),
    ];
    prepare("publication", &parts)
}

fn prepare(kind: &str, parts: &[Value]) -> Option<Arc<PreparedPush>> {
    let push = PreparedPush::new(|encoder: &mut Encoder, out| {
        encoder.push(parts.len() as u32 + 1, out)?;
        encoder.bulk(kind.as_bytes(), out)?;
        parts
            .iter()
            .try_for_each(|part| encoder.bulk(part.as_bytes().unwrap_or_default(), out))
    });
    push.ok().map(Arc::new)
}
