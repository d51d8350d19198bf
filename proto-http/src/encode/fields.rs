//! Fields to send, and the facts about them that the encoder needs.

use super::Buffer;
use crate::body::is_allowed_trailer;
use crate::{Fields, Misuse, scan};

/// Facts about the fields to send that the encoder needs.
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
    /// There is at least one field.
    pub(super) const ANY: u16 = 1 << 8;

    /// Whether the fields have a Date; the encoder then does not add one.
    #[inline]
    #[must_use]
    pub const fn has_date(self) -> bool {
        self.has(Self::DATE)
    }

    /// Whether there is at least one field.
    #[inline]
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.has(Self::ANY)
    }

    /// Whether all fields are allowed in a trailer section (RFC 9110 section 6.5.1).
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

    /// The facts about both sets of fields together. Two Hosts are invalid.
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

    /// The facts about a field that was checked before, and whose name has no meaning for the encoder. The name is in lower case and may be
    /// forbidden as a trailer.
    #[cfg(feature = "http")]
    pub(crate) fn of_no_meaning(name: &str) -> Self {
        let trails = !crate::body::forbidden_trailers(name.len()).contains(&name);
        Self {
            flags: Self::ANY | if trails { 0 } else { Self::NOT_IN_TRAILER },
        }
    }

    /// Checks one field and returns the facts about it.
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

/// Whether the caller's fields close the connection.
#[inline]
pub(crate) const fn asks_close(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::CLOSE)
}

/// Whether the caller's fields have an `Upgrade`.
pub(crate) const fn has_upgrade(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::UPGRADE)
}

/// Whether the caller's fields have an `Expect`.
pub(crate) const fn has_expect(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::EXPECT)
}

/// Prevents other crates from implementing [`FieldLines`], because its checked fields are sent without another check.
pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Fields to send. This trait is implemented for:
///
/// * arrays, slices and vectors of name and value pairs, whose `AsRef` must give the same bytes each time;
/// * a prepared [`FieldBlock`];
/// * received [`Fields`], some of them ([`Fields::without`]), or those that a proxy passes on ([`Fields::end_to_end`]);
/// * a pair of any two of these, in this order; `()` for no fields;
/// * `http::HeaderMap`, with the feature `http`.
///
/// No other crate can implement this trait: the encoder relies on [`check`](Self::check) having checked the bytes that
/// [`write`](Self::write) appends.
pub trait FieldLines: sealed::Sealed {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// The first [`Misuse`] in the fields.
    fn check(&self) -> Result<FieldFacts, Misuse>;

    /// Appends the field lines, which must have passed [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer.
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse>;

    /// Calls `each` with the name and the value of each field, in order.
    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8]));
}

/// [`FieldLines`] as a trait object: for codecs of other versions, whose answers go through a [`Backend`](crate::Backend).
#[doc(hidden)]
pub trait AnyFields: sealed::Sealed {
    /// See [`FieldLines::check`].
    ///
    /// # Errors
    ///
    /// The first [`Misuse`] in the fields.
    fn check_any(&self) -> Result<FieldFacts, Misuse>;

    /// See [`FieldLines::visit`].
    fn visit_any(&self, each: &mut dyn FnMut(&[u8], &[u8]));
}

impl<T: FieldLines> AnyFields for T {
    fn check_any(&self) -> Result<FieldFacts, Misuse> {
        self.check()
    }

    fn visit_any(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.visit(each);
    }
}

impl FieldLines for dyn AnyFields + '_ {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.check_any()
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        let mut result = Ok(());
        self.visit_any(&mut |name, value| {
            if result.is_ok() {
                result = put_field(name, value, out);
            }
        });
        result
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.visit_any(each);
    }
}

impl sealed::Sealed for () {}
impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &T {}
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> sealed::Sealed for [(N, V)] {}
impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> sealed::Sealed for [(N, V); COUNT] {}
#[cfg(feature = "alloc")]
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> sealed::Sealed for alloc::vec::Vec<(N, V)> {}
impl<A: sealed::Sealed, B: sealed::Sealed> sealed::Sealed for (A, B) {}
impl sealed::Sealed for Fields<'_> {}
impl sealed::Sealed for FieldBlock<'_> {}

impl FieldLines for () {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        Ok(FieldFacts::default())
    }

    #[inline]
    fn write<B: Buffer>(&self, _: &mut B) -> Result<(), Misuse> {
        Ok(())
    }

    fn visit(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}
}

/// The fields of both elements, in order.
impl<A: FieldLines, B: FieldLines> FieldLines for (A, B) {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        Ok(self.0.check()?.and(self.1.check()?))
    }

    #[inline]
    fn write<O: Buffer>(&self, out: &mut O) -> Result<(), Misuse> {
        self.0.write(out)?;
        self.1.write(out)
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.0.visit(each);
        self.1.visit(each);
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

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        (**self).visit(each);
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

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self {
            each(name.as_ref(), value.as_ref());
        }
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

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.as_slice().visit(each);
    }
}

#[cfg(feature = "alloc")]
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FieldLines for alloc::vec::Vec<(N, V)> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.as_slice().check()
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.as_slice().write(out)
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.as_slice().visit(each);
    }
}

impl FieldLines for Fields<'_> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |facts, field| {
            Ok(facts.and(FieldFacts::of(field.name.as_bytes(), field.value)?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        if !self.is_of_trailers() {
            return Ok(out.put(self.as_bytes())?);
        }
        // Forbidden trailers are skipped.
        self.iter()
            .try_for_each(|field| put_field(field.name.as_bytes(), field.value, out))
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for field in *self {
            each(field.name.as_bytes(), field.value);
        }
    }
}

pub(crate) fn put_field<B: Buffer>(name: &[u8], value: &[u8], out: &mut B) -> Result<(), Misuse> {
    out.put(name)?;
    out.put(b": ")?;
    out.put(value)?;
    Ok(out.put(b"\r\n")?)
}

/// Fields that are checked once and sent many times, as one copy.
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
    /// Checks `lines`: field lines in wire format, each ended by CRLF.
    ///
    /// # Errors
    ///
    /// [`Misuse`] for the first field that is not allowed.
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

    /// The field lines.
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
        Ok(out.put(self.lines)?)
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        Fields::checked(self.lines).visit_lines(each);
    }
}
