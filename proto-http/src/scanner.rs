//! Finds the end of a head that arrives in pieces.

use crate::{Limits, scan};

/// Finds the end of a head that arrives in pieces, in time linear in its length, however small the pieces are.
///
/// The scanner remembers how far it has read, so it reads each byte once. Parse the head only when it is complete, or can no
/// longer become complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    /// Bytes already scanned.
    scanned: u32,
    /// The offset of the current line.
    line: u32,
}

impl HeadScanner {
    /// A scanner at the start of a head.
    #[must_use]
    pub const fn new() -> Self {
        Self { scanned: 0, line: 0 }
    }

    /// Whether `input`, the head from its first byte on, should be parsed now: it was never scanned, has reached its empty
    /// line, has a line end that makes it invalid, or exceeds `limits`.
    #[inline]
    pub fn ready(&mut self, input: &[u8], limits: &Limits) -> bool {
        self.first_look() || self.scan(input, limits.request_line, limits.fields_bytes, limits.leading_lines)
    }

    /// Like [`ready`](Self::ready), for a trailer section.
    #[inline]
    pub(crate) fn trailers_ready(&mut self, input: &[u8], limits: &Limits) -> bool {
        self.first_look() || self.scan(input, limits.trailers_bytes, 0, 0)
    }

    /// Bytes that need not be scanned again.
    pub(crate) const fn scanned(&self) -> usize {
        self.scanned as usize
    }

    /// Forgets everything, for the next head.
    #[inline]
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Most heads arrive whole: the caller parses at once, and looks for the end only if that fails.
    #[inline]
    fn first_look(&mut self) -> bool {
        let first = self.scanned == 0;
        if first {
            self.scanned = 1;
        }
        first
    }

    /// `leading` empty lines may be in front; the parser counts them.
    #[inline]
    fn scan(&mut self, input: &[u8], start_line: usize, fields: usize, leading: usize) -> bool {
        let more = if self.line == 0 {
            leading.saturating_mul(2)
        } else {
            fields
        };
        let limit = start_line.saturating_add(more).saturating_add(1);
        match input.get(self.scanned as usize..) {
            // A single byte more, from a peer that trickles.
            Some([byte]) if *byte != b'\n' && input.len() <= limit => {
                self.scanned = self.scanned.saturating_add(1);
                false
            }
            _ => self.scan_lines(input, start_line, fields, leading),
        }
    }

    fn scan_lines(&mut self, input: &[u8], start_line: usize, fields: usize, leading: usize) -> bool {
        loop {
            let scanned = self.scanned as usize;
            let rest = input.get(scanned..).unwrap_or_default();
            let length = scan::until_lf(rest);
            let end = scanned + length;
            if length == rest.len() {
                self.scanned = u32::try_from(end).unwrap_or(u32::MAX);
                let more = if self.line == 0 {
                    leading.saturating_mul(2)
                } else {
                    fields
                };
                return end > start_line.saturating_add(more).saturating_add(1);
            }
            let line = input.get(self.line as usize..end).unwrap_or_default();
            let started = self.line > 0;
            self.scanned = u32::try_from(end + 1).unwrap_or(u32::MAX);
            self.line = self.scanned;
            match line {
                [.., b'\r'] if line.len() > 1 => {}
                [b'\r'] if leading > 0 && !started => self.line = 0,
                _ => return true,
            }
        }
    }
}
