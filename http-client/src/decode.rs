//! Content codings, decoded in bounded steps (RFC 9110 section 8.4.1): however small a bomb is, a step returns one piece.

#![cfg_attr(
    not(all(feature = "gzip", feature = "brotli", feature = "zstd")),
    allow(unused, clippy::ptr_arg, reason = "parts are for codings that were not compiled in")
)]

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, HeaderMap};

use crate::Error;

/// The most bytes of one decoded piece.
const PIECE: usize = 32 * 1024;
/// The most codings on top of each other.
const MOST: usize = 3;

/// The value of Accept-Encoding for the codings that were compiled in; empty if there are none.
pub fn accepted() -> &'static str {
    match (cfg!(feature = "gzip"), cfg!(feature = "brotli"), cfg!(feature = "zstd")) {
        (true, true, true) => "gzip, deflate, br, zstd",
        (true, true, false) => "gzip, deflate, br",
        (true, false, true) => "gzip, deflate, zstd",
        (true, false, false) => "gzip, deflate",
        (false, true, true) => "br, zstd",
        (false, true, false) => "br",
        (false, false, true) => "zstd",
        (false, false, false) => "",
    }
}

/// Decodes content, coding by coding. Holds the input that was not decoded yet, and the state of the codings.
#[derive(Default)]
pub struct Decoder {
    /// The last coding that was applied comes first.
    steps: Vec<Step>,
}

struct Step {
    coding: Coding,
    input: BytesMut,
    /// No input follows.
    last: bool,
    done: bool,
}

enum Coding {
    #[cfg(feature = "gzip")]
    Gzip(flate2::Decompress),
    #[cfg(feature = "gzip")]
    Deflate(Option<flate2::Decompress>),
    #[cfg(feature = "brotli")]
    Brotli(Box<Brotli>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::Zstd>),
    /// Without a coding, the type still has a variant, though no value.
    #[allow(dead_code, reason = "no value exists")]
    Never(std::convert::Infallible),
}

#[cfg(feature = "brotli")]
type Brotli = brotli_decompressor::BrotliState<
    brotli_decompressor::StandardAlloc,
    brotli_decompressor::StandardAlloc,
    brotli_decompressor::StandardAlloc,
>;

impl Decoder {
    /// A decoder for an answer with these fields; `None` if its content is not coded, or in a way that is not known here. The content is
    /// then passed on as it is.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut steps = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in value.to_str().ok()?.split(',') {
                let coding = match name.trim().to_ascii_lowercase().as_str() {
                    "identity" | "" => continue,
                    #[cfg(feature = "gzip")]
                    "gzip" | "x-gzip" => Coding::Gzip(flate2::Decompress::new_gzip(15)),
                    #[cfg(feature = "gzip")]
                    "deflate" => Coding::Deflate(None),
                    #[cfg(feature = "brotli")]
                    "br" => {
                        use brotli_decompressor::StandardAlloc;
                        let alloc = StandardAlloc::default;
                        Coding::Brotli(Box::new(Brotli::new(alloc(), alloc(), alloc())))
                    }
                    #[cfg(feature = "zstd")]
                    "zstd" => Coding::Zstd(Box::default()),
                    _ => return None,
                };
                steps.push(Step {
                    coding,
                    input: BytesMut::new(),
                    last: false,
                    done: false,
                });
            }
        }
        steps.reverse();
        (!steps.is_empty() && steps.len() <= MOST).then_some(Decoder { steps })
    }

    /// Adds coded content. To be called when [`piece`](Self::piece) has returned `None`.
    pub fn push(&mut self, content: &[u8]) {
        if let Some(step) = self.steps.first_mut() {
            step.input.extend_from_slice(content);
        }
    }

    /// No content follows.
    pub fn end(&mut self) {
        if let Some(step) = self.steps.first_mut() {
            step.last = true;
        }
    }

    /// The next decoded piece; `None` if more content must be pushed, or all was decoded.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the content is invalid or, after [`end`](Self::end), not complete.
    pub fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let top = self.steps.len().saturating_sub(1);
        let mut at = top;
        // Asks the last step, which asks the one before for more, and so on.
        while let Some(step) = self.steps.get_mut(at) {
            let (piece, last) = (step.next()?, step.last);
            match piece {
                Some(piece) if at == top => return Ok(Some(piece)),
                Some(piece) => {
                    at += 1;
                    self.steps[at].input.extend_from_slice(&piece);
                }
                None if last && at < top => {
                    at += 1;
                    self.steps[at].last = true;
                }
                None if last || at == 0 => break,
                None => at -= 1,
            }
        }
        Ok(None)
    }
}

