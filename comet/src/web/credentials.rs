//! How a client shows its token with a request.

use proto_http::Request;

use super::{Visitor, api, origin, parameter};
use crate::edge::Forwarded;
use crate::token::{BadToken, Claims};

impl Visitor {
    /// The claims of a request's token: in the field `Authorization`, the parameter `token`, or a cookie.
    ///
    /// # Errors
    ///
    /// If the token is invalid.
    pub(super) fn claims(
        &self,
        request: &Request<'_>,
        forwarded: Option<&Forwarded<'_>>,
    ) -> Result<Option<Claims>, BadToken> {
        let app = self.app();
        // Other schemes are for proxies in front.
        if let Some(shown) = request.fields().get("authorization").and_then(api::bearer) {
            let token = std::str::from_utf8(shown).map_err(|_| BadToken::Malformed)?;
            return app.claims(token).map(Some);
        }
        if let Some(token) = parameter(request, "token") {
            return app.claims(&token).map(Some);
        }
        let settings = app.settings();
        let name = settings.token_cookie.as_deref();
        match name.and_then(|name| cookie(request, name)) {
            Some(token) if origin::owns_cookie(app, request, forwarded) => app.claims(token).map(Some),
            _ => Ok(None),
        }
    }
}

/// The value of a cookie (RFC 6265 section 4.2.1), if it is not empty. Of several with this name, the first, which belongs to the most
/// specific path.
fn cookie<'r>(request: &Request<'r>, name: &str) -> Option<&'r str> {
    let fields = request.fields();
    // HTTP/2 may send each cookie in a field of its own (RFC 9113 section 8.2.3).
    let values = fields
        .get_all("cookie")
        .filter_map(|value| std::str::from_utf8(value).ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| {
        let (known, value) = pair.split_once('=')?;
        (known.trim() == name).then(|| value.trim().trim_matches('"'))
    });
    pairs.next().filter(|value| !value.is_empty())
}
