//! permessage-deflate (RFC 7692), on the pure Rust engine of zlib-rs.
//!
//! # Memory
//!
//! With context takeover, a connection that has received a compressed message keeps an inflater, 46 KiB. A connection that
//! has sent one keeps a deflater: 371 KiB with the default window of 15 bits, 259 KiB with 12, 247 KiB with 10 or less.
//! Without context takeover, a connection borrows both from the pool of the [`Settings`] for one message, and an idle
//! connection keeps nothing. A deflater keeps 64 KiB of output memory at most.

use alloc::vec::Vec;
use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use zlib_rs::{Deflate, DeflateFlush, Inflate};

use crate::encode;
use crate::frame::{RSV1, Role};
use crate::{Kind, frame};

mod inflate;
mod negotiate;

pub(crate) use inflate::Inflater;
pub(crate) use negotiate::{accept, offer, verify};

/// The end of a deflated message, which is removed before sending (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Idle engines of each kind that a pool keeps.
const POOL: usize = 8;

/// Bytes of output memory that an engine keeps between messages.
const KEEP: usize = 64 * 1024;

/// How an endpoint compresses, and the parameters that it asks of its peer. Connections share one copy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The compression level of zlib, 0 (stored) to 9; other values are clamped to that range. Default 1, which takes half the time of 6
    /// and makes JSON 10 % larger.
    pub level: i32,
    /// Messages with fewer bytes are sent uncompressed. Default 256.
    pub threshold: usize,
    /// The server does not keep its context between messages: a connection then holds no deflater while idle, but short messages compress
    /// worse. Default true.
    pub server_no_context_takeover: bool,
    /// The client does not keep its context between messages: the server then holds no inflater for an idle connection. Default true.
    pub client_no_context_takeover: bool,
    /// The largest window of the server, 8 to 15 bits; other values are clamped to that range. Default 15.
    pub server_max_window_bits: u8,
    /// The largest window of the client; the same range and default.
    pub client_max_window_bits: u8,
    /// The window with which a [`PreparedMessage`](crate::PreparedMessage) is compressed; connections with a smaller window
    /// get the message uncompressed. Default 15.
    pub prepared_window_bits: u8,
    /// The pool from which connections without context takeover get their engines.
    pub pool: Pool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            level: 1,
            threshold: 256,
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            prepared_window_bits: 15,
            pool: Pool::default(),
        }
    }
}

/// The parameters that both endpoints agreed on (RFC 7692 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// The server does not keep its context between messages.
    pub server_no_context_takeover: bool,
    /// The client does not keep its context between messages.
    pub client_no_context_takeover: bool,
    /// The server's window, 8 to 15 bits.
    pub server_max_window_bits: u8,
    /// The client's window, 8 to 15 bits.
    pub client_max_window_bits: u8,
}

impl Parameters {
    /// Whether `role` drops its context between messages, and its window.
    const fn of(self, role: Role) -> (bool, u8) {
        match role {
            Role::Server => (self.server_no_context_takeover, self.server_max_window_bits),
            Role::Client => (self.client_no_context_takeover, self.client_max_window_bits),
        }
    }
}

/// Idle engines, at most eight of each kind; all clones share them.
#[derive(Clone, Default)]
pub struct Pool(Arc<Shelves>);

#[derive(Default)]
struct Shelves {
    engines: Mutex<Vec<Engine>>,
    inflaters: Mutex<Vec<Inflate>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    fn engine(&self, level: i32, window_bits: u8) -> Engine {
        let mut engines = self.0.engines.lock().unwrap_or_else(PoisonError::into_inner);
        match engines
            .iter()
            .position(|engine| (engine.level, engine.window_bits) == (level, window_bits))
        {
            Some(at) => engines.swap_remove(at),
            None => {
                drop(engines);
                Engine::new(level, window_bits)
            }
        }
    }

    fn give_engine(&self, mut engine: Engine) {
        engine.deflate.reset();
        let mut engines = self.0.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if engines.len() < POOL {
            engines.push(engine);
        }
    }

    fn inflater(&self) -> Inflate {
        let idle = self.0.inflaters.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Inflate::new(false, 15))
    }

    fn give_inflater(&self, mut inflater: Inflate) {
        inflater.reset(false);
        let mut inflaters = self.0.inflaters.lock().unwrap_or_else(PoisonError::into_inner);
        if inflaters.len() < POOL {
            inflaters.push(inflater);
        }
    }
}

/// A compressor with its output memory.
struct Engine {
    deflate: Deflate,
    level: i32,
    window_bits: u8,
    /// Its length is the most that was ever needed. The caller knows how many bytes the last message has.
    buffer: Vec<u8>,
}

