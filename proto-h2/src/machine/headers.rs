//! Receives header blocks: heads and trailers (RFC 9113 sections 6.2, 6.10 and 8.1).

use alloc::boxed::Box;

use proto_http::Buffer;

use super::receive::{Broken, Outcome};
use super::{Block, Core, Role, Step};
use crate::frame::{Head, flag};
use crate::section::{Part, Section};
use crate::state::{self, Half, Move};
use crate::streams::{Stream, Streams};
use crate::{Limits, Priority, Scratch, ViolationKind};

impl Core {
    #[inline]
    pub(super) fn headers<'a, B: Buffer>(
        &mut self,
        head: Head,
        payload: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
        out: &mut B,
    ) -> Outcome<'a> {
        let mut block = payload;
        if head.flags & (flag::PADDED | flag::PRIORITY) != 0 {
            block = unpadded(head, payload)?;
        }
        let end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.block(head.stream, end, block, limits, scratch, out);
        }
        self.judge_block(block.len(), limits)?;
        self.block = Some(Box::new(Block {
            stream: head.stream,
            end,
            frames: 0,
            bytes: block.to_vec(),
        }));
        Ok(None)
    }

    /// Checks whether the block may grow by `more` bytes and one more frame.
    pub(super) fn judge_block(&self, more: usize, limits: &Limits) -> Result<(), ViolationKind> {
        let most = limits.fields_bytes.saturating_add(limits.fields_bytes / 4);
        let frames = 8 + limits.fields_bytes / 16_384;
        let (bytes, before) = self
            .block
            .as_ref()
            .map_or((0, 0), |block| (block.bytes.len(), block.frames as usize));
        if bytes + more > most || before >= frames {
            return Err(ViolationKind::BlockTooLarge);
        }
        Ok(())
    }

    pub(super) fn continuation<'a, B: Buffer>(
        &mut self,
        head: Head,
        payload: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
        out: &mut B,
    ) -> Outcome<'a> {
        let Some(block) = &mut self.block else {
            return Err(ViolationKind::Continuation.into());
        };
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        if !head.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let (end, block) = match self.block.take() {
            Some(block) => (block.end, block.bytes),
            None => return Ok(None),
        };
        self.block(head.stream, end, &block, limits, scratch, out)
    }

    /// A whole header block.
    #[inline]
    fn block<'a, B: Buffer>(
        &mut self,
        id: u32,
        end: bool,
        block: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
        out: &mut B,
    ) -> Outcome<'a> {
        if self.role == Role::Server && id > self.last && id % 2 == 1 {
            return self.open(id, end, block, limits, scratch, out);
        }
        self.later_block(id, end, block, limits, scratch)
    }

    /// A request opens a stream.
    #[inline]
    fn open<'a, B: Buffer>(
        &mut self,
        id: u32,
        end: bool,
        block: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
        out: &mut B,
    ) -> Outcome<'a> {
        self.last = id;
        self.opened += 1;
        let part = Part::Request {
            extended: self.extended_connect,
        };
        let read = Section::read(&mut self.decoder, block, part, limits, scratch)
            .map_err(|_| Broken::Connection(ViolationKind::Compression))?;
        if id > self.goaway {
            // The peer opened the stream before it read our GOAWAY, and knows from the GOAWAY that the stream is not served (RFC 9113
            // section 6.8).
            self.spend(1, limits)?;
            return Ok(None);
        }
        if self.streams.len() >= limits.streams.min(Streams::MOST) {
            return Err(Broken::Stream(ViolationKind::TooManyStreams));
        }
        read.map_err(Broken::Stream)?;
        let section = &scratch.section;
        let mut stream = Stream::new(id);
        stream.send_window = self.offered.initial_window as i32;
        stream.receive_window = self.initial_receive_window(limits);
        stream.receiving = if end { Half::Done } else { Half::Body };
        if section.is_method(scratch, b"HEAD") {
            stream.flags |= Stream::HEAD;
        } else if section.is_method(scratch, b"CONNECT") {
            if end && section.is_tunnel() {
                return Err(Broken::Stream(ViolationKind::TunnelEnded));
            }
            stream.flags |= Stream::TUNNEL;
            if section.is_tunnel() {
                stream.flags |= Stream::EXTENDED;
            }
        }
        if !end {
            expect(&mut stream, section, limits).map_err(Broken::Stream)?;
        } else if section.length.is_some_and(|length| length > 0) {
            return Err(Broken::Stream(ViolationKind::LengthDiffers));
        }
        if let Some(priority) = section.priority(scratch) {
            stream.priority = Priority::parse(priority).pack();
        }
        if self.hints.is_some()
            && let Some(priority) = self.take_hint(id)
        {
            stream.priority = priority;
        }
        self.streams.insert(stream);
        let _ = out;
        Ok(Some(Step::Head { stream: id, end }))
    }

    /// A block on a stream that was opened before: a response, trailers, or a block that is too late.
    #[inline(never)]
    fn later_block<'a>(
        &mut self,
        id: u32,
        end: bool,
        block: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
    ) -> Outcome<'a> {
        if self.is_idle(id) {
            return Err(match self.role {
                Role::Server => ViolationKind::StreamId,
                Role::Client => ViolationKind::IdleStream,
            }
            .into());
        }
        let receiving = self.streams.get(id).map(|stream| stream.receiving);
        let part = match receiving {
            Some(Half::Head) => Part::Response,
            _ => Part::Trailers,
        };
        // The compression table must stay in step, even if the block is ignored.
        let read = Section::read(&mut self.decoder, block, part, limits, scratch)
            .map_err(|_| Broken::Connection(ViolationKind::Compression))?;
        match receiving {
            None if self.was_reset(id) => {
                self.spend(1, limits)?;
                Ok(None)
            }
            // The stream may have been reset too long ago to be remembered.
            None if self.role == Role::Client => Err(Broken::Stream(ViolationKind::StreamClosed)),
            // The client skips few identifiers, so the stream was probably open once.
            None if u64::from(self.opened) * 2 > u64::from(self.last) => Err(ViolationKind::StreamClosed.into()),
            None => Err(ViolationKind::StreamId.into()),
            Some(Half::Done) => Err(Broken::Stream(ViolationKind::StreamClosed)),
            Some(Half::Body) => {
                read.map_err(Broken::Stream)?;
                self.trailers(id, end)
            }
            Some(Half::Head) => {
                read.map_err(Broken::Stream)?;
                self.response(id, end, &scratch.section, limits)
            }
        }
    }

    fn trailers<'a>(&mut self, id: u32, end: bool) -> Outcome<'a> {
        let Some(stream) = self.streams.get(id) else {
            return Ok(None);
        };
        // A tunnel carries only DATA (RFC 9113 section 8.5).
        if !end || stream.has(Stream::TUNNEL) {
            return Err(Broken::Stream(ViolationKind::Trailers));
        }
        if stream.has(Stream::KNOWN) && stream.expected != 0 {
            return Err(Broken::Stream(ViolationKind::LengthDiffers));
        }
        self.end_received(id);
        Ok(Some(Step::End {
            stream: id,
            trailers: true,
        }))
    }

    /// The head of a response, informational or final.
    fn response<'a>(&mut self, id: u32, end: bool, section: &Section, limits: &Limits) -> Outcome<'a> {
        let Some(stream) = self.streams.get_mut(id) else {
            return Ok(None);
        };
        let informational = section.status < 200;
        if informational && end {
            return Err(Broken::Stream(ViolationKind::Informational));
        }
        let step = match (informational, end) {
            (true, _) => Move::Informational,
            (false, true) => Move::WholeHead,
            (false, false) => Move::Head,
        };
        let tunnel = stream.has(Stream::TUNNEL) && matches!(section.status, 200..300);
        if informational {
            self.spend(1, limits)?;
        } else if tunnel {
            stream.flags |= Stream::SWITCHED;
        } else {
            stream.flags &= !Stream::TUNNEL;
            let bodiless = stream.has(Stream::HEAD) || matches!(section.status, 204 | 304);
            if bodiless {
                stream.flags |= Stream::KNOWN;
                stream.expected = 0;
            } else if !end {
                expect(stream, section, limits).map_err(Broken::Stream)?;
            } else if section.length.is_some_and(|length| length > 0) {
                return Err(Broken::Stream(ViolationKind::LengthDiffers));
            }
        }
        if let Some(stream) = self.streams.get_mut(id) {
            if let Some(half) = state::next(stream.receiving, step) {
                stream.receiving = half;
            }
            if stream.is_closed() {
                self.close(id);
            }
        }
        Ok(Some(Step::Head { stream: id, end }))
    }
}

