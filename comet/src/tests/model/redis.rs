//! A Redis that implements comet's scripts.

use std::collections::HashMap;
use std::sync::Arc;

use proto_resp::{Command, Handler, Misuse, PreparedPush, Responder, Value};
use protocol::bytes::Bytes;

use super::{Shared, lock};

/// A message to a connection.
pub(super) enum Post {
    Push(Arc<PreparedPush>),
    Die,
}

#[derive(Default)]
pub(super) struct World {
    /// The time in milliseconds.
    pub(super) now: u64,
    memory: Memory,
    backups: Vec<Memory>,
    run: u64,
    /// Whether it refuses writes.
    pub(super) refuses: bool,
    /// The connections that are subscribed to each channel.
    pub(super) followers: HashMap<Bytes, Vec<usize>>,
    pub(super) outbox: Vec<(usize, Arc<PreparedPush>)>,
}

/// The data, which may be lost.
#[derive(Default, Clone)]
struct Memory {
    /// Term and run.
    life: Option<(u64, u64)>,
    epochs: u64,
    logs: HashMap<Bytes, Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    epoch: u64,
    offset: u64,
    at: u64,
    /// The previous epoch, if it differs.
    before: Option<u64>,
    /// `None` marks a break.
    data: Option<Bytes>,
}

impl Entry {
    fn id(&self) -> String {
        format!("{}-{}", self.epoch, self.offset)
    }

    fn value(&self) -> Value {
        let mut fields = vec![("t", self.at.to_string()), ("b", "0".to_owned())];
        match &self.data {
            Some(data) => {
                fields.push(("u", String::new()));
                fields.push(("d", String::from_utf8_lossy(data).into_owned()));
            }
            None => fields.push(("m", String::new())),
        }
        if let Some(before) = self.before {
            fields.push(("p", before.to_string()));
        }
        let fields = fields.into_iter().flat_map(|(name, value)| [bulk(name), bulk(&value)]);
        Value::Array(vec![bulk(&self.id()), Value::Array(fields.collect())])
    }
}

fn bulk(text: &str) -> Value {
    Value::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

impl World {
    pub(super) fn restart(&mut self) {
        self.run += 1;
    }

    pub(super) fn back_up(&mut self) {
        self.backups.push(self.memory.clone());
    }

    /// Restores the backup made `back` backups ago.
    pub(super) fn roll_back(&mut self, back: usize) {
        let index = self.backups.len().saturating_sub(1 + back);
        self.memory = self.backups.get(index).cloned().unwrap_or_default();
        self.run += 1;
    }

    pub(super) fn flush(&mut self) {
        self.memory = Memory::default();
    }

    pub(super) fn evict(&mut self, which: usize) {
        let mut keys: Vec<_> = self
            .memory
            .logs
            .keys()
            .filter(|key| !key.ends_with(b"$nodes"))
            .cloned()
            .collect();
        keys.sort();
        if let Some(key) = keys.get(which) {
            self.memory.logs.remove(key);
        }
    }

    fn begin(&mut self, nonce: u64) -> Value {
        let life = match self.memory.life {
            Some((term, run)) if run == self.run => (term, run),
            _ => {
                let term = (self.now * 1024 + nonce).max(self.memory.epochs + 1);
                self.memory.life = Some((term, self.run));
                self.memory.epochs = term;
                (term, self.run)
            }
        };
        let words = [
            life.0.to_string(),
            format!("{:x}", life.1),
            "0".to_owned(),
            "noeviction".to_owned(),
        ];
        Value::Array(words.iter().map(|word| bulk(word)).collect())
    }

    fn fresh(&mut self, nonce: u64) -> u64 {
        self.memory.epochs = (self.now * 1024 + nonce).max(self.memory.epochs + 1);
        self.memory.epochs
    }

    fn publish(&mut self, log: &Bytes, words: &[&[u8]]) -> Result<Value, &'static str> {
        let [term, run, _, nonce, _, _, _, _, say, user, data, ..] = words else {
            return Err("ERR arguments");
        };
        let term: u64 = number(term);
        let same = |(known, running): (u64, u64)| {
            known == term && running == self.run && format!("{running:x}").as_bytes() == *run
        };
        if !self.memory.life.is_some_and(same) {
            return Err("ANOTHERLIFE Redis is in another life");
        }
        if self.refuses {
            return Err("OOM command not allowed");
        }
        let last = self.memory.logs.get(log).and_then(|entries| entries.last());
        let (epoch, offset, before) = match last {
            Some(last) if last.epoch >= term => (last.epoch, last.offset + 1, None),
            Some(last) => (term, last.offset + 1, Some(last.epoch)),
            None => (self.fresh(number(nonce)), 1, Some(0)),
        };
        let entry = Entry {
            epoch,
            offset,
            at: self.now,
            before,
            data: Some(Bytes::copy_from_slice(data)),
        };
        let id = entry.id();
        let place = before.map_or(id.clone(), |before| format!("{id}<{before}"));
        let mut message = format!("{place} {} ", user.len()).into_bytes();
        message.extend_from_slice(user);
        message.extend_from_slice(data);
        self.memory.logs.entry(log.clone()).or_default().push(entry);
        self.tell(say, &message);
        Ok(bulk(&id))
    }

    fn mark(&mut self, log: &Bytes, words: &[&[u8]]) -> Result<Value, &'static str> {
        let [last, nonce, _, say] = words else {
            return Err("ERR arguments");
        };
        if self.refuses {
            return Err("OOM command not allowed");
        }
        let end = self.memory.logs.get(log).and_then(|entries| entries.last());
        if end.map(Entry::id).unwrap_or_default().as_bytes() != *last {
            return Ok(Value::Integer(0));
        }
        let offset = end.map_or(0, |end| end.offset);
        let entry = Entry {
            epoch: self.fresh(number(nonce)),
            offset,
            at: self.now,
            before: None,
            data: None,
        };
        let message = format!("{} mark", entry.id());
        self.memory.logs.entry(log.clone()).or_default().push(entry);
        self.tell(say, message.as_bytes());
        Ok(Value::Integer(1))
    }

    fn read(&self, log: &Bytes, words: &[&[u8]]) -> Result<Value, &'static str> {
        let [before, down_to, count, _] = words else {
            return Err("ERR arguments");
        };
        let place = |word: &[u8]| {
            let (epoch, offset) = core::str::from_utf8(word).ok()?.split_once('-')?;
            Some((epoch.parse::<u64>().ok()?, offset.parse::<u64>().ok()?))
        };
        let (before, down_to) = (place(before), place(down_to));
        let (mut read, mut more) = (Vec::new(), false);
        for entry in self.memory.logs.get(log).into_iter().flatten().rev() {
            let at = (entry.epoch, entry.offset);
            if before.is_some_and(|before| at >= before) {
                continue;
            }
            // Pages are small here, so that histories have many.
            if read.len() as u64 >= number(count).min(5) {
                more = true;
                break;
            }
            read.push(entry.value());
            if down_to.is_some_and(|down_to| at <= down_to) {
                break;
            }
        }
        let more = if more { "1" } else { "0" };
        Ok(Value::Array(vec![
            bulk(&self.now.to_string()),
            bulk(more),
            Value::Array(read),
        ]))
    }

    fn tell(&mut self, channel: &[u8], message: &[u8]) {
        let push = PreparedPush::new(|encoder, out| {
            encoder.push(3, out)?;
            encoder.bulk(b"message", out)?;
            encoder.bulk(channel, out)?;
            encoder.bulk(message, out)
        });
        let push = Arc::new(push.unwrap());
        for id in self.followers.get(channel).into_iter().flatten() {
            self.outbox.push((*id, Arc::clone(&push)));
        }
    }
}

