//! Receives frames.

use proto_http::{Buffer, Misuse, NoSpace};

use super::{Core, LARGEST, Phase, Role, SHUTDOWN, Step, frame_head, max_frame, rst_stream, settings_ack};
use crate::frame::{self, Head, PREFACE, flag, kind};
use crate::{ErrorCode, Limits, Priority, Scratch, Violation, ViolationKind};

/// Points for a reset by either side: more than a served stream returns, so that requests cannot pay for resets.
const RESET: u32 = 5;

/// The most priorities kept for streams that are not open yet.
const HINTS: u32 = 100;

/// The result of reading a frame.
pub(super) type Outcome<'a> = Result<Option<Step<'a>>, Broken>;

/// Why a frame cannot be read or answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    /// An error of the connection.
    Connection(ViolationKind),
    /// An error of the stream.
    Stream(ViolationKind),
    /// The output has no room for the reply.
    Output,
}

impl From<Misuse> for Broken {
    fn from(_: Misuse) -> Self {
        Self::Output
    }
}

impl From<NoSpace> for Broken {
    fn from(_: NoSpace) -> Self {
        Self::Output
    }
}

impl From<ViolationKind> for Broken {
    fn from(kind: ViolationKind) -> Self {
        Self::Connection(kind)
    }
}

