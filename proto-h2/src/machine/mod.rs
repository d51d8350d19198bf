//! What both roles share: the state of a connection, and the frames that it sends on its own.

mod content;
mod headers;
mod receive;
mod send;

use alloc::boxed::Box;
use alloc::vec::Vec;

use proto_http::{Buffer, Misuse};

use crate::frame::{self, Head, SMALLEST_MAX, flag, kind};
use crate::hpack::{Decoder, Encoder};
use crate::streams::{Stream, Streams};
use crate::{ErrorCode, Limits, Violation, ViolationKind};

pub(crate) use send::Beginning;

/// The initial window of a connection and of a stream (RFC 9113 section 6.9.2).
const WINDOW: u32 = 65_535;

/// The largest window.
const LARGEST: i32 = i32::MAX;

/// How many of the streams we have reset are remembered, so that frames that the peer sent before it read our RST_STREAM are not an error.
const RESETS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A server waits for the client's connection preface.
    Preface,
    /// The peer's first frame is due.
    Settings,
    Open,
    /// The peer broke the protocol: no event follows.
    Failed,
}

/// The peer's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) initial_window: u32,
    pub(crate) frame: u32,
    pub(crate) streams: u32,
    pub(crate) fields_bytes: u32,
    pub(crate) extended_connect: bool,
}

/// An incomplete header block.
#[derive(Debug)]
struct Block {
    stream: u32,
    end: bool,
    frames: u32,
    bytes: Vec<u8>,
}

/// A DATA frame of which the head was read.
#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    left: u32,
    padding: u8,
    end: bool,
    /// The content is not passed on.
    dropped: bool,
}

/// An event. The content of a header block is in the scratch memory.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Head {
        stream: u32,
        end: bool,
    },
    Data {
        stream: u32,
        data: &'a [u8],
    },
    End {
        stream: u32,
        trailers: bool,
    },
    Reset {
        stream: u32,
        code: ErrorCode,
    },
    Failed(Violation),
    /// A window has grown: the stream's, or the connection's if `stream` is 0.
    Window {
        stream: u32,
    },
    Goaway {
        last: u32,
        code: ErrorCode,
    },
    Pong(u64),
    Settings,
}

/// A connection, of either role.
#[derive(Debug)]
pub(crate) struct Core {
    role: Role,
    phase: Phase,
    /// SETTINGS of ours that await their acknowledgement.
    unacknowledged: u8,
    /// The peer has acknowledged our SETTINGS: our limits are in force.
    settled: bool,
    /// A second GOAWAY, which names the last stream, is still to be sent.
    closing: bool,
    extended_connect: bool,
    pub(crate) offered: Offered,
    send_window: i32,
    receive_window: i32,
    /// Bytes consumed on all streams and not yet granted again.
    consumed: u32,
    /// Points of [`Limits::budget`] that the peer has spent.
    spent: u32,
    /// The peer's highest stream, and the number of streams it has opened.
    last: u32,
    opened: u32,
    /// The identifier of our next stream.
    pub(crate) next_own: u32,
    /// The last stream that our GOAWAY named; `u32::MAX` before any GOAWAY.
    goaway: u32,
    /// The last stream that the peer's GOAWAY named; `u32::MAX` before any GOAWAY.
    pub(crate) peer_goaway: u32,
    pub(crate) streams: Streams,
    decoder: Decoder,
    encoder: Encoder,
    block: Option<Box<Block>>,
    data: Option<Data>,
    resets: Option<Box<[u32; RESETS]>>,
    /// Priorities of streams that are not open yet, in the order of arrival.
    #[expect(
        clippy::box_collection,
        reason = "rare, and so a word in each connection instead of three"
    )]
    hints: Option<Box<Vec<(u32, u8)>>>,
}

