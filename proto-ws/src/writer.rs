//! The sending half of a connection, and the closing handshake, which involves both halves.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::close::{self, State};
use crate::encode::{self, PreparedMessage, Side, Unmasked};
use crate::frame::{HeaderBytes, Opcode};
use crate::{CloseCode, CloseReason, Config, Event, Kind, Message, Misuse, Violation};

/// The most Pings answered one by one in one input; beyond that, only the last Ping is answered (RFC 6455 section 5.5.3).
const PONGS: u8 = 16;

/// The sending half of a [`Connection`](crate::Connection).
///
/// * **Output**, appended to the caller's buffer: [`message`](Self::message) and its shorthands, [`part`](Self::part),
///   [`ping`](Self::ping), [`pong`](Self::pong), [`close`](Self::close); [`prepared`](Self::prepared) and
///   [`header`](Self::header) for payloads that are not copied.
/// * **Input**: [`end`](Self::end), [`fail`](Self::fail), [`refill`](Self::refill).
/// * **Getters**: [`state`](Self::state), [`config`](Self::config).
#[derive(Debug)]
pub struct Writer<S = Unmasked> {
    config: Arc<Config>,
    #[cfg(feature = "deflate")]
    deflate: Option<Box<crate::deflate::Deflater>>,
    /// The Ping to answer at the end of the input.
    pong: Option<Box<(u8, [u8; 125])>>,
    /// Control frames that the peer may still send.
    control_frames: u32,
    /// Outstanding Pings of ours, whose Pongs cost the peer nothing.
    owed: u8,
    /// Pings answered since the end of the last input.
    pongs: u8,
    state: State,
    /// The kind of the message that is being sent in parts.
    sending: Option<Kind>,
    side: S,
}

