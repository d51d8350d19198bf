//! Counters.

use core::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, FaultKind};
use crate::session::{Session, Version};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters over all threads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// All counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        /// The same counters, while they are updated.
        #[derive(Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Complete handshakes.
    handshakes,
    /// Complete handshakes that resumed a session.
    resumed,
    /// Complete handshakes of TLS 1.2; the others are TLS 1.3.
    tls12,
    /// Complete handshakes in which the client presented a certificate.
    client_certificates,
    /// Connections that the peer or the network ended during the handshake.
    ended,
    /// Handshakes that timed out.
    timeouts,
    /// Clients that spoke HTTP without TLS.
    plain_http,
    /// Handshakes that the peer ended with an alert.
    alerts,
    /// Handshakes that failed because of the peer's certificate.
    bad_certificates,
    /// Handshakes that failed because the two sides had no algorithm or protocol in common.
    incompatible,
    /// Handshakes in which the peer broke the rules or exceeded the size limit.
    violations,
    /// Handshakes that failed because of this side.
    local,
    /// Clients that the factory refused after the handshake.
    refused,
    /// Established connections that ended without `close_notify` or with an invalid record.
    broken,
}

impl Stats {
    /// Failed handshakes, for any reason.
    pub fn failed(&self) -> u64 {
        let by_peer = self.ended + self.timeouts + self.plain_http + self.alerts + self.violations;
        by_peer + self.bad_certificates + self.incompatible + self.local + self.refused
    }
}

impl Counters {
    pub(crate) fn opened(&self, session: Session<'_>, server: bool) {
        let count = |counter: &AtomicU64, yes: bool| {
            if yes {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        count(&self.handshakes, true);
        count(&self.resumed, session.is_resumed());
        count(&self.tls12, session.version() == Version::Tls12);
        count(
            &self.client_certificates,
            server && session.peer_certificates().is_some(),
        );
    }

    pub(crate) fn failed<E>(&self, error: &Error<E>) {
        let counter = match error {
            Error::Tls(fault) => match fault.kind() {
                FaultKind::Alert => &self.alerts,
                FaultKind::Certificate => &self.bad_certificates,
                FaultKind::Incompatible => &self.incompatible,
                FaultKind::Peer => &self.violations,
                FaultKind::Local => &self.local,
            },
            Error::PlainHttp => &self.plain_http,
            Error::Timeout(_) => &self.timeouts,
            Error::TooLong => &self.violations,
            Error::Refused => &self.refused,
            Error::Ended => &self.ended,
            Error::Truncated | Error::TooManyMessages | Error::Limit(_) | Error::File(_) | Error::Inner(_) => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}
