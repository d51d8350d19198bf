//! One connection to the Redis of the model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto_resp::{Command, Handler, Misuse, PreparedPush, Responder, Value};
use protocol::bytes::Bytes;

use super::redis::{Failure, World, number};
use super::{Shared, lock};

/// A message to a connection.
pub(super) enum Post {
    Push(Arc<PreparedPush>),
    Die,
    /// The connection stays open, but passes nothing on.
    Swallow,
    /// Redis answers commands again.
    Thaw,
}

pub(super) struct Session {
    world: Shared<World>,
    id: usize,
    database: u32,
    /// Whether the client has subscribed to a channel.
    is_subscriber: bool,
    swallows: bool,
    /// The start of the current [`MOMENT`], and the bytes sent in it.
    told: Option<(Instant, usize)>,
    /// A command that arrived while Redis was hanging.
    late: Option<Vec<Bytes>>,
}

impl Session {
    pub(super) fn new(world: Shared<World>, id: usize, database: u32) -> Self {
        Session {
            world,
            id,
            database,
            is_subscriber: false,
            swallows: false,
            told: None,
            late: None,
        }
    }

    fn run(&self, words: &[&[u8]]) -> Result<Value, Failure> {
        let [script, keys, rest @ ..] = words else {
            return Err(Failure::Error("ERR arguments"));
        };
        let (keys, words) = rest
            .split_at_checked(number(keys) as usize)
            .ok_or(Failure::Error("ERR keys"))?;
        let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
        lock(&self.world).script(script, self.database, &keys, words)
    }

    fn answer(&mut self, words: &[&[u8]], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let [name, words @ ..] = words else {
            return responder.error("ERR no command");
        };
        match *name {
            b"SCRIPT" => {
                let text = words.get(1).copied().unwrap_or_default();
                let name = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                responder.bulk(name.strip_prefix(b"-- comet ").unwrap_or(name))
            }
            b"EVAL" | b"EVALSHA" => match self.run(words) {
                Ok(value) => {
                    responder.value(&value)?;
                    self.bound(size(&value), responder);
                    Ok(())
                }
                Err(Failure::Error(error)) => responder.error(error),
                Err(Failure::Cut) => {
                    responder.abort();
                    Ok(())
                }
            },
            b"INFO" => {
                let run = lock(&self.world).run();
                responder.bulk(format!("# Server\r\nrun_id:{run:x}\r\n").as_bytes())
            }
            b"SUBSCRIBE" | b"UNSUBSCRIBE" => {
                let begins = *name == b"SUBSCRIBE";
                self.is_subscriber = true;
                for channel in words {
                    let channel = Bytes::copy_from_slice(channel);
                    let mut world = lock(&self.world);
                    let followers = world.followers.entry(channel.clone()).or_default();
                    followers.retain(|id| *id != self.id);
                    if begins {
                        followers.push(self.id);
                    }
                    drop(world);
                    let kind: &[u8] = if begins { b"subscribe" } else { b"unsubscribe" };
                    responder.push(|encoder, out| {
                        encoder.push(3, out)?;
                        encoder.bulk(kind, out)?;
                        encoder.bulk(&channel, out)?;
                        encoder.integer(1, out)
                    })?;
                }
                responder.none()
            }
            // The client sends a PING after UNSUBSCRIBE; the reply ends the confirmations.
            b"PING" => match words {
                [text, ..] => responder.bulk(text),
                [] => responder.simple("PONG"),
            },
            _ => responder.simple("OK"),
        }
    }

    /// Ends the connection of a subscriber that gets too much in too short a time, as Redis does when more than 32 MB wait.
    fn bound(&mut self, bytes: usize, responder: &mut Responder<'_, '_>) {
        let now = responder.now();
        match &mut self.told {
            Some((since, told)) if now.saturating_duration_since(*since) < MOMENT => *told += bytes,
            told => *told = Some((now, bytes)),
        }
        if self.is_subscriber && self.told.is_some_and(|(_, told)| told > WAITING) {
            responder.abort();
        }
    }
}

/// The most bytes for a subscriber in a [`MOMENT`].
const WAITING: usize = 100 << 10;
const MOMENT: Duration = Duration::from_millis(250);

/// Bytes of a value, about.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(size).sum(),
        value => value.as_bytes().map_or(8, <[u8]>::len),
    }
}

impl Handler for Session {
    type Message = Post;

    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if self.swallows {
            return responder.none();
        }
        let words: Vec<&[u8]> = core::iter::once(command.name()).chain(command.iter()).collect();
        if lock(&self.world).is_frozen {
            self.late = Some(words.into_iter().map(Bytes::copy_from_slice).collect());
            return Ok(());
        }
        self.answer(&words, responder)
    }

    fn posted(&mut self, post: Post, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match post {
            Post::Push(push) if !self.swallows => {
                responder.prepared_push(&push)?;
                self.bound(push.bytes(responder.version()).len(), responder);
            }
            Post::Push(_) => {}
            Post::Die => responder.abort(),
            Post::Swallow => self.swallows = true,
            Post::Thaw => {
                if let Some(late) = self.late.take() {
                    let words: Vec<&[u8]> = late.iter().map(|word| &word[..]).collect();
                    self.answer(&words, responder)?;
                }
            }
        }
        Ok(())
    }

    fn closed(&mut self, _: bool) {
        for followers in lock(&self.world).followers.values_mut() {
            followers.retain(|id| *id != self.id);
        }
    }
}
