//! Requests from pages of other sites (WHATWG Fetch, section 3.3, "CORS protocol").

use proto_http::{Misuse, Request, Responder};
use proto_ws::handshake::server::OriginPolicy;

/// The methods of all paths.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// The request's origin, if its pages may read answers. The server's own host needs no permission.
fn allowed<'r>(request: &Request<'r>, origins: &OriginPolicy) -> Option<&'r str> {
    let origin = request.fields().get_str("origin")?;
    let is_allowed = match origins {
        OriginPolicy::Any => true,
        OriginPolicy::OneOf { origins, .. } => origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        _ => false,
    };
    is_allowed.then_some(origin)
}

/// The fields of an answer that say who may read it.
pub(super) fn fields<'r>(request: &Request<'r>, origins: &OriginPolicy) -> Vec<(&'static str, &'r str)> {
    match allowed(request, origins) {
        Some(origin) => vec![("Access-Control-Allow-Origin", origin), ("Vary", "Origin")],
        None => Vec::new(),
    }
}

/// Answers OPTIONS: for the server as a whole (`*`, RFC 9110 section 9.3.7), for a path, and for the preflight request of a browser.
pub(super) fn options(
    request: &Request<'_>,
    origins: &OriginPolicy,
    answer: &mut Responder<'_, '_>,
) -> Result<(), Misuse> {
    let mut given = vec![("Allow", METHODS)];
    given.extend(fields(request, origins));
    let asks = request.fields().get("access-control-request-method").is_some();
    if asks && given.len() > 1 {
        given.extend([
            ("Access-Control-Allow-Methods", METHODS),
            (
                "Access-Control-Allow-Headers",
                "Authorization, Content-Type, Last-Event-ID",
            ),
            ("Access-Control-Max-Age", "600"),
        ]);
    }
    answer.send(204, &given[..], b"")
}
