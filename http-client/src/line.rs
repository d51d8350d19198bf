//! One connection: how the agent speaks to it, and the protocol that runs on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

use driver_common::{Answer, Found, Resolve, SystemResolver};
use proto_tls::{Factory, Session, Tls};
use protocol::{Cx, Either, Input, Peer, Protocol, Reason, Sender, Switch, SwitchError};

use crate::agent::{Agent, Outcome};
use crate::exchange::Exchange;
use crate::greeting::Greeting;
use crate::one::One;
use crate::plan::{Key, Plan};
use crate::pool::{JobId, LineId};
use crate::two::Two;
use crate::{Error, Phase};

/// The message to a connection: look at your commands, and at the content on its way.
#[derive(Debug)]
pub struct Nudge;

/// A request, for the connection that sends it.
pub(crate) struct Task {
    pub(crate) job: JobId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) exchange: Arc<Exchange>,
}

pub(crate) enum Command {
    Start(Task),
    /// Nobody waits for the answer any more.
    Cancel(JobId),
    /// Close the connection, which is idle.
    Close,
}

/// A connection, as the agent sees it.
pub(crate) struct Line {
    pub(crate) id: LineId,
    pub(crate) key: Key,
    commands: Mutex<VecDeque<Command>>,
    sender: Mutex<Option<Sender<Nudge>>>,
    nudged: AtomicBool,
    /// Whether the name of the host is known.
    resolved: AtomicBool,
    established: AtomicBool,
    trouble: Mutex<Option<Error>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    pub(crate) fn new(id: LineId, key: Key) -> Arc<Self> {
        let named = key.place().0.parse::<std::net::IpAddr>().is_err();
        Arc::new(Line {
            id,
            key,
            commands: Mutex::default(),
            sender: Mutex::default(),
            nudged: AtomicBool::new(false),
            resolved: AtomicBool::new(!named),
            established: AtomicBool::new(false),
            trouble: Mutex::default(),
        })
    }

    pub(crate) fn command(&self, command: Command) {
        lock(&self.commands).push_back(command);
        self.nudge();
    }

    /// Has the connection look at its commands. At most one message is on its way, so the mailbox is never full.
    fn nudge(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel)
            && let Some(sender) = &*lock(&self.sender)
        {
            // If the connection is gone, its end reports what is left.
            let _ = sender.send(Nudge);
        }
    }

    /// The next command. `heard` tells that the message has arrived.
    pub(crate) fn next(&self) -> Option<Command> {
        lock(&self.commands).pop_front()
    }

    fn heard(&self) {
        self.nudged.store(false, Ordering::Release);
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    fn note(&self, error: Error) {
        lock(&self.trouble).get_or_insert(error);
    }

    /// Why the connection was not established.
    fn trouble(&self, reason: Reason) -> Error {
        if let Some(error) = lock(&self.trouble).take() {
            return error;
        }
        let (host, port) = self.key.place();
        let resolved = self.resolved.load(Ordering::Relaxed);
        match reason {
            Reason::Io(std::io::ErrorKind::TimedOut) if resolved => Error::Timeout(Phase::Connect),
            Reason::Io(std::io::ErrorKind::TimedOut) => Error::Timeout(Phase::Resolve),
            Reason::Io(kind) if resolved => Error::Connect {
                place: format!("{host}:{port}"),
                kind,
            },
            Reason::Io(kind) => Error::Resolve {
                host: host.to_owned(),
                kind,
            },
            Reason::Stopped => Error::Stopped,
            _ => Error::Closed { kind: None },
        }
    }
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.nudge();
    }
}

/// Notes on the line whether the name was found.
pub(crate) struct Noting {
    pub(crate) line: Arc<Line>,
    pub(crate) inner: Option<Arc<dyn Resolve>>,
}

impl Resolve for Noting {
    fn resolve(&self, name: &str, answer: Answer) {
        let line = Arc::clone(&self.line);
        let answer = Mutex::new(Some(answer));
        let noting = Answer::new(move |found| {
            let mut slot = lock(&answer);
            match found {
                Found::Addresses(family, addresses) => {
                    line.resolved.fetch_or(!addresses.is_empty(), Ordering::Relaxed);
                    if let Some(answer) = &mut *slot {
                        answer.found(family, addresses);
                    }
                }
                Found::Failed(kind) => slot.take().into_iter().for_each(|answer| answer.fail(kind)),
            }
        });
        match &self.inner {
            Some(resolver) => resolver.resolve(name, noting),
            None => SystemResolver.resolve(name, noting),
        }
    }
}

/// Makes the HTTP protocol when the handshake of TLS is complete.
pub(crate) struct ByAlpn {
    agent: Arc<Agent>,
    line: Arc<Line>,
}

/// HTTP/1.1 or HTTP/2.
pub(crate) type Http = Either<proto_http::Client<One>, proto_h2::Client<Two>>;
type Secured = Either<Http, Tls<Http, ByAlpn>>;

impl Factory<Http> for ByAlpn {
    fn make(&self, _: &Peer<'_, Nudge>, session: Session<'_>) -> Option<Http> {
        Some(http(&self.agent, &self.line, session.alpn() == Some(b"h2")))
    }
}

