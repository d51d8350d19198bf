//! One connection after its opening handshake, without I/O: messages in, frames out, and the closing handshake.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::close::State;
use crate::decode::{Core, Step};
use crate::encode::{Masked, Side, Unmasked};
use crate::writer::Writer;
use crate::{Config, Entropy, Event, Kind, Message, Violation};

/// A connection after its opening handshake, in two halves, so that an event borrowed from the reader can be answered
/// through the writer.
///
/// The reader answers Pings and echoes Close frames. When the peer breaks the protocol, the reader appends the Close frame
/// that reports the violation to the output, then returns the error.
///
/// ```
/// use proto_ws::{Connection, Event};
///
/// let Connection { mut reader, mut writer } = Connection::server(Default::default());
/// let mut out = bytes::BytesMut::new();
/// let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// let mut input = &mut bytes[..];
/// while let Some(event) = reader.next(&mut writer, &mut input, &mut out)? {
///     if let Event::Message(message) = event {
///         writer.message(&mut out, message)?;
///     }
/// }
/// assert_eq!(&out[..], b"\x81\x05Hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection<S = Unmasked> {
    /// The receiving half.
    pub reader: Reader,
    /// The sending half, and the state of the closing handshake.
    pub writer: Writer<S>,
}

impl Connection {
    /// A server's connection.
    pub fn server(config: Arc<Config>) -> Self {
        Self::new(config, Unmasked)
    }
}

impl<E: Entropy> Connection<Masked<E>> {
    /// A client's connection; `entropy` generates the masking keys.
    pub fn client(config: Arc<Config>, entropy: E) -> Self {
        Self::new(config, Masked(entropy))
    }
}

impl<S: Side> Connection<S> {
    fn new(config: Arc<Config>, side: S) -> Self {
        Connection {
            reader: Reader::new(S::ROLE),
            writer: Writer::new(config, side),
        }
    }

    /// The same connection with the extensions that a server has accepted in its answer.
    #[cfg(feature = "handshake")]
    #[must_use]
    pub fn accepted(self, response: &crate::handshake::server::Response<'_>) -> Self {
        #[cfg(feature = "deflate")]
        if let Some(parameters) = response.chosen_deflate() {
            return self.deflate(parameters);
        }
        let _ = response;
        self
    }

    /// The same connection with the extensions that the server granted.
    #[cfg(feature = "handshake")]
    #[must_use]
    pub fn granted(self, granted: &crate::handshake::client::Granted<'_>) -> Self {
        #[cfg(feature = "deflate")]
        if let Some(parameters) = granted.deflate {
            return self.deflate(parameters);
        }
        let _ = granted;
        self
    }

    /// The same connection with permessage-deflate as negotiated.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, parameters: crate::deflate::Parameters) -> Self {
        self.reader.core = Core::new(S::ROLE, true);
        self.reader.inflate = Some(Box::new(crate::deflate::Inflater::new(S::ROLE, parameters)));
        self.writer.deflate(parameters);
        self
    }
}

/// The half of a [`Connection`] that receives.
#[derive(Debug)]
pub struct Reader {
    core: Core,
    aside: Option<Box<Aside>>,
    #[cfg(feature = "deflate")]
    inflate: Option<Box<crate::deflate::Inflater>>,
}

/// The part of the current message that has arrived.
#[derive(Debug, Default)]
struct Aside {
    text: String,
    binary: Vec<u8>,
    /// The last call lent the bytes to the caller.
    lent: bool,
}

impl Reader {
    fn new(role: crate::Role) -> Self {
        Reader {
            core: Core::new(role, false),
            aside: None,
            #[cfg(feature = "deflate")]
            inflate: None,
        }
    }

    /// Whether a message has begun to arrive and is not complete.
    #[inline]
    pub fn is_inside_message(&self) -> bool {
        self.core.is_inside_message()
    }

