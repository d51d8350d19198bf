//! Receives DATA (RFC 9113 section 6.1).

use proto_http::Buffer;

use super::receive::Broken;
use super::{Core, Data, Step};
use crate::frame::{Head, flag};
use crate::state::{self, Half, Move};
use crate::streams::Stream;
use crate::{Limits, Violation, ViolationKind};

/// A frame with less content than this, in bytes, costs a point of the peer's budget.
const SMALL: u32 = 16;

impl Core {
    /// Begins a DATA frame. Its content is passed on as it arrives. Returns false if the padding length has not arrived yet.
    pub(super) fn data_head<B: Buffer>(
        &mut self,
        head: Head,
        rest: &mut &[u8],
        limits: &Limits,
        out: &mut B,
    ) -> Result<bool, Broken> {
        let mut padding = 0;
        let mut left = head.length;
        if head.has(flag::PADDED) {
            if head.length == 0 {
                return Err(ViolationKind::FrameSize.into());
            }
            let Some((&length, behind)) = rest.split_first() else {
                return Ok(false);
            };
            *rest = behind;
            padding = length;
            left = (head.length - 1)
                .checked_sub(u32::from(length))
                .ok_or(ViolationKind::Padding)?;
        }
        // The whole frame counts against the window, including its padding (RFC 9113 section 6.9.1).
        self.receive_window -= head.length.min(i32::MAX as u32) as i32;
        if self.receive_window < 0 {
            return Err(ViolationKind::WindowExceeded.into());
        }
        let overhead = head.length - left;
        self.data = Some(Data {
            stream: head.stream,
            left,
            padding,
            end: false,
            dropped: true,
        });
        if overhead > 0 {
            // Credit for the padding is granted at once; credit for content when the caller has consumed it.
            self.credit(overhead, limits, out)?;
        }
        let end = head.has(flag::END_STREAM);
        self.accept(head, left, overhead, end, limits, out)?;
        Ok(true)
    }

    /// Checks whether the stream may receive this content. If not, the rest of the frame is dropped.
    fn accept<B: Buffer>(
        &mut self,
        head: Head,
        left: u32,
        overhead: u32,
        end: bool,
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Broken> {
        let Some(stream) = self.streams.get_mut(head.stream) else {
            if self.is_idle(head.stream) {
                return Err(ViolationKind::IdleStream.into());
            }
            if self.was_reset(head.stream) {
                return Ok(());
            }
            return Err(Broken::Stream(ViolationKind::StreamClosed));
        };
        match stream.receiving {
            Half::Done => return Err(Broken::Stream(ViolationKind::StreamClosed)),
            Half::Head => return Err(Broken::Stream(ViolationKind::Content)),
            Half::Body => {}
        }
        stream.receive_window -= head.length as i32;
        if stream.receive_window < 0 {
            return Err(Broken::Stream(ViolationKind::WindowExceeded));
        }
        let known = stream.has(Stream::KNOWN);
        let Some(expected) = stream.expected.checked_sub(u64::from(left)) else {
            return Err(Broken::Stream(if known {
                ViolationKind::LengthDiffers
            } else {
                ViolationKind::BodyTooLarge
            }));
        };
        stream.expected = expected;
        if end && known && expected != 0 {
            return Err(Broken::Stream(ViolationKind::LengthDiffers));
        }
        stream.held += left;
        let tunnel = stream.has(Stream::TUNNEL);
        self.data = self.data.map(|data| Data {
            end,
            dropped: false,
            ..data
        });
        if left >= 256 {
            self.earn(left / 256);
        } else if left == 0 && !end || left < SMALL && !end && !tunnel {
            self.spend(1, limits)?;
        }
        if overhead > 0 {
            self.credit_stream(head.stream, overhead, limits, out)?;
        }
        Ok(())
    }

    /// Continues a DATA frame. Returns `None` if more bytes are needed, or if the frame is complete and produces no event.
    #[inline]
    pub(super) fn content<'a, B: Buffer>(
        &mut self,
        limits: &Limits,
        input: &mut &'a [u8],
        out: &mut B,
    ) -> Result<Option<Step<'a>>, Violation> {
        let Some(data) = &mut self.data else {
            return Ok(None);
        };
        let id = data.stream;
        if data.left > 0 {
            let (piece, rest) = input.split_at(input.len().min(data.left as usize));
            if piece.is_empty() {
                return Ok(None);
            }
            *input = rest;
            data.left -= piece.len() as u32;
            if !data.dropped {
                if data.left == 0 && data.padding == 0 && !data.end {
                    self.data = None;
                }
                return Ok(Some(Step::Data {
                    stream: id,
                    data: piece,
                }));
            }
            if self.credit(piece.len() as u32, limits, out).is_err() {
                return Err(self.fail(ViolationKind::Flood, id, out));
            }
            return self.content(limits, input, out);
        }
        if data.padding > 0 {
            let skipped = input.len().min(usize::from(data.padding));
            *input = input.get(skipped..).unwrap_or_default();
            data.padding -= skipped as u8;
            if data.padding > 0 {
                return Ok(None);
            }
        }
        let end = data.end && !data.dropped;
        self.data = None;
        if !end {
            return Ok(None);
        }
        self.end_received(id);
        Ok(Some(Step::End {
            stream: id,
            trailers: false,
        }))
    }

    /// The peer has ended its half of a stream.
    pub(super) fn end_received(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id) {
            if let Some(done) = state::next(stream.receiving, Move::End) {
                stream.receiving = done;
            }
            if stream.is_closed() {
                self.close(id);
            }
        }
    }

    /// Both halves of the stream are complete.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(id) {
            // Grants credit for the content that the caller still holds: no more events of this stream follow.
            self.consumed += stream.held;
        }
        self.earn(4);
    }
}
