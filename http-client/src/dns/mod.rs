//! A resolver that asks DNS servers itself (RFC 1035), as an [`Endpoint`] without sockets and clocks.

mod conf;
mod lookup;
mod start;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use driver_common::{Answer, Family};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use protocol::bytes::Bytes;
use protocol::{Datagram, Endpoint, EndpointCx, Transmit};
use timing_wheel::{Ticks, Wheel};

pub use self::conf::DnsConfig;
use self::lookup::{Shared, Verdict, read};
pub use self::start::DnsResolver;

const TICKS: Ticks = Ticks::MILLISECOND;
/// The most names that an answer leads through (CNAME), and the most questions for them.
const CHAIN: usize = 8;
/// The longest time that an answer is kept; and one that says that there is nothing (RFC 2308 section 5).
const LONGEST: (u32, u32) = (86_400, 300);

/// A message to a [`Dns`].
pub enum DnsMessage {
    /// Look up a name.
    Ask(String, Answer),
    /// The answer over TCP to the question with this id; `None` if there is none.
    Stream(u16, Option<Vec<u8>>),
}

/// Asks a server over TCP, away from this thread, because its answer does not fit in a datagram. The answer comes as
/// [`DnsMessage::Stream`], with the id of the question.
pub type AskStream = Box<dyn Fn(SocketAddr, u16, Vec<u8>) + Send>;

/// A DNS resolver on one datagram socket. It asks for A and AAAA at the same time, follows CNAMEs, keeps answers for their TTL, negative ones
/// as RFC 2308 says, and repeats questions. Ids are random, and what does not match a question, its server and its id is ignored.
pub struct Dns {
    config: DnsConfig,
    ask_stream: AskStream,
    lookups: HashMap<(String, Family), LookUp>,
    questions: HashMap<u16, Question>,
    cache: HashMap<(String, Family), Vec<IpAddr>>,
    wheel: Wheel<Timer>,
    start: Option<Instant>,
}

struct LookUp {
    candidates: Vec<String>,
    at: usize,
    chain: usize,
    /// The least TTL of the names so far.
    ttl: u32,
    waiting: Vec<Arc<Mutex<Shared>>>,
}

struct Question {
    lookup: (String, Family),
    name: Name,
    kind: RecordType,
    server: usize,
    asked: u32,
    streams: bool,
    timer: timing_wheel::Key,
}

enum Timer {
    Question(u16),
    Cached((String, Family)),
}

impl Dns {
    /// A resolver. `ask_stream` opens connections for it.
    pub fn new(config: DnsConfig, ask_stream: AskStream) -> Self {
        Dns {
            config,
            ask_stream,
            lookups: HashMap::new(),
            questions: HashMap::new(),
            cache: HashMap::new(),
            wheel: Wheel::new(0),
            start: None,
        }
    }

    fn tick(&mut self, now: Instant, after: Duration) -> u64 {
        let start = *self.start.get_or_insert(now);
        TICKS.deadline(now.saturating_duration_since(start).saturating_add(after))
    }

    fn ask(&mut self, cx: &mut EndpointCx<'_>, name: &str, answer: Answer) {
        let name = name.to_ascii_lowercase();
        if self.lookups.len() >= self.config.lookups {
            return answer.fail(ErrorKind::ResourceBusy);
        }
        let shared = Arc::new(Mutex::new(Shared::new(answer)));
        for family in [Family::V6, Family::V4] {
            let key = (name.clone(), family);
            if let Some(found) = self.cache.get(&key) {
                tell(&shared, family, Ok(found.clone()));
                continue;
            }
            match self.lookups.entry(key.clone()) {
                Entry::Occupied(mut known) => known.get_mut().waiting.push(Arc::clone(&shared)),
                Entry::Vacant(place) => {
                    place.insert(LookUp {
                        candidates: self.config.candidates(&name),
                        at: 0,
                        chain: 0,
                        ttl: LONGEST.0,
                        waiting: vec![Arc::clone(&shared)],
                    });
                    self.begin(cx, key);
                }
            }
        }
    }

    /// Asks for the current candidate of a look-up.
    fn begin(&mut self, cx: &mut EndpointCx<'_>, key: (String, Family)) {
        let Some(lookup) = self.lookups.get(&key) else { return };
        let Some(candidate) = lookup.candidates.get(lookup.at) else {
            return self.end(cx.now(), &key, Ok(Vec::new()), 0);
        };
        match Name::from_utf8(candidate) {
            Ok(name) => self.question(cx, key, name),
            Err(_) => self.end(cx.now(), &key, Err(ErrorKind::InvalidInput), 0),
        }
    }

