//! Limits and leniency of HTTP.

use proto_http::Rules;

use crate::buffer::set;

/// The rules by which HTTP is read. Fill it by `proto_http_rules_requests` or `proto_http_rules_responses`, then change what
/// should differ. Where a function takes NULL, the rules are those of its role.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_http_rules {
    /// Bytes of a request line or status line without its CRLF. 8 KiB.
    pub request_line: usize,
    /// Field lines in a head. 100.
    pub fields: usize,
    /// Bytes of a field section. 64 KiB.
    pub fields_bytes: usize,
    /// Bytes of content in one message; `UINT64_MAX` is unlimited. 1 MiB for requests, unlimited for responses.
    pub body: u64,
    /// Bytes of one chunk-size line with its extensions. 1 KiB.
    pub chunk_line: usize,
    /// Bytes of all chunk extensions of a body. 16 KiB.
    pub chunk_extensions: usize,
    /// Field lines in a trailer section. 32.
    pub trailers: usize,
    /// Bytes of a trailer section. 8 KiB.
    pub trailers_bytes: usize,
    /// Empty lines skipped before a start line. 2.
    pub leading_lines: usize,
    /// The violations that are tolerated: `PROTO_HTTP_LENIENT_` numbers, joined by `|`. None for requests, all for responses.
    pub leniency: u32,
}

/// Permits a status line without a space behind the status.
pub const PROTO_HTTP_LENIENT_BARE_STATUS: u32 = 1;
/// Permits empty lines before a status line and behind a response.
pub const PROTO_HTTP_LENIENT_LINES_BEFORE_STATUS: u32 = 2;
/// Permits several equal Content-Length fields.
pub const PROTO_HTTP_LENIENT_REPEATED_CONTENT_LENGTH: u32 = 4;
/// Permits a Content-Length beside chunked coding, and ignores it.
pub const PROTO_HTTP_LENIENT_LENGTH_BESIDE_CHUNKED: u32 = 8;
/// Permits body framing in a response that has no content by its status.
pub const PROTO_HTTP_LENIENT_FRAMING_WITHOUT_CONTENT: u32 = 16;
/// Permits white space behind a chunk size.
pub const PROTO_HTTP_LENIENT_PADDED_CHUNK_SIZE: u32 = 32;
/// Permits trailer fields that may not be any, and drops them.
pub const PROTO_HTTP_LENIENT_UNUSABLE_TRAILERS: u32 = 64;

#[cfg(test)]
const LENIENT: u32 = 127;

impl From<&Rules> for proto_http_rules {
    fn from(rules: &Rules) -> Self {
        let (limits, leniency) = (&rules.limits, &rules.leniency);
        let flags = [
            leniency.bare_status,
            leniency.lines_before_status,
            leniency.repeated_content_length,
            leniency.length_beside_chunked,
            leniency.framing_without_content,
            leniency.padded_chunk_size,
            leniency.unusable_trailers,
        ];
        let bits = flags.iter().enumerate().map(|(bit, on)| u32::from(*on) << bit);
        proto_http_rules {
            request_line: limits.request_line,
            fields: limits.fields,
            fields_bytes: limits.fields_bytes,
            body: limits.body.unwrap_or(u64::MAX),
            chunk_line: limits.chunk_line,
            chunk_extensions: limits.chunk_extensions,
            trailers: limits.trailers,
            trailers_bytes: limits.trailers_bytes,
            leading_lines: limits.leading_lines,
            leniency: bits.sum(),
        }
    }
}

impl proto_http_rules {
    pub(crate) fn rules(&self) -> Rules {
        let mut rules = Rules::DEFAULT;
        let limits = &mut rules.limits;
        limits.request_line = self.request_line;
        limits.fields = self.fields;
        limits.fields_bytes = self.fields_bytes;
        limits.body = (self.body != u64::MAX).then_some(self.body);
        limits.chunk_line = self.chunk_line;
        limits.chunk_extensions = self.chunk_extensions;
        limits.trailers = self.trailers;
        limits.trailers_bytes = self.trailers_bytes;
        limits.leading_lines = self.leading_lines;
        let has = |bit: u32| self.leniency & bit != 0;
        let leniency = &mut rules.leniency;
        leniency.bare_status = has(PROTO_HTTP_LENIENT_BARE_STATUS);
        leniency.lines_before_status = has(PROTO_HTTP_LENIENT_LINES_BEFORE_STATUS);
        leniency.repeated_content_length = has(PROTO_HTTP_LENIENT_REPEATED_CONTENT_LENGTH);
        leniency.length_beside_chunked = has(PROTO_HTTP_LENIENT_LENGTH_BESIDE_CHUNKED);
        leniency.framing_without_content = has(PROTO_HTTP_LENIENT_FRAMING_WITHOUT_CONTENT);
        leniency.padded_chunk_size = has(PROTO_HTTP_LENIENT_PADDED_CHUNK_SIZE);
        leniency.unusable_trailers = has(PROTO_HTTP_LENIENT_UNUSABLE_TRAILERS);
        rules
    }
}

/// The rules of a call: the program's, or the default of the role.
///
/// # Safety
///
/// `rules` is NULL or points to rules.
#[inline]
pub(crate) unsafe fn with_rules<T>(
    rules: *const proto_http_rules,
    default: &'static Rules,
    call: impl FnOnce(&Rules) -> T,
) -> T {
    // SAFETY: as promised.
    match unsafe { rules.as_ref() } {
        None => call(default),
        Some(rules) => call(&rules.rules()),
    }
}

/// Writes the default rules for requests: finite limits, nothing lenient.
///
/// The caller promises: `rules` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_rules_requests(rules: *mut proto_http_rules) {
    // SAFETY: as promised.
    unsafe { set(rules, (&Rules::DEFAULT).into()) }
}

/// Writes the default rules for responses: content of any length, and the mistakes that common servers make.
///
/// The caller promises: `rules` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_rules_responses(rules: *mut proto_http_rules) {
    // SAFETY: as promised.
    unsafe { set(rules, (&Rules::RESPONSES).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_back_as_they_went() {
        for rules in [Rules::DEFAULT, Rules::RESPONSES] {
            assert_eq!(proto_http_rules::from(&rules).rules(), rules);
        }
        assert_eq!(proto_http_rules::from(&Rules::RESPONSES).leniency, LENIENT);
        for bit in 0..7 {
            let mut rules = proto_http_rules::from(&Rules::DEFAULT);
            rules.leniency = 1 << bit;
            assert_eq!(proto_http_rules::from(&rules.rules()).leniency, 1 << bit);
        }
    }
}
