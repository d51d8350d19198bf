//! Requests from pages of other sites (WHATWG Fetch, section 3.3, "CORS protocol").

use proto_http::{Misuse, Request, Responder};
use proto_ws::handshake::server::OriginPolicy;

use crate::settings::Settings;

/// The methods of all paths.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// The fields of requests that pages may send, apart from those that every page may.
const FIELDS: &str = "Authorization, Content-Type, Last-Event-ID";

/// Which pages of other sites may read an answer.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// The origin of the page that asks, if it may read the answer.
    origin: Option<Box<str>>,
    /// Whether the page may also send cookies.
    cookies: bool,
    /// Whether the answer depends on the origin.
    varies: bool,
}

/// Whether `origins` names the origin. The server's own host needs no name.
pub(super) fn names(origins: &OriginPolicy, origin: &str) -> bool {
    match origins {
        OriginPolicy::OneOf { origins, .. } => origins.iter().any(|named| named.eq_ignore_ascii_case(origin)),
        _ => false,
    }
}

impl Readers {
    /// For answers that pages cannot read anyway.
    pub(super) const NONE: Readers = Readers {
        origin: None,
        cookies: false,
        varies: false,
    };

    /// Who may read the answer to a request.
    pub(super) fn of(request: &Request<'_>, settings: &Settings) -> Self {
        let origins = &settings.origins;
        let is_any = matches!(origins, OriginPolicy::Any);
        let origin = request.fields().get_str("origin");
        Readers {
            origin: origin.filter(|origin| is_any || names(origins, origin)).map(Into::into),
            // Never for all origins: any page could then act as its visitor.
            cookies: settings.token_cookie.is_some() && !is_any,
            // So that a cache does not give one page the answer for another.
            varies: !matches!(origins, OriginPolicy::SameHost),
        }
    }

    /// The fields of the answer.
    pub(super) fn fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields = Vec::new();
        if let Some(origin) = &self.origin {
            fields.push(("Access-Control-Allow-Origin", &**origin));
            if self.cookies {
                fields.push(("Access-Control-Allow-Credentials", "true"));
            }
        }
        if self.varies {
            fields.push(("Vary", "Origin"));
        }
        fields
    }
}

/// Answers OPTIONS: for the server as a whole (`*`, RFC 9110 section 9.3.7), for a path, and for the preflight request of a browser.
pub(super) fn options(
    request: &Request<'_>,
    settings: &Settings,
    answer: &mut Responder<'_, '_>,
) -> Result<(), Misuse> {
    let readers = Readers::of(request, settings);
    let mut given = vec![("Allow", METHODS)];
    given.extend(readers.fields());
    if readers.origin.is_some() && request.fields().get("access-control-request-method").is_some() {
        given.extend([
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", FIELDS),
            ("Access-Control-Max-Age", "600"),
        ]);
    }
    answer.send(204, &given[..], b"")
}
