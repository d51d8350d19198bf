//! Selects the received fields that a proxy forwards, without those for the next hop only.

use crate::encode::{self, Buffer, FieldFacts, FieldLines, put_field};
use crate::{Field, Fields, Misuse};

/// Received fields without those that a predicate drops; made by [`Fields::without`].
#[derive(Clone, Copy, Debug)]
pub struct Without<'a, D> {
    fields: Fields<'a>,
    drops: D,
}

/// Received fields that are meant for the final recipient; made by [`Fields::end_to_end`].
#[derive(Clone, Copy, Debug)]
pub struct EndToEnd<'a> {
    fields: Fields<'a>,
}

/// Fields that concern only the connection to the neighbour, even if `Connection` does not name them (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl<'a> Fields<'a> {
    /// These fields without those for which `drops` returns true, to be sent or read. `drops` gets the name. Nothing is copied.
    ///
    /// `Content-Length` and `Transfer-Encoding` are always left out: the encoder writes the framing of a message (RFC 9112
    /// section 6).
    ///
    /// ```
    /// use proto_http::{Parsed, Request, Rules};
    ///
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nAccept: */*\r\n\r\n";
    /// let Parsed::Complete { head, .. } = Request::parse(head, &Rules::DEFAULT)? else { panic!() };
    /// let kept = head.fields().without(|name| name.eq_ignore_ascii_case("cookie"));
    /// let names: Vec<_> = kept.iter().map(|field| field.name).collect();
    /// assert_eq!(names, ["Host", "Accept"]);
    /// # Ok::<(), proto_http::Violation>(())
    /// ```
    pub const fn without<D: Fn(&str) -> bool>(self, drops: D) -> Without<'a, D> {
        Without { fields: self, drops }
    }

    /// These fields as a proxy passes them on (RFC 9110 section 7.6.1): without `Connection` and the fields that it names,
    /// and without `Keep-Alive`, `Proxy-Connection`, `TE`, `Transfer-Encoding` and `Upgrade`. `Content-Length` is left out
    /// too, because the encoder writes the framing of a message. Nothing is copied.
    ///
    /// A proxy that asks for credentials of its own also drops `Proxy-Authorization` (RFC 9110 section 11.7.2), and a proxy that
    /// passes an upgrade on adds `Upgrade` again. A pair of fields is sent as one: `(request.fields().end_to_end(), [("Via", "1.1 me")])`.
    ///
    /// Each field is compared with each option of `Connection`, so the time is the product of their numbers, which
    /// [`Limits::fields`](crate::Limits::fields) and [`Limits::fields_bytes`](crate::Limits::fields_bytes) bound.
    ///
    /// ```
    /// use proto_http::{Parsed, Request, Rules};
    ///
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n";
    /// let Parsed::Complete { head, .. } = Request::parse(head, &Rules::DEFAULT)? else { panic!() };
    /// let names: Vec<_> = head.fields().end_to_end().iter().map(|field| field.name).collect();
    /// assert_eq!(names, ["Host", "X-End"]);
    /// # Ok::<(), proto_http::Violation>(())
    /// ```
    #[must_use]
    pub const fn end_to_end(self) -> EndToEnd<'a> {
        EndToEnd { fields: self }
    }
}

fn is_framing(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
}

impl<'a, D: Fn(&str) -> bool> Without<'a, D> {
    /// The remaining fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.fields
            .iter()
            .filter(|field| !is_framing(field.name) && !(self.drops)(field.name))
    }
}

impl<'a> EndToEnd<'a> {
    /// The remaining fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let fields = self.fields;
        fields.iter().filter(move |field| {
            let name = field.name;
            !is_framing(name)
                && !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
                && !fields.has_token("connection", name)
        })
    }
}

fn check<'a>(mut fields: impl Iterator<Item = Field<'a>>) -> Result<FieldFacts, Misuse> {
    fields.try_fold(FieldFacts::default(), |facts, field| {
        Ok(facts.and(FieldFacts::of(field.name.as_bytes(), field.value)?))
    })
}

fn write<'a, B: Buffer>(mut fields: impl Iterator<Item = Field<'a>>, out: &mut B) -> Result<(), Misuse> {
    fields.try_for_each(|field| put_field(field.name.as_bytes(), field.value, out))
}

impl<D: Fn(&str) -> bool> encode::sealed::Sealed for Without<'_, D> {}

impl<D: Fn(&str) -> bool> FieldLines for Without<'_, D> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        check(self.iter())
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        write(self.iter(), out)
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.iter().for_each(|field| each(field.name.as_bytes(), field.value));
    }
}

impl encode::sealed::Sealed for EndToEnd<'_> {}

impl FieldLines for EndToEnd<'_> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        check(self.iter())
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        write(self.iter(), out)
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.iter().for_each(|field| each(field.name.as_bytes(), field.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parsed, Response, Rules, SliceBuffer};

    fn fields(lines: &str, use_them: impl FnOnce(Fields<'_>)) {
        let head = alloc::format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let Ok(Parsed::Complete { head, .. }) = Response::parse(head.as_bytes(), &Rules::DEFAULT) else {
            panic!("{lines}")
        };
        use_them(head.fields());
    }

    fn written(fields: &impl FieldLines) -> alloc::string::String {
        let mut memory = [0; 256];
        let mut out = SliceBuffer::new(&mut memory);
        fields.check().expect("received fields may be sent");
        fields.write(&mut out).expect("the buffer has room");
        let text = str::from_utf8(out.as_slice()).expect("the fields are ASCII").into();
        let mut again = alloc::string::String::new();
        fields.visit(&mut |name, value| {
            again += &alloc::format!("{}: {}\r\n", name.escape_ascii(), value.escape_ascii());
        });
        assert_eq!(text, again);
        text
    }

    /// Hop-by-hop fields are not forwarded (RFC 9110 section 7.6.1).
    #[test]
    fn what_is_for_the_next_hop_stays_behind() {
        let lines = "A: 1\r\nConnection: x, b, keep-alive\r\nB: 2\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h\r\n\
            Proxy-Connection: close\r\nconnection:  C\r\nc: 3\r\nContent-Length: 3\r\nD: 4\r\n";
        fields(lines, |fields| {
            assert_eq!(written(&fields.end_to_end()), "A: 1\r\nD: 4\r\n")
        });
        let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\nA: 1\r\n";
        fields(chunked, |fields| {
            assert_eq!(written(&fields.end_to_end()), "A: 1\r\n");
            // Framing fields are dropped whatever the predicate returns.
            assert_eq!(written(&fields.without(|_| false)), "Connection: close\r\nA: 1\r\n");
        });
    }

    #[test]
    fn fields_of_two_sources_are_sent_as_one() {
        fields("A: 1\r\nVia: 1.0 x\r\n", |fields| {
            let both = (
                fields.without(|name| name.eq_ignore_ascii_case("VIA")),
                [("Via", "1.1 y")],
            );
            assert_eq!(written(&both), "A: 1\r\nVia: 1.1 y\r\n");
            let twice = ([("Host", "a")], [("Host", "a")]);
            assert!(
                twice
                    .check()
                    .is_ok_and(|facts| facts != [("Host", "a")].check().unwrap_or_default())
            );
        });
    }
}
