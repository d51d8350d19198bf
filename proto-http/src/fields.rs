//! A field section as a view over its bytes (RFC 9110 section 5, RFC 9112 section 5).

use crate::scan;

/// One field line: a name and a value. The value has no white space at its ends; it may hold bytes from 0x80 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as sent. Compare it ignoring case.
    pub name: &'a str,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value as text, if it is valid UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        core::str::from_utf8(self.value).ok()
    }
}

/// The field lines of a head or a trailer section, in the order in which they arrived.
///
/// A view over checked bytes, without a table: a lookup reads the lines. So the many handlers that look at no field pay
/// nothing, and no connection pays memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Checked field lines, each with its CRLF.
    lines: &'a [u8],
    /// The lines are a trailer section: forbidden and folded lines are skipped.
    trailers: bool,
}

impl<'a> Fields<'a> {
    /// No fields.
    pub const EMPTY: Self = Self::checked(&[]);

    /// `lines` must have passed [`walk`](crate::head::walk), or obey its rules.
    #[inline]
    pub(crate) const fn checked(lines: &'a [u8]) -> Self {
        Self { lines, trailers: false }
    }

    /// The same lines as a trailer section.
    pub(crate) const fn as_trailers(self) -> Self {
        Self { trailers: true, ..self }
    }

    /// Whether the lines are a trailer section.
    pub(crate) const fn is_of_trailers(&self) -> bool {
        self.trailers
    }

    /// The field lines as sent, each with its CRLF; in a trailer section, this includes lines that
    /// [`Leniency::unusable_trailers`](crate::Leniency::unusable_trailers) drops.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.lines
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() || self.trailers && self.iter().next().is_none()
    }

    /// Calls `each` with the name and the value of each line.
    #[inline]
    pub(crate) fn visit_lines(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let mut rest = self.lines;
        while let Some((name, value)) = next_line(&mut rest, self.trailers) {
            each(name, value);
        }
    }

    /// Iterates over all fields, in order.
    #[inline]
    #[must_use]
    pub const fn iter(&self) -> FieldsIter<'a> {
        FieldsIter {
            rest: self.lines,
            trailers: self.trailers,
        }
    }

    /// The value of the first field with this name, ignoring case.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        // A separate loop is inlined if `name` is a constant, and then compares with the constant.
        let mut rest = self.lines;
        while let Some((found, value)) = next_line(&mut rest, self.trailers) {
            if found.eq_ignore_ascii_case(name.as_bytes()) {
                return Some(value);
            }
        }
        None
    }

    /// The value of the first field with this name as text; `None` if there is no such field, or if its value is not UTF-8.
    #[inline]
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The values of all fields with this name, ignoring case, in order.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let (mut rest, trailers) = (self.lines, self.trailers);
        core::iter::from_fn(move || {
            while let Some((found, value)) = next_line(&mut rest, trailers) {
                if found.eq_ignore_ascii_case(name.as_bytes()) {
                    return Some(value);
                }
            }
            None
        })
    }

    /// How many fields have this name, ignoring case.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.get_all(name).count()
    }

    /// The elements of the comma-separated list in all fields with this name, in order, without empty elements (RFC 9110 section 5.6.1). A
    /// comma in a quoted string does not separate elements.
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.get_all(name).flat_map(elements)
    }

    /// Whether the list in the fields with this name contains the token. Both are compared ignoring case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = Field<'a>;
    type IntoIter = FieldsIter<'a>;

    fn into_iter(self) -> FieldsIter<'a> {
        self.iter()
    }
}

/// An iterator over the fields of a section. See [`Fields::iter`].
#[derive(Clone, Debug)]
pub struct FieldsIter<'a> {
    rest: &'a [u8],
    trailers: bool,
}

impl<'a> Iterator for FieldsIter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (name, value) = next_line(&mut self.rest, self.trailers)?;
        Some(Field {
            name: core::str::from_utf8(name).unwrap_or_default(),
            value,
        })
    }
}

/// Takes the next checked line off `rest`. With `trailers`, first skips lines that are to be dropped.
#[inline]
fn next_line<'a>(rest: &mut &'a [u8], trailers: bool) -> Option<(&'a [u8], &'a [u8])> {
    if trailers { next_trailer(rest) } else { split_line(rest) }
}

#[cold]
#[inline(never)]
fn next_trailer<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    loop {
        let (name, value) = split_line(rest)?;
        let mut folded = false;
        while let [b' ' | b'\t', ..] = **rest {
            folded = true;
            *rest = scan::split_value(rest).1.get(2..).unwrap_or_default();
        }
        if !folded && crate::body::is_allowed_trailer(name) {
            return Some((name, value));
        }
    }
}

/// Takes one checked line off `rest`.
#[inline]
fn split_line<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (name, line) = scan::split_token(rest);
    let (value, line) = scan::split_value(line.get(1..)?);
    *rest = line.get(2..)?;
    Some((name, scan::trim(value)))
}

/// The non-empty elements of a comma-separated list (RFC 9110 section 5.6.1).
pub(crate) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    core::iter::from_fn(move || {
        loop {
            let list = rest?;
            let end = element_end(list);
            let element = scan::trim(list.get(..end).unwrap_or(list));
            rest = list.get(end + 1..);
            if !element.is_empty() {
                return Some(element);
            }
        }
    })
}

fn element_end(list: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    list.iter()
        .position(|&byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' if quoted => {
                escaped = true;
                false
            }
            b'"' => {
                quoted = !quoted;
                false
            }
            b',' => !quoted,
            _ => false,
        })
        .unwrap_or(list.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let fields = Fields::checked(b"A: 1\r\nb:\t2, \"x,\\\"y\" ,,3 \r\nEmpty:\r\na: \xff\r\n");
        assert_eq!(fields.iter().count(), 4);
        assert_eq!(fields.get("a"), Some(&b"1"[..]));
        assert_eq!(fields.get_str("B"), Some("2, \"x,\\\"y\" ,,3"));
        assert_eq!(fields.get("empty"), Some(&b""[..]));
        assert_eq!(fields.count("A"), 2);
        assert_eq!(fields.get_str("c"), None);
        let list: Vec<_> = fields.list("b").collect();
        assert_eq!(list, [&b"2"[..], b"\"x,\\\"y\"", b"3"]);
        assert!(fields.has_token("b", "3"));
        assert!(!fields.has_token("b", "x"));
        assert_eq!(
            fields.iter().last(),
            Some(Field {
                name: "a",
                value: b"\xff"
            })
        );
    }
}