impl Core {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            phase: match role {
                Role::Server => Phase::Preface,
                Role::Client => Phase::Settings,
            },
            unacknowledged: 0,
            settled: false,
            closing: false,
            extended_connect: false,
            offered: Offered {
                initial_window: WINDOW,
                frame: SMALLEST_MAX,
                streams: u32::MAX,
                fields_bytes: u32::MAX,
                extended_connect: false,
            },
            send_window: WINDOW as i32,
            receive_window: WINDOW as i32,
            consumed: 0,
            spent: 0,
            last: 0,
            opened: 0,
            next_own: 1,
            goaway: u32::MAX,
            peer_goaway: u32::MAX,
            streams: Streams::default(),
            decoder: Decoder::new(4096),
            encoder: Encoder::new(),
            block: None,
            data: None,
            resets: None,
            hints: None,
        }
    }

    /// Sends the first bytes of a connection: the client's preface, and our SETTINGS (RFC 9113 section 3.4).
    pub(crate) fn start<B: Buffer>(
        &mut self,
        limits: &Limits,
        extended_connect: bool,
        out: &mut B,
    ) -> Result<(), Misuse> {
        self.extended_connect = extended_connect && self.role == Role::Server;
        let mut settings = [(0_u16, 0_u32); 7];
        let mut count = 0;
        let mut add = |id: u16, value: u32| {
            settings[count] = (id, value);
            count += 1;
        };
        if limits.table != 4096 {
            add(1, limits.table.min(65_535));
        }
        match self.role {
            Role::Client => add(2, 0),
            Role::Server => add(3, limits.streams.min(Streams::MOST)),
        }
        if limits.stream_window != WINDOW {
            add(4, limits.stream_window.min(LARGEST as u32));
        }
        if limits.frame > SMALLEST_MAX {
            add(5, max_frame(limits));
        }
        add(6, u32::try_from(limits.fields_bytes).unwrap_or(u32::MAX));
        if self.extended_connect {
            add(8, 1);
        }
        if self.role == Role::Server {
            // Priorities of RFC 7540 are ignored (RFC 9218 section 2.1).
            add(9, 1);
        }
        if self.role == Role::Client {
            out.put(frame::PREFACE)?;
        }
        out.put(&frame_head(count as u32 * 6, kind::SETTINGS, 0, 0))?;
        for (id, value) in settings.iter().take(count) {
            let [a, b] = id.to_be_bytes();
            let [c, d, e, f] = value.to_be_bytes();
            out.put(&[a, b, c, d, e, f])?;
        }
        self.unacknowledged = 1;
        let more = limits.connection_window.min(LARGEST as u32).saturating_sub(WINDOW);
        if more > 0 {
            self.receive_window += more as i32;
            window_update(0, more, out)?;
        }
        Ok(())
    }

    /// Whether the connection has failed and reads nothing more.
    pub(crate) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether a frame or a header block is incomplete.
    pub(crate) fn is_inside(&self) -> bool {
        self.block.is_some() || self.data.is_some()
    }

    pub(crate) fn awaits_ack(&self) -> bool {
        self.unacknowledged > 0
    }

    /// The peer broke the protocol: sends GOAWAY with the reason, and stops reading.
    #[cold]
    pub(crate) fn fail<B: Buffer>(&mut self, kind: ViolationKind, stream: u32, out: &mut B) -> Violation {
        let violation = Violation::connection(kind, stream);
        // A full output has no room for the reason; the connection closes all the same.
        let _ = self.send_goaway(self.last.min(self.goaway), violation.code(), out);
        self.phase = Phase::Failed;
        self.block = None;
        self.data = None;
        violation
    }

    fn send_goaway<B: Buffer>(&mut self, last: u32, code: ErrorCode, out: &mut B) -> Result<(), Misuse> {
        out.put(&frame_head(8, kind::GOAWAY, 0, 0))?;
        let last = if self.role == Role::Server {
            last & 0x7fff_ffff
        } else {
            0
        };
        out.put(&last.to_be_bytes())?;
        Ok(out.put(&code.0.to_be_bytes())?)
    }

    /// Tells the peer to open no more streams (RFC 9113 section 6.8). Streams that the peer opens before it reads the GOAWAY are still
    /// served, until [`shut`](Self::shut).
    pub(crate) fn shutdown<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
        if self.goaway != u32::MAX || self.has_failed() {
            return Ok(());
        }
        self.goaway = u32::MAX >> 1;
        self.closing = true;
        self.send_goaway(self.goaway, ErrorCode::NO_ERROR, out)?;
        // The answer to this PING shows that the peer has read the GOAWAY.
        self.ping(SHUTDOWN, out)
    }

    /// Sends a GOAWAY that names the last stream served. Later streams are ignored.
    pub(crate) fn shut<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
        self.goaway_with(ErrorCode::NO_ERROR, out)
    }

    pub(crate) fn goaway_with<B: Buffer>(&mut self, code: ErrorCode, out: &mut B) -> Result<(), Misuse> {
        if self.has_failed() || !self.closing && self.goaway != u32::MAX {
            return Ok(());
        }
        self.closing = false;
        self.goaway = self.last;
        self.send_goaway(self.last, code, out)
    }

    /// Whether no stream is open, and none will be opened.
    pub(crate) fn is_over(&self) -> bool {
        self.has_failed() || self.streams.len() == 0 && !self.closing && self.goaway != u32::MAX
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.goaway != u32::MAX
    }

    pub(crate) fn ping<B: Buffer>(&self, payload: u64, out: &mut B) -> Result<(), Misuse> {
        out.put(&frame_head(8, kind::PING, 0, 0))?;
        Ok(out.put(&payload.to_be_bytes())?)
    }

    /// The caller has used `bytes` of a stream's content: the peer may send as much again.
    pub(crate) fn consume<B: Buffer>(
        &mut self,
        id: u32,
        bytes: u32,
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let Some(stream) = self.streams.get_mut(id) else {
            // Credit for these bytes was granted when the stream ended.
            return Ok(());
        };
        let bytes = bytes.min(stream.held);
        stream.held -= bytes;
        self.credit_stream(id, bytes, limits, out)?;
        self.credit(bytes, limits, out)
    }

    fn credit_stream<B: Buffer>(&mut self, id: u32, bytes: u32, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        let Some(stream) = self.streams.get_mut(id) else {
            return Ok(());
        };
        stream.consumed += bytes;
        if stream.consumed > 0
            && stream.consumed >= limits.stream_window / 2
            && stream.receiving != crate::state::Half::Done
        {
            let grant = core::mem::take(&mut stream.consumed);
            stream.receive_window = stream.receive_window.saturating_add(grant as i32);
            window_update(id, grant, out)?;
        }
        Ok(())
    }

    /// Grants credit of the connection. Every byte of DATA is credited, even if its stream has ended.
    fn credit<B: Buffer>(&mut self, bytes: u32, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        self.consumed += bytes;
        if self.consumed >= limits.connection_window.max(WINDOW) / 2 {
            let grant = core::mem::take(&mut self.consumed);
            self.receive_window = self.receive_window.saturating_add(grant as i32);
            window_update(0, grant, out)?;
        }
        Ok(())
    }

    /// Ends a stream with RST_STREAM.
    pub(crate) fn reset<B: Buffer>(
        &mut self,
        id: u32,
        code: ErrorCode,
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Misuse> {
        if self.streams.slot(id).is_none() || self.has_failed() {
            return Ok(());
        }
        rst_stream(id, code, out)?;
        self.remember_reset(id);
        self.forget(id, limits, out)
    }

    /// Forgets a stream, and grants credit for the content that was held.
    fn forget<B: Buffer>(&mut self, id: u32, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        let Some(stream) = self.streams.remove(id) else {
            return Ok(());
        };
        let mut bytes = stream.held;
        if let Some(data) = self.data.as_mut().filter(|data| data.stream == id) {
            // The rest of the frame is credited as it arrives.
            data.dropped = true;
            data.end = false;
        }
        if bytes > 0 {
            bytes = bytes.min(LARGEST as u32);
            self.credit(bytes, limits, out)?;
        }
        Ok(())
    }

    /// Forgets the streams above `last`, which the peer has not processed.
    pub(crate) fn forget_above(&mut self, last: u32) {
        let above: Vec<u32> = self
            .streams
            .iter()
            .map(|stream| stream.id)
            .filter(|&id| id > last)
            .collect();
        for id in above {
            if let Some(stream) = self.streams.remove(id) {
                self.consumed += stream.held;
            }
        }
    }

    fn remember_reset(&mut self, id: u32) {
        let resets = self.resets.get_or_insert_default();
        resets.rotate_right(1);
        resets[0] = id;
    }

    /// Whether the peer may still send on an abandoned stream: we have reset the stream, or a GOAWAY excluded it (RFC 9113 section 6.8).
    fn was_reset(&self, id: u32) -> bool {
        let left_out = match self.role {
            Role::Server => self.goaway,
            Role::Client => self.peer_goaway,
        };
        id > left_out || self.resets.as_ref().is_some_and(|resets| resets.contains(&id))
    }

    /// Whether a stream was never opened by either side.
    fn is_idle(&self, id: u32) -> bool {
        match (self.role, id % 2) {
            (Role::Server, 1) => id > self.last,
            (Role::Client, 1) => id >= self.next_own,
            // Pushed streams do not exist.
            _ => true,
        }
    }

    /// Takes points for a frame without useful effect.
    #[inline]
    fn spend(&mut self, points: u32, limits: &Limits) -> Result<(), ViolationKind> {
        self.spent = self.spent.saturating_add(points);
        if self.spent > limits.budget {
            Err(ViolationKind::Flood)
        } else {
            Ok(())
        }
    }

    /// Returns points: the peer was served, or time has passed.
    #[inline]
    pub(crate) fn earn(&mut self, points: u32) {
        self.spent = self.spent.saturating_sub(points);
    }

    /// Points that the peer has spent.
    pub(crate) const fn spent(&self) -> u32 {
        self.spent
    }

    /// Frees memory that only a connection in use needs.
    pub(crate) fn give_back(&mut self) {
        self.streams.give_back();
        (self.resets, self.hints) = (None, None);
        self.decoder.give_back();
        self.encoder.give_back();
    }

    /// The receive window of a new stream.
    fn initial_receive_window(&self, limits: &Limits) -> i32 {
        if self.settled {
            limits.stream_window.min(LARGEST as u32) as i32
        } else {
            WINDOW as i32
        }
    }
}