fn http(agent: &Arc<Agent>, line: &Arc<Line>, second: bool) -> Http {
    let (agent, line) = (Arc::clone(agent), Arc::clone(line));
    if second {
        let config = Arc::clone(&agent.two);
        Either::Right(proto_h2::Client::new(config, Two::new(agent, line)))
    } else {
        let config = Arc::clone(&agent.one);
        Either::Left(proto_http::Client::new(config, One::new(agent, line)))
    }
}

/// Reports the end of a connection exactly once, also if its protocol is dropped without being told.
pub(crate) struct Guard {
    agent: Arc<Agent>,
    line: Arc<Line>,
    reported: bool,
}

impl Guard {
    pub(crate) fn new(agent: Arc<Agent>, line: Arc<Line>) -> Self {
        Guard {
            agent,
            line,
            reported: false,
        }
    }

    fn report(&mut self, reason: Reason) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let error = self.line.trouble(reason);
        self.agent.closed(self.line.id, error);
        // What was commanded and not begun.
        while let Some(command) = self.line.next() {
            if let Command::Start(task) = command {
                self.agent.finished(None, task.job, Outcome::NotSent);
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.report(Reason::Stopped);
    }
}

/// The protocol of one connection.
pub struct Conn {
    guard: Guard,
    inner: Option<Switch<Greeting<Secured>>>,
}

impl Conn {
    pub(crate) fn new(guard: Guard, peer: &Peer<'_, Nudge>) -> Self {
        let (agent, line) = (&guard.agent, &guard.line);
        *lock(&line.sender) = Some(peer.sender());
        let secured = if line.key.secure {
            let by_alpn = ByAlpn {
                agent: Arc::clone(agent),
                line: Arc::clone(line),
            };
            let made = agent.connector().and_then(|connector| {
                let tls = connector.connect_with(&line.key.host, peer.keep(), by_alpn);
                tls.map_err(|error| Error::Tls(error.to_string()))
            });
            match made {
                Ok(tls) => Either::Right(tls),
                Err(error) => {
                    line.note(error);
                    return Conn { guard, inner: None };
                }
            }
        } else {
            Either::Left(http(agent, line, false))
        };
        let inner = match line.key.handshake() {
            Some(handshake) => Switch::new(Greeting::new(handshake, agent.settings.timeouts.handshake, secured)),
            None => Switch::After(secured),
        };
        Conn {
            guard,
            inner: Some(inner),
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Switch<Greeting<Secured>>) -> Result<(), Failed>) -> Result<(), Error> {
        let Some(inner) = &mut self.inner else {
            return Err(Error::Stopped);
        };
        call(inner).map_err(|failed| {
            let error = error(failed);
            self.guard.line.note(error.clone());
            error
        })
    }
}

type Failed = SwitchError<Error, <Secured as Protocol>::Error>;

fn of_http(error: &Either<proto_http::ClientError, proto_h2::ClientError>) -> Error {
    match error {
        Either::Left(error) => one_error(*error),
        Either::Right(error) => two_error(*error),
    }
}

pub(crate) fn one_error(error: proto_http::ClientError) -> Error {
    match error {
        proto_http::ClientError::Misuse(misuse) => Error::Request(misuse),
        proto_http::ClientError::TimedOut(proto_http::Timer::Body) => Error::Timeout(Phase::Body),
        proto_http::ClientError::TimedOut(_) => Error::Timeout(Phase::Answer),
        proto_http::ClientError::Violation(violation) if violation.kind() == proto_http::ViolationKind::Truncated => {
            Error::Closed { kind: None }
        }
        error => Error::Protocol(error.to_string()),
    }
}

pub(crate) fn two_error(error: proto_h2::ClientError) -> Error {
    match error {
        proto_h2::ClientError::Misuse(misuse) => Error::Request(misuse),
        proto_h2::ClientError::TimedOut => Error::Timeout(Phase::Answer),
        error => Error::Protocol(error.to_string()),
    }
}

fn error(failed: Failed) -> Error {
    match failed {
        SwitchError::Before(error) => error,
        SwitchError::After(Either::Left(error)) => of_http(&error),
        SwitchError::After(Either::Right(proto_tls::Error::Inner(error))) => of_http(&error),
        SwitchError::After(Either::Right(proto_tls::Error::Timeout(_))) => Error::Timeout(Phase::Handshake),
        SwitchError::After(Either::Right(error)) => Error::Tls(error.to_string()),
    }
}

impl Protocol for Conn {
    type Message = Nudge;
    type Error = Error;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        if self.inner.is_none() {
            cx.abort();
            return Ok(());
        }
        self.guard.line.established.store(true, Ordering::Relaxed);
        self.call(|inner| inner.connected(cx))
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Error> {
        self.call(|inner| inner.received(cx, input))
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.call(|inner| inner.eof(cx))
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.as_ref().and_then(Protocol::deadline)
    }

    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.call(|inner| inner.timeout(cx))
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.call(|inner| inner.drained(cx))
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.call(|inner| inner.again(cx))
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.call(|inner| inner.flush(cx))
    }

    fn posted(&mut self, cx: &mut Cx<'_>, nudge: Nudge) -> Result<(), Error> {
        self.guard.line.heard();
        self.call(|inner| inner.posted(cx, nudge))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.call(|inner| inner.stop(cx))
    }

    fn closed(&mut self, reason: Reason) {
        if let Some(inner) = &mut self.inner {
            inner.closed(reason);
        }
        self.guard.report(reason);
    }
}
