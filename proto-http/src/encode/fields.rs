//! Fields to be sent, and what they say that the encoder has to know.

use super::Buffer;
use crate::body::is_allowed_trailer;
use crate::{Fields, Misuse, scan};

/// What the fields to be sent say that the encoder has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldFacts {
    flags: u16,
}

impl FieldFacts {
    pub(super) const DATE: u16 = 1;
    pub(super) const CLOSE: u16 = 1 << 1;
    pub(super) const UPGRADE: u16 = 1 << 2;
    pub(super) const HOST: u16 = 1 << 3;
    pub(super) const CONNECTION_UPGRADE: u16 = 1 << 4;
    pub(super) const NOT_IN_TRAILER: u16 = 1 << 5;
    pub(super) const EXPECT: u16 = 1 << 6;
    pub(super) const BAD_HOST: u16 = 1 << 7;
    /// There is a field at all.
    pub(super) const ANY: u16 = 1 << 8;

    /// Whether there is a Date, which the encoder then does not write.
    #[inline]
    #[must_use]
    pub const fn has_date(self) -> bool {
        self.has(Self::DATE)
    }

    /// Whether there is a field at all.
    #[inline]
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.has(Self::ANY)
    }

    /// Whether all of them may stand in a trailer section (RFC 9110 section 6.5.1).
    #[must_use]
    pub const fn may_trail(self) -> bool {
        !self.has(Self::NOT_IN_TRAILER)
    }

    /// Whether there is exactly one Host, and it is valid (RFC 9110 section 7.2).
    #[must_use]
    pub const fn has_host(self) -> bool {
        self.has(Self::HOST) && !self.has(Self::BAD_HOST)
    }

    #[inline]
    pub(super) const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Both together. A Host twice is a bad one.
    pub(crate) const fn and(self, other: Self) -> Self {
        let twice = if self.flags & other.flags & Self::HOST != 0 {
            Self::BAD_HOST
        } else {
            0
        };
        Self {
            flags: self.flags | other.flags | twice,
        }
    }

    /// Checks one field and says what it means.
    #[inline]
    pub(crate) fn of(name: &[u8], value: &[u8]) -> Result<Self, Misuse> {
        if !scan::is_token(name) {
            return Err(Misuse::FieldName);
        }
        if !scan::is_value(value) || matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(Misuse::FieldValue);
        }
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        let mut flags = Self::ANY;
        flags |= match name.len() {
            4 if is(b"date") => Self::DATE,
            4 if is(b"host") && scan::is_authority(value, true, false) => Self::HOST,
            4 if is(b"host") => Self::BAD_HOST,
            6 if is(b"expect") => Self::EXPECT,
            7 if is(b"upgrade") => Self::UPGRADE,
            10 if is(b"connection") => {
                let has =
                    |token: &[u8]| crate::fields::elements(value).any(|option| option.eq_ignore_ascii_case(token));
                let close = if has(b"close") { Self::CLOSE } else { 0 };
                close | if has(b"upgrade") { Self::CONNECTION_UPGRADE } else { 0 }
            }
            14 if is(b"content-length") => return Err(Misuse::FramingField),
            17 if is(b"transfer-encoding") => return Err(Misuse::FramingField),
            _ => 0,
        };
        if !is_allowed_trailer(name) {
            flags |= Self::NOT_IN_TRAILER;
        }
        Ok(Self { flags })
    }
}

/// Whether the user's fields close the connection.
#[inline]
pub(crate) const fn asks_close(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::CLOSE)
}

/// Whether the user's fields have an `Upgrade`.
pub(crate) const fn has_upgrade(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::UPGRADE)
}

/// Whether the user's fields have an `Expect`.
pub(crate) const fn has_expect(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::EXPECT)
}

/// Fields to be sent: an array or slice of name and value pairs, a prepared [`FieldBlock`], received [`Fields`], or `()` for none.
pub trait FieldLines {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// The first [`Misuse`] in them.
    fn check(&self) -> Result<FieldFacts, Misuse>;