    /// Returns the next event, or `None` when more input is needed. Consumes the bytes that it used from the front of
    /// `input`; pass the bytes that are left (130 at most) again, with newer ones after them. Answers are appended to `out`.
    ///
    /// After [`Event::Close`] the closing handshake is over: send `out`, then end the stream. A server ends the stream
    /// first; a client waits until the server has ended it (RFC 6455 section 7.1.1). Further input is dropped.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or exceeded a limit; `out` holds the Close frame that reports this. Further input is
    /// dropped.
    #[inline]
    pub fn next<'e, 'a: 'e, S: Side>(
        &'e mut self,
        writer: &mut Writer<S>,
        input: &mut &'a mut [u8],
        out: &mut BytesMut,
    ) -> Result<Option<Event<'e>>, Violation> {
        if matches!(writer.state(), State::Closed | State::Failed) {
            self.aside = None;
            *input = &mut [];
            return Ok(None);
        }
        if self.aside.is_some() {
            self.take_back(writer.config().limits.keep);
        }
        loop {
            match self.core.step(&writer.config().limits, input) {
                Ok(Some(Step::Event(event @ Event::Message(_)))) => return Ok(Some(event)),
                Ok(Some(Step::Event(Event::Part { part, last }))) => {
                    if writer.config().parts {
                        return Ok(Some(Event::Part { part, last }));
                    }
                    self.collect(part);
                    if last {
                        return Ok(Some(self.lend(part.kind(), None)));
                    }
                }
                Ok(Some(Step::Character(character, last))) => {
                    self.aside.get_or_insert_default().text.push(character);
                    if writer.config().parts {
                        return Ok(Some(self.lend(Kind::Text, Some(last))));
                    } else if last {
                        return Ok(Some(self.lend(Kind::Text, None)));
                    }
                }
                Ok(Some(Step::Event(Event::Compressed { kind, bytes, last }))) => {
                    if let Err(error) = self.inflate(kind, bytes, last, writer.config()) {
                        return Err(self.fail(writer, error, out));
                    } else if writer.config().parts {
                        return Ok(Some(self.lend(kind, Some(last))));
                    } else if last {
                        return Ok(Some(self.lend(kind, None)));
                    }
                }
                Ok(Some(Step::Event(event))) => return writer.control(event, out).map(Some),
                Ok(None) => {
                    writer.last_pong(out);
                    return Ok(None);
                }
                Err(error) => return Err(self.fail(writer, error, out)),
            }
        }
    }

    /// Tells the peer the reason. Frees the unfinished message, because the connection may stay for a while.
    #[cold]
    fn fail<S: Side>(&mut self, writer: &mut Writer<S>, error: Violation, out: &mut BytesMut) -> Violation {
        self.aside = None;
        #[cfg(feature = "deflate")]
        {
            self.inflate = None;
        }
        writer.fail(error, out)
    }

    /// Adds a part to the current message.
    fn collect(&mut self, part: Message<'_>) {
        let aside = self.aside.get_or_insert_default();
        match part {
            Message::Text(text) => aside.text.push_str(text),
            Message::Binary(bytes) => aside.binary.extend_from_slice(bytes),
        }
    }

    #[cfg(feature = "deflate")]
    fn inflate(&mut self, kind: Kind, bytes: &[u8], last: bool, config: &Config) -> Result<(), Violation> {
        let Some(inflate) = &mut self.inflate else {
            return Err(Violation::ReservedBit);
        };
        let aside = self.aside.get_or_insert_default();
        match kind {
            Kind::Text => inflate.text(bytes, last, &config.limits, &config.deflate.pool, &mut aside.text),
            Kind::Binary => inflate.binary(bytes, last, &config.limits, &config.deflate.pool, &mut aside.binary),
        }
    }

    #[cfg(not(feature = "deflate"))]
    #[cold]
    fn inflate(&mut self, _: Kind, _: &[u8], _: bool, _: &Config) -> Result<(), Violation> {
        Err(Violation::ReservedBit)
    }

    /// Lends the assembled bytes: a part, which may be the last, or a whole message.
    fn lend(&mut self, kind: Kind, part: Option<bool>) -> Event<'_> {
        let aside = self.aside.get_or_insert_default();
        aside.lent = true;
        let message = match kind {
            Kind::Text => Message::Text(&aside.text),
            Kind::Binary => Message::Binary(&aside.binary),
        };
        match part {
            Some(last) => Event::Part { part: message, last },
            None => Event::Message(message),
        }
    }

    /// Takes back the bytes that the last call lent, and keeps at most `keep` bytes of their memory.
    fn take_back(&mut self, keep: usize) {
        let Some(aside) = &mut self.aside else { return };
        if aside.lent {
            aside.lent = false;
            aside.text.clear();
            aside.binary.clear();
            aside.text.shrink_to(keep);
            aside.binary.shrink_to(keep);
            if aside.text.capacity() == 0 && aside.binary.capacity() == 0 {
                self.aside = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_message_goes_when_it_fails() {
        let mut config = Config::default();
        config.limits.message = 10;
        let Connection { mut reader, mut writer } = Connection::server(Arc::new(config));
        let mut out = BytesMut::new();
        // Two parts of 8 bytes, masked with a key of zeros.
        let mut first = [&[0x02, 0x88, 0, 0, 0, 0], &[b'x'; 8][..]].concat();
        let mut second = [&[0x80, 0x88, 0, 0, 0, 0], &[b'x'; 8][..]].concat();
        assert_eq!(reader.next(&mut writer, &mut &mut first[..], &mut out), Ok(None));
        assert!(reader.aside.is_some());
        assert_eq!(
            reader.next(&mut writer, &mut &mut second[..], &mut out),
            Err(Violation::MessageTooLong)
        );
        assert!(reader.aside.is_none());
    }
}