impl Engine {
    fn new(level: i32, window_bits: u8) -> Self {
        // zlib does not support a window of 8 bits. One of 9 bits serves: zlib uses distances up to its window minus 262 bytes, here 250,
        // and a window of 8 bits allows 256.
        let deflate = Deflate::new(level, false, window_bits.clamp(9, 15));
        Engine {
            deflate,
            level,
            window_bits,
            buffer: Vec::new(),
        }
    }

    /// Compresses `payload` into `buffer`. Returns the length without the tail; `None` if the engine fails.
    fn compress(&mut self, payload: &[u8]) -> Option<usize> {
        let mut from = 0;
        let mut len = 0;
        loop {
            if self.buffer.len() - len < 64 {
                // At first the most that zlib should need; doubled if that is too little.
                let more = (payload.len() + payload.len() / 1000 + 128).max(len);
                self.buffer.resize(len + more, 0);
            }
            let rest = payload.get(from..).unwrap_or_default();
            let room = self.buffer.get_mut(len..).unwrap_or_default();
            let (before, after) = (self.deflate.total_in(), self.deflate.total_out());
            self.deflate.compress(rest, room, DeflateFlush::SyncFlush).ok()?;
            from += usize::try_from(self.deflate.total_in() - before).ok()?;
            len += usize::try_from(self.deflate.total_out() - after).ok()?;
            // If room is left, everything was flushed.
            if from == payload.len() && len < self.buffer.len() {
                break;
            }
        }
        let mut len = self.buffer.get(..len)?.strip_suffix(&TAIL).map_or(len, <[u8]>::len);
        if len == 0 {
            // An empty message is an empty block (RFC 7692 section 7.2.3.6).
            *self.buffer.first_mut()? = 0;
            len = 1;
        }
        Some(len)
    }
}

/// The compressor of a connection's sending half.
pub(crate) struct Deflater {
    /// `None` before the first message, and between messages if the context is not kept.
    engine: Option<Engine>,
    forgets: bool,
    window_bits: u8,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("forgets", &self.forgets)
            .field("window_bits", &self.window_bits)
            .finish()
    }
}

impl Deflater {
    pub(crate) fn new(role: Role, parameters: Parameters) -> Self {
        let (forgets, window_bits) = parameters.of(role);
        Deflater {
            engine: None,
            forgets,
            window_bits,
        }
    }

    /// Returns the compressed payload if it is shorter. [`done`](Self::done) must follow.
    pub(crate) fn compress(&mut self, payload: &[u8], settings: &Settings) -> Option<&[u8]> {
        if payload.len() < settings.threshold {
            return None;
        }
        let (level, window_bits) = (settings.level.clamp(0, 9), self.window_bits);
        let engine = self
            .engine
            .get_or_insert_with(|| settings.pool.engine(level, window_bits));
        match engine.compress(payload) {
            Some(len) if len < payload.len() => self.engine.as_ref()?.buffer.get(..len),
            // A message that grew is sent uncompressed. The peer's context lacks it, so our context starts afresh.
            _ => {
                engine.deflate.reset();
                None
            }
        }
    }

    /// The message was sent, compressed or not: releases memory.
    pub(crate) fn done(&mut self, settings: &Settings) {
        if let Some(engine) = &mut self.engine
            && engine.buffer.len() > KEEP
        {
            engine.buffer = Vec::new();
        }
        if self.forgets
            && let Some(engine) = self.engine.take()
        {
            settings.pool.give_engine(engine);
        }
    }

    /// Whether a message that was compressed elsewhere can be sent now. If so, our context no longer matches the peer's, and starts afresh.
    pub(crate) fn sends(&mut self, prepared: &Prepared) -> bool {
        if prepared.window_bits > self.window_bits {
            return false;
        }
        if let Some(engine) = &mut self.engine {
            engine.deflate.reset();
        }
        true
    }
}

/// A message that is compressed once, without context.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    frame: Bytes,
    window_bits: u8,
}

impl Prepared {
    /// `None` if compression does not make it shorter.
    pub(crate) fn new(kind: Kind, payload: &[u8], settings: &Settings) -> Option<Self> {
        let window_bits = settings.prepared_window_bits.clamp(8, 15);
        let parameters = Parameters {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: window_bits,
            client_max_window_bits: window_bits,
        };
        let mut deflater = Deflater::new(Role::Server, parameters);
        let mut out = BytesMut::new();
        let compressed = deflater.compress(payload, settings)?;
        encode::frame(&mut out, true, RSV1, frame::Opcode::from(kind), None, compressed);
        deflater.done(settings);
        Some(Prepared {
            frame: out.freeze(),
            window_bits,
        })
    }

    /// The whole frame, unmasked.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }
}