impl Step {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let before = self.input.len();
            let mut out = Vec::new();
            let name = self.coding.name();
            if self.done {
                // Bytes after the end are ignored, as by other clients; gzip may have further members.
                match &mut self.coding {
                    #[cfg(feature = "gzip")]
                    Coding::Gzip(member) if self.input.starts_with(&[0x1f, 0x8b]) => {
                        *member = flate2::Decompress::new_gzip(15);
                    }
                    #[cfg(feature = "gzip")]
                    Coding::Gzip(_) if *self.input == [0x1f] && !self.last => return Ok(None),
                    _ => {
                        self.input.clear();
                        return Ok(None);
                    }
                }
                self.done = false;
            }
            if self.input.is_empty() && self.last && before == 0 && self.coding.is_unused() {
                // No content at all, as in an answer to HEAD.
                self.done = true;
                return Ok(None);
            }
            let done = self.coding.step(&mut self.input, &mut out, self.last);
            self.done = done.map_err(|()| Error::Decode(name))?;
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
            if self.done {
                continue;
            }
            if self.input.len() == before {
                return if self.last { Err(Error::Decode(name)) } else { Ok(None) };
            }
        }
    }
}

impl Coding {
    fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Coding::Gzip(_) => "gzip",
            #[cfg(feature = "gzip")]
            Coding::Deflate(_) => "deflate",
            #[cfg(feature = "brotli")]
            Coding::Brotli(_) => "br",
            #[cfg(feature = "zstd")]
            Coding::Zstd(_) => "zstd",
            Coding::Never(never) => match *never {},
        }
    }

    /// Whether nothing was decoded yet.
    fn is_unused(&self) -> bool {
        match self {
            #[cfg(feature = "gzip")]
            Coding::Gzip(inflate) => inflate.total_in() == 0,
            #[cfg(feature = "gzip")]
            Coding::Deflate(inflate) => inflate.is_none(),
            #[cfg(feature = "brotli")]
            Coding::Brotli(_) => false,
            #[cfg(feature = "zstd")]
            Coding::Zstd(zstd) => zstd.is_unused(),
            Coding::Never(never) => match *never {},
        }
    }

    /// Decodes at most one piece. Returns whether the end was reached.
    fn step(&mut self, input: &mut BytesMut, out: &mut Vec<u8>, last: bool) -> Result<bool, ()> {
        match self {
            #[cfg(feature = "gzip")]
            Coding::Gzip(member) => inflate(member, input, out),
            #[cfg(feature = "gzip")]
            Coding::Deflate(state) => {
                if state.is_none() {
                    // RFC 9110 section 8.4.1.2 asks for the zlib format; some servers send the bare one.
                    let zlib = match **input {
                        [first, second, ..] => {
                            first & 0x0f == 8 && (u16::from(first) << 8 | u16::from(second)).is_multiple_of(31)
                        }
                        [_] if last => false,
                        _ => return Ok(false),
                    };
                    *state = Some(flate2::Decompress::new(zlib));
                }
                state.as_mut().map_or(Err(()), |state| inflate(state, input, out))
            }
            #[cfg(feature = "brotli")]
            Coding::Brotli(state) => {
                use brotli_decompressor::{BrotliDecompressStream, BrotliResult};
                out.resize(PIECE, 0);
                let (mut left, mut used, mut room, mut made, mut total) = (input.len(), 0, PIECE, 0, 0);
                let result = BrotliDecompressStream(
                    &mut left, &mut used, input, &mut room, &mut made, out, &mut total, state,
                );
                out.truncate(made);
                input.advance(used);
                match result {
                    BrotliResult::ResultSuccess => Ok(true),
                    BrotliResult::ResultFailure => Err(()),
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(false),
                }
            }
            #[cfg(feature = "zstd")]
            Coding::Zstd(zstd) => zstd.step(input, out, last),
            Coding::Never(never) => match *never {},
        }
    }
}

