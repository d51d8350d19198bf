//! Webhooks: events are queued, sent in batches and in order, and repeated until the back end has accepted them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_client::wait;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Caller;
use crate::channel::Name;
use crate::edge::Notice;
use crate::publication::Position;

/// The most events that wait, and their bytes. Further events are lost, which is counted.
const WAITING: usize = 10_000;
const WAITING_BYTES: usize = 16 << 20;
/// The most events of a request, and their bytes; a request has one event at least.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 1 << 20;
/// The first and the longest pause before a request is repeated.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The most bytes of an answer that are read.
const ANSWER: u64 = 64 << 10;

/// What an event says that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// The process has started: what it said of clients in an earlier life is over.
    #[serde(skip_deserializing)]
    Start,
    Connect,
    /// A client has shown another token.
    Authorize,
    Disconnect,
    Subscribe,
    Unsubscribe,
    Publish,
    /// A channel has its first subscriber in this process, or no subscriber any more.
    Presence,
}

/// Events that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Events(u16);

impl Events {
    pub(crate) const ALL: Events = Events(u16::MAX);

    pub(crate) fn of(events: &[Event]) -> Self {
        Events(events.iter().fold(0, |all, event| all | 1 << *event as u16))
    }

    fn has(self, event: Event) -> bool {
        event == Event::Start || self.0 & 1 << event as u16 != 0
    }
}

/// Whom and what an event is about.
#[derive(Debug, Default, Serialize)]
pub(crate) struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub(crate) position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
    /// Whether the channel has a subscriber now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) occupied: Option<bool>,
}

#[derive(Serialize)]
struct Told<'a> {
    number: u64,
    event: Event,
    /// Seconds since 1970.
    time: f64,
    #[serde(flatten)]
    about: About<'a>,
}

/// Tells the back end what happens, on a thread of its own.
pub(crate) struct Webhook {
    state: Mutex<State>,
    news: Condvar,
    events: Events,
    /// The name of this process, and the text that distinguishes its starts.
    node: Box<str>,
    start: Box<str>,
    pub(crate) counts: Counts,
    losses: Notice,
}

/// How many events were accepted and lost, and how many requests were repeated.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) repeated: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<String>,
    bytes: usize,
    number: u64,
    /// When to give up, once the process ends.
    end: Option<Instant>,
    is_over: bool,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    /// It may succeed later.
    Again(String),
    /// It never will.
    Refused(String),
}

impl Webhook {
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(super) fn start(
        caller: Caller,
        url: url::Url,
        events: Events,
        node: &str,
        start: &str,
    ) -> io::Result<Arc<Self>> {
        let webhook = Arc::new(Webhook {
            state: Mutex::default(),
            news: Condvar::new(),
            events,
            node: node.into(),
            start: start.into(),
            counts: Counts::default(),
            losses: Notice::default(),
        });
        webhook.tell(Event::Start, About::default());
        let runs = Arc::clone(&webhook);
        let send = move |body: Vec<u8>| {
            wait(async {
                match caller.post(&url, body).send().await {
                    Err(error) => Outcome::Again(error.to_string()),
                    Ok(mut answer) => {
                        let status = answer.status().as_u16();
                        // Read, so that the connection can be used again. What it says does not matter.
                        let _ = answer.bytes_up_to(ANSWER).await;
                        judge(status)
                    }
                }
            })
        };
        thread::Builder::new()
            .name("webhook".into())
            .spawn(move || runs.run(send))?;
        Ok(webhook)
    }