/// The payload of the PING behind the first GOAWAY.
pub(crate) const SHUTDOWN: u64 = u64::from_be_bytes(*b"shutdown");

pub(crate) fn max_frame(limits: &Limits) -> u32 {
    limits.frame.clamp(SMALLEST_MAX, (1 << 24) - 1)
}

#[inline]
fn frame_head(length: u32, kind: u8, flags: u8, stream: u32) -> [u8; frame::HEAD] {
    Head {
        length,
        kind,
        flags,
        stream,
    }
    .write()
}

fn window_update<B: Buffer>(stream: u32, grant: u32, out: &mut B) -> Result<(), Misuse> {
    short_frame(kind::WINDOW_UPDATE, stream, grant, out)
}

fn rst_stream<B: Buffer>(stream: u32, code: ErrorCode, out: &mut B) -> Result<(), Misuse> {
    short_frame(kind::RST_STREAM, stream, code.0, out)
}

/// Writes a frame whose payload is one 32-bit value.
fn short_frame<B: Buffer>(kind: u8, stream: u32, value: u32, out: &mut B) -> Result<(), Misuse> {
    let mut octets = [0; frame::HEAD + 4];
    let (head, payload) = octets.split_at_mut(frame::HEAD);
    head.copy_from_slice(&frame_head(4, kind, 0, stream));
    payload.copy_from_slice(&value.to_be_bytes());
    Ok(out.put(&octets)?)
}

fn settings_ack<B: Buffer>(out: &mut B) -> Result<(), Misuse> {
    Ok(out.put(&frame_head(0, kind::SETTINGS, flag::ACK, 0))?)
}

impl Stream {
    fn new(id: u32) -> Self {
        Self {
            id,
            receiving: crate::state::Half::Head,
            sending: crate::state::Half::Head,
            flags: 0,
            priority: crate::Priority::default().pack(),
            send_window: 0,
            receive_window: 0,
            held: 0,
            consumed: 0,
            expected: u64::MAX,
            left: u64::MAX,
        }
    }
}
