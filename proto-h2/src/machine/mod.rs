//! What both roles share: the state of a connection, and what is sent on its own account.

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

/// The window of a connection, and of a stream, that nobody has changed (RFC 9113 section 6.9.2).
const WINDOW: u32 = 65_535;

/// The largest window.
const LARGEST: i32 = i32::MAX;

/// Streams we have reset that are remembered, so that frames the peer sent before it knew are not taken for an error.
const RESETS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A server waits for the connection preface.
    Preface,
    /// The peer's first frame is due.
    Settings,
    Open,
    /// The peer broke the protocol: no event follows.
    Failed,
}

/// What the peer offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) initial_window: u32,
    pub(crate) frame: u32,
    pub(crate) streams: u32,
    pub(crate) fields_bytes: u32,
    pub(crate) extended_connect: bool,
}

/// A header block that has not ended.
#[derive(Debug)]
struct Block {
    stream: u32,
    end: bool,
    frames: u32,
    bytes: Vec<u8>,
}

/// A DATA frame that is being read.
#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    left: u32,
    padding: u8,
    end: bool,
    /// Nobody wants it.
    dropped: bool,
}

/// One thing that happened. What a header block said is in the scratch memory.
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
    /// A window has grown; that of all streams where `stream` is 0.
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
    /// SETTINGS of ours that were not acknowledged.
    unacknowledged: u8,
    /// What our limits offer is in force: the peer has acknowledged it.
    settled: bool,
    /// Another GOAWAY follows the first one.
    closing: bool,
    extended_connect: bool,
    pub(crate) offered: Offered,
    send_window: i32,
    receive_window: i32,
    /// Bytes consumed on all streams, and not yet granted again.
    consumed: u32,
    /// What the peer has left of [`Limits::budget`], as what it has spent.
    spent: u32,
    /// The highest stream of the peer's, and how many it has opened.
    last: u32,
    opened: u32,
    /// The next stream of ours.
    pub(crate) next_own: u32,
    /// The last stream that our GOAWAY named; above all there are before.
    goaway: u32,
    /// The last stream that the peer's GOAWAY named; above all there are before.
    pub(crate) peer_goaway: u32,
    pub(crate) streams: Streams,
    decoder: Decoder,
    encoder: Encoder,
    block: Option<Box<Block>>,
    data: Option<Data>,
    resets: Option<Box<[u32; RESETS]>>,
    /// Priorities of streams that are not open yet, in the order in which they came.
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

    /// Sends what a connection begins with: the client's preface, and our settings (RFC 9113 section 3.4).
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
            // Priorities of RFC 7540 are not looked at (RFC 9218 section 2.1).
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

    /// Whether something can still be read.
    pub(crate) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether a frame or a header block is in the middle.
    pub(crate) fn is_inside(&self) -> bool {
        self.block.is_some() || self.data.is_some()
    }

    pub(crate) fn awaits_ack(&self) -> bool {
        self.unacknowledged > 0
    }

    /// The peer broke the protocol: tells it why, and reads no more.
    #[cold]
    pub(crate) fn fail<B: Buffer>(&mut self, kind: ViolationKind, stream: u32, out: &mut B) -> Violation {
        let violation = Violation::connection(kind, stream);
        // An output that is full has no room for the reason; the connection closes all the same.
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

    /// Tells the peer to open no more streams (RFC 9113 section 6.8). Those that it has opened meanwhile are still served, until
    /// [`shut`](Self::shut).
    pub(crate) fn shutdown<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
        if self.goaway != u32::MAX || self.has_failed() {
            return Ok(());
        }
        self.goaway = u32::MAX >> 1;
        self.closing = true;
        self.send_goaway(self.goaway, ErrorCode::NO_ERROR, out)?;
        // When the answer comes, the peer has read the GOAWAY.
        self.ping(SHUTDOWN, out)
    }

    /// Names the last stream that is served. Later ones are ignored.
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

    /// Whether no stream is open, and none will be.
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

    /// The caller has used `bytes` of a stream's content, so that the peer may send as much again.
    pub(crate) fn consume<B: Buffer>(
        &mut self,
        id: u32,
        bytes: u32,
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let Some(stream) = self.streams.get_mut(id) else {
            // Its bytes were credited when it ended.
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

    /// Credit of the connection, which is given back for every byte of DATA, whatever became of its stream.
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

    /// Forgets a stream, and gives back the credit of what it held.
    fn forget<B: Buffer>(&mut self, id: u32, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        let Some(stream) = self.streams.remove(id) else {
            return Ok(());
        };
        let mut bytes = stream.held;
        if let Some(data) = self.data.as_mut().filter(|data| data.stream == id) {
            // What is left of the frame is credited as it comes.
            data.dropped = true;
            data.end = false;
        }
        if bytes > 0 {
            bytes = bytes.min(LARGEST as u32);
            self.credit(bytes, limits, out)?;
        }
        Ok(())
    }

    /// Forgets the streams above `last`, which the peer has not looked at.
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

    /// Whether a stream was given up that the peer may still send on: we have reset it, or a GOAWAY left it out (RFC 9113 section 6.8).
    fn was_reset(&self, id: u32) -> bool {
        let left_out = match self.role {
            Role::Server => self.goaway,
            Role::Client => self.peer_goaway,
        };
        id > left_out || self.resets.as_ref().is_some_and(|resets| resets.contains(&id))
    }

    /// Whether a stream was ever opened, by either side.
    fn is_idle(&self, id: u32) -> bool {
        match (self.role, id % 2) {
            (Role::Server, 1) => id > self.last,
            (Role::Client, 1) => id >= self.next_own,
            // Pushed streams: there are none.
            _ => true,
        }
    }

    /// The peer has done something that brings nothing on.
    #[inline]
    fn spend(&mut self, points: u32, limits: &Limits) -> Result<(), ViolationKind> {
        self.spent = self.spent.saturating_add(points);
        if self.spent > limits.budget {
            Err(ViolationKind::Flood)
        } else {
            Ok(())
        }
    }

    /// Something useful was done for the peer, or time has passed.
    #[inline]
    pub(crate) fn earn(&mut self, points: u32) {
        self.spent = self.spent.saturating_sub(points);
    }

    /// What the peer has spent.
    pub(crate) const fn spent(&self) -> u32 {
        self.spent
    }

    /// Gives memory back that only a connection in use needs.
    pub(crate) fn give_back(&mut self) {
        self.streams.give_back();
        (self.resets, self.hints) = (None, None);
        self.decoder.give_back();
        self.encoder.give_back();
    }

    /// The window we start a stream with.
    fn initial_receive_window(&self, limits: &Limits) -> i32 {
        if self.settled {
            limits.stream_window.min(LARGEST as u32) as i32
        } else {
            WINDOW as i32
        }
    }
}

/// The payload of the PING that follows the first GOAWAY.
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

/// A frame of 32 bits.
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
