//! The response of one stream, with a queue for what exceeds the windows.

use std::time::Instant;

use bytes::{Buf, Bytes};
use proto_http::{AnyFields, Assembled, Backend, DATE_LENGTH, FieldLines, Misuse, Status};
use protocol::{Cx, FilePiece, Output};

use super::ServerConfig;
use crate::{ErrorCode, ServerConnection};

/// The state of a stream beside its handler.
#[derive(Debug, Default)]
pub(super) struct Io {
    /// Output that waits for the window.
    pub(super) queue: Option<Box<Queue>>,
    /// Content that the handler has not read yet.
    pub(super) held: Option<Box<Held>>,
    /// The handler decides when to send the 100 (Continue).
    pub(super) withheld: bool,
    /// The handler has paused the request's content.
    pub(super) paused: bool,
    /// The response is complete, though part of it may be queued.
    pub(super) ended: bool,
    /// The handler has agreed to an upgrade.
    pub(super) switching: bool,
    /// The handler must be told when the queue has drained.
    pub(super) congested: bool,
    /// The request is complete.
    pub(super) requested: bool,
    /// The stream ended early.
    pub(super) failed: bool,
    /// The tunnel has more to do in the next turn.
    pub(super) again: bool,
    /// Messages were posted to the tunnel, and their effects were not flushed yet.
    pub(super) unsettled: bool,
    /// The tunnel wants input.
    pub(super) reads: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) output: Output,
    /// The response ends after the queue, with these field lines as trailers.
    end: Option<Vec<u8>>,
}

/// Content that waits for a handler, bounded by the window of its stream.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) content: Vec<u8>,
    /// The end of the request, with its trailers.
    pub(super) end: Option<Vec<u8>>,
}

/// One exchange, borrowed for one call of its handler.
pub(super) struct Exchange<'a, 'c> {
    pub(super) connection: &'a mut ServerConnection,
    pub(super) config: &'a ServerConfig,
    pub(super) cx: &'a mut Cx<'c>,
    pub(super) stream: u32,
    pub(super) io: &'a mut Io,
}

impl Io {
    /// Whether the handler gets no more content because too much of its response waits for the window.
    pub(super) fn backs_up(&self, high_water: usize) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.output.len() > high_water)
    }
}

impl Exchange<'_, '_> {
    fn now_date(&self) -> Option<[u8; DATE_LENGTH]> {
        self.config.date.map(|clock| proto_http::date(clock, self.cx.now()))
    }

    fn check_open(&self) -> Result<(), Misuse> {
        if self.io.ended { Err(Misuse::OutOfTurn) } else { Ok(()) }
    }

    /// The queue, checked to have room for `length` more bytes.
    fn queue(&mut self, length: usize) -> Result<&mut Queue, Misuse> {
        let queue = self.io.queue.get_or_insert_default();
        if length > self.config.max_queued.saturating_sub(queue.output.held()) {
            self.io.failed = true;
            return Err(Misuse::NoSpace);
        }
        Ok(queue)
    }

    fn whole(&mut self, status: u16, fields: &(impl FieldLines + ?Sized), body: &[u8]) -> Result<(), Misuse> {
        self.check_open()?;
        let date = self.now_date();
        let out = self.cx.output().tail();
        let limits = &self.config.limits;
        let sent = self
            .connection
            .respond(self.stream, status, fields, body, date.as_ref(), limits, out)?;
        self.io.ended = true;
        if let Some(rest) = body.get(sent..).filter(|rest| !rest.is_empty()) {
            let queue = self.queue(rest.len())?;
            queue.output.extend_from_slice(rest);
            queue.end = Some(Vec::new());
        }
        Ok(())
    }

    /// Sends as much of the queue as the window allows. Returns whether the queue is empty.
    pub(super) fn flush(&mut self) -> Result<bool, Misuse> {
        let Some(mut queue) = self.io.queue.take() else {
            return Ok(true);
        };
        while !queue.output.is_empty() && !self.cx.is_congested() {
            if let Some(file) = queue.output.file() {
                let mut file = file.clone();
                let sent = self.send_file(&mut file)?;
                if sent == 0 {
                    break;
                }
                queue.output.advance(sent);
                continue;
            }
            let limits = &self.config.limits;
            let chunk = queue.output.chunk();
            let last = chunk.len() == queue.output.len() && queue.end.as_ref().is_some_and(Vec::is_empty);
            let out = self.cx.output().tail();
            let sent = self.connection.send_data(self.stream, chunk, last, limits, out)?;
            if sent == 0 {
                break;
            }
            let whole = sent == queue.output.len();
            queue.output.advance(sent);
            if whole && last {
                return Ok(true);
            }
        }
        if !queue.output.is_empty() {
            self.io.queue = Some(queue);
            return Ok(false);
        }
        if let Some(trailers) = queue.end {
            let limits = &self.config.limits;
            let out = self.cx.output().tail();
            self.connection
                .finish(self.stream, &Assembled::trailers(&trailers), limits, out)?;
        }
        Ok(true)
    }

    /// Sends one frame from `file`, as far as the windows allow, and returns its bytes. The driver below reads the file.
    fn send_file(&mut self, file: &mut FilePiece) -> Result<usize, Misuse> {
        let length = usize::try_from(file.len()).unwrap_or(usize::MAX);
        let out = self.cx.output().tail();
        let (taken, append) = self.connection.begin_data(self.stream, length, out)?;
        let piece = file.split_to(taken as u64);
        if append {
            self.cx.output().push_file(piece);
        }
        Ok(taken)
    }

