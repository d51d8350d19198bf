//! Questions to the back end: whether a client may connect, subscribe or publish.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto_http::Request;
use proto_ws::CloseCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Caller;
use crate::broker::{Done, Info, Trouble};
use crate::channel::{Name, Pattern};
use crate::edge::Notice;
use crate::messages::{Code, Failure, Id};
use crate::publication::Position;
use crate::token::{Claims, Date};

/// The most questions about one client that wait for their answers.
const WAITING: usize = 8;
/// The code for a client that may not connect.
const REFUSED: u16 = 3507;
/// The longest reason of the back end, in bytes, that a client is told.
const LONGEST_REASON: usize = 120;

/// Where the back end is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Urls {
    pub(crate) connect: Option<url::Url>,
    pub(crate) subscribe: Option<url::Url>,
    pub(crate) publish: Option<url::Url>,
}

impl Urls {
    pub(crate) fn any(&self) -> bool {
        self.connect.is_some() || self.subscribe.is_some() || self.publish.is_some()
    }
}

/// A question.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
    /// For a client that connects: its request.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub(crate) head: Option<Head>,
}

/// The request of a client that connects.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Head {
    /// The path and the query.
    pub(crate) target: String,
    /// Some of its fields.
    pub(crate) headers: BTreeMap<&'static str, String>,
}

impl Head {
    /// The fields by which a back end knows a client.
    const FIELDS: [&'static str; 6] = [
        "accept-language",
        "authorization",
        "cookie",
        "origin",
        "user-agent",
        "x-request-id",
    ];

    pub(crate) fn of(request: &Request<'_>) -> Self {
        let fields = request.fields();
        let kept = Self::FIELDS.iter().filter_map(|&name| {
            let values: Vec<_> = fields
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name))
                .collect();
            let values = values.iter().map(|field| String::from_utf8_lossy(field.value));
            // Only cookies come in several fields: over HTTP/2 (RFC 9113 section 8.2.3).
            let text = values.collect::<Vec<_>>().join("; ");
            (!text.is_empty()).then_some((name, text))
        });
        Head {
            target: request.target().to_owned(),
            headers: kept.collect(),
        }
    }
}

/// The answer of the back end.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) allow: bool,
    /// Why not.
    #[serde(default)]
    reason: Option<String>,
    /// The code with which the connection ends.
    #[serde(default)]
    code: Option<u16>,
    /// The user, in place of the one that the client has shown.
    #[serde(default)]
    pub(crate) user: Option<Arc<str>>,
    /// What a publication says, in place of what the client wants to publish; or what a client that connects is told.
    #[serde(default)]
    pub(crate) data: Option<Box<RawValue>>,
    /// What a token would say.
    #[serde(default)]
    pub(crate) info: Option<Info>,
    #[serde(default)]
    pub(crate) channels: Vec<Name>,
    #[serde(default)]
    pub(crate) subscribe: Vec<Pattern>,
    #[serde(default)]
    pub(crate) publish: Vec<Pattern>,
    /// The seconds until the rights end.
    #[serde(default)]
    pub(crate) expires_in: Option<f64>,
}

impl Verdict {
    /// The code with which the connection of a client ends that may not connect. Clients do not come back after it, by default.
    pub(crate) fn code(&self) -> CloseCode {
        let code = self.code.filter(|code| (3000..=4999).contains(code));
        CloseCode::new(code.unwrap_or(REFUSED)).unwrap_or(CloseCode::POLICY)
    }

    /// The rights of a client that may connect.
    pub(crate) fn claims(self, now: Duration) -> Claims {
        let end = self
            .expires_in
            .map(|left| Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX));
        Claims {
            user: self.user,
            info: self.info,
            channels: self.channels,
            subscribe: self.subscribe,
            publish: self.publish,
            expires: end.map(|left| Date(now.saturating_add(left))),
            issued: Some(Date(now)),
            ..Claims::default()
        }
    }

    /// Why the client may not do it, in words for the client.
    pub(crate) fn reason(&self) -> &str {
        let reason = self.reason.as_deref().unwrap_or("the back end does not allow it");
        // The longest beginning that fits.
        let ends = (0..=reason.len().min(LONGEST_REASON)).rev();
        ends.filter_map(|end| reason.get(..end)).next().unwrap_or_default()
    }
}

/// A subscription that the back end was asked about.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) channel: Name,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) id: Id,
    pub(crate) since: Option<Position>,
    pub(crate) limit: usize,
    pub(crate) delta: bool,
}

/// What waits for answers about one client.
#[derive(Debug, Default)]
struct Waiting {
    head: Option<Head>,
    questions: usize,
    subscriptions: Vec<(u64, Pending)>,
}

/// Asks the back end. What waits for answers is kept here, so that a client that asks nothing needs no memory for it.
pub(crate) struct Proxy {
    caller: Caller,
    pub(crate) urls: Urls,
    most: usize,
    in_flight: AtomicUsize,
    rounds: AtomicU64,
    clients: Mutex<HashMap<u64, Waiting>>,
    pub(crate) asked: AtomicU64,
    pub(crate) failed: AtomicU64,
    failures: Notice,
}

