//! Sends messages (RFC 9113 section 8).

use alloc::vec::Vec;

use proto_http::{Buffer, DATE_LENGTH, FieldLines, Misuse, Target};

use super::{Core, Role, frame_head, rst_stream};
use crate::frame::{self, flag, kind};
use crate::hpack::{Encoder, Indexing};
use crate::section::{is_scheme, is_token};
use crate::state::{self, Half, Move};
use crate::streams::Stream;
use crate::{ErrorCode, Head, Limits, Priority};

/// The start of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning<'a> {
    pub(crate) length: Option<u64>,
    /// The message ends with its head.
    pub(crate) end: bool,
    pub(crate) date: Option<&'a [u8; DATE_LENGTH]>,
}

impl Core {
    /// Writes one header block, in as many frames as the peer's frame size requires.
    #[inline]
    fn write_block<B: Buffer>(
        &mut self,
        id: u32,
        end: bool,
        out: &mut B,
        encode: impl FnOnce(&mut Encoder, &mut B) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let start = out.position();
        out.put(&[0; frame::HEAD])?;
        let encoded = self.encoder.begin(out).and_then(|()| encode(&mut self.encoder, out));
        if let Err(misuse) = encoded {
            // Our table may hold fields that the peer never receives: the connection cannot go on, unless nothing was written.
            out.rewind(start);
            self.phase = super::Phase::Failed;
            return Err(misuse);
        }
        let length = out.position() - start - frame::HEAD;
        let end = if end { flag::END_STREAM } else { 0 };
        if length > self.offered.frame as usize {
            return self.write_large_block(id, end, start, out);
        }
        let head = frame_head(length as u32, kind::HEADERS, flag::END_HEADERS | end, id);
        if let Some(place) = out.appended(start).first_chunk_mut() {
            *place = head;
        }
        Ok(())
    }

