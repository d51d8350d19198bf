//! Which pages may open a WebSocket (RFC 6455 section 10.2), and whose cookies count.

use proto_http::Request;
use proto_ws::handshake::server::{OriginPolicy, Rejection, Request as Handshake};

use super::cors::names;
use crate::app::App;
use crate::edge::{Forwarded, quoted};

/// Checks that the page's origin may connect. Where the origin must be the server's own host, a trusted proxy may name the host that the
/// client has asked for, because many proxies replace `Host`.
///
/// # Errors
///
/// [`Rejection::Origin`], which is logged.
pub(super) fn check(app: &App, handshake: &Handshake<'_>, forwarded: Option<&Forwarded<'_>>) -> Result<(), Rejection> {
    let settings = app.settings();
    let policy = &settings.origins;
    let Err(rejection) = handshake.check_origin(policy) else {
        return Ok(());
    };
    let hosts = forwarded.map_or(&[][..], |forwarded| &forwarded.hosts[..]);
    let origin = handshake.origin().unwrap_or_default();
    if matches!(policy, OriginPolicy::SameHost) && hosts.iter().any(|host| is_of(origin, host)) {
        return Ok(());
    }
    app.edge
        .origins
        .say(|| refused(policy, handshake, hosts, forwarded.is_some()));
    Err(rejection)
}

/// Whether a page of `origin` is a page of `host`.
fn is_of(origin: &str, host: &str) -> bool {
    // The rule for WebSockets serves for other requests too.
    let fields = [
        ("host", host.as_bytes()),
        ("origin", origin.as_bytes()),
        ("upgrade", b"websocket"),
        ("connection", b"upgrade"),
        ("sec-websocket-version", b"13"),
        ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let asked = Handshake::read("GET", fields);
    asked.is_ok_and(|asked| asked.check_origin(&OriginPolicy::SameHost).is_ok())
}

/// Whether the cookie of a request is that of somebody who wants the request: browsers also send it with requests that pages of other
/// sites make. A page of the server's own host, or of an origin that the settings name, may send it.
///
/// A browser names the origin when it opens a WebSocket, and with every request to another origin whose answer the page could read. So a
/// request without an origin, other than for a WebSocket, harms nobody if it only reads.
pub(super) fn owns_cookie(app: &App, request: &Request<'_>, forwarded: Option<&Forwarded<'_>>) -> bool {
    let fields = request.fields();
    let Some(origin) = fields.get("origin") else {
        let only_reads = matches!(request.method(), "GET" | "HEAD") && fields.get("upgrade").is_none();
        // W3C Fetch Metadata Request Headers, section 2.3; older browsers do not send it.
        let site = fields.get("sec-fetch-site");
        return only_reads && site.is_none_or(|site| matches!(site, b"same-origin" | b"none"));
    };
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let hosts = forwarded.map_or(&[][..], |forwarded| &forwarded.hosts[..]);
    let is_own = request.authority().is_some_and(|host| is_of(origin, host));
    let owns = is_own || hosts.iter().any(|host| is_of(origin, host)) || names(&app.settings().origins, origin);
    if !owns {
        app.edge.origins.say(|| {
            let origin = quoted(origin);
            format!("the cookie of a request from a page of {origin} was ignored: the setting origins does not name this origin")
        });
    }
    owns
}

/// Why an origin was refused.
fn refused(
    policy: &OriginPolicy,
    handshake: &Handshake<'_>,
    hosts: &[std::borrow::Cow<'_, str>],
    is_proxied: bool,
) -> String {
    let origin = quoted(handshake.origin().unwrap_or_default());
    if !matches!(policy, OriginPolicy::SameHost) {
        return format!("a page of {origin} was refused: the setting origins does not name this origin");
    }
    let host = quoted(handshake.host());
    let advice = if !hosts.is_empty() {
        let hosts: Vec<_> = hosts.iter().map(|host| quoted(host)).collect();
        format!("and the proxy's forwarded host is {}", hosts.join(" and "))
    } else if is_proxied {
        "and the proxy sends neither X-Forwarded-Host nor Forwarded with host".to_owned()
    } else {
        "if a proxy has changed Host, name the proxy in trusted_proxies; else name the origin in origins".to_owned()
    };
    format!("a page of {origin} was refused: the request's Host is {host}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_both_hosts() {
        let fields = [
            ("host", &b"backend:8080"[..]),
            ("upgrade", b"websocket"),
            ("connection", b"upgrade"),
            ("sec-websocket-version", b"13"),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", b"https://example.org"),
        ];
        let handshake = Handshake::read("GET", fields).unwrap();
        let line = |hosts: &[_], is_proxied| refused(&OriginPolicy::SameHost, &handshake, hosts, is_proxied);
        for (line, end) in [
            (line(&[], false), "trusted_proxies"),
            (line(&[], true), "X-Forwarded-Host"),
            (line(&["other.example".into()], true), "\"other.example\""),
        ] {
            for part in ["\"https://example.org\"", "\"backend:8080\"", end] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