    fn open_tunnel(&mut self, fields: &dyn AnyFields) -> Result<(), Misuse> {
        let out = self.cx.output().tail();
        self.connection
            .send_response(self.stream, 200, fields, None, None, &self.config.limits, out)?;
        self.io.switching = true;
        Ok(())
    }
}

impl Backend for Exchange<'_, '_> {
    fn send(&mut self, status: u16, fields: &dyn AnyFields, body: &[u8]) -> Result<(), Misuse> {
        self.whole(status, fields, body)
    }

    fn send_shared(&mut self, status: u16, fields: &dyn AnyFields, body: Bytes) -> Result<(), Misuse> {
        self.start(status.into(), fields, Some(body.len() as u64))?;
        self.write_shared(body)?;
        self.finish(&())
    }

    fn start(&mut self, status: Status<'_>, fields: &dyn AnyFields, length: Option<u64>) -> Result<(), Misuse> {
        self.check_open()?;
        let date = self.now_date();
        let out = self.cx.output().tail();
        let limits = &self.config.limits;
        self.connection
            .send_response(self.stream, status.code(), fields, length, date.as_ref(), limits, out)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Misuse> {
        self.check_open()?;
        let mut rest = data;
        if self.io.queue.is_none() {
            let out = self.cx.output().tail();
            let limits = &self.config.limits;
            let sent = self.connection.send_data(self.stream, data, false, limits, out)?;
            rest = data.get(sent..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.queue(rest.len())?.output.extend_from_slice(rest);
        }
        Ok(())
    }

    fn write_shared(&mut self, data: Bytes) -> Result<(), Misuse> {
        self.check_open()?;
        let mut rest = data;
        while self.io.queue.is_none() && !rest.is_empty() {
            let out = self.cx.output().tail();
            let (taken, append) = self.connection.begin_data(self.stream, rest.len(), out)?;
            if taken == 0 {
                break;
            }
            let piece = rest.split_to(taken);
            if append {
                self.cx.output().push(piece);
            }
        }
        if !rest.is_empty() {
            self.queue(rest.len())?.output.push(rest);
        }
        Ok(())
    }

    fn write_file(&mut self, mut file: FilePiece) -> Result<(), Misuse> {
        self.check_open()?;
        // The first frame goes out in any case, which checks that the answer may have as much.
        while self.io.queue.is_none() && !file.is_empty() {
            if self.send_file(&mut file)? == 0 || self.cx.is_congested() {
                break;
            }
        }
        if !file.is_empty() {
            self.queue(0)?.output.push_file(file);
        }
        Ok(())
    }

    fn finish(&mut self, trailers: &dyn AnyFields) -> Result<(), Misuse> {
        self.check_open()?;
        if let Some(queue) = &mut self.io.queue {
            if !trailers.check()?.may_trail() {
                return Err(Misuse::Trailer);
            }
            let mut lines = Vec::new();
            trailers.write(&mut lines)?;
            queue.end = Some(lines);
        } else {
            let out = self.cx.output().tail();
            self.connection
                .finish(self.stream, trailers, &self.config.limits, out)?;
        }
        self.io.ended = true;
        Ok(())
    }

    fn inform(&mut self, status: u16, fields: &dyn AnyFields) -> Result<(), Misuse> {
        let out = self.cx.output().tail();
        self.connection.send_informational(self.stream, status, fields, out)
    }

    fn expects_continue(&self) -> bool {
        self.connection.expects_continue(self.stream)
    }

    fn withhold_continue(&mut self) {
        self.io.withheld = true;
    }

    fn withholds_continue(&self) -> bool {
        self.io.withheld && self.expects_continue()
    }

    fn upgrade(&mut self, fields: &dyn AnyFields) -> Result<(), Misuse> {
        if !self.connection.is_extended(self.stream) {
            return Err(Misuse::SwitchUnasked);
        }
        self.open_tunnel(fields)
    }

    fn tunnel(&mut self, fields: &dyn AnyFields) -> Result<(), Misuse> {
        if !self.connection.wants_tunnel(self.stream) || self.connection.is_extended(self.stream) {
            return Err(Misuse::SwitchUnasked);
        }
        self.open_tunnel(fields)
    }

    fn pause(&mut self, pause: bool) {
        self.io.paused = pause;
    }

    fn close(&mut self) {
        let _ = self.connection.shutdown(self.cx.output().tail());
    }

    fn abort(&mut self) {
        if !self.io.ended {
            self.fail(ErrorCode::INTERNAL_ERROR);
        }
    }

    fn is_congested(&self) -> bool {
        self.io.backs_up(self.config.high_water) || self.cx.is_congested()
    }

    fn now(&self) -> Instant {
        self.cx.now()
    }

    fn is_due(&self) -> bool {
        !self.io.ended && self.connection.can_respond(self.stream)
    }

    fn is_open(&self) -> bool {
        !self.io.ended && self.connection.is_responding(self.stream)
    }

    fn date(&self) -> Option<[u8; DATE_LENGTH]> {
        self.now_date()
    }
}

impl Exchange<'_, '_> {
    /// Resets the stream, so that the client cannot take the response for complete.
    pub(super) fn fail(&mut self, code: ErrorCode) {
        self.io.failed = true;
        self.io.queue = None;
        let out = self.cx.output().tail();
        let _ = self.connection.reset(self.stream, code, &self.config.limits, out);
    }
}