    /// Appends the field lines, which were checked before.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer.
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse>;

    /// Shows name and value of each field to `visit`, in order: for codecs that write no lines.
    ///
    /// # Errors
    ///
    /// The first error of `visit`.
    fn each(&self, visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse>;
}

impl FieldLines for () {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        Ok(FieldFacts::default())
    }

    #[inline]
    fn write<B: Buffer>(&self, _: &mut B) -> Result<(), Misuse> {
        Ok(())
    }

    #[inline]
    fn each(&self, _: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse> {
        Ok(())
    }
}

impl<T: FieldLines + ?Sized> FieldLines for &T {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        (**self).check()
    }

    #[inline]
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        (**self).write(out)
    }

    #[inline]
    fn each(&self, visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse> {
        (**self).each(visit)
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FieldLines for [(N, V)] {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |facts, (name, value)| {
            Ok(facts.and(FieldFacts::of(name.as_ref(), value.as_ref())?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.iter()
            .try_for_each(|(name, value)| put_field(name.as_ref(), value.as_ref(), out))
    }

    #[inline]
    fn each(&self, visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse> {
        self.iter()
            .try_for_each(|(name, value)| visit(name.as_ref(), value.as_ref()))
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> FieldLines for [(N, V); COUNT] {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.as_slice().check()
    }

    #[inline]
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.as_slice().write(out)
    }

    #[inline]
    fn each(&self, visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse> {
        self.as_slice().each(visit)
    }
}

impl FieldLines for Fields<'_> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |facts, field| {
            Ok(facts.and(FieldFacts::of(field.name.as_bytes(), field.value)?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        out.put(self.as_bytes())
    }

    fn each(&self, visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse> {
        self.iter()
            .try_for_each(|field| visit(field.name.as_bytes(), field.value))
    }
}

pub(crate) fn put_field<B: Buffer>(name: &[u8], value: &[u8], out: &mut B) -> Result<(), Misuse> {
    out.put(name)?;
    out.put(b": ")?;
    out.put(value)?;
    out.put(b"\r\n")
}

/// Fields checked once and sent many times, in one copy.
///
/// ```
/// use proto_http::FieldBlock;
///
/// let block = FieldBlock::new("Content-Type: text/plain\r\nServer: example\r\n")?;
/// assert_eq!(block.as_bytes().len(), 43);
/// assert!(FieldBlock::new("Content-Type: text/plain\n").is_err());
/// # Ok::<(), proto_http::Misuse>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldBlock<'a> {
    lines: &'a [u8],
    facts: FieldFacts,
}

impl<'a> FieldBlock<'a> {
    /// Checks `lines`: field lines as they are sent, each ended by CRLF.
    ///
    /// # Errors
    ///
    /// [`Misuse`] for the first field that may not be sent.
    pub fn new(lines: &'a str) -> Result<Self, Misuse> {
        let lines = lines.as_bytes();
        let mut facts = FieldFacts::default();
        let mut at = 0;
        while at < lines.len() {
            let line = lines.get(at..).unwrap_or_default();
            let (name, rest) = scan::split_token(line);
            let [b':', rest @ ..] = rest else {
                return Err(Misuse::FieldName);
            };
            let (value, rest) = scan::split_value(rest);
            if !rest.starts_with(b"\r\n") {
                return Err(Misuse::FieldValue);
            }
            facts = facts.and(FieldFacts::of(name, scan::trim(value))?);
            at += name.len() + value.len() + 3;
        }
        Ok(Self { lines, facts })
    }

    /// The lines.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.lines
    }
}

impl FieldLines for FieldBlock<'_> {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        Ok(self.facts)
    }

    #[inline]
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        out.put(self.lines)
    }

    fn each(&self, visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Misuse>) -> Result<(), Misuse> {
        Fields::checked(self.lines).each(visit)
    }
}
