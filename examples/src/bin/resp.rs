//! A toy Redis in memory, for `redis-cli` and other clients: strings and channels, in RESP2 and RESP3.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto_resp::{Command, Handler, Misuse, PreparedPush, Responder, Server, ServerConfig, Version};
use protocol::Sender;
use protocol::bytes::Bytes;

/// The most keys in the store, and the most subscribers of a channel.
const KEYS: usize = 1 << 20;
const SUBSCRIBERS: usize = 1 << 16;

/// The state that all connections share.
#[derive(Default)]
struct Store {
    strings: Mutex<HashMap<Bytes, Bytes>>,
    /// The subscribers of each channel, by the numbers of their connections.
    channels: Mutex<HashMap<Bytes, HashMap<u64, Sender<PreparedPush>>>>,
    connections: Mutex<u64>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection.
struct Client {
    store: Arc<Store>,
    number: u64,
    sender: Sender<PreparedPush>,
    subscriptions: Vec<Bytes>,
}

impl Handler for Client {
    type Message = PreparedPush;

    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let name = command.name().to_ascii_uppercase();
        // In RESP2 a subscriber may send no other commands, because their replies could not be distinguished from messages.
        let subscriber = responder.version() == Version::Resp2 && !self.subscriptions.is_empty();
        if subscriber && !matches!(&name[..], b"SUBSCRIBE" | b"UNSUBSCRIBE" | b"PING" | b"QUIT") {
            return responder.error("ERR only SUBSCRIBE, UNSUBSCRIBE, PING and QUIT are allowed in this context");
        }
        match (&name[..], command.len()) {
            (b"PING", 0 | 1) if subscriber => {
                responder.array(2)?;
                responder.bulk(b"pong")?;
                responder.bulk(command.iter().next().unwrap_or_default())
            }
            (b"PING", 0) => responder.simple("PONG"),
            (b"PING" | b"ECHO", 1) => responder.bulk(command.iter().next().unwrap_or_default()),
            (b"SET", 2) => self.set(command, responder),
            (b"GET", 1) => self.get(command, responder),
            (b"INCR", 1) | (b"INCRBY", 2) => self.incr(command, responder),
            (b"DEL", 1..) => {
                let mut strings = lock(&self.store.strings);
                let deleted = command.iter().filter(|key| strings.remove(*key).is_some()).count();
                responder.integer(deleted as i64)
            }
            (b"DBSIZE", 0) => responder.integer(lock(&self.store.strings).len() as i64),
            (b"SUBSCRIBE", 1..) => self.subscribe(command, responder),
            (b"UNSUBSCRIBE", _) => self.unsubscribe(command, responder),
            (b"PUBLISH", 2) => self.publish(command, responder),
            (b"QUIT", _) => {
                responder.close();
                responder.simple("OK")
            }
            // Commands that clients send by themselves.
            (b"COMMAND", _) => responder.array(0),
            (b"CLIENT", 1..) => responder.simple("OK"),
            (b"SELECT", 1) => match command.arguments() {
                Some([b"0"]) => responder.simple("OK"),
                _ => responder.error("ERR DB index is out of range"),
            },
            (
                b"PING" | b"ECHO" | b"SET" | b"GET" | b"INCR" | b"INCRBY" | b"DEL" | b"DBSIZE" | b"SUBSCRIBE"
                | b"PUBLISH",
                _,
            ) => responder.error("ERR wrong number of arguments"),
            _ => responder.error("ERR unknown command"),
        }
    }

    fn posted(&mut self, push: PreparedPush, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        // A client that does not read misses messages.
        if responder.is_congested() || responder.is_open() {
            return Ok(());
        }
        responder.prepared_push(&push)
    }

    fn closed(&mut self, _: bool) {
        let mut channels = lock(&self.store.channels);
        for channel in self.subscriptions.drain(..) {
            leave(&mut channels, &channel, self.number);
        }
    }
}

