//! The state that all connections of this process share.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use protocol::Sender;

use crate::backend::{About, Backend, Event, Proxy};
use crate::broker::{Done, Who};
use crate::channel::Name;
use crate::clock;
use crate::edge::{Edge, Notice, quoted};
use crate::messages::{Code, Failure};
use crate::node::{Expiry, Known, Node, Post};
use crate::publication::{Draft, Position};
use crate::rule::{Access, Rule};
use crate::settings::Settings;
use crate::token::{BadToken, Claims};

/// The node, the settings, and the checks of clients' rights.
pub(crate) struct App {
    pub(crate) node: Arc<Node>,
    settings: RwLock<Arc<Settings>>,
    /// Two of the settings, which are needed for each message of a client: the most requests per second, and the tolerance in nanoseconds.
    requests: AtomicU32,
    leeway: AtomicU64,
    pub(crate) edge: Arc<Edge>,
    pub(crate) notices: Notices,
    pub(crate) backend: Option<Backend>,
    clients: AtomicU64,
    /// The address it serves at, once it serves.
    address: OnceLock<SocketAddr>,
}

impl App {
    /// # Errors
    ///
    /// If what tells and asks the back end cannot be started.
    pub(crate) fn new(node: Arc<Node>, settings: Settings) -> io::Result<Self> {
        let backend = settings.backend.as_ref();
        let backend = backend.map(|backend| Backend::start(settings.driver, backend, &node.name, &node.config.start));
        let backend = backend.transpose()?;
        if let Some(webhook) = backend.as_ref().and_then(|backend| backend.webhook.as_ref()) {
            node.tells(Arc::clone(webhook));
        }
        if let Some(proxy) = backend.as_ref().and_then(|backend| backend.proxy.as_ref()) {
            node.asks(Arc::clone(proxy));
        }
        Ok(App {
            backend,
            edge: Arc::new(settings.edge()),
            node,
            requests: AtomicU32::new(settings.limits.requests),
            leeway: AtomicU64::new(nanoseconds(settings.demands.leeway)),
            settings: RwLock::new(Arc::new(settings)),
            notices: Notices::default(),
            clients: AtomicU64::new(0),
            address: OnceLock::new(),
        })
    }

    /// Tells the back end what has happened, if it wants to know.
    pub(crate) fn tell(&self, event: Event, number: u64, user: Option<&str>, channel: Option<&Name>) {
        let Some(webhook) = self.backend.as_ref().and_then(|backend| backend.webhook.as_ref()) else {
            return;
        };
        if channel.is_some_and(|channel| !self.rule(channel).is_ok_and(|rule| rule.webhook)) {
            return;
        }
        let client = self.client(number);
        let about = About {
            channel,
            client: Some(&client),
            user,
            ..About::default()
        };
        webhook.tell(event, about);
    }

