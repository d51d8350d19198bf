//! What all connections of this process share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use protocol::Sender;

use crate::channel::Name;
use crate::messages::{Code, Failure};
use crate::node::{Expiry, Node, Post};
use crate::rule::{Access, Rule};
use crate::settings::Settings;
use crate::token::{BadToken, Claims};

/// The node, the settings, and who may do what by them.
pub(crate) struct App {
    pub(crate) node: Arc<Node>,
    pub(crate) settings: Settings,
    clients: AtomicU64,
    /// Where it serves, once it does.
    address: OnceLock<SocketAddr>,
}

impl App {
    pub(crate) fn new(node: Arc<Node>, settings: Settings) -> Self {
        App {
            node,
            settings,
            clients: AtomicU64::new(0),
            address: OnceLock::new(),
        }
    }

    /// From now on it serves at `address`.
    pub(crate) fn serves_at(&self, address: SocketAddr) {
        // Set once, when serving begins.
        let _ = self.address.set(address);
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// The number of a new client.
    pub(crate) fn number(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The name of a client, different from all that there ever were.
    pub(crate) fn client(&self, number: u64) -> String {
        format!("{}-{number}", self.node.instance)
    }

    /// What a token says.
    ///
    /// # Errors
    ///
    /// Why it is not taken; without a secret, none is.
    pub(crate) fn claims(&self, token: &str) -> Result<Claims, BadToken> {
        let secret = self.settings.secret.as_ref().ok_or(BadToken::Signature)?;
        secret.verify(token, SystemTime::now(), &self.settings.demands)
    }

    /// The rights that these claims give to the connection that `sender` reaches, for as long as they are good.
    pub(crate) fn rights(&self, claims: Claims, sender: &Sender<Post>) -> Rights {
        let left = claims.left(SystemTime::now(), self.settings.demands.leeway);
        // What is too far away for the clock does not come.
        let end = left.and_then(|left| Instant::now().checked_add(left));
        Rights {
            expiry: end.map(|end| self.node.expiries.add(end, sender.clone())),
            claims,
        }
    }

    /// Whether these rights have ended.
    pub(crate) fn has_ended(&self, rights: Option<&Rights>) -> bool {
        let Some(Rights { claims, .. }) = rights else {
            return false;
        };
        claims.expires.is_some() && !claims.is_good_at(SystemTime::now(), self.settings.demands.leeway)
    }

    /// A client was told that its rights have ended, a moment too early by the clock of the day: it is told again.
    pub(crate) fn renew(&self, rights: &mut Rights, sender: &Sender<Post>) {
        *rights = self.rights(core::mem::take(&mut rights.claims), sender);
    }

    /// The rule of a channel that somebody with these claims may read.
    pub(crate) fn may_subscribe(&self, channel: &Name, claims: Option<&Claims>) -> Result<&Arc<Rule>, Failure> {
        let rule = self.rule(channel)?;
        let named = || claims.is_some_and(|claims| claims.may_subscribe(channel));
        allowed(rule.subscribe, named).map(|()| rule)
    }

    /// The rule of a channel that somebody with these claims may write.
    pub(crate) fn may_publish(&self, channel: &Name, claims: Option<&Claims>) -> Result<&Arc<Rule>, Failure> {
        let rule = self.rule(channel)?;
        let named = || claims.is_some_and(|claims| claims.may_publish(channel));
        allowed(rule.publish, named).map(|()| rule)
    }

    /// The rule of a channel.
    pub(crate) fn rule(&self, channel: &Name) -> Result<&Arc<Rule>, Failure> {
        let missing = Failure::new(Code::NoSuchChannel, "no rule allows a channel of this name");
        self.node.config.rules.of(channel).ok_or(missing)
    }
}

/// What a token allows a connection, and the clock that ends it.
pub(crate) struct Rights {
    pub(crate) claims: Claims,
    expiry: Option<Expiry>,
}

impl Rights {
    /// Whether they end by themselves.
    pub(crate) fn end(&self) -> bool {
        self.expiry.is_some()
    }
}

fn allowed(access: Access, named: impl FnOnce() -> bool) -> Result<(), Failure> {
    match access {
        Access::Anyone => Ok(()),
        Access::Token if named() => Ok(()),
        Access::Token => Err(Failure::new(Code::Forbidden, "no token names this channel")),
        Access::Nobody => Err(Failure::new(Code::Forbidden, "no client may do this")),
    }
}
