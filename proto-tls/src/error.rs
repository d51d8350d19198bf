//! Why a connection over TLS ended.

use core::fmt;
use std::error::Error as StdError;

use protocol::Reason;

/// Why a connection over TLS cannot go on. `E` is the error of the protocol inside.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The handshake failed, or a record was broken. The alert that says so was sent (RFC 8446 section 6).
    Tls(Fault),
    /// The client spoke HTTP without TLS. It was told so with a status of 400.
    PlainHttp,
    /// The handshake did not end in time.
    Timeout(Waiting),
    /// The peer ended its stream without `close_notify`: somebody may have cut off its end (RFC 8446 section 6.1).
    Truncated,
    /// The peer ended its stream within the handshake.
    Ended,
    /// The handshake, or a message after it, was longer than [`Limits::handshake`](crate::Limits::handshake).
    TooLong,
    /// The factory refused the client after the handshake.
    Refused,
    /// More messages came from other threads before the handshake ended than
    /// [`Limits::messages`](crate::Limits::messages) allows.
    TooManyMessages,
    /// The connection of the protocol inside broke a limit of the driver: [`Reason::InputLimit`] or
    /// [`Reason::OutputLimit`].
    Limit(Reason),
    /// A piece of a file in the output of the protocol inside could not be sent whole: [`Reason::File`].
    File(std::io::ErrorKind),
    /// The protocol inside failed.
    Inner(E),
}

/// What a handshake that took too long was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// For the first byte.
    FirstByte,
    /// For the rest of the handshake.
    Handshake,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Tls(fault) => fault.fmt(f),
            Error::PlainHttp => f.write_str("the client spoke HTTP without TLS"),
            Error::Timeout(Waiting::FirstByte) => f.write_str("the peer said nothing in time"),
            Error::Timeout(Waiting::Handshake) => f.write_str("the TLS handshake did not end in time"),
            Error::Truncated => f.write_str("the peer ended the stream without a close_notify alert"),
            Error::Ended => f.write_str("the peer ended the stream within the TLS handshake"),
            Error::TooLong => f.write_str("the TLS handshake is too long"),
            Error::Refused => f.write_str("the client was refused after the TLS handshake"),
            Error::TooManyMessages => f.write_str("too many messages came before the TLS handshake ended"),
            Error::Limit(reason) => reason.fmt(f),
            Error::File(kind) => Reason::File(*kind).fmt(f),
            Error::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Tls(fault) => fault.source(),
            Error::Inner(error) => error.source(),
            _ => None,
        }
    }
}

/// What TLS itself found wrong. Boxed, as it is rare and large.
#[derive(Clone, PartialEq)]
pub struct Fault(Box<rustls::Error>);

impl Fault {
    pub(crate) fn new(error: rustls::Error) -> Self {
        Fault(Box::new(error))
    }

    /// Who or what is to blame, for counting.
    pub fn kind(&self) -> FaultKind {
        use rustls::Error as E;
        match &*self.0 {
            E::AlertReceived(_) => FaultKind::Alert,
            E::InvalidCertificate(_) | E::NoCertificatesPresented | E::UnsupportedNameType => FaultKind::Certificate,
            E::PeerIncompatible(_) | E::NoApplicationProtocol => FaultKind::Incompatible,
            E::InvalidMessage(_)
            | E::PeerMisbehaved(_)
            | E::InappropriateMessage { .. }
            | E::InappropriateHandshakeMessage { .. }
            | E::DecryptError
            | E::PeerSentOversizedRecord => FaultKind::Peer,
            _ => FaultKind::Local,
        }
    }
}

/// What kind of a [`Fault`] it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The peer sent a fatal alert: for instance, it does not trust the certificate.
    Alert,
    /// The peer's certificate is missing, not trusted, expired or for another name.
    Certificate,
    /// Both sides have no version, cipher suite, key exchange or application protocol in common.
    Incompatible,
    /// The peer broke the rules of TLS, or sent what is no TLS.
    Peer,
    /// This side cannot go on: no randomness, no time, no certificate for the name.
    Local,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.0)
    }
}

impl StdError for Fault {}
