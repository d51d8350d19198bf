//! Several ranges in one answer (RFC 9110 section 14.6).

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;
use std::ops::Range;

/// The frame around parts of a file.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// The value of `Content-Type`.
    pub(crate) media_type: String,
    /// What stands in front of each part.
    pub(crate) heads: Vec<String>,
    /// What stands behind the last part.
    pub(crate) end: String,
}

impl Multipart {
    /// For these parts of a file of `length` bytes and of this type.
    pub(crate) fn new(ranges: &[Range<u64>], length: u64, media_type: Option<&str>) -> Self {
        // What a file cannot have in it but by chance, because it is drawn for each answer: RFC 2046 section 5.1.1.
        let random = || RandomState::new().hash_one(length);
        let boundary = format!("{:016x}{:016x}", random(), random());
        let mut heads = Vec::with_capacity(ranges.len());
        for range in ranges {
            let mut head = String::from(if heads.is_empty() { "--" } else { "\r\n--" });
            head.push_str(&boundary);
            if let Some(media_type) = media_type {
                head.push_str("\r\nContent-Type: ");
                head.push_str(media_type);
            }
            // Into a string, which does not fail.
            let _ = write!(head, "\r\nContent-Range: {}\r\n\r\n", content_range(range, length));
            heads.push(head);
        }
        Self {
            media_type: format!("multipart/byteranges; boundary={boundary}"),
            heads,
            end: format!("\r\n--{boundary}--\r\n"),
        }
    }

    /// Bytes of the whole content.
    pub(crate) fn length(&self, ranges: &[Range<u64>]) -> u64 {
        let heads: usize = self.heads.iter().map(String::len).sum();
        let parts: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        parts + (heads + self.end.len()) as u64
    }
}

/// The value of `Content-Range` for a part of a file (section 14.4).
pub(crate) fn content_range(range: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end - 1)
}