impl Core {
    /// Takes the next step off `input`. `None` means that more bytes are needed.
    #[inline]
    pub(crate) fn next<'a, B: Buffer>(
        &mut self,
        limits: &Limits,
        input: &mut &'a [u8],
        scratch: &mut Scratch,
        out: &mut B,
    ) -> Result<Option<Step<'a>>, Violation> {
        loop {
            if self.data.is_some()
                && let Some(step) = self.content(limits, input, out)?
            {
                return Ok(Some(step));
            }
            if self.data.is_some() || self.phase == Phase::Failed {
                return Ok(None);
            }
            if self.phase == Phase::Preface && !self.preface(input, out)? {
                return Ok(None);
            }
            let Some((octets, rest)) = input.split_first_chunk::<{ frame::HEAD }>() else {
                return Ok(None);
            };
            let head = Head::read(octets);
            self.judge(&head, limits)
                .map_err(|kind| self.fail(kind, head.stream, out))?;
            if head.kind == kind::DATA {
                let mut rest = rest;
                let begun = self.data_head(head, &mut rest, limits, out);
                match begun {
                    Ok(true) => *input = rest,
                    Ok(false) => return Ok(None),
                    Err(broken) => {
                        *input = rest;
                        return self.broken(broken, head.stream, limits, out);
                    }
                }
                continue;
            }
            let Some((payload, behind)) = rest.split_at_checked(head.length as usize) else {
                return Ok(None);
            };
            *input = behind;
            match self.frame(head, payload, limits, scratch, out) {
                Ok(None) => {}
                Ok(step) => return Ok(step),
                Err(broken) => return self.broken(broken, head.stream, limits, out),
            }
        }
    }

    /// Handles an error of the connection or of a stream.
    #[cold]
    pub(super) fn broken<'a, B: Buffer>(
        &mut self,
        broken: Broken,
        stream: u32,
        limits: &Limits,
        out: &mut B,
    ) -> Result<Option<Step<'a>>, Violation> {
        let kind = match broken {
            Broken::Connection(kind) => return Err(self.fail(kind, stream, out)),
            // The output is full: no reply can be sent.
            Broken::Output => return Err(self.fail(ViolationKind::Flood, stream, out)),
            Broken::Stream(kind) => kind,
        };
        // A stream that we reset because of an error costs as much as a stream that the peer resets.
        if let Err(flood) = self.spend(RESET, limits) {
            return Err(self.fail(flood, stream, out));
        }
        let status = kind.status();
        let told = if status != 0 && self.role == Role::Server {
            self.refuse(stream, status, out)
        } else {
            rst_stream(stream, kind.code(), out)
        };
        let done = told.and_then(|()| {
            self.remember_reset(stream);
            self.forget(stream, limits, out)
        });
        match done {
            Ok(()) => Ok(Some(Step::Failed(Violation::stream(kind, stream)))),
            Err(_) => Err(self.fail(ViolationKind::Flood, stream, out)),
        }
    }

    /// Reads the client's connection preface, and refuses the first octet that differs.
    fn preface<B: Buffer>(&mut self, input: &mut &[u8], out: &mut B) -> Result<bool, Violation> {
        let shown = input.get(..PREFACE.len()).unwrap_or(input);
        if !PREFACE.starts_with(shown) {
            return Err(self.fail(ViolationKind::Preface, 0, out));
        }
        if shown.len() < PREFACE.len() {
            return Ok(false);
        }
        *input = input.get(PREFACE.len()..).unwrap_or_default();
        self.phase = Phase::Settings;
        Ok(true)
    }

    /// Checks a frame head before its payload has arrived.
    #[inline(always)]
    fn judge(&self, head: &Head, limits: &Limits) -> Result<(), ViolationKind> {
        if self.phase == Phase::Open && self.block.is_none() {
            return head.check(max_frame(limits));
        }
        self.judge_special(head, limits)
    }

    #[cold]
    fn judge_special(&self, head: &Head, limits: &Limits) -> Result<(), ViolationKind> {
        if let Some(block) = &self.block {
            if head.kind != kind::CONTINUATION || head.stream != block.stream {
                return Err(ViolationKind::Continuation);
            }
            self.judge_block(head.length as usize, limits)?;
        }
        if self.phase == Phase::Settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(ViolationKind::SettingsMissing);
        }
        head.check(max_frame(limits))
    }

    #[inline]
    fn frame<'a, B: Buffer>(
        &mut self,
        head: Head,
        payload: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
        out: &mut B,
    ) -> Outcome<'a> {
        match head.kind {
            kind::HEADERS => self.headers(head, payload, limits, scratch, out),
            kind::WINDOW_UPDATE => self.window_update(head.stream, payload, limits),
            kind::SETTINGS => self.settings(head, payload, limits, out),
            kind::PING => self.pinged(head, payload, limits, out),
            kind::RST_STREAM => self.reset_by_peer(head.stream, payload, limits, out),
            kind::CONTINUATION => self.continuation(head, payload, limits, scratch, out),
            kind::GOAWAY => self.goaway(payload, limits),
            kind::PRIORITY => self.priority(head, limits),
            kind::PRIORITY_UPDATE => self.priority_update(payload, limits),
            kind::PUSH_PROMISE => Err(Broken::Connection(ViolationKind::Push)),
            // Unknown frame types are ignored (RFC 9113 section 4.1).
            _ => self.passed_over(1, limits),
        }
    }

    fn passed_over<'a>(&mut self, points: u32, limits: &Limits) -> Outcome<'a> {
        self.spend(points, limits)?;
        Ok(None)
    }

    fn window_update<'a>(&mut self, stream: u32, payload: &[u8], limits: &Limits) -> Outcome<'a> {
        self.spend(1, limits)?;
        let increment = (word(payload) & 0x7fff_ffff) as i32;
        if stream == 0 {
            if increment == 0 {
                return Err(ViolationKind::IncrementZero.into());
            }
            self.send_window = self
                .send_window
                .checked_add(increment)
                .ok_or(ViolationKind::WindowOverflow)?;
            return Ok(Some(Step::Window { stream }));
        }
        if self.is_idle(stream) {
            return Err(ViolationKind::IdleStream.into());
        }
        let Some(found) = self.streams.get_mut(stream) else {
            return Ok(None);
        };
        if increment == 0 {
            return Err(Broken::Stream(ViolationKind::IncrementZero));
        }
        match found.send_window.checked_add(increment) {
            Some(window) => found.send_window = window,
            None => return Err(Broken::Stream(ViolationKind::WindowOverflow)),
        }
        Ok(Some(Step::Window { stream }))
    }

    fn settings<'a, B: Buffer>(&mut self, head: Head, payload: &[u8], limits: &Limits, out: &mut B) -> Outcome<'a> {
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(ViolationKind::FrameSize.into());
            }
            return self.acknowledged(limits);
        }
        if !payload.len().is_multiple_of(6) {
            return Err(ViolationKind::FrameSize.into());
        }
        let mut points = 2 + payload.len() as u32 / 24;
        let window = self.offered.initial_window;
        for entry in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = word(entry.get(2..).unwrap_or_default());
            match id {
                // Of several values, the lowest and the last matter (RFC 7541 section 4.2).
                1 => self.encoder.limit(value),
                2 if value > 1 || self.role == Role::Client && value > 0 => return Err(ViolationKind::Setting.into()),
                3 => self.offered.streams = value,
                4 if value > LARGEST as u32 => return Err(ViolationKind::SettingWindow.into()),
                4 => self.offered.initial_window = value,
                5 if !(frame::SMALLEST_MAX..1 << 24).contains(&value) => return Err(ViolationKind::Setting.into()),
                5 => self.offered.frame = value,
                6 => self.offered.fields_bytes = value,
                // A peer may not withdraw this offer (RFC 8441 section 3).
                8 if value > 1 || value == 0 && self.offered.extended_connect => {
                    return Err(ViolationKind::Setting.into());
                }
                8 => self.offered.extended_connect = value == 1,
                9 if value > 1 => return Err(ViolationKind::Setting.into()),
                _ => {}
            }
        }
        if self.offered.initial_window != window {
            points += self.streams.len() / 8;
            self.move_windows(window)?;
        }
        let first = self.phase == Phase::Settings;
        self.phase = Phase::Open;
        if !first {
            self.spend(points, limits)?;
        }
        settings_ack(out)?;
        let concerns = self.role == Role::Client || self.streams.len() > 0;
        Ok(concerns.then_some(Step::Settings))
    }

    /// Moves the windows of all streams by the change of the initial window (RFC 9113 section 6.9.2).
    fn move_windows(&mut self, from: u32) -> Result<(), ViolationKind> {
        let by = i64::from(self.offered.initial_window) - i64::from(from);
        for stream in self.streams.iter_mut() {
            let window = i64::from(stream.send_window) + by;
            stream.send_window = i32::try_from(window).map_err(|_| ViolationKind::SettingWindow)?;
        }
        Ok(())
    }

    /// The peer has acknowledged our SETTINGS: our limits are in force.
    fn acknowledged<'a>(&mut self, limits: &Limits) -> Outcome<'a> {
        if self.unacknowledged == 0 {
            return self.passed_over(2, limits);
        }
        self.unacknowledged -= 1;
        if !self.settled {
            self.settled = true;
            self.decoder.offer(limits.table);
            let by = i64::from(self.initial_receive_window(limits)) - i64::from(super::WINDOW);
            for stream in self.streams.iter_mut() {
                let window = i64::from(stream.receive_window) + by;
                stream.receive_window = window.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
            }
        }
        Ok(None)
    }

    fn pinged<'a, B: Buffer>(&mut self, head: Head, payload: &[u8], limits: &Limits, out: &mut B) -> Outcome<'a> {
        self.spend(2, limits)?;
        if !head.has(flag::ACK) {
            out.put(&frame_head(8, kind::PING, flag::ACK, 0))?;
            out.put(payload)?;
            return Ok(None);
        }
        let payload = u64::from_be_bytes(payload.first_chunk().copied().unwrap_or_default());
        if payload == SHUTDOWN && self.closing {
            self.earn(2);
            self.shut(out)?;
        }
        Ok(Some(Step::Pong(payload)))
    }

    fn reset_by_peer<'a, B: Buffer>(&mut self, id: u32, payload: &[u8], limits: &Limits, out: &mut B) -> Outcome<'a> {
        if self.is_idle(id) {
            return Err(ViolationKind::IdleStream.into());
        }
        self.spend(RESET, limits)?;
        let code = ErrorCode(word(payload));
        if self.streams.slot(id).is_none() {
            return Ok(None);
        }
        self.forget(id, limits, out)?;
        Ok(Some(Step::Reset { stream: id, code }))
    }

    fn goaway<'a>(&mut self, payload: &[u8], limits: &Limits) -> Outcome<'a> {
        self.spend(2, limits)?;
        let last = word(payload) & 0x7fff_ffff;
        let code = ErrorCode(word(payload.get(4..).unwrap_or_default()));
        if last > self.peer_goaway {
            return Err(ViolationKind::GoawayGrows.into());
        }
        self.peer_goaway = last;
        Ok(Some(Step::Goaway { last, code }))
    }

    /// Priorities of RFC 7540 are checked and ignored (RFC 9113 section 5.3.2).
    fn priority<'a>(&mut self, head: Head, limits: &Limits) -> Outcome<'a> {
        self.spend(1, limits)?;
        match head.length {
            5 => Ok(None),
            _ if self.is_idle(head.stream) => Err(ViolationKind::FrameSize.into()),
            _ => Err(Broken::Stream(ViolationKind::FrameSize)),
        }
    }

    /// Reads a PRIORITY_UPDATE (RFC 9218 section 7.1). The latest ones for streams that are not open yet are kept, up to the limit of
    /// streams.
    fn priority_update<'a>(&mut self, payload: &[u8], limits: &Limits) -> Outcome<'a> {
        self.spend(1, limits)?;
        let id = word(payload) & 0x7fff_ffff;
        if id == 0 || self.role == Role::Client {
            return Err(ViolationKind::PriorityUpdate.into());
        }
        let priority = Priority::parse(payload.get(4..).unwrap_or_default()).pack();
        if let Some(stream) = self.streams.get_mut(id) {
            stream.priority = priority;
        } else if id % 2 == 1 && self.is_idle(id) {
            self.keep_hint(id, priority, limits.streams.min(HINTS) as usize);
        }
        Ok(None)
    }

    #[cold]
    fn keep_hint(&mut self, id: u32, priority: u8, most: usize) {
        let hints = self.hints.get_or_insert_default();
        // A client may skip identifiers; priorities of skipped streams are dropped.
        let last = self.last;
        hints.retain(|&(other, _)| other != id && other > last);
        if hints.len() >= most && !hints.is_empty() {
            hints.remove(0);
        }
        hints.push((id, priority));
    }

    /// Takes the priority that a PRIORITY_UPDATE gave a stream that opens now. It takes precedence over the `priority` field (RFC 9218
    /// section 7).
    #[cold]
    pub(super) fn take_hint(&mut self, id: u32) -> Option<u8> {
        let hints = self.hints.as_mut()?;
        let place = hints.iter().position(|&(other, _)| other == id)?;
        let (_, priority) = hints.remove(place);
        if hints.is_empty() {
            self.hints = None;
        }
        Some(priority)
    }
}

/// The first 32 bits of `payload`. The table of frame types ensures that the payload is long enough.
#[inline]
pub(super) fn word(payload: &[u8]) -> u32 {
    payload.first_chunk().copied().map_or(0, u32::from_be_bytes)
}
