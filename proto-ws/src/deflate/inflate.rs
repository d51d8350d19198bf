//! Decompression, bounded by the message limit and by a ratio.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{Parameters, Pool, TAIL};
use crate::frame::Role;
use crate::utf8::Utf8;
use crate::{Limits, Violation};

/// Bytes inflated at a time, on the stack: for short pieces of a message, and for longer ones.
const FEW: usize = 2048;
const MANY: usize = 8192;

/// Longest short piece of a message, in compressed bytes.
const SHORT: usize = 1020;

/// Up to this size, no ratio is suspicious: an image of one colour or a page of zeros is not an attack.
const HARMLESS: u64 = 1 << 20;

/// The decompressor of a connection's receiving half.
pub(crate) struct Inflater {
    /// `None` before the first message, and between messages if the context is not kept.
    engine: Option<Inflate>,
    forgets: bool,
    utf8: Utf8,
    /// Compressed bytes of the current message that were consumed, and the bytes they inflated to.
    taken: u64,
    made: u64,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("forgets", &self.forgets)
            .finish_non_exhaustive()
    }
}

impl Inflater {
    /// A decompressor for frames that arrive at `role`.
    pub(crate) fn new(role: Role, parameters: Parameters) -> Self {
        let peer = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let (forgets, _) = parameters.of(peer);
        Inflater {
            engine: None,
            forgets,
            utf8: Utf8::default(),
            taken: 0,
            made: 0,
        }
    }

    /// Inflates `bytes`, the next of a text message, and appends the result.
    pub(crate) fn text(
        &mut self,
        bytes: &[u8],
        last: bool,
        limits: &Limits,
        pool: &Pool,
        text: &mut String,
    ) -> Result<(), Violation> {
        let mut utf8 = core::mem::take(&mut self.utf8);
        self.run(bytes, last, limits, pool, &mut |piece| {
            let (first, rest) = utf8.push(piece).map_err(|_| Violation::Utf8)?;
            text.extend(first);
            text.push_str(rest);
            Ok(())
        })?;
        self.utf8 = utf8;
        if last && !utf8.is_complete() {
            Err(Violation::Utf8)
        } else {
            Ok(())
        }
    }

    /// Inflates `bytes`, the next of a binary message, and appends the result.
    pub(crate) fn binary(
        &mut self,
        bytes: &[u8],
        last: bool,
        limits: &Limits,
        pool: &Pool,
        binary: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        self.run(bytes, last, limits, pool, &mut |piece| {
            binary.extend_from_slice(piece);
            Ok(())
        })
    }

    fn run(
        &mut self,
        bytes: &[u8],
        last: bool,
        limits: &Limits,
        pool: &Pool,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut engine = self.engine.take().unwrap_or_else(|| pool.inflater());
        if bytes.len() > SHORT {
            let mut piece = [0; MANY];
            self.feed(&mut engine, bytes, &mut piece, limits, sink)?;
            if last {
                self.feed(&mut engine, &TAIL, &mut piece, limits, sink)?;
            }
        } else {
            // Copying a short piece costs less than calling the engine again for the tail.
            let mut whole = [0; SHORT + TAIL.len()];
            let mut len = 0;
            for part in [bytes, if last { &TAIL } else { &[] }] {
                if let Some(place) = whole.get_mut(len..len + part.len()) {
                    place.copy_from_slice(part);
                    len += part.len();
                }
            }
            let whole = whole.get(..len).unwrap_or_default();
            self.feed(&mut engine, whole, &mut [0; FEW], limits, sink)?;
        }
        if last {
            (self.taken, self.made) = (0, 0);
            if self.forgets {
                pool.give_inflater(engine);
                return Ok(());
            }
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn feed(
        &mut self,
        engine: &mut Inflate,
        mut bytes: &[u8],
        piece: &mut [u8],
        limits: &Limits,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        loop {
            let (before, after) = (engine.total_in(), engine.total_out());
            let status = engine.decompress(bytes, piece, InflateFlush::SyncFlush);
            let taken = usize::try_from(engine.total_in() - before).map_err(|_| Violation::Deflate)?;
            let made = usize::try_from(engine.total_out() - after).map_err(|_| Violation::Deflate)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            // Output is checked before later input, so that the result does not depend on how much input has arrived.
            let room = limits.message.saturating_sub(self.made);
            let kept = usize::try_from(room).map_or(made, |room| made.min(room));
            sink(piece.get(..kept).unwrap_or_default())?;
            self.made += made as u64;
            self.taken += taken as u64;
            if kept < made {
                return Err(Violation::MessageTooLong);
            } else if self.made > HARMLESS && self.made / u64::from(limits.inflate_ratio.max(1)) > self.taken {
                return Err(Violation::InflateRatio);
            }
            let status = status.map_err(|_| Violation::Deflate)?;
            if matches!(status, Status::StreamEnd) {
                // The deflate stream may end with a final block before the message ends (RFC 7692 section 7.2.3.4).
                engine.reset(false);
            } else if taken == 0 && made == 0 || bytes.is_empty() && made < piece.len() {
                return if bytes.is_empty() {
                    Ok(())
                } else {
                    Err(Violation::Deflate)
                };
            }
        }
    }
}
