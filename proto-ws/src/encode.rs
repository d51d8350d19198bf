//! Appends frames to the output, and encodes messages for many connections at once.

use bytes::{Bytes, BytesMut};

use crate::frame::{Header, HeaderBytes, Opcode, Role};
use crate::mask::Mask;
use crate::{Entropy, Kind, Message};

mod sealed {
    pub trait Sealed {}
}

/// Whether one side of a connection masks its frames. Implemented by [`Unmasked`] and [`Masked`].
pub trait Side: sealed::Sealed {
    /// The side.
    const ROLE: Role;
    #[doc(hidden)]
    fn key(&mut self) -> Option<[u8; 4]>;
}

/// The server's side: frames are not masked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmasked;

/// The client's side: every frame is masked with a fresh key from `E` (RFC 6455 section 5.3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Masked<E>(pub E);

impl sealed::Sealed for Unmasked {}
impl<E> sealed::Sealed for Masked<E> {}

impl Side for Unmasked {
    const ROLE: Role = Role::Server;

    #[inline]
    fn key(&mut self) -> Option<[u8; 4]> {
        None
    }
}

impl<E: Entropy> Side for Masked<E> {
    const ROLE: Role = Role::Client;

    #[inline]
    fn key(&mut self) -> Option<[u8; 4]> {
        let mut key = [0; 4];
        self.0.fill(&mut key);
        Some(key)
    }
}

impl From<Kind> for Opcode {
    #[inline]
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

/// Appends a frame. The payload is copied, and masked in the same pass if `key` is given.
#[inline]
pub(crate) fn frame(out: &mut BytesMut, fin: bool, rsv: u8, opcode: Opcode, key: Option<[u8; 4]>, payload: &[u8]) {
    let header = Header {
        fin,
        rsv,
        opcode,
        mask: key,
        len: payload.len() as u64,
    }
    .encode();
    header.append(payload.len(), out);
    match key {
        None => out.extend_from_slice(payload),
        Some(key) => Mask::new(key).append(payload, out),
    }
}

/// A message that is encoded once and sent on any number of connections; connections of a server send it without copying.
#[derive(Debug, Clone)]
pub struct PreparedMessage {
    kind: Kind,
    /// The frame in a server's form.
    plain: Bytes,
    header: u8,
    #[cfg(feature = "deflate")]
    compressed: Option<crate::deflate::Prepared>,
}

impl PreparedMessage {
    /// Encodes `message`.
    pub fn new(message: Message<'_>) -> Self {
        let payload = message.as_bytes();
        let header = header(message.kind(), payload.len());
        let mut plain = BytesMut::with_capacity(header.len() + payload.len());
        plain.extend_from_slice(&header);
        plain.extend_from_slice(payload);
        PreparedMessage {
            kind: message.kind(),
            plain: plain.freeze(),
            header: header.len() as u8,
            #[cfg(feature = "deflate")]
            compressed: None,
        }
    }

    /// Encodes a text message.
    pub fn text(text: &str) -> Self {
        Self::new(Message::Text(text))
    }

    /// Encodes a binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(Message::Binary(bytes))
    }

    /// The message's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message's payload.
    pub fn payload(&self) -> &[u8] {
        self.plain.get(usize::from(self.header)..).unwrap_or_default()
    }

    /// The whole frame, uncompressed and unmasked.
    pub(crate) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// Also compresses the message, once, for the connections that negotiated permessage-deflate with a window of at least
    /// `settings.prepared_window_bits`.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compressed(mut self, settings: &crate::deflate::Settings) -> Self {
        self.compressed = crate::deflate::Prepared::new(self.kind, self.payload(), settings);
        self
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn deflated(&self) -> Option<&crate::deflate::Prepared> {
        self.compressed.as_ref()
    }
}

/// The header of an unmasked message in one frame.
#[inline]
pub(crate) fn header(kind: Kind, len: usize) -> HeaderBytes {
    Header {
        fin: true,
        rsv: 0,
        opcode: kind.into(),
        mask: None,
        len: len as u64,
    }
    .encode()
}