/// What clients are told while the back end gives no answer.
pub(crate) const UNANSWERED: Failure = Failure::new(
    Code::Unavailable,
    "the back end gives no answer; nothing was done, try again later",
);
const TOO_MANY: Failure = Failure::new(Code::TooMany, "wait for the answers to earlier requests");

/// A question that waits for its answer; dropping it makes room for another.
struct InFlight(Arc<Proxy>, Option<u64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let InFlight(proxy, client) = self;
        proxy.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut clients = proxy.lock();
        if let Some(client) = *client
            && let Some(waiting) = clients.get_mut(&client)
        {
            waiting.questions = waiting.questions.saturating_sub(1);
            tidy(&mut clients, client);
        }
    }
}

/// Forgets a client about whom nothing is asked.
fn tidy(clients: &mut HashMap<u64, Waiting>, client: u64) {
    let is_idle =
        |waiting: &Waiting| waiting.questions == 0 && waiting.subscriptions.is_empty() && waiting.head.is_none();
    if clients.get(&client).is_some_and(is_idle) {
        clients.remove(&client);
    }
}

impl Proxy {
    /// At most `most` questions wait for their answers at once.
    pub(super) fn new(caller: Caller, urls: Urls, most: usize) -> Self {
        Proxy {
            caller,
            urls,
            most,
            in_flight: AtomicUsize::new(0),
            rounds: AtomicU64::new(0),
            clients: Mutex::default(),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Notice::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a question, about this client if it is given; `done` gets the answer. Whatever is not a clear answer is
    /// [`Trouble::Unavailable`].
    ///
    /// # Errors
    ///
    /// If too many questions wait for answers.
    pub(crate) fn ask(
        self: &Arc<Self>,
        url: &url::Url,
        client: Option<u64>,
        question: &Question<'_>,
        done: Done<Verdict>,
    ) -> Result<(), Failure> {
        if let Some(client) = client {
            let mut clients = self.lock();
            let waiting = clients.entry(client).or_default();
            if waiting.questions >= WAITING {
                done.forget();
                return Err(TOO_MANY);
            }
            waiting.questions += 1;
        }
        let guard = InFlight(Arc::clone(self), client);
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.most {
            done.forget();
            self.fails("too many questions wait for answers");
            return Err(UNANSWERED);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        // Cannot fail: strings, numbers, and JSON that was parsed before.
        let body = serde_json::to_vec(question).unwrap_or_default();
        let proxy = Arc::clone(self);
        self.caller.post(url, body).fetch(move |answer| {
            let verdict = match answer {
                Ok(answer) if answer.status() == 200 => {
                    serde_json::from_slice::<Verdict>(answer.body()).map_err(|error| format!("no verdict: {error}"))
                }
                Ok(answer) => Err(format!("it answers {}", answer.status())),
                Err(error) => Err(error.to_string()),
            };
            drop(guard);
            done.tell(verdict.map_err(|why| {
                proxy.fails(&why);
                Trouble::Unavailable
            }));
        });
        Ok(())
    }

    fn fails(&self, why: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failures
            .say(|| format!("a question to the back end has no answer, and the client is refused: {why}"));
    }

    /// Remembers a subscription of a client that the back end is asked about. Returns the number of the question.
    pub(crate) fn remember(&self, client: u64, pending: Pending) -> u64 {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let mut clients = self.lock();
        clients.entry(client).or_default().subscriptions.push((round, pending));
        round
    }

    /// Whether the back end was asked about a subscription of a client to `channel`.
    pub(crate) fn waits(&self, client: u64, channel: &Name) -> bool {
        let clients = self.lock();
        let waiting = clients.get(&client);
        waiting.is_some_and(|waiting| waiting.subscriptions.iter().any(|(_, one)| one.channel == *channel))
    }

    /// The subscription that a question was about, unless it has ended meanwhile.
    pub(crate) fn recall(&self, client: u64, round: u64) -> Option<Pending> {
        self.take(client, |known, _| known == round)
    }

    /// Ends a subscription that the back end was asked about.
    pub(crate) fn cancel(&self, client: u64, channel: &Name) -> Option<Pending> {
        self.take(client, |_, pending| pending.channel == *channel)
    }

    fn take(&self, client: u64, is_it: impl Fn(u64, &Pending) -> bool) -> Option<Pending> {
        let mut clients = self.lock();
        let waiting = clients.get_mut(&client)?;
        let index = waiting
            .subscriptions
            .iter()
            .position(|(round, pending)| is_it(*round, pending))?;
        let (_, pending) = waiting.subscriptions.remove(index);
        tidy(&mut clients, client);
        Some(pending)
    }

    /// Keeps the request of a client until the back end is asked whether the client may connect.
    pub(crate) fn keep(&self, client: u64, head: Head) {
        self.lock().entry(client).or_default().head = Some(head);
    }

    /// The request of a client.
    pub(crate) fn head(&self, client: u64) -> Option<Head> {
        self.lock().get_mut(&client)?.head.take()
    }

    /// The client has left.
    pub(crate) fn forget(&self, client: u64) {
        let left = self.lock().remove(&client);
        // Dropped without the lock.
        drop(left);
    }
}