    #[cold]
    fn write_large_block<B: Buffer>(&mut self, id: u32, end: u8, start: usize, out: &mut B) -> Result<(), Misuse> {
        let block: Vec<u8> = out.appended(start).get(frame::HEAD..).unwrap_or_default().to_vec();
        out.rewind(start);
        let mut pieces = block.chunks(self.offered.frame as usize).peekable();
        let (mut kind, mut flags) = (kind::HEADERS, end);
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            out.put(&frame_head(piece.len() as u32, kind, flags, id))?;
            out.put(piece)?;
            (kind, flags) = (kind::CONTINUATION, 0);
        }
        Ok(())
    }

    /// Sends the final head of a response.
    #[inline]
    pub(crate) fn send_response<B: Buffer>(
        &mut self,
        id: u32,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        beginning: Beginning<'_>,
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Misuse> {
        if !(200..1000).contains(&status) {
            return Err(Misuse::Status);
        }
        let facts = fields.check()?;
        let stream = self.streams.get_mut(id).ok_or(Misuse::OutOfTurn)?;
        if stream.sending != Half::Head {
            return Err(Misuse::OutOfTurn);
        }
        let tunnel = stream.has(Stream::TUNNEL) && status < 300;
        if tunnel && beginning.end {
            return Err(Misuse::NotAllowed);
        }
        let bodiless = matches!(status, 204 | 205 | 304);
        let mut length = beginning.length.filter(|_| !tunnel && !matches!(status, 204 | 304));
        if status == 205 {
            length = Some(0);
        }
        // A message without content ends with its head. Content that the caller provides all the same is counted and dropped.
        let end = beginning.end || bodiless || stream.has(Stream::HEAD) || length == Some(0) && !tunnel;
        if end && !beginning.end {
            stream.flags |= Stream::DROPS;
        }
        stream.left = if bodiless {
            u64::MAX
        } else {
            beginning.length.unwrap_or(u64::MAX)
        };
        if tunnel {
            stream.flags |= Stream::SWITCHED;
            stream.left = u64::MAX;
        } else {
            stream.flags &= !Stream::TUNNEL;
        }
        let step = if beginning.end { Move::WholeHead } else { Move::Head };
        stream.sending = state::next(stream.sending, step).ok_or(Misuse::OutOfTurn)?;
        stream.flags &= !Stream::EXPECTS;
        self.write_block(id, end, out, |encoder, out| {
            encoder.status(status, out)?;
            if let Some(date) = beginning.date
                && !facts.has_date()
            {
                encoder.field(b"date", date, Indexing::Auto, out)?;
            }
            encode_fields(encoder, fields, tunnel, out)?;
            match length {
                Some(length) => encoder.content_length(length, out),
                None => Ok(()),
            }
        })?;
        if beginning.end {
            self.sent(id, limits, out)
        } else {
            Ok(())
        }
    }

    /// Sends an informational response.
    pub(crate) fn send_informational<B: Buffer>(
        &mut self,
        id: u32,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        out: &mut B,
    ) -> Result<(), Misuse> {
        if !(100..200).contains(&status) || status == 101 {
            return Err(Misuse::Status);
        }
        fields.check()?;
        let stream = self.streams.get_mut(id).ok_or(Misuse::OutOfTurn)?;
        state::next(stream.sending, Move::Informational).ok_or(Misuse::OutOfTurn)?;
        if status == 100 {
            stream.flags &= !Stream::EXPECTS;
        }
        self.write_block(id, false, out, |encoder, out| {
            encoder.status(status, out)?;
            encode_fields(encoder, fields, false, out)
        })
    }

    /// Answers a request that exceeds a limit, before its stream is reset. The stream may be unknown.
    pub(super) fn refuse<B: Buffer>(&mut self, id: u32, status: u16, out: &mut B) -> Result<(), Misuse> {
        let answered = self.streams.get(id).is_some_and(|stream| stream.sending != Half::Head);
        if answered {
            return rst_stream(id, ErrorCode::CANCEL, out);
        }
        self.write_block(id, true, out, |encoder, out| {
            encoder.status(status, out)?;
            encoder.content_length(0, out)
        })?;
        rst_stream(id, ErrorCode::NO_ERROR, out)
    }

    /// Opens a stream and sends the head of a request.
    pub(crate) fn send_request<B: Buffer>(
        &mut self,
        head: Head<'_>,
        fields: &(impl FieldLines + ?Sized),
        beginning: Beginning<'_>,
        limits: &Limits,
        out: &mut B,
    ) -> Result<u32, Misuse> {
        let facts = fields.check()?;
        let connect = head.method == "CONNECT";
        let plain = connect && head.protocol.is_none();
        if !is_token(head.method.as_bytes()) {
            return Err(Misuse::Method);
        }
        let target = if plain { head.authority } else { head.path };
        let fits = match Target::parse(head.method, target) {
            Some(Target::Origin { .. } | Target::Asterisk) => !plain,
            Some(Target::Authority(_)) => plain,
            // An extended CONNECT must have a path (RFC 8441 section 4).
            None if connect && !plain => matches!(Target::parse("GET", target), Some(Target::Origin { .. })),
            _ => false,
        };
        if !fits || !plain && !is_scheme(head.scheme.as_bytes()) {
            return Err(Misuse::Target);
        }
        if !Target::is_authority(head.authority.as_bytes()) || facts.is_any() && names_host(fields) {
            return Err(Misuse::Host);
        }
        if connect && beginning.end || head.protocol.is_some() && !(connect && self.offered.extended_connect) {
            return Err(Misuse::NotAllowed);
        }
        if self.has_failed() || self.peer_goaway != u32::MAX || self.goaway != u32::MAX || !self.has_room() {
            return Err(Misuse::OutOfTurn);
        }
        let id = self.next_own;
        let mut stream = Stream::new(id);
        stream.send_window = self.offered.initial_window as i32;
        stream.receive_window = self.initial_receive_window(limits);
        stream.sending = if beginning.end { Half::Done } else { Half::Body };
        stream.left = beginning.length.unwrap_or(u64::MAX);
        if head.method == "HEAD" {
            stream.flags |= Stream::HEAD;
        } else if connect {
            stream.flags |= Stream::TUNNEL;
        }
        self.write_block(id, beginning.end, out, |encoder, out| {
            encoder.field(b":method", head.method.as_bytes(), Indexing::Auto, out)?;
            if let Some(protocol) = head.protocol {
                encoder.field(b":protocol", protocol.as_bytes(), Indexing::Auto, out)?;
            }
            if !plain {
                encoder.field(b":scheme", head.scheme.as_bytes(), Indexing::Auto, out)?;
                encoder.field(b":path", head.path.as_bytes(), Indexing::Auto, out)?;
            }
            encoder.field(b":authority", head.authority.as_bytes(), Indexing::Auto, out)?;
            encode_fields(encoder, fields, false, out)?;
            match beginning.length {
                Some(length) if !connect => encoder.content_length(length, out),
                _ => Ok(()),
            }
        })?;
        self.next_own += 2;
        self.streams.insert(stream);
        Ok(id)
    }

    /// Whether the peer permits one more stream.
    pub(crate) fn has_room(&self) -> bool {
        let most = self.offered.streams.min(crate::streams::Streams::MOST);
        self.streams.len() < most && self.next_own <= u32::MAX >> 1
    }

    /// How many bytes of content may be sent on a stream now.
    #[inline]
    pub(crate) fn capacity(&self, id: u32) -> usize {
        let Some(stream) = self.streams.get(id) else {
            return 0;
        };
        if stream.has(Stream::DROPS) {
            return usize::MAX;
        }
        usize::try_from(stream.send_window.min(self.send_window)).unwrap_or(0)
    }

    /// Writes the head of a DATA frame for up to `length` bytes of content, as many as the windows and the peer's frame size allow; the
    /// caller appends the content. With `end`, the message ends if all `length` bytes fit. Returns the number of bytes announced, and
    /// whether the caller must append them.
    #[inline]
    pub(crate) fn begin_data<B: Buffer>(
        &mut self,
        id: u32,
        length: usize,
        end: bool,
        out: &mut B,
    ) -> Result<(usize, bool), Misuse> {
        let (window, most) = (self.send_window, self.offered.frame as usize);
        let stream = self.streams.get_mut(id).ok_or(Misuse::OutOfTurn)?;
        if state::next(stream.sending, Move::Data).is_none() {
            return Err(Misuse::OutOfTurn);
        }
        let left = stream.left.checked_sub(length as u64).ok_or(Misuse::BodyTooLong)?;
        let is_known = stream.left != u64::MAX;
        if end && is_known && left != 0 {
            return Err(Misuse::BodyTooShort);
        }
        if stream.has(Stream::DROPS) {
            if is_known {
                stream.left = left;
            }
            return Ok((length, false));
        }
        let room = usize::try_from(stream.send_window.min(window)).unwrap_or(0);
        let taken = length.min(room).min(most);
        let last = end && taken == length;
        if taken == 0 && !last {
            return Ok((0, false));
        }
        let flags = if last { flag::END_STREAM } else { 0 };
        out.put(&frame_head(taken as u32, kind::DATA, flags, id))?;
        if is_known {
            stream.left -= taken as u64;
        }
        stream.send_window -= taken as i32;
        self.send_window -= taken as i32;
        self.earn(taken as u32 / 512);
        Ok((taken, true))
    }

    /// Sends content, as much as the windows allow. With `end`, the message ends once all was taken. Returns how many bytes were taken.
    #[inline]
    pub(crate) fn send_data<B: Buffer>(
        &mut self,
        id: u32,
        data: &[u8],
        end: bool,
        limits: &Limits,
        out: &mut B,
    ) -> Result<usize, Misuse> {
        let mut rest = data;
        loop {
            let (taken, append) = self.begin_data(id, rest.len(), end, out)?;
            let (piece, behind) = rest.split_at(taken.min(rest.len()));
            if append {
                out.put(piece)?;
            }
            rest = behind;
            if rest.is_empty() {
                if end {
                    self.ended(id, limits, out)?;
                }
                return Ok(data.len());
            }
            if taken == 0 {
                return Ok(data.len() - rest.len());
            }
        }
    }

    /// Ends a message, with trailers where there are any.
    pub(crate) fn finish<B: Buffer>(
        &mut self,
        id: u32,
        trailers: &(impl FieldLines + ?Sized),
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let facts = trailers.check()?;
        if !facts.may_trail() {
            return Err(Misuse::Trailer);
        }
        let stream = self.streams.get(id).ok_or(Misuse::OutOfTurn)?;
        if state::next(stream.sending, Move::End).is_none() {
            return Err(Misuse::OutOfTurn);
        }
        if facts.is_any() && stream.has(Stream::TUNNEL) {
            return Err(Misuse::NotAllowed);
        }
        if stream.left != u64::MAX && stream.left != 0 {
            return Err(Misuse::BodyTooShort);
        }
        if !stream.has(Stream::DROPS) {
            if facts.is_any() {
                self.write_block(id, true, out, |encoder, out| {
                    encode_fields(encoder, trailers, false, out)
                })?;
            } else {
                out.put(&frame_head(0, kind::DATA, flag::END_STREAM, id))?;
            }
        }
        self.ended(id, limits, out)
    }

    /// The head carried END_STREAM.
    fn ended<B: Buffer>(&mut self, id: u32, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        if let Some(stream) = self.streams.get_mut(id)
            && let Some(done) = state::next(stream.sending, Move::End)
        {
            stream.sending = done;
        }
        self.sent(id, limits, out)
    }

    /// Our half is complete. A server that has sent its response needs no more of the request (RFC 9113 section 8.1).
    pub(crate) fn sent<B: Buffer>(&mut self, id: u32, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        let Some(stream) = self.streams.get(id) else {
            return Ok(());
        };
        if stream.is_closed() {
            self.close(id);
        } else if self.role == Role::Server && !stream.has(Stream::TUNNEL) {
            // The frame being read may hold the end of the request.
            self.reset(id, ErrorCode::NO_ERROR, limits, out)?;
            self.earn(4);
        }
        Ok(())
    }

    /// Whether a response may begin on a stream.
    pub(crate) fn can_respond(&self, id: u32) -> bool {
        self.streams.get(id).is_some_and(|stream| stream.sending == Half::Head)
    }

    pub(crate) fn priority_of(&self, id: u32) -> Priority {
        self.streams
            .get(id)
            .map_or_else(Priority::default, |stream| Priority::unpack(stream.priority))
    }
}

