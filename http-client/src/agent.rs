//! The state of a client: its requests, its connections and its timers. Whoever has something to report calls a method; nobody waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use driver_common::Connect;
use http::header::SET_COOKIE;
use http::response::Parts;
use proto_tls::Connector;
use timing_wheel::{Ticks, Wheel};
use url::Url;

use crate::body::Body;
use crate::dialer::Dialer;
use crate::exchange::Exchange;
use crate::line::{Command, Guard, Line, Noting, Task};
use crate::plan::{Key, Plan, plan};
use crate::pool::{Checkout, JobId, LineId, Pool};
use crate::redirect::{History, Hop, Redirects};
use crate::{Error, Phase, RedirectError, Settings};

/// How often one request is sent again after failures of connections.
const TRIES: u32 = 4;
const TICKS: Ticks = Ticks::MILLISECOND;

/// What became of a request that a connection was to send.
pub(crate) enum Outcome {
    /// The answer is complete, or nobody wants it.
    Complete,
    /// Nothing of it was sent.
    NotSent,
    /// There is no whole answer.
    Failed {
        error: Error,
        /// Whether the request may be sent again: the server has not seen it, or it is idempotent and met the end of a kept connection.
        repeatable: bool,
    },
}

/// What to do with an answer.
pub(crate) enum Verdict {
    /// Pass its content on.
    Deliver,
    /// Read it to its end, and drop it: a redirect follows.
    Skip,
    /// Break it off.
    Drop,
}

pub(crate) struct Agent {
    pub(crate) settings: Settings,
    pub(crate) one: Arc<proto_http::ClientConfig>,
    pub(crate) two: Arc<proto_h2::ClientConfig>,
    connector: OnceLock<Result<Connector, Error>>,
    dialer: Box<dyn Dialer>,
    me: Weak<Agent>,
    state: Mutex<State>,
}

struct State {
    pool: Pool<Key>,
    jobs: HashMap<JobId, Job>,
    lines: HashMap<LineId, Arc<Line>>,
    /// The next id of a request or a connection.
    next: u64,
    timers: Wheel<JobId>,
    start: Instant,
    /// When the clock will next call, as far as it knows.
    armed: Option<Instant>,
    stopped: bool,
}

struct Job {
    hop: Hop,
    body: Body,
    redirects: Redirects,
    history: History,
    key: Key,
    plan: Arc<Plan>,
    exchange: Arc<Exchange>,
    line: Option<LineId>,
    /// A redirect was answered: `hop` is the next request.
    follows: bool,
    delivered: bool,
    tries: u32,
    timer: Option<timing_wheel::Key>,
}

/// What to do once the state is unlocked.
enum Action {
    Tell(Arc<Line>, Command),
    Dial(Arc<Line>),
    Fail(Arc<Exchange>, Error),
    /// Never done while the state is locked: whoever is woken may cancel the request at once, on this thread.
    Deliver(Arc<Exchange>, Box<(Parts, Url)>),
    Clock,
}

impl Agent {
    pub(crate) fn new(settings: Settings, dialer: Box<dyn Dialer>) -> Arc<Self> {
        let now = Instant::now();
        let mut one = proto_http::ClientConfig::default();
        one.rules.limits.body = None;
        one.timeouts.answer = settings.timeouts.answer;
        one.timeouts.body = settings.timeouts.body;
        one.timeouts.body_rate = 0;
        // The pool ends idle connections.
        one.timeouts.idle = None;
        let mut two = proto_h2::ClientConfig::default();
        two.timeouts.answer = settings.timeouts.answer;
        two.timeouts.idle = None;
        Arc::new_cyclic(|me| Agent {
            one: Arc::new(one),
            two: Arc::new(two),
            connector: OnceLock::new(),
            dialer,
            me: me.clone(),
            state: Mutex::new(State {
                pool: Pool::new(settings.pool, now),
                jobs: HashMap::new(),
                lines: HashMap::new(),
                next: 1,
                timers: Wheel::new(0),
                start: now,
                armed: None,
                stopped: false,
            }),
            settings,
        })
    }

