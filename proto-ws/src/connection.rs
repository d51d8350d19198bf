//! One connection after its handshake, pulled: messages in, frames out, and the closing handshake between.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::close::{self, State};
use crate::decode::{Core, Step};
use crate::encode::{self, Masked, PreparedMessage, Side, Unmasked};
use crate::frame::{HeaderBytes, Opcode};
use crate::{CloseCode, CloseReason, Config, Entropy, Error, Event, Kind, Message, Misuse};

/// Pings answered one by one before the end of the input; of more, only the last is (RFC 6455 section 5.5.3).
const PONGS: u8 = 16;

/// A connection whose opening handshake is over.
///
/// * **Input**: [`receive`](Self::receive), [`end`](Self::end), [`refill`](Self::refill).
/// * **Output**, appended to the caller's buffer: [`message`](Self::message) and its shorthands, [`part`](Self::part),
///   [`ping`](Self::ping), [`pong`](Self::pong), [`close`](Self::close), [`prepared`](Self::prepared).
/// * **Getters**: [`state`](Self::state), [`is_inside_message`](Self::is_inside_message).
///
/// Pings are answered and Close frames echoed while receiving. When the peer breaks the protocol, the Close frame that
/// says so is in the output before the error is returned.
///
/// ```
/// use proto_ws::{Connection, Event, Message};
///
/// let mut connection = Connection::server(Default::default());
/// let mut out = bytes::BytesMut::new();
/// let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// let mut input = &mut bytes[..];
/// while let Some(event) = connection.receive(&mut input, &mut out)? {
///     assert_eq!(event, Event::Message(Message::Text("Hello")));
/// }
/// connection.text(&mut out, "Hello")?;
/// assert_eq!(&out[..], b"\x81\x05Hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection<S = Unmasked> {
    core: Core,
    config: Arc<Config>,
    aside: Option<Box<Aside>>,
    #[cfg(feature = "deflate")]
    deflate: Option<Box<crate::deflate::Context>>,
    /// Control frames the peer may still send.
    control_frames: u32,
    /// Pings answered since the input was last used up.
    pongs: u8,
    state: State,
    /// The message being sent in parts.
    sending: Option<Kind>,
    side: S,
}

/// What only some connections have, and those only now and then.
#[derive(Debug, Default)]
struct Aside {
    /// The message under way, as far as it has arrived.
    text: String,
    binary: Vec<u8>,
    /// It was lent to the caller by the last call.
    lent: bool,
    /// The Ping to answer at the end of the input.
    pong: Option<(u8, [u8; 125])>,
}

impl Connection {
    /// A server's connection.
    pub fn server(config: Arc<Config>) -> Self {
        Self::new(config, Unmasked)
    }
}

impl<E: Entropy> Connection<Masked<E>> {
    /// A client's connection; `entropy` makes the masking keys.
    pub fn client(config: Arc<Config>, entropy: E) -> Self {
        Self::new(config, Masked(entropy))
    }
}

impl<S: Side> Connection<S> {
    fn new(config: Arc<Config>, side: S) -> Self {
        Connection {
            core: Core::new(S::ROLE, false),
            control_frames: config.limits.control_frames,
            config,
            aside: None,
            #[cfg(feature = "deflate")]
            deflate: None,
            pongs: 0,
            state: State::Open,
            sending: None,
            side,
        }
    }