    /// Publishes what a client or the back end wants published, and tells the back end once the broker has it. `number` is that of the
    /// client.
    pub(crate) fn publish(&self, draft: Draft, rule: &Rule, number: Option<u64>, done: Done<Position>) {
        self.node.counters.published.add(1);
        let webhook = self.backend.as_ref().and_then(|backend| backend.webhook.as_ref());
        let done = match webhook.filter(|_| rule.webhook) {
            None => done,
            Some(webhook) => done.telling(webhook, &draft, number.map(|number| self.client(number))),
        };
        self.node.broker().publish(draft, rule.keep, done);
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The average number of requests per second that a client may make.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The tolerated difference between clocks.
    pub(crate) fn leeway(&self) -> Duration {
        Duration::from_nanos(self.leeway.load(Ordering::Relaxed))
    }

    /// Puts other settings in force. Those that a running server cannot change must be the same as before.
    pub(crate) fn change(&self, settings: Settings) {
        self.requests.store(settings.limits.requests, Ordering::Relaxed);
        self.leeway
            .store(nanoseconds(settings.demands.leeway), Ordering::Relaxed);
        let rules = settings.rules.clone();
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.node.change_rules(rules);
    }

    /// Sets the address that it serves at.
    pub(crate) fn serves_at(&self, address: SocketAddr) {
        // Set once, when serving begins.
        let _ = self.address.set(address);
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// The number for a new client.
    pub(crate) fn number(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The name of a client, which differs from the names of all clients ever.
    pub(crate) fn client(&self, number: u64) -> String {
        format!("{}-{number}", self.node.instance)
    }

    /// A client has missed so many publications of a channel, or is disconnected, because it reads too slowly.
    pub(crate) fn is_slow(&self, number: u64, channel: &Name, missed: u64, closed: bool) {
        let client = self.client(number);
        self.node.slow.note(clock::now(), client, channel, missed, closed);
    }

    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    ///
    /// Why the token is refused; without a secret and keys, every token is.
    pub(crate) fn claims(&self, token: &str) -> Result<Claims, BadToken> {
        let (settings, now) = (self.settings(), SystemTime::now());
        let claims = settings.authority.verify(token, now, &settings.demands);
        let claims = claims.map_err(|bad| (bad, None)).and_then(|claims| {
            if self.node.revoked.has(&claims) {
                return Err((BadToken::Revoked, claims.user));
            }
            Ok(claims)
        });
        claims.map_err(|(bad, user)| {
            let whom = user.map_or("a client".to_owned(), |user| format!("user {}", quoted(&user)));
            self.notices
                .tokens
                .say(|| format!("a token of {whom} was refused: {bad}"));
            bad
        })
    }

    /// Grants the rights of `claims` to the connection of `sender`, until the token expires.
    pub(crate) fn rights(&self, claims: Claims, sender: &Sender<Post>) -> Rights {
        let left = claims.left(SystemTime::now(), self.leeway());
        // A time beyond the range of the clock never comes.
        let end = left.and_then(|left| Instant::now().checked_add(left));
        Rights {
            expiry: end.map(|end| self.node.expiries.add(end, sender.clone())),
            known: self
                .node
                .clients
                .is_of(claims.user.as_ref().unwrap_or(&"".into()), sender.clone()),
            who: Who::new(claims.user.clone(), claims.info.clone()),
            claims,
        }
    }

    /// Whether these rights have expired.
    pub(crate) fn has_ended(&self, rights: Option<&Rights>) -> bool {
        let Some(Rights { claims, .. }) = rights else {
            return false;
        };
        claims.expires.is_some() && !claims.is_good_at(SystemTime::now(), self.leeway())
    }

    /// Renews the timer of rights that were reported as expired slightly too early, because the clocks differ.
    pub(crate) fn renew(&self, rights: &mut Rights, sender: &Sender<Post>) {
        *rights = self.rights(core::mem::take(&mut rights.claims), sender);
    }

    /// Asks the back end, if one decides.
    pub(crate) fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.backend.as_ref()?.proxy.as_ref()
    }

    /// The rule of a channel, if `claims` permit reading the channel.
    pub(crate) fn may_subscribe(&self, channel: &Name, claims: Option<&Claims>) -> Result<Arc<Rule>, Failure> {
        let rule = self.rule(channel)?;
        let named = || claims.is_some_and(|claims| claims.may_subscribe(channel));
        allowed(rule.subscribe, named).map(|()| rule)
    }

    /// The rule of a channel, if `claims` permit writing to the channel.
    pub(crate) fn may_publish(&self, channel: &Name, claims: Option<&Claims>) -> Result<Arc<Rule>, Failure> {
        let rule = self.rule(channel)?;
        let named = || claims.is_some_and(|claims| claims.may_publish(channel));
        allowed(rule.publish, named).map(|()| rule)
    }

    /// The rule of a channel.
    pub(crate) fn rule(&self, channel: &Name) -> Result<Arc<Rule>, Failure> {
        let missing = Failure::new(Code::NoSuchChannel, "no rule allows a channel of this name");
        self.node.rule(channel).ok_or(missing)
    }
}

/// Log lines that clients can cause, by kind.
#[derive(Default)]
pub(crate) struct Notices {
    tokens: Notice,
    pub(crate) api: Notice,
    pub(crate) slow: Notice,
    pub(crate) limits: Notice,
    pub(crate) publications: Notice,
}

/// The rights that a token gives a connection, and the timer that ends them.
pub(crate) struct Rights {
    pub(crate) claims: Claims,
    /// What others are told of the user.
    pub(crate) who: Option<Arc<Who>>,
    expiry: Option<Expiry>,
    /// Makes the user's orders reach the connection.
    #[expect(dead_code, reason = "its drop is what counts")]
    known: Known,
}

impl Rights {
    /// Whether the rights expire.
    pub(crate) fn end(&self) -> bool {
        self.expiry.is_some()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn allowed(access: Access, named: impl Fn() -> bool) -> Result<(), Failure> {
    match access {
        Access::Anyone => Ok(()),
        Access::Token | Access::Proxy if named() => Ok(()),
        Access::Token => Err(Failure::new(Code::Forbidden, "no token names this channel")),
        Access::Proxy => Err(Failure::new(
            Code::Forbidden,
            "the back end decides about this channel, and was not asked",
        )),
        Access::Nobody => Err(Failure::new(Code::Forbidden, "no client may do this")),
    }
}
