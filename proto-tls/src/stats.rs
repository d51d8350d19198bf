//! What is counted.

use core::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, FaultKind};
use crate::session::{Session, Version};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened so far, on all threads.
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

        /// The same, being counted.
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
    /// Handshakes that ended well.
    handshakes,
    /// Those of them that resumed a session.
    resumed,
    /// Those of them over TLS 1.2; the others are over TLS 1.3.
    tls12,
    /// Those of them in which the client showed a certificate.
    client_certificates,
    /// Connections that ended before their handshake did, by the peer or the network.
    ended,
    /// Handshakes that did not end in time.
    timeouts,
    /// Clients that spoke HTTP without TLS.
    plain_http,
    /// Handshakes that the peer ended with an alert.
    alerts,
    /// Handshakes that failed for the peer's certificate.
    bad_certificates,
    /// Handshakes for which both sides had too little in common.
    incompatible,
    /// Handshakes in which the peer broke the rules, or was too long.
    violations,
    /// Handshakes that failed on this side.
    local,
    /// Clients that the factory refused after the handshake.
    refused,
    /// Established connections that ended without `close_notify`, or for a broken record.
    broken,
}

impl Stats {
    /// Handshakes that failed, for whatever reason.
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