    /// Queues an event, if such events are told. Does not block.
    pub(crate) fn tell(&self, event: Event, about: About<'_>) {
        if !self.events.has(event) {
            return;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut told = Told {
            number: 0,
            event,
            // Milliseconds: a float has no room for more that is exact.
            time: time.as_millis() as f64 / 1000.0,
            about,
        };
        let mut state = self.lock();
        state.number += 1;
        told.number = state.number;
        // Cannot fail: strings, numbers, and JSON that was parsed before.
        let json = serde_json::to_string(&told).unwrap_or_default();
        if state.queue.len() >= WAITING || state.bytes + json.len() > WAITING_BYTES || state.is_over {
            drop(state);
            return self.lose(1, "too many events wait");
        }
        state.bytes += json.len();
        state.queue.push_back(json);
        drop(state);
        self.news.notify_one();
    }

    /// The process ends: sends what waits for `patience` at most, and returns when that is done.
    pub(crate) fn end(&self, patience: Duration) {
        let mut state = self.lock();
        let end = Instant::now() + patience;
        state.end = Some(end);
        self.news.notify_all();
        while !state.is_over {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.wait(state, left);
        }
    }

    fn lose(&self, count: usize, why: &str) {
        self.counts.lost.fetch_add(count as u64, Ordering::Relaxed);
        self.losses
            .say(|| format!("{count} events of the webhook are lost: {why}"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        let waited = self.news.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Sends what waits, until the process ends.
    fn run(&self, mut send: impl FnMut(Vec<u8>) -> Outcome) {
        while let Some(batch) = self.next() {
            self.deliver(&batch, &mut send);
        }
        self.lock().is_over = true;
        self.news.notify_all();
    }

    /// The next batch, once there is one; `None` if the process ends.
    fn next(&self) -> Option<Vec<String>> {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.end.is_some() {
                return None;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = state.queue.front()
            && (batch.is_empty() || batch.len() < BATCH && bytes + next.len() <= BATCH_BYTES)
        {
            bytes += next.len();
            batch.extend(state.queue.pop_front());
        }
        state.bytes -= bytes;
        Some(batch)
    }

    /// Sends a batch until the outcome is final.
    fn deliver(&self, batch: &[String], send: &mut impl FnMut(Vec<u8>) -> Outcome) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let why = match send(self.body(batch)) {
                Outcome::Accepted => {
                    self.counts.accepted.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
                Outcome::Refused(why) => return self.lose(batch.len(), &why),
                Outcome::Again(why) => why,
            };
            if !self.rest(pause) {
                return self.lose(
                    batch.len(),
                    &format!("comet ends, and the back end does not accept them: {why}"),
                );
            }
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
            tracing::debug!("a request of the webhook is repeated: {why}");
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Waits before a request is repeated. Returns false if the process ends before that.
    fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.end.is_some_and(|end| end <= now) {
                return false;
            }
            // While the process ends there is no time for long pauses.
            let until = if state.end.is_some() {
                until.min(now + SHORTEST_PAUSE)
            } else {
                until
            };
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return true;
            }
            let is_ending = state.end.is_some();
            state = self.wait(state, left);
            if is_ending {
                return state.end.is_none_or(|end| Instant::now() < end);
            }
        }
    }

    fn body(&self, batch: &[String]) -> Vec<u8> {
        let (node, start, lost) = (&self.node, &self.start, self.counts.lost.load(Ordering::Relaxed));
        let events = batch.join(",");
        format!(r#"{{"node":"{node}","start":"{start}","lost":{lost},"events":[{events}]}}"#).into_bytes()
    }
}

/// What a status says about a request (RFC 9110 section 15).
fn judge(status: u16) -> Outcome {
    let why = format!("it answers {status}");
    match status {
        200..=299 => Outcome::Accepted,
        408 | 425 | 429 | 500..=599 => Outcome::Again(why),
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn webhook() -> Arc<Webhook> {
        Arc::new(Webhook {
            state: Mutex::default(),
            news: Condvar::new(),
            events: Events::of(&[Event::Connect, Event::Publish]),
            node: "n".into(),
            start: "1".into(),
            counts: Counts::default(),
            losses: Notice::default(),
        })
    }

    fn about(client: &str) -> About<'_> {
        About {
            client: Some(client),
            ..About::default()
        }
    }

    fn numbers(body: &[u8]) -> Vec<u64> {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let events = body["events"].as_array().unwrap();
        events.iter().map(|event| event["number"].as_u64().unwrap()).collect()
    }

    #[test]
    fn batches_are_bounded_and_in_order() {
        let webhook = webhook();
        for _ in 0..250 {
            webhook.tell(Event::Connect, about("c"));
            // Not told.
            webhook.tell(Event::Presence, about("c"));
        }
        let long = serde_json::value::to_raw_value(&"x".repeat(700_000)).unwrap();
        for _ in 0..2 {
            webhook.tell(
                Event::Publish,
                About {
                    data: Some(&long),
                    ..About::default()
                },
            );
        }
        let (sender, bodies) = mpsc::channel();
        let thread = {
            let webhook = Arc::clone(&webhook);
            thread::spawn(move || {
                webhook.run(|body| {
                    sender.send(body).unwrap();
                    Outcome::Accepted
                })
            })
        };
        webhook.end(Duration::from_secs(10));
        thread.join().unwrap();
        let batches: Vec<_> = bodies.iter().map(|body| numbers(&body)).collect();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [100, 100, 51, 1]);
        assert_eq!(batches.concat(), (1..=252).collect::<Vec<_>>());
        assert_eq!(webhook.counts.accepted.load(Ordering::Relaxed), 252);
    }

    #[test]
    fn failures_are_repeated_and_refusals_are_not() {
        let webhook = webhook();
        webhook.tell(Event::Connect, about("a"));
        let mut outcomes = [Outcome::Again("x".into()), judge(503), Outcome::Accepted].into_iter();
        let mut bodies = Vec::new();
        let begun = Instant::now();
        webhook.deliver(&webhook.next().unwrap(), &mut |body| {
            bodies.push(body);
            outcomes.next().unwrap()
        });
        assert_eq!((bodies.len(), bodies[0] == bodies[2]), (3, true));
        // Each pause is twice the one before.
        assert!(begun.elapsed() >= 3 * SHORTEST_PAUSE, "{:?}", begun.elapsed());
        webhook.tell(Event::Connect, about("b"));
        webhook.deliver(&webhook.next().unwrap(), &mut |_| judge(404));
        let counts = &webhook.counts;
        let counted = [&counts.accepted, &counts.lost, &counts.repeated];
        assert_eq!(counted.map(|count| count.load(Ordering::Relaxed)), [1, 1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted() {
        let webhook = webhook();
        for _ in 0..WAITING + 3 {
            webhook.tell(Event::Connect, about("c"));
        }
        assert_eq!(webhook.counts.lost.load(Ordering::Relaxed), 3);
        let mut batch = webhook.next().unwrap();
        assert!(String::from_utf8(webhook.body(&batch)).unwrap().contains(r#""lost":3"#));
        // The numbers show the gap.
        while !webhook.lock().queue.is_empty() {
            batch = webhook.next().unwrap();
        }
        webhook.tell(Event::Connect, about("c"));
        let after = webhook.next().unwrap();
        let last = numbers(&webhook.body(&batch)).pop();
        assert_eq!(
            (last, numbers(&webhook.body(&after))),
            (Some(WAITING as u64), vec![WAITING as u64 + 4])
        );
        // The end of the process does not wait for a back end that is down.
        webhook.tell(Event::Connect, about("c"));
        let runs = Arc::clone(&webhook);
        let thread = thread::spawn(move || runs.run(|_| judge(500)));
        let begun = Instant::now();
        webhook.end(Duration::from_millis(300));
        thread.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(webhook.counts.lost.load(Ordering::Relaxed), 4);
    }
}