    /// The connection with permessage-deflate, as negotiated.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, parameters: crate::deflate::Parameters) -> Self {
        self.core = Core::new(S::ROLE, true);
        self.deflate = Some(Box::new(crate::deflate::Context::new(S::ROLE, parameters, &self.config.deflate)));
        self
    }

    /// The settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How far the closing handshake has got.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a message has begun to arrive and not ended.
    #[inline]
    pub fn is_inside_message(&self) -> bool {
        self.core.is_inside_message()
    }

    // Input.

    /// The next event, or `None` when more input is needed. Takes the bytes it used off the front of `input`; what it
    /// leaves there (130 bytes at most) must be offered again with more behind it. Answers go to `out`.
    ///
    /// After [`Event::Close`] the closing handshake is over: send `out`, then end the stream; a server first, a client
    /// when the server has (RFC 6455 section 7.1.1). Further input is dropped.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or a limit; the Close frame that says so is in `out`. Further input is dropped.
    #[inline]
    pub fn receive<'e, 'a: 'e>(
        &'e mut self,
        input: &mut &'a mut [u8],
        out: &mut BytesMut,
    ) -> Result<Option<Event<'e>>, Error> {
        if matches!(self.state, State::Closed | State::Failed) {
            *input = &mut [];
            return Ok(None);
        }
        if self.aside.is_some() {
            self.take_back();
        }
        loop {
            match self.core.step(&self.config.limits, input) {
                Ok(Some(Step::Event(event @ Event::Message(_)))) => return Ok(Some(event)),
                Ok(Some(Step::Event(Event::Part { part, last }))) => {
                    if self.config.parts {
                        return Ok(Some(Event::Part { part, last }));
                    }
                    self.collect(part);
                    if last {
                        return Ok(Some(self.lend(part.kind(), true)));
                    }
                }
                Ok(Some(Step::Character(character, last))) => {
                    self.aside.get_or_insert_default().text.push(character);
                    if last || self.config.parts {
                        return Ok(Some(self.lend(Kind::Text, last)));
                    }
                }
                Ok(Some(Step::Event(Event::Compressed { kind, bytes, last }))) => {
                    if let Err(error) = self.inflate(kind, bytes, last) {
                        return Err(self.fail(error, out));
                    }
                    if last || self.config.parts {
                        return Ok(Some(self.lend(kind, last)));
                    }
                }
                Ok(Some(Step::Event(event))) => return self.control(event, out).map(Some),
                Ok(None) => {
                    self.last_pong(out);
                    return Ok(None);
                }
                Err(error) => return Err(self.fail(error, out)),
            }
        }
    }

    /// The stream ended. True if the closing handshake was over; else the peer is gone without a word (1006).
    pub fn end(&mut self) -> bool {
        (self.state, _) = self.state.after(close::Step::End);
        self.state == State::Closed
    }

    /// Lets the peer send `frames` more control frames, up to [`Limits::control_frames`](crate::Limits::control_frames)
    /// ahead. Whoever owns the clock calls this: so many frames a second.
    #[inline]
    pub fn refill(&mut self, frames: u32) {
        self.control_frames = self.control_frames.saturating_add(frames).min(self.config.limits.control_frames);
    }

    /// Fails the connection, as for a time that has run out: a Close frame goes to `out`, unless one was sent before.
    /// Returns `error`.
    #[cold]
    pub fn fail(&mut self, error: Error, out: &mut BytesMut) -> Error {
        let (state, send) = self.state.after(close::Step::Fail);
        self.state = state;
        self.aside = None;
        if send {
            self.send_close(&CloseReason { code: error.close_code(), reason: error.as_str() }, out);
        }
        error
    }

    // Output.

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`] once a Close frame was sent, [`Misuse::MessageUnfinished`] between two parts of a message.
    #[inline]
    pub fn text(&mut self, out: &mut BytesMut, text: &str) -> Result<(), Misuse> {
        self.message(out, Message::Text(text))
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    #[inline]
    pub fn binary(&mut self, out: &mut BytesMut, bytes: &[u8]) -> Result<(), Misuse> {
        self.message(out, Message::Binary(bytes))
    }

    /// Sends a message: compressed where that was negotiated and pays, in one frame or in fragments as configured.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    #[inline]
    pub fn message(&mut self, out: &mut BytesMut, message: Message<'_>) -> Result<(), Misuse> {
        self.may_begin()?;
        let payload = message.as_bytes();
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &mut self.deflate
            && let Some(compressed) = deflate.compress(payload, &self.config.deflate)
        {
            let fragment = self.config.fragment.map(Into::into);
            fragments(out, &mut self.side, crate::frame::RSV1, message.kind(), compressed, fragment);
            deflate.done();
            return Ok(());
        }
        let fragment = self.config.fragment.map(Into::into);
        fragments(out, &mut self.side, 0, message.kind(), payload, fragment);
        Ok(())
    }

    /// Sends the next part of a message as one frame, the last one with FIN. Control frames may go between; parts are
    /// never compressed. Text is split between characters by its type.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`]; [`Misuse::KindChanged`] if `part` is not of the first part's kind.
    pub fn part(&mut self, out: &mut BytesMut, part: Message<'_>, last: bool) -> Result<(), Misuse> {
        self.may_send()?;
        let opcode = match self.sending {
            None => part.kind().into(),
            Some(kind) if kind == part.kind() => Opcode::Continuation,
            Some(_) => return Err(Misuse::KindChanged),
        };
        self.sending = if last { None } else { Some(part.kind()) };
        encode::frame(out, last, 0, opcode, self.side.key(), part.as_bytes());
        Ok(())
    }

    /// The header of a message of `len` bytes, for callers that send the payload themselves, from where it lies. For a
    /// server's connection; a client has to mask its payload, so it gets `None`, as does a connection on which the
    /// message would be compressed or fragmented.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    pub fn header(&mut self, kind: Kind, len: usize) -> Result<Option<HeaderBytes>, Misuse> {
        self.may_begin()?;
        #[cfg(feature = "deflate")]
        if self.deflate.is_some() && len >= self.config.deflate.threshold {
            return Ok(None);
        }
        let whole = self.config.fragment.is_none_or(|fragment| len <= fragment.get());
        Ok((S::ROLE == crate::Role::Server && whole).then(|| encode::header(kind, len)))
    }

    /// The bytes of a message encoded before, to be sent next: shared on a server's connection, masked on a client's.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    pub fn prepared(&mut self, message: &PreparedMessage) -> Result<Bytes, Misuse> {
        self.may_begin()?;
        let frame = self.prepared_frame(message);
        let Some(key) = self.side.key() else { return Ok(frame.clone()) };
        let Ok(Some((header, at))) = crate::frame::Header::decode(frame) else { return Ok(frame.clone()) };
        let payload = frame.get(at..).unwrap_or_default();
        let mut out = BytesMut::new();
        encode::frame(&mut out, header.fin, header.rsv, header.opcode, Some(key), payload);
        Ok(out.freeze())
    }

    #[cfg(feature = "deflate")]
    fn prepared_frame<'m>(&mut self, message: &'m PreparedMessage) -> &'m Bytes {
        match (&mut self.deflate, message.deflated()) {
            (Some(deflate), Some(prepared)) if deflate.sends(prepared) => prepared.frame(),
            _ => message.plain(),
        }
    }

    #[cfg(not(feature = "deflate"))]
    fn prepared_frame<'m>(&mut self, message: &'m PreparedMessage) -> &'m Bytes {
        message.plain()
    }

    /// Sends a Ping; the Pong that answers it carries the same payload (section 5.5.2).
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`], [`Misuse::ControlTooLong`].
    pub fn ping(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse> {
        self.control_frame(out, Opcode::Ping, payload)
    }

    /// Sends a Pong nobody asked for (section 5.5.3); those that were asked for are sent by [`receive`](Self::receive).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse> {
        self.control_frame(out, Opcode::Pong, payload)
    }

    /// Begins the closing handshake (section 7.1.2). Messages of the peer may still arrive, until its Close frame does.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`], [`Misuse::CloseCode`], [`Misuse::ControlTooLong`]. [`CloseCode::NO_STATUS`] with an empty
    /// reason sends a Close frame without payload.
    pub fn close(&mut self, out: &mut BytesMut, code: CloseCode, reason: &str) -> Result<(), Misuse> {
        self.may_send()?;
        let (payload, len) = CloseReason { code, reason }.encode()?;
        (self.state, _) = self.state.after(close::Step::Send);
        let payload = payload.get(..len).unwrap_or_default();
        encode::frame(out, true, 0, Opcode::Close, self.side.key(), payload);
        Ok(())
    }

    // Helpers.

    #[inline]
    fn may_send(&self) -> Result<(), Misuse> {
        if self.state == State::Open { Ok(()) } else { Err(Misuse::Closed) }
    }

    #[inline]
    fn may_begin(&self) -> Result<(), Misuse> {
        self.may_send()?;
        if self.sending.is_some() { Err(Misuse::MessageUnfinished) } else { Ok(()) }
    }

    fn control_frame(&mut self, out: &mut BytesMut, opcode: Opcode, payload: &[u8]) -> Result<(), Misuse> {
        self.may_send()?;
        if payload.len() > 125 {
            return Err(Misuse::ControlTooLong);
        }
        encode::frame(out, true, 0, opcode, self.side.key(), payload);
        Ok(())
    }

    /// A control frame came in: it is paid for, answered and handed out.
    fn control<'a>(&mut self, event: Event<'a>, out: &mut BytesMut) -> Result<Event<'a>, Error> {
        match event {
            Event::Close(reason) => {
                self.last_pong(out);
                let (state, send) = self.state.after(close::Step::Receive);
                self.state = state;
                self.aside = None;
                if send {
                    self.send_close(&CloseReason { code: reason.code, reason: "" }, out);
                }
            }
            _ if self.control_frames == 0 => return Err(self.fail(Error::TooManyControlFrames, out)),
            Event::Ping(payload) => {
                self.control_frames -= 1;
                self.answer(payload, out);
            }
            _ => self.control_frames -= 1,
        }
        Ok(event)
    }

    /// Answers a Ping at once, or keeps it for the end of the input, in place of the one before.
    fn answer(&mut self, payload: &[u8], out: &mut BytesMut) {
        if self.state != State::Open {
            return;
        }
        if self.pongs < PONGS {
            self.pongs += 1;
            return encode::frame(out, true, 0, Opcode::Pong, self.side.key(), payload);
        }
        let mut kept = [0; 125];
        for (to, from) in kept.iter_mut().zip(payload) {
            *to = *from;
        }
        self.aside.get_or_insert_default().pong = Some((payload.len() as u8, kept));
    }

    /// Sends the Pong that was kept.
    #[inline]
    fn last_pong(&mut self, out: &mut BytesMut) {
        self.pongs = 0;
        if let Some(aside) = &mut self.aside
            && let Some((len, payload)) = aside.pong.take()
        {
            let payload = payload.get(..usize::from(len)).unwrap_or_default();
            encode::frame(out, true, 0, Opcode::Pong, self.side.key(), payload);
            self.take_back();
        }
    }

    fn send_close(&mut self, reason: &CloseReason<'_>, out: &mut BytesMut) {
        if let Ok((payload, len)) = reason.encode() {
            let payload = payload.get(..len).unwrap_or_default();
            encode::frame(out, true, 0, Opcode::Close, self.side.key(), payload);
        }
    }

    /// Adds a part to the message under way.
    fn collect(&mut self, part: Message<'_>) {
        let aside = self.aside.get_or_insert_default();
        match part {
            Message::Text(text) => aside.text.push_str(text),
            Message::Binary(bytes) => aside.binary.extend_from_slice(bytes),
        }
    }

    #[cfg(feature = "deflate")]
    fn inflate(&mut self, kind: Kind, bytes: &[u8], last: bool) -> Result<(), Error> {
        let Some(deflate) = &mut self.deflate else { return Err(Error::ReservedBit) };
        let aside = self.aside.get_or_insert_default();
        let limits = &self.config.limits;
        match kind {
            Kind::Text => deflate.inflate_text(bytes, last, limits, &mut aside.text),
            Kind::Binary => deflate.inflate_binary(bytes, last, limits, &mut aside.binary),
        }
    }

    #[cfg(not(feature = "deflate"))]
    #[cold]
    fn inflate(&mut self, _: Kind, _: &[u8], _: bool) -> Result<(), Error> {
        Err(Error::ReservedBit)
    }

    /// Lends what was put together, as a whole message or a part of one.
    fn lend(&mut self, kind: Kind, last: bool) -> Event<'_> {
        let aside = self.aside.get_or_insert_default();
        aside.lent = true;
        let part = match kind {
            Kind::Text => Message::Text(&aside.text),
            Kind::Binary => Message::Binary(&aside.binary),
        };
        if self.config.parts { Event::Part { part, last } } else { Event::Message(part) }
    }

    /// Takes back what the last call lent, and gives memory back that is not needed now.
    #[inline(never)]
    fn take_back(&mut self) {
        let Some(aside) = &mut self.aside else { return };
        if aside.lent {
            aside.lent = false;
            aside.text.clear();
            aside.binary.clear();
            aside.text.shrink_to(self.config.limits.keep);
            aside.binary.shrink_to(self.config.limits.keep);
        }
        let empty = aside.text.capacity() == 0 && aside.binary.capacity() == 0 && aside.pong.is_none();
        if empty {
            self.aside = None;
        }
    }
}

/// Writes a message in frames of `fragment` bytes at most.
#[inline]
fn fragments<S: Side>(out: &mut BytesMut, side: &mut S, rsv: u8, kind: Kind, payload: &[u8], fragment: Option<usize>) {
    match fragment {
        Some(size) if payload.len() > size => {
            let mut opcode = kind.into();
            let mut rsv = rsv;
            let mut rest = payload;
            while rest.len() > size {
                let (front, back) = rest.split_at(size);
                encode::frame(out, false, rsv, opcode, side.key(), front);
                (opcode, rsv, rest) = (Opcode::Continuation, 0, back);
            }
            encode::frame(out, true, 0, opcode, side.key(), rest);
        }
        _ => encode::frame(out, true, rsv, kind.into(), side.key(), payload),
    }
}