impl Client {
    fn set(&self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some([key, value]) = command.arguments() else {
            return responder.error("ERR syntax error");
        };
        let mut strings = lock(&self.store.strings);
        if strings.len() >= KEYS && !strings.contains_key(key) {
            return responder.error("OOM too many keys");
        }
        strings.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        responder.simple("OK")
    }

    fn get(&self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let key = command.iter().next().unwrap_or_default();
        let value = lock(&self.store.strings).get(key).cloned();
        match value {
            Some(value) => responder.shared(value),
            None => responder.null(),
        }
    }

    fn incr(&self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let integer = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
        let mut arguments = command.iter();
        let key = arguments.next().unwrap_or_default();
        let by = arguments.next().map_or(Some(1), integer);
        let mut strings = lock(&self.store.strings);
        let number = match strings.get(key) {
            Some(text) => integer(text),
            None if strings.len() >= KEYS => return responder.error("OOM too many keys"),
            None => Some(0),
        };
        match number.zip(by).and_then(|(number, by)| number.checked_add(by)) {
            Some(number) => {
                strings.insert(Bytes::copy_from_slice(key), number.to_string().into());
                responder.integer(number)
            }
            None => responder.error("ERR value is not an integer or out of range"),
        }
    }

    fn subscribe(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        for channel in command {
            let channel = Bytes::copy_from_slice(channel);
            let mut channels = lock(&self.store.channels);
            let listeners = channels.entry(channel.clone()).or_default();
            if listeners.len() >= SUBSCRIBERS {
                return responder.error("ERR too many subscribers");
            }
            if listeners.insert(self.number, self.sender.clone()).is_none() {
                self.subscriptions.push(channel.clone());
            }
            drop(channels);
            self.confirm(b"subscribe", Some(&channel), responder)?;
        }
        responder.none()
    }

    fn unsubscribe(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let named: Vec<Bytes> = match command.len() {
            0 => self.subscriptions.clone(),
            _ => command.iter().map(Bytes::copy_from_slice).collect(),
        };
        for channel in &named {
            leave(&mut lock(&self.store.channels), channel, self.number);
            self.subscriptions.retain(|subscribed| subscribed != channel);
            self.confirm(b"unsubscribe", Some(channel), responder)?;
        }
        if named.is_empty() {
            self.confirm(b"unsubscribe", None, responder)?;
        }
        responder.none()
    }

    /// Confirms a subscription or unsubscription, with the remaining number.
    fn confirm(&self, kind: &[u8], channel: Option<&[u8]>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.push(|push, out| {
            push.push(3, out)?;
            push.bulk(kind, out)?;
            match channel {
                Some(channel) => push.bulk(channel, out)?,
                None => push.null(out)?,
            }
            push.integer(self.subscriptions.len() as i64, out)
        })
    }

    fn publish(&self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some([channel, payload]) = command.arguments() else {
            return responder.error("ERR syntax error");
        };
        let push = PreparedPush::message(channel, payload)?;
        let channels = lock(&self.store.channels);
        let listeners = channels.get(channel).into_iter().flatten();
        let reached = listeners
            .filter(|(_, sender)| sender.send(push.clone()).is_ok())
            .count();
        drop(channels);
        responder.integer(reached as i64)
    }
}

/// Removes a connection from a channel, and the channel with its last subscriber.
fn leave(channels: &mut HashMap<Bytes, HashMap<u64, Sender<PreparedPush>>>, channel: &Bytes, number: u64) {
    if let Some(listeners) = channels.get_mut(channel) {
        listeners.remove(&number);
        if listeners.is_empty() {
            channels.remove(channel);
        }
    }
}

fn main() -> io::Result<()> {
    let store = Arc::<Store>::default();
    let mut config = ServerConfig::default();
    config.rules.leniency.inline_commands = true;
    let config = Arc::new(config);
    examples::serve(move |peer| {
        let mut connections = lock(&store.connections);
        *connections += 1;
        let client = Client {
            store: Arc::clone(&store),
            number: *connections,
            sender: peer.sender(),
            subscriptions: Vec::new(),
        };
        Some(Server::new(Arc::clone(&config), client))
    })
}
