//! Errors that end a connection over TLS.

use core::fmt;
use std::error::Error as StdError;

use protocol::Reason;

/// Why a connection over TLS cannot go on. `E` is the error of the protocol inside.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The handshake failed, or a record was invalid. The matching alert was sent (RFC 8446 section 6).
    Tls(Fault),
    /// The client spoke HTTP without TLS. It was answered with a 400.
    PlainHttp,
    /// The handshake was not complete in time.
    Timeout(Waiting),
    /// The peer ended its stream without `close_notify`: an attacker may have cut off the end (RFC 8446 section 6.1).
    Truncated,
    /// The peer ended its stream during the handshake.
    Ended,
    /// The handshake, or a later handshake message, exceeded [`Limits::handshake`](crate::Limits::handshake).
    TooLong,
    /// The factory refused the client after the handshake.
    Refused,
    /// Before the handshake was complete, other threads posted more messages than [`Limits::messages`](crate::Limits::messages) allows.
    TooManyMessages,
    /// The protocol inside exceeded a limit of the driver: [`Reason::InputLimit`] or [`Reason::OutputLimit`].
    Limit(Reason),
    /// A piece of a file in the output of the protocol inside could not be sent whole: [`Reason::File`].
    File(std::io::ErrorKind),
    /// The protocol inside failed.
    Inner(E),
}

/// The part of the handshake that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// The peer's first byte.
    FirstByte,
    /// The rest of the handshake.
    Handshake,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Tls(fault) => fault.fmt(f),
            Error::PlainHttp => f.write_str("the client spoke HTTP without TLS"),
            Error::Timeout(Waiting::FirstByte) => f.write_str("the peer sent nothing before the timeout"),
            Error::Timeout(Waiting::Handshake) => f.write_str("the TLS handshake timed out"),
            Error::Truncated => f.write_str("the peer ended the stream without a close_notify alert"),
            Error::Ended => f.write_str("the peer ended the stream during the TLS handshake"),
            Error::TooLong => f.write_str("the TLS handshake is too long"),
            Error::Refused => f.write_str("the client was refused after the TLS handshake"),
            Error::TooManyMessages => {
                f.write_str("too many messages were posted before the TLS handshake was complete")
            }
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

/// An error of TLS itself. Boxed, because it is rare and large.
#[derive(Clone, PartialEq)]
pub struct Fault(Box<rustls::Error>);

impl Fault {
    pub(crate) fn new(error: rustls::Error) -> Self {
        Fault(Box::new(error))
    }

    /// The kind of the error, for counting.
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

/// The kind of a [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The peer sent a fatal alert, for instance because it does not trust our certificate.
    Alert,
    /// The peer's certificate is missing, untrusted, expired, or for another name.
    Certificate,
    /// The two sides share no version, cipher suite, key exchange or application protocol.
    Incompatible,
    /// The peer broke the rules of TLS, or does not speak TLS.
    Peer,
    /// An error of this side: no randomness, no time, or no certificate for the name.
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
