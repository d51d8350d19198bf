//! The end of a message, and the persistence of the connection (RFC 9112 sections 6.3 and 9.3).

use crate::fields::elements;
use crate::{Leniency, Version, ViolationKind, scan};

/// How the body of a message is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// There is no body.
    Empty,
    /// Content-Length gives this many bytes; possibly 0.
    Length(u64),
    /// The body comes in chunks.
    Chunked,
    /// The body ends with the connection. Responses only.
    UntilClose,
}

impl BodyLength {
    /// Whether no content follows the head.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, BodyLength::Empty | BodyLength::Length(0))
    }
}

/// Facts about framing and persistence, collected while a head is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Valid only with [`LENGTH`](Self::LENGTH).
    length: u64,
    flags: u32,
}

impl Facts {
    const CHUNKED: u32 = 1;
    const CODED: u32 = 1 << 1;
    const CLOSE: u32 = 1 << 2;
    const KEEP_ALIVE: u32 = 1 << 3;
    const UPGRADE_OPTION: u32 = 1 << 4;
    const UPGRADE_FIELD: u32 = 1 << 5;
    /// Both of the two above, in an HTTP/1.1 request.
    pub(crate) const UPGRADE: u32 = 1 << 6;
    pub(crate) const EXPECT_CONTINUE: u32 = 1 << 7;
    /// A Content-Length was overruled by chunked coding, or framing by the status; the connection must therefore close.
    pub(crate) const OVERRULED: u32 = 1 << 8;
    const UNKNOWN_CODING: u32 = 1 << 9;
    const HOST: u32 = 1 << 10;
    const LENGTH: u32 = 1 << 11;
    pub(crate) const HTTP10: u32 = 1 << 12;
    /// The method is HEAD.
    pub(crate) const HEAD: u32 = 1 << 13;
    /// The method is CONNECT.
    pub(crate) const CONNECT: u32 = 1 << 14;
    /// Another codec has decoded the head.
    const HTTP2: u32 = 1 << 15;

    /// The facts of the start line. A response has no method.
    #[inline]
    pub(crate) fn new(version: Version, method: &str) -> Self {
        let version = match version {
            Version::Http10 => Self::HTTP10,
            Version::Http11 => 0,
            Version::Http2 => Self::HTTP2,
        };
        let method = match method {
            "HEAD" => Self::HEAD,
            "CONNECT" => Self::CONNECT,
            _ => 0,
        };
        Self {
            length: 0,
            flags: version | method,
        }
    }

    #[inline]
    pub(crate) const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The bits of `flags` that are set.
    #[inline]
    pub(crate) const fn flags(&self, flags: u32) -> u32 {
        self.flags & flags
    }

