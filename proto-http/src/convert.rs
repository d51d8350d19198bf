//! Conversions from and to the types of the `http` crate.

use http::header::{HeaderMap, HeaderName, HeaderValue};

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

/// Copies every field. Fails only for what [`HeaderMap`] does not hold: more than 24,576 fields.
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

/// Copies the head. The target may be one that `http::Uri` does not take.
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

/// Fields to be sent.
impl FieldLines for HeaderMap {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |facts, (name, value)| {
            Ok(facts.and(FieldFacts::of(name.as_ref(), value.as_bytes())?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parsed, Rules};

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