    /// The TLS of this client, set up with the first use.
    pub(crate) fn connector(&self) -> Result<Connector, Error> {
        self.connector.get_or_init(|| connector(&self.settings)).clone()
    }

    /// Runs `act` on the state, then does what it asks for.
    fn run<R>(&self, act: impl FnOnce(&mut State, &mut Vec<Action>) -> R) -> R {
        let mut actions = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state, &mut actions);
        if let Some(deadline) = state.deadline()
            && state.armed.is_none_or(|armed| deadline < armed)
        {
            state.armed = Some(deadline);
            actions.push(Action::Clock);
        }
        drop(state);
        for action in actions {
            match action {
                Action::Tell(line, command) => line.command(command),
                Action::Dial(line) => self.dial(line),
                Action::Fail(exchange, error) => exchange.fail(error),
                Action::Deliver(exchange, head) => exchange.deliver(head.0, head.1),
                Action::Clock => self.dialer.wake_clock(),
            }
        }
        result
    }

    fn dial(&self, line: Arc<Line>) {
        let Some(agent) = self.me.upgrade() else { return };
        let timeouts = &self.settings.timeouts;
        let noting = Noting {
            line: Arc::clone(&line),
            inner: self.settings.resolver.clone(),
        };
        let connect = Connect::new(line.key.place())
            .resolver(Arc::new(noting))
            .resolve_timeout(timeouts.resolve)
            .timeout(Some(timeouts.connect));
        // If the driver has ended, the guard is dropped and reports it.
        self.dialer.dial(connect, Guard::new(agent, line));
    }

    /// A request. Returns its id, by which it can be cancelled.
    pub(crate) fn submit(
        &self,
        hop: Hop,
        body: Body,
        redirects: Redirects,
        total: Option<Duration>,
        exchange: &Arc<Exchange>,
    ) -> Result<JobId, Error> {
        let (key, plan) = plan(&self.settings, &hop, &body)?;
        if key.secure {
            self.connector()?;
        }
        self.run(|state, actions| {
            if state.stopped {
                return Err(Error::Stopped);
            }
            let job = state.id();
            let timer = total.map(|total| {
                let at = state.start.elapsed().saturating_add(total);
                state.timers.insert(TICKS.deadline(at), job)
            });
            state.jobs.insert(
                job,
                Job {
                    hop,
                    body,
                    redirects,
                    history: History::default(),
                    key,
                    plan: Arc::new(plan),
                    exchange: Arc::clone(exchange),
                    line: None,
                    follows: false,
                    delivered: false,
                    tries: 0,
                    timer,
                },
            );
            state.dispatch(job, false, actions);
            Ok(job)
        })
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&self, job: JobId) {
        self.run(|state, actions| state.cancel(job, actions));
    }

    /// A connection can carry `room` requests at the same time.
    pub(crate) fn established(&self, line: LineId, room: usize) {
        self.run(|state, actions| {
            let jobs = state.pool.established(Instant::now(), line, room);
            state.serve(line, jobs, actions);
        });
    }

    /// No more requests for this connection.
    pub(crate) fn retire(&self, line: LineId) {
        self.run(|state, _| state.pool.retire(line));
    }

    /// A connection has ended, or was not established because of `error`.
    pub(crate) fn closed(&self, line: LineId, error: Error) {
        self.run(|state, actions| {
            let lost = state.pool.closed(line);
            let Some(line) = state.lines.remove(&line) else { return };
            if let Some(job) = lost.failed {
                state.fail(job, error, actions);
            }
            if lost.open && !state.stopped {
                state.open(&line.key, actions);
            }
        });
    }

    /// A connection is done with a request. `line` may carry another one.
    pub(crate) fn finished(&self, line: Option<LineId>, job: JobId, outcome: Outcome) {
        let redirected = self.run(|state, actions| {
            if let Some(line) = line {
                let jobs = state.pool.returned(Instant::now(), line);
                state.serve(line, jobs, actions);
                while let Some(surplus) = state.pool.superfluous(line) {
                    state.tell(surplus, Command::Close, actions);
                }
            }
            state.finished(job, outcome, actions)
        });
        if let Some((hop, body)) = redirected {
            // The plan asks the jar of cookies, which is the program's: not while the state is locked.
            let planned = plan(&self.settings, &hop, &body);
            self.run(|state, actions| state.redirect(job, planned, actions));
        }
    }

    /// The head of an answer has arrived.
    pub(crate) fn head(&self, job: JobId, parts: Parts) -> Verdict {
        if let Some(cookies) = &self.settings.cookies
            && parts.headers.contains_key(SET_COOKIE)
            && let Some(url) = self.run(|state, _| state.jobs.get(&job).map(|job| job.hop.url.clone()))
        {
            cookies.store(&url, &parts.headers);
        }
        self.run(|state, actions| {
            let Some(found) = state.jobs.get_mut(&job) else {
                return Verdict::Drop;
            };
            let followed = found
                .history
                .follow(&found.redirects, &mut found.hop, parts.status, &parts.headers);
            let followed = followed.and_then(|follows| match follows && found.hop.body && !found.body.is_whole() {
                true => Err(RedirectError::BodyGone),
                false => Ok(follows),
            });
            match followed {
                Ok(true) => {
                    found.follows = true;
                    Verdict::Skip
                }
                Ok(false) => {
                    found.delivered = true;
                    let head = Box::new((parts, found.hop.url.clone()));
                    actions.push(Action::Deliver(Arc::clone(&found.exchange), head));
                    Verdict::Deliver
                }
                Err(error) => {
                    state.fail(job, error.into(), actions);
                    Verdict::Drop
                }
            }
        })
    }

    /// When [`tick`](Self::tick) must be called, for the clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.armed = state.deadline();
        state.armed
    }

    /// Handles the timers that are due.
    pub(crate) fn tick(&self, now: Instant) {
        self.run(|state, actions| {
            state
                .timers
                .advance(TICKS.elapsed(now.saturating_duration_since(state.start)));
            while let Some((_, job)) = state.timers.pop() {
                if let Some(job) = state.jobs.get_mut(&job) {
                    job.timer = None;
                }
                state.cancel_with(job, Error::Timeout(Phase::Total), actions);
            }
            while let Some(line) = state.pool.expire(now) {
                state.tell(line, Command::Close, actions);
            }
        });
    }

    /// Ends everything: requests fail, and the driver's connections are closed.
    pub(crate) fn stop(&self) {
        self.run(|state, actions| {
            state.stopped = true;
            let jobs: Vec<JobId> = state.jobs.keys().copied().collect();
            for job in jobs {
                state.cancel_with(job, Error::Stopped, actions);
            }
        });
        self.dialer.stop();
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped
    }

    /// The numbers of connections, idle connections, and waiting requests.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.run(|state, _| state.pool.counts())
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn deadline(&self) -> Option<Instant> {
        let wake = self
            .timers
            .next_wake()
            .and_then(|wake| self.start.checked_add(TICKS.duration(wake)));
        [wake, self.pool.deadline()].into_iter().flatten().min()
    }

    fn tell(&self, line: LineId, command: Command, actions: &mut Vec<Action>) {
        if let Some(line) = self.lines.get(&line) {
            actions.push(Action::Tell(Arc::clone(line), command));
        }
    }

    /// Finds a connection for a request.
    fn dispatch(&mut self, id: JobId, fresh: bool, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.line = None;
        let key = job.key.clone();
        match self.pool.checkout(&key, id, fresh) {
            Checkout::Use(line) => self.serve(line, vec![id], actions),
            Checkout::Open => self.open(&key, actions),
            Checkout::Wait => {}
            Checkout::Full => self.fail(id, Error::Overloaded, actions),
        }
    }

    fn open(&mut self, key: &Key, actions: &mut Vec<Action>) {
        let id = self.id();
        let line = Line::new(id, key.clone());
        self.pool.opening(key, id);
        self.lines.insert(id, Arc::clone(&line));
        actions.push(Action::Dial(line));
    }

    /// Sends requests on a connection.
    fn serve(&mut self, line: LineId, jobs: Vec<JobId>, actions: &mut Vec<Action>) {
        for id in jobs {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.line = Some(line);
            let task = Task {
                job: id,
                plan: Arc::clone(&job.plan),
                exchange: Arc::clone(&job.exchange),
            };
            self.tell(line, Command::Start(task), actions);
        }
    }

    /// A connection is done with a request. Returns the next request if a redirect follows.
    fn finished(&mut self, id: JobId, outcome: Outcome, actions: &mut Vec<Action>) -> Option<(Hop, Body)> {
        let job = self.jobs.get_mut(&id)?;
        if std::mem::take(&mut job.follows) {
            job.line = None;
            return Some((job.hop.clone(), job.body.clone()));
        }
        let (error, repeatable) = match outcome {
            Outcome::Complete => {
                self.remove(id);
                return None;
            }
            Outcome::NotSent => (Error::Closed { kind: None }, true),
            Outcome::Failed { error, repeatable } => (error, repeatable && job.body.is_whole()),
        };
        job.tries += 1;
        if repeatable && !job.delivered && job.tries < TRIES && !self.stopped {
            // Other idle connections of the same age may have ended as well.
            self.dispatch(id, true, actions);
        } else {
            self.fail(id, error, actions);
        }
        None
    }

    /// Sends the request that a redirect has made, unless it was cancelled meanwhile.
    fn redirect(&mut self, id: JobId, planned: Result<(Key, Plan), Error>, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match planned {
            Ok((key, plan)) => {
                (job.key, job.plan, job.tries) = (key, Arc::new(plan), 0);
                self.dispatch(id, false, actions);
            }
            Err(error) => self.fail(id, error, actions),
        }
    }

    fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if let Some(timer) = job.timer {
            self.timers.cancel(timer);
        }
        Some(job)
    }

    fn fail(&mut self, id: JobId, error: Error, actions: &mut Vec<Action>) {
        if let Some(job) = self.remove(id) {
            actions.push(Action::Fail(job.exchange, error));
        }
    }

    fn cancel(&mut self, id: JobId, actions: &mut Vec<Action>) {
        if let Some(job) = self.remove(id) {
            match job.line {
                Some(line) => self.tell(line, Command::Cancel(id), actions),
                None => drop(self.pool.cancel(&job.key, id)),
            }
        }
    }

    fn cancel_with(&mut self, id: JobId, error: Error, actions: &mut Vec<Action>) {
        if let Some(job) = self.jobs.get(&id) {
            actions.push(Action::Fail(Arc::clone(&job.exchange), error));
            self.cancel(id, actions);
        }
    }
}

