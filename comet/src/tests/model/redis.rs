//! A Redis that implements comet's scripts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proto_resp::{PreparedPush, Value};
use protocol::bytes::Bytes;

/// A fault of the next commands that mark a break.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    /// Redis is out of memory at that moment.
    NoMemory,
    /// The connection breaks, and the command is not carried out.
    Cut,
}

/// Why a command is not carried out.
pub(super) enum Failure {
    Error(&'static str),
    /// The connection breaks.
    Cut,
}

use Failure::Error;

#[derive(Default)]
pub(super) struct World {
    /// The time in milliseconds.
    pub(super) now: u64,
    /// By the number of the database.
    memory: BTreeMap<u32, Memory>,
    backups: Vec<BTreeMap<u32, Memory>>,
    run: u64,
    /// Whether it refuses writes.
    pub(super) refuses: bool,
    /// Whether it answers no commands.
    pub(super) is_frozen: bool,
    /// The fault of the next commands that mark a break, and their number.
    pub(super) mishap: Option<(Mishap, u32)>,
    /// The number of pages read so far.
    pub(super) reads: usize,
    /// The connections that are subscribed to each channel, of all databases.
    pub(super) followers: HashMap<Bytes, Vec<usize>>,
    pub(super) outbox: Vec<(usize, Arc<PreparedPush>)>,
}

/// The data of one database, which may be lost.
#[derive(Default, Clone)]
struct Memory {
    /// Term and run.
    life: Option<(u64, u64)>,
    epochs: u64,
    logs: HashMap<Bytes, Vec<Entry>>,
    /// The id of the publication for each key, and until when it is kept.
    wishes: HashMap<Bytes, (String, u64)>,
    /// The clients of one node in one channel, and when they expire.
    here: HashMap<Bytes, (BTreeMap<Bytes, Bytes>, u64)>,
    /// The nodes that have clients in a channel, and when they expire.
    nodes: HashMap<Bytes, BTreeMap<Bytes, u64>>,
}

#[derive(Clone)]
struct Entry {
    epoch: u64,
    offset: u64,
    at: u64,
    /// The epoch before, where it is another.
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
    /// Which process it is.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn restart(&mut self) {
        self.run += 1;
    }

    pub(super) fn back_up(&mut self) {
        self.backups.push(self.memory.clone());
    }

    /// Ends all faults of commands.
    pub(super) fn is_well(&mut self) {
        (self.refuses, self.mishap) = (false, None);
    }

    /// Restores the backup made `back` backups ago.
    pub(super) fn roll_back(&mut self, back: usize) {
        let index = self.backups.len().saturating_sub(1 + back);
        self.memory = self.backups.get(index).cloned().unwrap_or_default();
        self.run += 1;
    }

    pub(super) fn flush(&mut self) {
        self.memory.clear();
    }

    /// Redis drops a channel of the first database.
    pub(super) fn evict(&mut self, channel: &str) {
        if let Some(memory) = self.memory.get_mut(&0) {
            memory.logs.remove(format!("c:log:{channel}").as_bytes());
        }
    }

    /// Redis drops the presence of a channel of the first database.
    pub(super) fn evict_presence(&mut self, channel: &str) {
        if let Some(memory) = self.memory.get_mut(&0) {
            let here = format!("c:here:{channel} ");
            memory.here.retain(|key, _| !key.starts_with(here.as_bytes()));
            memory.nodes.remove(format!("c:nodes:{channel}").as_bytes());
        }
    }

    /// Runs a script.
    pub(super) fn script(
        &mut self,
        name: &[u8],
        database: u32,
        keys: &[Bytes],
        words: &[&[u8]],
    ) -> Result<Value, Failure> {
        let key = |index: usize| keys.get(index).cloned().unwrap_or_default();
        self.memory.entry(database).or_default();
        match name {
            b"publish" => self.publish(database, keys, words),
            b"read" => self.read(database, &key(0), words),
            b"part" => self.part(database, &key(0), words),
            b"mark" => self.mark(database, &key(1), words),
            b"enter" => self.enter(database, &key(0), &key(1), words),
            b"leave" => Ok(self.leave(database, &key(0), &key(1), words)),
            b"refresh" => Ok(self.refresh(database, &key(0), &key(1), words)),
            b"presence" => Ok(self.presence(database, &key(0), words)),
            name if name.starts_with(b"-- comet begin") => {
                self.begin(database, words.first().map_or(0, |word| number(word)))
            }
            _ => Err(Error("NOSCRIPT no such script")),
        }
    }

    fn memory(&mut self, database: u32) -> &mut Memory {
        self.memory.entry(database).or_default()
    }