/// Appends fields, without those that HTTP/2 forbids. The response that opens a tunnel also omits `sec-websocket-accept`.
#[inline]
fn encode_fields<B: Buffer>(
    encoder: &mut Encoder,
    fields: &(impl FieldLines + ?Sized),
    tunnel: bool,
    out: &mut B,
) -> Result<(), Misuse> {
    let mut result = Ok(());
    fields.visit(&mut |name, value| {
        if result.is_ok() && !is_dropped(name) && !(tunnel && name.eq_ignore_ascii_case(b"sec-websocket-accept")) {
            result = encoder.field(name, value, Indexing::Auto, out);
        }
    });
    result
}

/// Whether a field is left out because it is connection-specific (RFC 9113 section 8.2.2).
#[inline]
fn is_dropped(name: &[u8]) -> bool {
    let name_is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    match name.len() {
        7 => name_is(b"upgrade"),
        10 => name_is(b"connection") || name_is(b"keep-alive"),
        16 => name_is(b"proxy-connection"),
        _ => false,
    }
}

/// Whether the fields have a Host, which `:authority` replaces in HTTP/2.
fn names_host(fields: &(impl FieldLines + ?Sized)) -> bool {
    let mut found = false;
    fields.visit(&mut |name, _| found |= name.eq_ignore_ascii_case(b"host"));
    found
}
