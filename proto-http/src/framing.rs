//! Where a message ends and whether the connection goes on: RFC 9112 sections 6.3 and 9.3.

use crate::fields::elements;
use crate::{Leniency, Version, ViolationKind, scan};

/// How the body of a message is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// There is no body.
    Empty,
    /// A Content-Length says so many bytes; possibly 0.
    Length(u64),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection. Responses only.
    UntilClose,
}

impl BodyLength {
    /// Whether nothing follows the head.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, BodyLength::Empty | BodyLength::Length(0))
    }
}

/// What the fields of a head say about framing and persistence, gathered while they are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// Meaningful with [`HOST`](Self::HOST).
    host: &'a [u8],
    /// Meaningful with [`LENGTH`](Self::LENGTH).
    length: u64,
    flags: u16,
}

impl<'a> Facts<'a> {
    const CHUNKED: u16 = 1;
    const HOST: u16 = 1 << 10;
    const LENGTH: u16 = 1 << 11;
    const CODED: u16 = 1 << 1;
    pub(crate) const CLOSE: u16 = 1 << 2;
    const KEEP_ALIVE: u16 = 1 << 3;
    const UPGRADE_OPTION: u16 = 1 << 4;
    const UPGRADE_FIELD: u16 = 1 << 5;
    /// Both of the two above, in HTTP/1.1.
    pub(crate) const UPGRADE: u16 = 1 << 6;
    pub(crate) const EXPECT_CONTINUE: u16 = 1 << 7;
    /// A Content-Length was overruled by chunks, which is why the connection has to close.
    const OVERRULED: u16 = 1 << 8;
    const UNKNOWN_CODING: u16 = 1 << 9;

    #[inline]
    pub(crate) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The value of the Host field.
    pub(crate) fn host(&self) -> Option<&'a [u8]> {
        self.has(Self::HOST).then_some(self.host)
    }

    #[inline]
    fn length(&self) -> Option<u64> {
        self.has(Self::LENGTH).then_some(self.length)
    }

    /// Whether a 101 says in `Connection` and `Upgrade` that it switches (RFC 9110 section 7.8).
    pub(crate) const fn agrees_to_upgrade(&self) -> bool {
        self.has(Self::UPGRADE_OPTION) && self.has(Self::UPGRADE_FIELD)
    }

    /// Whether a field of this name may be one to take note of. Quick, for all the others.
    #[inline(always)]
    pub(crate) const fn may_note(name: &[u8]) -> bool {
        const LENGTHS: u32 = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 14 | 1 << 17;
        name.len() < 32 && LENGTHS >> name.len() & 1 != 0
    }

    /// Takes note of a field of a request.
    pub(crate) fn request_field(
        &mut self,
        name: &[u8],
        value: &'a [u8],
        leniency: &Leniency,
    ) -> Result<(), ViolationKind> {
        match name.len() {
            4 if scan::is_name(name, b"host") => {
                if self.has(Self::HOST) {
                    return Err(ViolationKind::HostRepeated);
                }
                // An empty Host is what a client sends whose target has no authority (RFC 9112 section 3.2).
                if !scan::is_authority(value, true, false) {
                    return Err(ViolationKind::Host);
                }
                self.host = value;
                self.flags |= Self::HOST;
                Ok(())
            }
            6 if scan::is_name(name, b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(ViolationKind::Expectation);
                }
                self.flags |= Self::EXPECT_CONTINUE;
                Ok(())
            }
            _ => self.response_field(name, value, leniency),
        }
    }

    /// Takes note of a field any message may have.
    #[inline]
    pub(crate) fn response_field(
        &mut self,
        name: &[u8],
        value: &'a [u8],
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
            // What most browsers send.
            self.flags |= Self::KEEP_ALIVE;
            return;
        }
        for option in elements(value) {
            self.flags |= match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => Self::CLOSE,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => Self::KEEP_ALIVE,
                7 if option.eq_ignore_ascii_case(b"upgrade") => Self::UPGRADE_OPTION,
                _ => 0,
            };
        }
    }

    /// RFC 9110 section 8.6.
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

    /// RFC 9112 section 6.1. Empty list elements are refused here: the next hop might see them otherwise.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), ViolationKind> {
        for coding in value.split(|&byte| byte == b',').map(scan::trim) {
            // Nothing may follow chunked, and chunked has no parameters.
            if self.has(Self::CHUNKED) || coding.is_empty() {
                return Err(ViolationKind::TransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.flags |= Self::CHUNKED;
            } else {
                let name_end = scan::token(coding);
                let (name, parameters) = coding.split_at(name_end);
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

    /// The body of a request, and whether its head is consistent (RFC 9112 sections 3.2, 6.1, 6.3; RFC 9110 section 7.8).
    #[inline(always)]
    pub(crate) fn request_body(&mut self, version: Version, connect: bool) -> Result<BodyLength, ViolationKind> {
        if version == Version::Http10 {
            // An HTTP/1.0 client has no use for either (RFC 9110 sections 7.8 and 10.1.1).
            self.flags &= !(Self::EXPECT_CONTINUE | Self::UPGRADE_OPTION);
        } else if !self.has(Self::HOST) {
            return Err(ViolationKind::HostMissing);
        }
        let body = self.coded_length(version)?;
        let upgrade = Self::UPGRADE_OPTION | Self::UPGRADE_FIELD;
        if self.flags & upgrade == upgrade {
            self.flags |= Self::UPGRADE;
            if !body.is_empty() {
                return Err(ViolationKind::UpgradeWithBody);
            }
        }
        if connect && !body.is_empty() {
            return Err(ViolationKind::ConnectWithBody);
        }
        if body.is_empty() {
            // Nothing to continue with (RFC 9110 section 10.1.1).
            self.flags &= !Self::EXPECT_CONTINUE;
        }
        Ok(body)
    }

    /// Whether the head of a response is consistent (RFC 9112 section 6.1).
    pub(crate) fn check_response(&mut self, version: Version, status: u16) -> Result<(), ViolationKind> {
        self.coded_length(version)?;
        let forbidden = matches!(status, 100..200)
            && (self.has(Self::CODED) || self.length().is_some_and(|length| length > 0))
            || status == 204 && self.has(Self::CODED);
        if forbidden {
            return Err(ViolationKind::FramingForbidden);
        }
        Ok(())
    }

    /// What Transfer-Encoding and Content-Length say together.
    #[inline(always)]
    fn coded_length(&mut self, version: Version) -> Result<BodyLength, ViolationKind> {
        if !self.has(Self::CODED) {
            self.flags &= !Self::OVERRULED;
            return Ok(self.length().map_or(BodyLength::Empty, BodyLength::Length));
        }
        if version == Version::Http10 {
            return Err(ViolationKind::CodingInOldVersion);
        }
        if self.has(Self::LENGTH) && !self.has(Self::OVERRULED) {
            return Err(ViolationKind::LengthAndCoding);
        }
        if self.has(Self::UNKNOWN_CODING) {
            return Err(ViolationKind::CodingUnknown);
        }
        self.flags &= !Self::LENGTH;
        Ok(BodyLength::Chunked)
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

    /// RFC 9112 section 9.3. `close` wins over everything.
    #[inline]
    pub(crate) const fn keep_alive(&self, version: Version) -> bool {
        !self.has(Self::CLOSE | Self::OVERRULED) && (matches!(version, Version::Http11) || self.has(Self::KEEP_ALIVE))
    }
}