/// Sets how much content may arrive.
fn expect(stream: &mut Stream, section: &Section, limits: &Limits) -> Result<(), ViolationKind> {
    if stream.has(Stream::TUNNEL) {
        return Ok(());
    }
    if section.expects() {
        stream.flags |= Stream::EXPECTS;
    }
    let most = limits.body.unwrap_or(u64::MAX);
    match section.length {
        Some(length) if length > most => return Err(ViolationKind::BodyTooLarge),
        Some(length) => {
            stream.flags |= Stream::KNOWN;
            stream.expected = length;
        }
        None => stream.expected = most,
    }
    Ok(())
}

/// The block of a HEADERS frame, without padding and without the RFC 7540 priority, which is ignored (RFC 9113 section 6.2).
#[inline(never)]
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], ViolationKind> {
    let mut rest = payload;
    let mut padding = 0;
    if head.has(flag::PADDED) {
        let (&length, behind) = rest.split_first().ok_or(ViolationKind::FrameSize)?;
        (padding, rest) = (usize::from(length), behind);
    }
    if head.has(flag::PRIORITY) {
        rest = rest.get(5..).ok_or(ViolationKind::FrameSize)?;
    }
    let length = rest.len().checked_sub(padding).ok_or(ViolationKind::Padding)?;
    Ok(rest.get(..length).unwrap_or_default())
}
