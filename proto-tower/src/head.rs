//! Heads as the types of the `http` crate.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use proto_http::Fields;

/// Values of a section of up to so many bytes are copied one by one; those of a longer one share one copy of the section.
const SHORT: usize = 128;
/// About the bytes of a field.
const FIELD: usize = 32;

/// The fields.
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

/// The request, without content. What takes part in an upgrade over HTTP/2 is shown as in HTTP/1.1 (RFC 8441 section 5): services that know no
/// other look for that version as well.
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