    fn question(&mut self, cx: &mut EndpointCx<'_>, lookup: (String, Family), name: Name) {
        let kind = match lookup.1 {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        let Some(id) = self.free_id() else {
            return self.end(cx.now(), &lookup, Err(ErrorKind::ResourceBusy), 0);
        };
        let tick = self.tick(cx.now(), self.config.timeout);
        let question = Question {
            lookup,
            name,
            kind,
            server: 0,
            asked: 1,
            streams: false,
            timer: self.wheel.insert(tick, Timer::Question(id)),
        };
        self.send(cx, id, &question);
        self.questions.insert(id, question);
    }

    /// An id that nobody can guess (RFC 5452 section 4.3) and no question has.
    fn free_id(&self) -> Option<u16> {
        for _ in 0..64 {
            let mut bytes = [0; 2];
            getrandom::fill(&mut bytes).ok()?;
            let id = u16::from_ne_bytes(bytes);
            if !self.questions.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    fn send(&self, cx: &mut EndpointCx<'_>, id: u16, question: &Question) {
        let Some(payload) = encode(id, question) else { return };
        let Some(&to) = self.config.servers.get(question.server) else {
            return;
        };
        let transmit = Transmit {
            to,
            payload: Bytes::from(payload),
            segment_size: None,
            ecn: None,
        };
        // If the queue is full, the question is repeated when it has timed out.
        let _ = cx.transmit(transmit);
    }

    /// An answer, from `server` or over TCP.
    fn answered(&mut self, cx: &mut EndpointCx<'_>, payload: &[u8], from: Option<SocketAddr>) {
        let Ok(message) = Message::from_vec(payload) else {
            return;
        };
        let id = message.metadata.id;
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        let right = self.config.servers.get(question.server).copied();
        let asked = message
            .queries
            .iter()
            .any(|query| *query.name() == question.name && query.query_type() == question.kind);
        let fits = asked
            && message.metadata.message_type == MessageType::Response
            && message.metadata.op_code == OpCode::Query
            && from.is_none_or(|from| !question.streams && Some(from) == right);
        if !fits {
            return;
        }
        if message.metadata.truncation && from.is_some() {
            question.streams = true;
            if let (Some(payload), Some(server)) = (encode(id, question), right) {
                (self.ask_stream)(server, id, payload);
            }
            return;
        }
        let usable = matches!(
            message.metadata.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        );
        if !usable {
            return self.retry(cx, id, ErrorKind::Other);
        }
        let Some(question) = self.questions.remove(&id) else {
            return;
        };
        self.wheel.cancel(question.timer);
        let key = question.lookup;
        let Some(lookup) = self.lookups.get_mut(&key) else {
            return;
        };
        match read(&message, &question.name, key.1) {
            Verdict::Found(addresses, ttl) => {
                let ttl = ttl.min(lookup.ttl);
                self.end(cx.now(), &key, Ok(addresses), ttl);
            }
            Verdict::Elsewhere(name, ttl) if lookup.chain < CHAIN => {
                lookup.chain += 1;
                lookup.ttl = lookup.ttl.min(ttl);
                self.question(cx, key, name);
            }
            Verdict::Elsewhere(..) => self.end(cx.now(), &key, Err(ErrorKind::InvalidData), 0),
            Verdict::Nothing(_) if lookup.at + 1 < lookup.candidates.len() => {
                (lookup.at, lookup.chain) = (lookup.at + 1, 0);
                self.begin(cx, key);
            }
            Verdict::Nothing(ttl) => self.end(cx.now(), &key, Ok(Vec::new()), ttl.min(LONGEST.1)),
        }
    }

    /// Asks the next server, or the first one again; after the last attempt, the look-up has failed.
    fn retry(&mut self, cx: &mut EndpointCx<'_>, id: u16, failure: ErrorKind) {
        let Some(mut question) = self.questions.remove(&id) else {
            return;
        };
        self.wheel.cancel(question.timer);
        let servers = self.config.servers.len().max(1);
        let most = u32::try_from(servers)
            .unwrap_or(u32::MAX)
            .saturating_mul(self.config.attempts.max(1));
        // A new id: an answer to the old one is not counted any more.
        let next = self.free_id().filter(|_| question.asked < most);
        let Some(id) = next else {
            return self.end(cx.now(), &question.lookup, Err(failure), 0);
        };
        question.asked += 1;
        question.server = (question.server + 1) % servers;
        question.streams = false;
        let tick = self.tick(cx.now(), self.config.timeout);
        question.timer = self.wheel.insert(tick, Timer::Question(id));
        self.send(cx, id, &question);
        self.questions.insert(id, question);
    }

    fn end(&mut self, now: Instant, key: &(String, Family), outcome: Result<Vec<IpAddr>, ErrorKind>, ttl: u32) {
        let Some(lookup) = self.lookups.remove(key) else { return };
        if let Ok(addresses) = &outcome
            && ttl > 0
            && self.cache.len() < self.config.cache
        {
            let tick = self.tick(now, Duration::from_secs(ttl.min(LONGEST.0).into()));
            self.wheel.insert(tick, Timer::Cached(key.clone()));
            self.cache.insert(key.clone(), addresses.clone());
        }
        for shared in lookup.waiting {
            tell(&shared, key.1, outcome.clone());
        }
    }
}

fn tell(shared: &Mutex<Shared>, family: Family, outcome: Result<Vec<IpAddr>, ErrorKind>) {
    shared
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .tell(family, outcome);
}

fn encode(id: u16, question: &Question) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.kind));
    message.to_vec().ok()
}

impl Endpoint for Dns {
    type Message = DnsMessage;
    type Error = Infallible;

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        self.answered(cx, datagram.payload, Some(datagram.from));
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.start?.checked_add(TICKS.duration(self.wheel.next_wake()?))
    }

    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        let now = TICKS.elapsed(cx.now().saturating_duration_since(self.start.unwrap_or(cx.now())));
        self.wheel.advance(now);
        while let Some((_, timer)) = self.wheel.pop() {
            match timer {
                Timer::Question(id) => self.retry(cx, id, ErrorKind::TimedOut),
                Timer::Cached(key) => drop(self.cache.remove(&key)),
            }
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut EndpointCx<'_>, message: DnsMessage) -> Result<(), Infallible> {
        match message {
            DnsMessage::Ask(name, answer) => self.ask(cx, &name, answer),
            DnsMessage::Stream(id, Some(payload)) => {
                if self.questions.get(&id).is_some_and(|question| question.streams) {
                    self.answered(cx, &payload, None);
                }
            }
            DnsMessage::Stream(id, None) => {
                if self.questions.get(&id).is_some_and(|question| question.streams) {
                    self.retry(cx, id, ErrorKind::TimedOut);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("config", &self.config)
            .field("lookups", &self.lookups.len())
            .field("cache", &self.cache.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