#[cfg(feature = "gzip")]
fn inflate(state: &mut flate2::Decompress, input: &mut BytesMut, out: &mut Vec<u8>) -> Result<bool, ()> {
    out.reserve_exact(PIECE);
    let before = state.total_in();
    let outcome = state.decompress_vec(input, out, flate2::FlushDecompress::None);
    let used = usize::try_from(state.total_in() - before).unwrap_or(usize::MAX);
    input.advance(used.min(input.len()));
    match outcome {
        Ok(flate2::Status::StreamEnd) => Ok(true),
        // Not an error: no progress is possible without more input.
        Ok(_) => Ok(false),
        Err(_) => Err(()),
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use bytes::{Buf, BytesMut};
    use ruzstd::decoding::FrameDecoder;

    use super::PIECE;

    /// The largest window of the content coding (RFC 9659 section 3).
    const WINDOW: u64 = 8 * 1024 * 1024;
    /// The most bytes of a frame's header (RFC 8878 section 3.1.1), with its magic number.
    const HEADER: usize = 18;

    /// Decodes one block at a time: the library decodes all that it is shown, and a block of 4 bytes may stand for 128 KiB.
    #[derive(Default)]
    pub(super) struct Zstd {
        decoder: Option<FrameDecoder>,
        checksum: bool,
        last_block: bool,
        used: bool,
    }

    impl Zstd {
        pub(super) fn is_unused(&self) -> bool {
            !self.used
        }

        pub(super) fn step(&mut self, input: &mut BytesMut, out: &mut Vec<u8>, last: bool) -> Result<bool, ()> {
            out.resize(PIECE, 0);
            let made = self.fill(input, out, last)?;
            out.truncate(made);
            let over = self
                .decoder
                .as_ref()
                .is_some_and(|decoder| self.last_block && decoder.can_collect() == 0);
            if !over {
                return Ok(false);
            }
            let decoder = self.decoder.take().ok_or(())?;
            let promised = decoder.get_checksum_from_data();
            if promised.is_some() && promised != decoder.get_calculated_checksum() {
                return Err(());
            }
            *self = Zstd {
                used: true,
                ..Zstd::default()
            };
            // Another frame may follow; the end of all frames is the end of the content.
            Ok(input.is_empty() && last)
        }

        fn fill(&mut self, input: &mut BytesMut, out: &mut [u8], last: bool) -> Result<usize, ()> {
            if self.decoder.is_none() {
                if input.is_empty() && last && self.used {
                    self.decoder = Some(FrameDecoder::new());
                    self.last_block = true;
                    return Ok(0);
                }
                if input.len() < HEADER && !last || input.is_empty() {
                    return Ok(0);
                }
                // A frame to be skipped (RFC 8878 section 3.1.2).
                if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] = **input {
                    let length = u32::from_le_bytes([a, b, c, d]) as usize;
                    if input.len() - 8 < length {
                        return Ok(0);
                    }
                    input.advance(8 + length);
                    self.used = true;
                    return Ok(0);
                }
                self.checksum = input.get(4).is_some_and(|descriptor| descriptor & 4 != 0);
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(WINDOW);
                let mut source = &**input;
                decoder.init(&mut source).map_err(drop)?;
                let used = input.len() - source.len();
                input.advance(used);
                self.decoder = Some(decoder);
                self.used = true;
            }
            let decoder = self.decoder.as_mut().ok_or(())?;
            if decoder.can_collect() > 0 || self.last_block {
                return std::io::Read::read(decoder, out).map_err(drop);
            }
            let [a, b, c, ..] = **input else { return Ok(0) };
            let header = u32::from_le_bytes([a, b, c, 0]);
            let content = if header >> 1 & 3 == 1 {
                1
            } else {
                (header >> 3) as usize
            };
            let is_last = header & 1 == 1;
            let whole = 3 + content + if is_last && self.checksum { 4 } else { 0 };
            let Some(block) = input.get(..whole) else { return Ok(0) };
            let (used, made) = decoder.decode_from_to(block, out).map_err(drop)?;
            if used != whole {
                return Err(());
            }
            input.advance(whole);
            self.last_block = is_last;
            Ok(made)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn decoder(codings: &'static str) -> Option<Decoder> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(codings));
        Decoder::of(&headers)
    }

    fn decode(codings: &'static str, coded: &[u8], split: usize) -> Result<Vec<u8>, Error> {
        let mut decoder = decoder(codings).unwrap();
        let mut all = Vec::new();
        for part in coded.chunks(split.max(1)) {
            decoder.push(part);
            while let Some(piece) = decoder.piece()? {
                assert!(piece.len() <= PIECE);
                all.extend_from_slice(&piece);
            }
        }
        decoder.end();
        while let Some(piece) = decoder.piece()? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut coded = Vec::new();
        let mut encoder = flate2::GzBuilder::new()
            .filename("a name")
            .write(&mut coded, flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap();
        coded
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// `printf hello, hello | brotli | xxd`.
    const BROTLI: &[u8] = &[
        0x8b, 0x05, 0x80, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x2c, 0x20, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x03,
    ];

    #[test]
    fn every_split_decodes_alike_and_every_cut_is_noticed() {
        let plain: Vec<u8> = (0..3000_u32).flat_map(|n| (n / 7).to_string().into_bytes()).collect();
        let two = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
        let zlib = {
            use std::io::Write;
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        };
        let bare = zlib[2..zlib.len() - 4].to_vec();
        let frames = [zstd(&plain[..1000]), zstd(&plain[1000..])].concat();
        for (codings, coded, expected) in [
            ("gzip", gzip(&plain), plain.as_slice()),
            ("x-gzip", two, &plain),
            ("deflate", zlib, &plain),
            ("Deflate", bare, &plain),
            ("br", BROTLI.to_vec(), b"hello, hello"),
            ("zstd", zstd(&plain), &plain),
            ("zstd", frames, &plain),
            ("gzip, zstd", zstd(&gzip(&plain)), &plain),
        ] {
            for split in [1, 2, 3, 7, 100, 100_000] {
                let decoded = decode(codings, &coded, split);
                assert!(decoded.as_deref() == Ok(expected), "{codings} {split}");
            }
            let cut = &coded[..coded.len() - 1];
            assert!(matches!(decode(codings, cut, 100), Err(Error::Decode(_))), "{codings}");
        }
        assert_eq!(decode("gzip", b"", 1), Ok(vec![]));
        assert!(matches!(
            decode("gzip", b"not gzip at all", 4),
            Err(Error::Decode("gzip"))
        ));
        assert!(matches!(
            decode("zstd", b"this is not zstd, not at all", 4),
            Err(Error::Decode("zstd"))
        ));
        assert!(decoder("identity").is_none() && decoder("unknown").is_none());
        assert!(decoder("gzip, gzip, gzip, gzip").is_none());
    }

    /// 4 MiB of zeros come in pieces, and memory holds one of them.
    #[test]
    fn a_bomb_comes_in_pieces() {
        let zeros = vec![0; 4 * 1024 * 1024];
        for (codings, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
            let mut decoder = decoder(codings).unwrap();
            decoder.push(&bomb);
            let mut total = 0;
            for _ in 0..10 {
                let piece = decoder.piece().unwrap().unwrap();
                assert!(piece.len() <= PIECE, "{codings}");
                total += piece.len();
            }
            assert!(total <= 10 * PIECE);
        }
    }
}
