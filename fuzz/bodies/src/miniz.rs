//! Deflate and inflate by another implementation, miniz.

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Inflates the messages of one direction.
pub(crate) struct Inflating {
    engine: Box<DecompressorOxide>,
    flags: u32,
    /// A window that wraps around, or room for the whole output.
    memory: Vec<u8>,
    at: usize,
}

impl Inflating {
    /// Inflates with a window of this many bits. A reference that reaches further back gives wrong bytes.
    pub(crate) fn within(window_bits: u8) -> Self {
        Inflating {
            engine: Box::default(),
            flags: TINFL_FLAG_HAS_MORE_INPUT,
            memory: vec![0; 1 << window_bits],
            at: 0,
        }
    }

    /// Inflates up to this many bytes in all. A reference to before the first byte is refused.
    pub(crate) fn strict(bytes: usize) -> Self {
        Inflating {
            engine: Box::default(),
            flags: TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
            memory: vec![0; bytes],
            at: 0,
        }
    }

    /// Inflates the next message (RFC 7692 section 7.2.2). `None` when it is not valid, ends with a final block, or is too long.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let deflated = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut rest = &deflated[..];
        let mut message = Vec::new();
        loop {
            let (status, taken, made) = decompress(&mut self.engine, rest, &mut self.memory, self.at, self.flags);
            message.extend_from_slice(&self.memory[self.at..self.at + made]);
            rest = &rest[taken..];
            self.at += made;
            if self.at == self.memory.len() {
                if self.flags & TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF != 0 {
                    return None;
                }
                self.at = 0;
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if rest.is_empty() => return Some(message),
                _ => return None,
            }
        }
    }
}

/// Deflates the messages of one direction.
pub(crate) struct Deflating(Box<CompressorOxide>);

impl Default for Deflating {
    fn default() -> Self {
        // Negative window bits mean a stream without zlib's header.
        Deflating(Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(
            6, -15, 0,
        ))))
    }
}

impl Deflating {
    /// Deflates the next message (RFC 7692 section 7.2.1).
    pub(crate) fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut deflated = Vec::new();
        compress_to_output(&mut self.0, message, TDEFLFlush::Sync, |bytes| {
            deflated.extend_from_slice(bytes);
            true
        });
        let tail = deflated.strip_suffix(&[0, 0, 0xff, 0xff]);
        tail.expect("flushed").to_vec()
    }
}