    fn begin(&mut self, database: u32, nonce: u64) -> Result<Value, Failure> {
        let (now, run, refuses) = (self.now, self.run, self.refuses);
        let memory = self.memory(database);
        let term = match memory.life {
            Some((term, known)) if known == run => term,
            _ if refuses => return Err(OUT_OF_MEMORY),
            _ => {
                let term = memory.fresh(now, nonce);
                memory.life = Some((term, run));
                term
            }
        };
        let words = [
            term.to_string(),
            format!("{run:x}"),
            "0".to_owned(),
            "noeviction".to_owned(),
        ];
        Ok(Value::Array(words.iter().map(|word| bulk(word)).collect()))
    }

    fn publish(&mut self, database: u32, keys: &[Bytes], words: &[&[u8]]) -> Result<Value, Failure> {
        let ([term, run, _, nonce, _, _, _, _, say, user, data, wish], [_, log, wished @ ..]) = (words, keys) else {
            return Err(Error("ERR arguments"));
        };
        let (now, running, refuses) = (self.now, self.run, self.refuses);
        let memory = self.memory(database);
        let term: u64 = number(term);
        let same = |(known, run_of): (u64, u64)| {
            known == term && run_of == running && format!("{run_of:x}").as_bytes() == *run
        };
        if !memory.life.is_some_and(same) {
            return Err(Error("ANOTHERLIFE Redis is in another life"));
        }
        if refuses {
            return Err(OUT_OF_MEMORY);
        }
        if let Some((id, until)) = wished.first().and_then(|key| memory.wishes.get(key))
            && now < *until
        {
            return Ok(bulk(id));
        }
        let last = memory.logs.get(log).and_then(|entries| entries.last());
        let (epoch, offset, before) = match last {
            Some(last) if last.epoch >= term => (last.epoch, last.offset + 1, None),
            Some(last) => (term, last.offset + 1, Some(last.epoch)),
            None => (memory.fresh(now, number(nonce)), 1, Some(0)),
        };
        let entry = Entry {
            epoch,
            offset,
            at: now,
            before,
            data: Some(Bytes::copy_from_slice(data)),
        };
        let id = entry.id();
        let place = before.map_or(id.clone(), |before| format!("{id}<{before}"));
        let mut message = format!("{place} {} ", user.len()).into_bytes();
        message.extend_from_slice(user);
        message.extend_from_slice(data);
        memory.logs.entry(log.clone()).or_default().push(entry);
        if let Some(key) = wished.first() {
            memory.wishes.insert(key.clone(), (id.clone(), now + number(wish)));
        }
        self.tell(say, &message);
        Ok(bulk(&id))
    }

    fn mark(&mut self, database: u32, log: &Bytes, words: &[&[u8]]) -> Result<Value, Failure> {
        let [last, nonce, _, say] = words else {
            return Err(Error("ERR arguments"));
        };
        if let Some((mishap, times)) = self.mishap {
            self.mishap = (times > 1).then_some((mishap, times.saturating_sub(1)));
            return Err(match mishap {
                Mishap::NoMemory => OUT_OF_MEMORY,
                Mishap::Cut => Failure::Cut,
            });
        }
        if self.refuses {
            return Err(OUT_OF_MEMORY);
        }
        let now = self.now;
        let memory = self.memory(database);
        let end = memory.logs.get(log).and_then(|entries| entries.last());
        if end.map(Entry::id).unwrap_or_default().as_bytes() != *last {
            return Ok(Value::Integer(0));
        }
        let entry = Entry {
            offset: end.map_or(0, |end| end.offset),
            epoch: memory.fresh(now, number(nonce)),
            at: now,
            before: None,
            data: None,
        };
        let message = format!("{} mark", entry.id());
        memory.logs.entry(log.clone()).or_default().push(entry);
        self.tell(say, message.as_bytes());
        Ok(Value::Integer(1))
    }