fn number(word: &[u8]) -> u64 {
    core::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// One connection to the simulated Redis.
pub(super) struct Session {
    world: Shared<World>,
    id: usize,
}

impl Session {
    pub(super) fn new(world: Shared<World>, id: usize) -> Self {
        Session { world, id }
    }

    fn run(&self, words: &[&[u8]]) -> Result<Value, &'static str> {
        let mut world = lock(&self.world);
        let [script, keys, rest @ ..] = words else {
            return Err("ERR arguments");
        };
        let (keys, words) = rest.split_at_checked(number(keys) as usize).ok_or("ERR keys")?;
        let key = |index: usize| {
            keys.get(index)
                .map(|key| Bytes::copy_from_slice(key))
                .unwrap_or_default()
        };
        match *script {
            b"publish" => world.publish(&key(1), words),
            b"read" => world.read(&key(0), words),
            b"mark" => world.mark(&key(1), words),
            b"presence" => Ok(Value::Array(vec![Value::Integer(0), Value::Array(Vec::new())])),
            b"enter" | b"leave" | b"refresh" => Ok(Value::Integer(1)),
            script if script.starts_with(b"-- comet begin") => {
                Ok(world.begin(words.first().map_or(0, |word| number(word))))
            }
            _ => Err("NOSCRIPT no such script"),
        }
    }
}

impl Handler for Session {
    type Message = Post;

    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let words: Vec<&[u8]> = command.iter().collect();
        match command.name() {
            b"SCRIPT" => {
                let text = words.get(1).copied().unwrap_or_default();
                let name = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                responder.bulk(name.strip_prefix(b"-- comet ").unwrap_or(name))
            }
            b"EVAL" | b"EVALSHA" => match self.run(&words) {
                Ok(value) => responder.value(&value),
                Err(error) => responder.error(error),
            },
            b"INFO" => {
                let run = lock(&self.world).run;
                responder.bulk(format!("# Server\r\nrun_id:{run:x}\r\n").as_bytes())
            }
            b"SUBSCRIBE" | b"UNSUBSCRIBE" => {
                let begins = command.is("SUBSCRIBE");
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
            _ => responder.simple("OK"),
        }
    }

    fn posted(&mut self, post: Post, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match post {
            Post::Push(push) => responder.prepared_push(&push),
            Post::Die => {
                responder.abort();
                Ok(())
            }
        }
    }
}
