//! Proxies in front of the server: which are trusted, who their clients are, and how many connections each client has.

mod crowd;
mod forwarded;
mod networks;
mod notice;

use std::net::IpAddr;
use std::sync::Arc;

use proto_http::Fields;
use protocol::{Protocol, Wrapper};

pub(crate) use self::crowd::{Crowd, Ticket};
pub(crate) use self::forwarded::Forwarded;
pub(crate) use self::networks::Networks;
pub(crate) use self::notice::{Notice, quoted};

/// The settings for proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    /// The networks whose connections begin with a header of the PROXY protocol.
    pub(crate) announcing: Networks,
    /// The networks whose `Forwarded` and `X-Forwarded-For` are believed.
    pub(crate) trusted: Networks,
}

impl Proxies {
    /// Whether some connections come through proxies. If so, the drivers cannot count connections by client.
    pub(crate) fn are_used(&self) -> bool {
        !(self.announcing.is_empty() && self.trusted.is_empty())
    }
}

/// Admits clients, directly or through proxies.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) proxies: Proxies,
    /// Counts clients, if they are limited and not counted by the driver.
    pub(crate) crowd: Option<Crowd>,
    max: usize,
    full: Notice,
    contradictions: Notice,
    pub(crate) origins: Notice,
}

/// The client has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Edge {
    /// `per_address` connections of each client, if they are limited.
    pub(crate) fn new(proxies: Proxies, per_address: Option<usize>) -> Self {
        Edge {
            crowd: per_address.filter(|_| proxies.are_used()).map(Crowd::new),
            max: per_address.unwrap_or(usize::MAX),
            proxies,
            full: Notice::default(),
            contradictions: Notice::default(),
            origins: Notice::default(),
        }
    }

    /// Counts a connection, by the address of its client. Nothing is counted without a limit, or without an address.
    ///
    /// # Errors
    ///
    /// [`TooMany`], which is logged.
    pub(crate) fn enter(&self, client: Option<IpAddr>) -> Result<Option<Ticket>, TooMany> {
        let Some((crowd, client)) = self.crowd.as_ref().zip(client) else {
            return Ok(None);
        };
        match crowd.enter(client) {
            Some(ticket) => Ok(Some(ticket)),
            None => {
                let max = self.max;
                self.full
                    .say(|| format!("{client} has its {max} connections (max_per_address): one more was refused"));
                Err(TooMany)
            }
        }
    }

    /// The connection with this ticket has ended.
    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        if let Some((crowd, ticket)) = self.crowd.as_ref().zip(ticket) {
            crowd.leave(ticket);
        }
    }

    /// What the trusted proxy `proxy` says about a request.
    pub(crate) fn forwarded<'r>(&self, fields: &Fields<'r>, proxy: Option<IpAddr>) -> Forwarded<'r> {
        let forwarded = Forwarded::read(fields, proxy, &self.proxies.trusted);
        if forwarded.contradicts {
            self.contradictions.say(|| {
                let proxy = proxy.map_or("over a Unix socket".to_owned(), |proxy| proxy.to_string());
                format!(
                    "Forwarded and X-Forwarded-For of the proxy {proxy} name different clients: neither is believed; the proxy should \
                     remove the field that it does not write"
                )
            });
        }
        forwarded
    }
}

/// A connection that is counted until it ends.
pub(crate) struct Admitted<P> {
    inner: P,
    /// Returned when the connection is dropped.
    _place: Option<Place>,
}

/// The place of a connection in the count.
struct Place(Arc<Edge>, Option<Ticket>);

impl Edge {
    /// Makes the protocol of a connection whose client is `client`, and counts it until it ends. The connections of trusted proxies are not
    /// counted: their requests are. `None` if the client has enough connections, or if `make` refuses.
    pub(crate) fn admit<P>(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        make: impl FnOnce() -> Option<P>,
    ) -> Option<Admitted<P>> {
        let ticket = self
            .enter(client.filter(|_| !self.proxies.trusted.contains(client)))
            .ok()?;
        let place = ticket.map(|ticket| Place(Arc::clone(self), Some(ticket)));
        Some(Admitted {
            inner: make()?,
            _place: place,
        })
    }
}

impl<P: Protocol> Wrapper for Admitted<P> {
    type Inner = P;

    #[inline]
    fn inner(&self) -> &P {
        &self.inner
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut P {
        &mut self.inner
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave(self.1.take());
    }
}