/// Sets up TLS.
fn connector(settings: &Settings) -> Result<Connector, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Settings(error.to_string());
    let mut config = match &settings.tls {
        Some(config) => config.clone(),
        None => {
            let provider = proto_tls::provider().map_err(|error| failed(&error))?;
            proto_tls::ClientConfig::new(provider, roots()?)
        }
    };
    config.alpn = vec![b"http/1.1".to_vec()];
    if settings.http2 {
        config.alpn.insert(0, b"h2".to_vec());
    }
    config.limits.timeout = settings.timeouts.handshake;
    Connector::new(config).map_err(|error| failed(&error))
}

#[cfg(feature = "native-roots")]
fn roots() -> Result<proto_tls::Roots, Error> {
    proto_tls::Roots::native().map_err(|error| Error::Settings(error.to_string()))
}

#[cfg(all(feature = "webpki-roots", not(feature = "native-roots")))]
fn roots() -> Result<proto_tls::Roots, Error> {
    Ok(proto_tls::Roots::webpki())
}

#[cfg(not(any(feature = "webpki-roots", feature = "native-roots")))]
fn roots() -> Result<proto_tls::Roots, Error> {
    Err(Error::Settings(
        "no certificate authorities are trusted: set `tls`, or choose the feature webpki-roots or native-roots".into(),
    ))
}
