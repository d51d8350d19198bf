//! Conversions from and to the types of the `http` crate.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};

use crate::{Buffer, FieldFacts, FieldLines, Fields, Misuse, Request, Response, Version};

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
            Version::Http2 => http::Version::HTTP_2,
        }
    }
}

/// Copies every field. Fails only if [`HeaderMap`] cannot hold them: above 24,576 fields.
impl TryFrom<Fields<'_>> for HeaderMap {
    type Error = http::Error;

    fn try_from(fields: Fields<'_>) -> Result<Self, http::Error> {
        let mut map = HeaderMap::try_with_capacity(fields.iter().count())?;
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes())?;
            map.try_append(name, HeaderValue::from_bytes(field.value)?)?;
        }
        Ok(map)
    }
}

/// Copies the head. Fails for a target that `http::Uri` does not accept.
impl TryFrom<&Request<'_>> for http::Request<()> {
    type Error = http::Error;

    fn try_from(request: &Request<'_>) -> Result<Self, http::Error> {
        let mut copy = http::Request::builder()
            .method(request.method())
            .uri(request.target())
            .version(request.version().into())
            .body(())?;
        *copy.headers_mut() = request.fields().try_into()?;
        Ok(copy)
    }
}

/// Copies the head, without the reason.
impl TryFrom<&Response<'_>> for http::Response<()> {
    type Error = http::Error;

    fn try_from(response: &Response<'_>) -> Result<Self, http::Error> {
        let mut copy = http::Response::builder()
            .status(response.status())
            .version(response.version().into())
            .body(())?;
        *copy.headers_mut() = response.fields().try_into()?;
        Ok(copy)
    }
}

/// The facts about a field. Its bytes were checked when it was made, except for spaces around the value.
fn facts(name: &HeaderName, value: &HeaderValue) -> Result<FieldFacts, Misuse> {
    let (name, value) = (name.as_str(), value.as_bytes());
    match name.len() {
        // Names of these lengths may have a meaning for the encoder.
        4 | 6 | 7 | 10 | 14 | 17 => FieldFacts::of(name.as_bytes(), value),
        _ if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) => Err(Misuse::FieldValue),
        _ => Ok(FieldFacts::of_no_meaning(name)),
    }
}

/// Fields to send.
impl FieldLines for HeaderMap {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |sum, (name, value)| {
            Ok(sum.and(facts(name, value)?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.iter()
            .try_for_each(|(name, value)| crate::encode::put_field(name.as_ref(), value.as_bytes(), out))
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self {
            each(name.as_ref(), value.as_bytes());
        }
    }
}

impl crate::encode::sealed::Sealed for HeaderMap {}

/// The fields of a map without Content-Length and Transfer-Encoding. For a message from another source with its own framing, because the
/// encoder writes the framing anew (RFC 9112 section 6).
#[derive(Clone, Copy, Debug)]
pub struct Unframed<'a>(pub &'a HeaderMap);

impl Unframed<'_> {
    fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0
            .iter()
            .filter(|(name, _)| **name != CONTENT_LENGTH && **name != TRANSFER_ENCODING)
    }
}

impl FieldLines for Unframed<'_> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |sum, (name, value)| {
            Ok(sum.and(facts(name, value)?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.iter()
            .try_for_each(|(name, value)| crate::encode::put_field(name.as_ref(), value.as_bytes(), out))
    }

    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.iter() {
            each(name.as_ref(), value.as_bytes());
        }
    }
}

impl crate::encode::sealed::Sealed for Unframed<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parsed, Rules};

    /// The encoder writes the framing of a message itself (RFC 9112 section 6).
    #[test]
    fn a_map_without_framing() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("content-length", "7"),
            ("date", "x"),
            ("x", "1"),
            ("transfer-encoding", "chunked"),
            ("x", "2"),
        ] {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(map.check(), Err(Misuse::FramingField));
        let unframed = Unframed(&map);
        assert!(
            unframed
                .check()
                .is_ok_and(|facts| facts.has_date() && facts.may_trail())
        );
        let (mut written, mut visited) = (Vec::new(), Vec::new());
        assert_eq!(unframed.write(&mut written), Ok(()));
        assert_eq!(written, b"date: x\r\nx: 1\r\nx: 2\r\n");
        unframed.visit(&mut |name, value| visited.extend([name, b"=", value, b" "].concat()));
        assert_eq!(visited, b"date=x x=1 x=2 ");
        // Spaces around a value and forbidden trailers are detected for every name.
        map.insert("a", HeaderValue::from_static("b "));
        assert_eq!(Unframed(&map).check(), Err(Misuse::FieldValue));
        map.insert("a", HeaderValue::from_static("b"));
        map.insert("content-type", HeaderValue::from_static("b"));
        assert!(Unframed(&map).check().is_ok_and(|facts| !facts.may_trail()));
    }

    #[test]
    fn heads_survive_both_ways() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = b"PUT /a?b HTTP/1.1\r\nhost: h\r\na: 1\r\na: \xff\r\n\r\n";
        let Parsed::Complete { head, .. } = Request::parse(bytes, &Rules::DEFAULT)? else {
            panic!()
        };
        let copy = http::Request::try_from(&head)?;
        assert_eq!(
            (copy.method().as_str(), copy.uri().query(), copy.version()),
            ("PUT", Some("b"), http::Version::HTTP_11)
        );
        assert_eq!(copy.headers().get_all("A").iter().count(), 2);
        let mut out = Vec::new();
        copy.headers().check()?;
        copy.headers().write(&mut out)?;
        assert_eq!(out, head.fields().as_bytes());
        let Parsed::Complete { head, .. } = Response::parse(b"HTTP/1.0 299 Odd\r\nx: y\r\n\r\n", &Rules::DEFAULT)?
        else {
            panic!()
        };
        let copy = http::Response::try_from(&head)?;
        assert_eq!((copy.status().as_u16(), copy.headers().len()), (299, 1));
        Ok(())
    }
}
