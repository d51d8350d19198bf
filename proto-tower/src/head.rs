//! Heads of messages in the types of the `http` crate.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use proto_http::Fields;

/// In a field section of at most this many bytes, each value is copied by itself; the values of a longer section share one copy of the
/// section.
const SHORT: usize = 128;
/// A typical size of one field, in bytes.
const FIELD: usize = 32;

/// The fields as a map.
pub(crate) fn fields(fields: Fields<'_>) -> Result<HeaderMap, http::Error> {
    let lines = fields.as_bytes();
    let mut map = HeaderMap::try_with_capacity(lines.len() / FIELD)?;
    let shared = if lines.len() > SHORT {
        Bytes::copy_from_slice(lines)
    } else {
        Bytes::new()
    };
    let base = lines.as_ptr().addr();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())?;
        let start = field.value.as_ptr().addr().wrapping_sub(base);
        let end = start.wrapping_add(field.value.len());
        let value = if start <= end && end <= shared.len() {
            HeaderValue::from_maybe_shared(shared.slice(start..end))?
        } else {
            HeaderValue::from_bytes(field.value)?
        };
        map.try_append(name, value)?;
    }
    Ok(map)
}

/// The request without content. An extended CONNECT of HTTP/2 is converted to an upgrade of HTTP/1.1 (RFC 8441 section 5), including the
/// version, because services that know only such upgrades check it.
pub(crate) fn request(request: &proto_http::Request<'_>) -> Result<http::Request<()>, http::Error> {
    let mut copy = http::Request::new(());
    *copy.method_mut() = Method::from_bytes(request.method().as_bytes())?;
    *copy.uri_mut() = match request.target() {
        "/" => Uri::from_static("/"),
        target => Uri::from_maybe_shared(Bytes::copy_from_slice(target.as_bytes()))?,
    };
    *copy.version_mut() = match request.version() {
        proto_http::Version::Http2 if request.wants_upgrade() => Version::HTTP_11,
        version => version.into(),
    };
    *copy.headers_mut() = fields(request.fields())?;
    Ok(copy)
}