    /// Whether a request has a Host and none of the properties that need special treatment: no body, no upgrade or expectation, no close,
    /// and a usual version and method.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        self.flags & !Self::KEEP_ALIVE == Self::HOST
    }

    #[inline]
    pub(crate) const fn version(&self) -> Version {
        if self.has(Self::HTTP10) {
            Version::Http10
        } else if self.has(Self::HTTP2) {
            Version::Http2
        } else {
            Version::Http11
        }
    }

    /// The facts that another codec has determined about a head.
    pub(crate) fn assembled(method: &str, about: &crate::Assembled) -> Self {
        let mut facts = Self::new(Version::Http2, method);
        facts.length = about.length.unwrap_or(0);
        facts.flags |= match about.length {
            Some(_) => Self::LENGTH,
            None if about.content => Self::CHUNKED,
            None => 0,
        };
        if about.expects_continue {
            facts.flags |= Self::EXPECT_CONTINUE;
        }
        if about.upgrade {
            facts.flags |= Self::UPGRADE;
        }
        facts
    }

    #[inline]
    fn length(&self) -> Option<u64> {
        self.has(Self::LENGTH).then_some(self.length)
    }

    /// Whether a 101 confirms the switch in both `Connection` and `Upgrade` (RFC 9110 section 7.8).
    pub(crate) const fn agrees_to_upgrade(&self) -> bool {
        self.has(Self::UPGRADE_OPTION) && self.has(Self::UPGRADE_FIELD)
    }

    /// Records the facts about a field of a request; `value` still has the spaces around it.
    #[inline(always)]
    pub(crate) fn request_field(
        &mut self,
        name: &[u8],
        value: &[u8],
        leniency: &Leniency,
    ) -> Result<(), ViolationKind> {
        if let Ok(four) = <&[u8; 4]>::try_from(name)
            && u32::from_le_bytes(*four) | 0x2020_2020 == u32::from_le_bytes(*b"host")
        {
            return self.host(scan::trim(value));
        }
        if Self::may_note(name) {
            return self.rare_request_field(name, scan::trim(value), leniency);
        }
        Ok(())
    }

    #[inline(always)]
    fn host(&mut self, value: &[u8]) -> Result<(), ViolationKind> {
        if self.has(Self::HOST) {
            return Err(ViolationKind::HostRepeated);
        }
        self.flags |= Self::HOST;
        // A client sends an empty Host if its target has no authority (RFC 9112 section 3.2).
        if scan::is_authority(value, true, false) {
            Ok(())
        } else {
            Err(ViolationKind::Host)
        }
    }

    /// Whether a field may be relevant, by the length and first letter of its name; excludes most fields quickly.
    #[inline(always)]
    fn may_note(name: &[u8]) -> bool {
        const FIRST: [u8; 18] = {
            let mut first = [0; 18];
            let names: [&[u8]; 5] = [
                b"expect",
                b"upgrade",
                b"connection",
                b"content-length",
                b"transfer-encoding",
            ];
            let mut at = 0;
            while at < names.len() {
                first[names[at].len()] = names[at][0];
                at += 1;
            }
            first
        };
        matches!((name.first(), FIRST.get(name.len())), (Some(is), Some(first)) if is | 0x20 == *first)
    }

    #[inline(never)]
    fn rare_request_field(&mut self, name: &[u8], value: &[u8], leniency: &Leniency) -> Result<(), ViolationKind> {
        if scan::is_name(name, b"expect") {
            for expectation in elements(value) {
                if !expectation.eq_ignore_ascii_case(b"100-continue") {
                    return Err(ViolationKind::Expectation);
                }
                self.flags |= Self::EXPECT_CONTINUE;
            }
            return Ok(());
        }
        self.response_field(name, value, leniency)
    }

    /// Records the facts about a field of any message.
    #[inline]
    pub(crate) fn response_field(
        &mut self,
        name: &[u8],
        value: &[u8],
        leniency: &Leniency,
    ) -> Result<(), ViolationKind> {
        match name.len() {
            7 if scan::is_name(name, b"upgrade") => self.flags |= Self::UPGRADE_FIELD,
            10 if scan::is_name(name, b"connection") => self.connection(value),
            14 if scan::is_name(name, b"content-length") => self.content_length(value, leniency)?,
            17 if scan::is_name(name, b"transfer-encoding") => self.transfer_encoding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            // The value that most browsers send.
            self.flags |= Self::KEEP_ALIVE;
            return;
        }
        // Options are tokens (RFC 9110 section 7.6.1), so a comma is never inside quotation marks.
        for option in value.split(|&byte| byte == b',').map(scan::trim) {
            self.flags |= match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => Self::CLOSE,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => Self::KEEP_ALIVE,
                7 if option.eq_ignore_ascii_case(b"upgrade") => Self::UPGRADE_OPTION,
                _ => 0,
            };
        }
    }

    /// Records a Content-Length (RFC 9110 section 8.6).
    fn content_length(&mut self, value: &[u8], leniency: &Leniency) -> Result<(), ViolationKind> {
        let mut length = scan::decimal(value);
        if length.is_none() && leniency.repeated_content_length {
            let mut numbers = value
                .split(|&byte| byte == b',')
                .map(|number| scan::decimal(scan::trim(number)));
            length = numbers
                .next()
                .flatten()
                .filter(|first| numbers.all(|number| number == Some(*first)));
        }
        let length = length.ok_or(ViolationKind::ContentLength)?;
        if self
            .length()
            .is_some_and(|first| first != length || !leniency.repeated_content_length)
        {
            return Err(ViolationKind::ContentLengthRepeated);
        }
        self.length = length;
        self.flags |= Self::LENGTH;
        if leniency.length_beside_chunked {
            self.flags |= Self::OVERRULED;
        }
        Ok(())
    }

    /// Records a Transfer-Encoding (RFC 9112 section 6.1). Empty list elements are refused, because the next hop might interpret them
    /// differently.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), ViolationKind> {
        for coding in value.split(|&byte| byte == b',').map(scan::trim) {
            // No coding may follow chunked, and chunked has no parameters.
            if self.has(Self::CHUNKED) || coding.is_empty() {
                return Err(ViolationKind::TransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.flags |= Self::CHUNKED;
            } else {
                let (name, parameters) = scan::split_token(coding);
                if name.is_empty()
                    || name.eq_ignore_ascii_case(b"chunked")
                    || !matches!(scan::trim(parameters), [] | [b';', ..])
                {
                    return Err(ViolationKind::TransferEncoding);
                }
                self.flags |= Self::UNKNOWN_CODING;
            }
        }
        self.flags |= Self::CODED;
        Ok(())
    }

    /// Checks that the head of a request is consistent (RFC 9112 sections 3.2, 6.1, 6.3; RFC 9110 section 7.8).
    #[inline(always)]
    pub(crate) fn check_request(&mut self) -> Result<(), ViolationKind> {
        if self.is_plain() {
            Ok(())
        } else {
            self.check_special_request()
        }
    }

    #[inline(never)]
    fn check_special_request(&mut self) -> Result<(), ViolationKind> {
        if self.has(Self::HTTP10) {
            // Both are ignored in an HTTP/1.0 request (RFC 9110 sections 7.8 and 10.1.1).
            self.flags &= !(Self::EXPECT_CONTINUE | Self::UPGRADE_OPTION);
        } else if !self.has(Self::HOST) {
            return Err(ViolationKind::HostMissing);
        }
        self.check_length()?;
        let has_body = !self.request_body().is_empty();
        // A server may ignore Upgrade (RFC 9110 section 7.8). In a request with a body it is ignored: the bytes after the head are then
        // content, and never the next protocol's.
        if self.has(Self::UPGRADE_OPTION) && self.has(Self::UPGRADE_FIELD) && !has_body {
            self.flags |= Self::UPGRADE;
        }
        if has_body && self.has(Self::CONNECT) {
            return Err(ViolationKind::ConnectWithBody);
        }
        if !has_body {
            // Without content, the expectation has no effect (RFC 9110 section 10.1.1).
            self.flags &= !Self::EXPECT_CONTINUE;
        }
        Ok(())
    }

    /// Checks that the head of a response is consistent (RFC 9112 section 6.1).
    pub(crate) fn check_response(&mut self, status: u16, leniency: &Leniency) -> Result<(), ViolationKind> {
        let forbidden = matches!(status, 100..200)
            && (self.has(Self::CODED) || self.length().is_some_and(|length| length > 0))
            || status == 204 && self.has(Self::CODED);
        // Where a switch of protocols begins must be unambiguous.
        if forbidden && leniency.framing_without_content && status != 101 {
            self.flags |= Self::OVERRULED;
            return Ok(());
        }
        self.check_length()?;
        if forbidden {
            return Err(ViolationKind::FramingForbidden);
        }
        Ok(())
    }

    /// Checks that Transfer-Encoding and Content-Length are allowed together, and in this message.
    fn check_length(&mut self) -> Result<(), ViolationKind> {
        if !self.has(Self::CODED) {
            self.flags &= !Self::OVERRULED;
            return Ok(());
        }
        if self.has(Self::HTTP10) {
            return Err(ViolationKind::CodingInOldVersion);
        }
        if self.has(Self::LENGTH) && !self.has(Self::OVERRULED) {
            return Err(ViolationKind::LengthAndCoding);
        }
        if self.has(Self::UNKNOWN_CODING) {
            return Err(ViolationKind::CodingUnknown);
        }
        self.flags &= !Self::LENGTH;
        Ok(())
    }

    /// The body of a checked request (RFC 9112 section 6.3).
    #[inline]
    pub(crate) fn request_body(&self) -> BodyLength {
        if self.has(Self::CHUNKED) {
            BodyLength::Chunked
        } else {
            self.length().map_or(BodyLength::Empty, BodyLength::Length)
        }
    }

    /// The body of a response to a request with this method (RFC 9112 section 6.3).
    pub(crate) fn response_body(&self, status: u16, method: &str) -> BodyLength {
        let success = matches!(status, 200..300);
        if method == "HEAD" || matches!(status, 100..200 | 204 | 304) || method == "CONNECT" && success {
            BodyLength::Empty
        } else if self.has(Self::CHUNKED) {
            BodyLength::Chunked
        } else {
            self.length().map_or(BodyLength::UntilClose, BodyLength::Length)
        }
    }

    /// Whether the connection persists (RFC 9112 section 9.3). `close` overrules everything else.
    #[inline]
    pub(crate) const fn keep_alive(&self) -> bool {
        !self.has(Self::CLOSE | Self::OVERRULED) && (!self.has(Self::HTTP10) || self.has(Self::KEEP_ALIVE))
    }
}