    fn read(&mut self, database: u32, log: &Bytes, words: &[&[u8]]) -> Result<Value, Failure> {
        let [before, down_to, count, bytes] = words else {
            return Err(Error("ERR arguments"));
        };
        self.reads += 1;
        let place = |word: &[u8]| {
            let (epoch, offset) = core::str::from_utf8(word).ok()?.split_once('-')?;
            Some((epoch.parse::<u64>().ok()?, offset.parse::<u64>().ok()?))
        };
        let (before, down_to) = (place(before), place(down_to));
        let (mut read, mut more) = (Vec::new(), false);
        // Pages are small here, so that histories have many: five entries instead of 256 KiB.
        let count = number(count).min((number(bytes) * 5).div_ceil(256 << 10));
        let now = self.now;
        for entry in self.memory(database).logs.get(log).into_iter().flatten().rev() {
            let at = (entry.epoch, entry.offset);
            if before.is_some_and(|before| at >= before) {
                continue;
            }
            if read.len() as u64 >= count {
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
            bulk(&now.to_string()),
            bulk(more),
            Value::Array(read),
        ]))
    }

    fn part(&mut self, database: u32, log: &Bytes, words: &[&[u8]]) -> Result<Value, Failure> {
        let [side, offset, count, _] = words else {
            return Err(Error("ERR arguments"));
        };
        let (offset, count, now) = (number(offset), number(count) as usize, self.now);
        let entries = self.memory(database).logs.get(log).cloned().unwrap_or_default();
        let last = entries.last().map(Entry::id).unwrap_or_default();
        let forward = *side == b"after";
        let fits = |entry: &&Entry| {
            if forward {
                entry.offset > offset
            } else {
                entry.offset < offset
            }
        };
        let mut fitting: Vec<_> = entries.iter().filter(fits).collect();
        let more = if fitting.len() > count { "1" } else { "0" };
        if forward {
            fitting.truncate(count);
        } else {
            fitting.drain(..fitting.len().saturating_sub(count));
        }
        Ok(Value::Array(vec![
            bulk(&now.to_string()),
            bulk(more),
            Value::Array(fitting.into_iter().map(Entry::value).collect()),
            bulk(&last),
        ]))
    }

    fn enter(&mut self, database: u32, here: &Bytes, nodes: &Bytes, words: &[&[u8]]) -> Result<Value, Failure> {
        let [node, kept, alone, clients @ ..] = words else {
            return Err(Error("ERR arguments"));
        };
        if self.refuses {
            return Err(OUT_OF_MEMORY);
        }
        let (now, until) = (self.now, self.now + number(kept));
        let memory = self.memory(database);
        if *alone == b"1" {
            memory.here.remove(here);
        }
        if clients.is_empty() {
            memory.is_anyone_here(here, nodes, node, now);
            return Ok(Value::Integer(0));
        }
        let (present, ends) = memory.here.entry(here.clone()).or_default();
        if now >= *ends {
            present.clear();
        }
        *ends = until;
        for [client, user] in clients.as_chunks::<2>().0 {
            present.insert(Bytes::copy_from_slice(client), Bytes::copy_from_slice(user));
        }
        let known = memory.nodes.entry(nodes.clone()).or_default();
        known.insert(Bytes::copy_from_slice(node), until);
        Ok(Value::Integer(1))
    }

    fn leave(&mut self, database: u32, here: &Bytes, nodes: &Bytes, words: &[&[u8]]) -> Value {
        let now = self.now;
        let memory = self.memory(database);
        if let ([node, client], Some((present, _))) = (words, memory.here.get_mut(here)) {
            present.remove(*client);
            memory.is_anyone_here(here, nodes, node, now);
        }
        Value::Integer(1)
    }

    fn refresh(&mut self, database: u32, here: &Bytes, nodes: &Bytes, words: &[&[u8]]) -> Value {
        let [node, kept] = words else { return Value::Integer(0) };
        let (now, until) = (self.now, self.now + number(kept));
        let memory = self.memory(database);
        if !memory.is_anyone_here(here, nodes, node, now) {
            return Value::Integer(0);
        }
        if let Some((_, ends)) = memory.here.get_mut(here) {
            *ends = until;
        }
        let known = memory.nodes.entry(nodes.clone()).or_default();
        known.insert(Bytes::copy_from_slice(node), until);
        Value::Integer(1)
    }

    fn presence(&mut self, database: u32, nodes: &Bytes, words: &[&[u8]]) -> Value {
        let prefix = words.first().copied().unwrap_or_default();
        let now = self.now;
        let memory = self.memory(database);
        let (mut total, mut named) = (0, Vec::new());
        let known = memory.nodes.get(nodes).into_iter().flatten();
        for (node, _) in known.filter(|(_, until)| **until >= now) {
            let here = Bytes::from([prefix, node].concat());
            if let Some((present, _)) = memory.here.get(&here).filter(|(_, until)| now < *until) {
                total += present.len() as i64;
                let clients = present.iter().flat_map(|(client, user)| [client, user]);
                named.extend(clients.map(|text| Value::Bulk(text.clone())));
            }
        }
        Value::Array(vec![Value::Integer(total), Value::Array(named)])
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

pub(super) fn number(word: &[u8]) -> u64 {
    core::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

const OUT_OF_MEMORY: Failure = Error("OOM command not allowed when used memory > 'maxmemory'.");

impl Memory {
    fn fresh(&mut self, now: u64, nonce: u64) -> u64 {
        self.epochs = (now * 1024 + nonce).max(self.epochs + 1);
        self.epochs
    }

    /// Whether a node has clients in a channel. Removes the node if not.
    fn is_anyone_here(&mut self, here: &Bytes, nodes: &Bytes, node: &[u8], now: u64) -> bool {
        let is_anyone = self
            .here
            .get(here)
            .is_some_and(|(present, until)| !present.is_empty() && now < *until);
        if !is_anyone {
            self.here.remove(here);
            if let Some(known) = self.nodes.get_mut(nodes) {
                known.remove(node);
            }
        }
        is_anyone
    }
}