impl<S: Side> Writer<S> {
    pub(crate) fn new(config: Arc<Config>, side: S) -> Self {
        Writer {
            control_frames: config.limits.control_frames,
            config,
            #[cfg(feature = "deflate")]
            deflate: None,
            pong: None,
            owed: 0,
            pongs: 0,
            state: State::Open,
            sending: None,
            side,
        }
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn deflate(&mut self, parameters: crate::deflate::Parameters) {
        self.deflate = Some(Box::new(crate::deflate::Deflater::new(S::ROLE, parameters)));
    }

    /// The settings.
    #[inline]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The progress of the closing handshake.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    // Input.

    /// The stream has ended. Returns true if the closing handshake was complete; otherwise the peer disconnected without a Close frame
    /// (1006).
    pub fn end(&mut self) -> bool {
        (self.state, _) = self.state.after(close::Step::End);
        self.state == State::Closed
    }

    /// Lets the peer send `frames` more control frames, up to [`Limits::control_frames`](crate::Limits::control_frames) in
    /// reserve. The owner of the clock calls this, with a number of frames per second.
    #[inline]
    pub fn refill(&mut self, frames: u32) {
        self.control_frames = self
            .control_frames
            .saturating_add(frames)
            .min(self.config.limits.control_frames);
    }

    /// Fails the connection, for instance after a timeout: appends a Close frame to `out`, unless one was sent before.
    /// Returns `error`.
    #[cold]
    pub fn fail(&mut self, error: Violation, out: &mut BytesMut) -> Violation {
        let (state, send) = self.state.after(close::Step::Fail);
        self.state = state;
        if send {
            self.send_close(
                &CloseReason {
                    code: error.close_code(),
                    reason: error.as_str(),
                },
                out,
            );
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
    /// See [`text`](Self::text).
    #[inline]
    pub fn binary(&mut self, out: &mut BytesMut, bytes: &[u8]) -> Result<(), Misuse> {
        self.message(out, Message::Binary(bytes))
    }

    /// Sends a message: compressed if that was negotiated and saves bytes, in one frame or in fragments as configured.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    #[inline]
    pub fn message(&mut self, out: &mut BytesMut, message: Message<'_>) -> Result<(), Misuse> {
        self.may_begin()?;
        let payload = message.as_bytes();
        let fragment = self.config.fragment.map(Into::into);
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &mut self.deflate {
            let compressed = deflate.compress(payload, &self.config.deflate);
            if let Some(compressed) = compressed {
                fragments(
                    out,
                    &mut self.side,
                    crate::frame::RSV1,
                    message.kind(),
                    compressed,
                    fragment,
                );
            }
            let sent = compressed.is_some();
            deflate.done(&self.config.deflate);
            if sent {
                return Ok(());
            }
        }
        fragments(out, &mut self.side, 0, message.kind(), payload, fragment);
        Ok(())
    }

    /// Sends the next part of a message as one frame, the last one with FIN. Control frames may be sent between parts; parts
    /// are never compressed. The type of text ensures that it is split between characters.
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

    /// The header of a message of `len` bytes, for callers that send the payload themselves, without a copy. Only for a
    /// server's connection. `None` on a client's connection, which must mask its payload, and on a connection that would
    /// compress or fragment the message.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    pub fn header(&mut self, kind: Kind, len: usize) -> Result<Option<HeaderBytes>, Misuse> {
        self.may_begin()?;
        #[cfg(feature = "deflate")]
        if self.deflate.is_some() && len >= self.config.deflate.threshold {
            return Ok(None);
        }
        let whole = self.config.fragment.is_none_or(|fragment| len <= fragment.get());
        Ok((S::ROLE == crate::Role::Server && whole).then(|| encode::header(kind, len)))
    }

    /// The bytes of a message that was encoded before, to be sent next: shared on a server's connection, masked on a
    /// client's.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    pub fn prepared(&mut self, message: &PreparedMessage) -> Result<Bytes, Misuse> {
        self.may_begin()?;
        let frame = self.prepared_frame(message);
        let Some(key) = self.side.key() else {
            return Ok(frame.clone());
        };
        let Ok(Some((header, at))) = crate::frame::Header::decode(frame) else {
            return Ok(frame.clone());
        };
        let payload = frame.get(at..).unwrap_or_default();
        let mut out = BytesMut::new();
        encode::frame(&mut out, header.fin, header.rsv, header.opcode, Some(key), payload);
        Ok(out.freeze())
    }

    #[cfg(feature = "deflate")]
    fn prepared_frame<'m>(&mut self, message: &'m PreparedMessage) -> &'m Bytes {
        if let (Some(deflate), Some(prepared)) = (&mut self.deflate, message.deflated())
            && deflate.sends(prepared)
        {
            return prepared.frame();
        }
        message.plain()
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
        self.control_frame(out, Opcode::Ping, payload)?;
        self.owed = self.owed.saturating_add(1);
        Ok(())
    }

    /// Sends an unsolicited Pong (section 5.5.3); [`Reader::next`](crate::Reader::next) sends the Pongs that answer Pings.
    ///
    /// # Errors
    ///
    /// See [`ping`](Self::ping).
    pub fn pong(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse> {
        self.control_frame(out, Opcode::Pong, payload)
    }

    /// Begins the closing handshake (section 7.1.2). Messages of the peer may still arrive before its Close frame.
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
        if self.state == State::Open {
            Ok(())
        } else {
            Err(Misuse::Closed)
        }
    }

    #[inline]
    fn may_begin(&self) -> Result<(), Misuse> {
        self.may_send()?;
        if self.sending.is_some() {
            Err(Misuse::MessageUnfinished)
        } else {
            Ok(())
        }
    }

    fn control_frame(&mut self, out: &mut BytesMut, opcode: Opcode, payload: &[u8]) -> Result<(), Misuse> {
        self.may_send()?;
        if payload.len() > 125 {
            return Err(Misuse::ControlTooLong);
        }
        encode::frame(out, true, 0, opcode, self.side.key(), payload);
        Ok(())
    }

    /// A control frame has arrived: charges the peer's budget, and answers the frame.
    pub(crate) fn control<'a>(&mut self, event: Event<'a>, out: &mut BytesMut) -> Result<Event<'a>, Violation> {
        match event {
            Event::Close(reason) => {
                self.last_pong(out);
                let (state, send) = self.state.after(close::Step::Receive);
                self.state = state;
                if send {
                    self.send_close(
                        &CloseReason {
                            code: reason.code,
                            reason: "",
                        },
                        out,
                    );
                }
            }
            // The Pong answers our Ping (RFC 6455 section 5.5.3), so it costs the peer nothing.
            Event::Pong(_) if self.owed > 0 => self.owed -= 1,
            _ if self.control_frames == 0 => return Err(self.fail(Violation::TooManyControlFrames, out)),
            Event::Ping(payload) => {
                self.control_frames -= 1;
                self.answer(payload, out);
            }
            _ => self.control_frames -= 1,
        }
        Ok(event)
    }

    /// Answers a Ping at once, or stores it for the end of the input, in place of an earlier one.
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
        self.pong = Some(Box::new((payload.len() as u8, kept)));
    }

    /// Answers the stored Ping.
    #[inline]
    pub(crate) fn last_pong(&mut self, out: &mut BytesMut) {
        self.pongs = 0;
        if let Some(pong) = self.pong.take() {
            let payload = pong.1.get(..usize::from(pong.0)).unwrap_or_default();
            encode::frame(out, true, 0, Opcode::Pong, self.side.key(), payload);
        }
    }

    fn send_close(&mut self, reason: &CloseReason<'_>, out: &mut BytesMut) {
        if let Ok((payload, len)) = reason.encode() {
            let payload = payload.get(..len).unwrap_or_default();
            encode::frame(out, true, 0, Opcode::Close, self.side.key(), payload);
        }
    }
}

/// Writes a message in frames of at most `fragment` bytes.
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
