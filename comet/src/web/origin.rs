//! Which pages may open a WebSocket (RFC 6455 section 10.2).

use proto_http::Request;
use proto_ws::handshake::server::{OriginPolicy, Rejection, Request as Handshake};

use crate::app::App;
use crate::edge::{Forwarded, quoted};

/// Checks that the page's origin may connect. Where the origin must be the server's own host, a trusted proxy may name the host that the
/// client has asked for, because many proxies replace `Host`.
///
/// # Errors
///
/// [`Rejection::Origin`], which is logged.
pub(super) fn check(
    app: &App,
    handshake: &Handshake<'_>,
    request: &Request<'_>,
    forwarded: Option<&Forwarded<'_>>,
) -> Result<(), Rejection> {
    let policy = &app.settings.origins;
    let Err(rejection) = handshake.check_origin(policy) else {
        return Ok(());
    };
    let hosts = forwarded.map_or(&[][..], |forwarded| &forwarded.hosts[..]);
    let fits = hosts.iter().any(|host| {
        let fields = request.fields();
        let fields = fields.iter().map(|field| {
            let is_host = field.name.eq_ignore_ascii_case("host");
            (field.name, if is_host { host.as_bytes() } else { field.value })
        });
        let asked = Handshake::read(request.method(), fields);
        asked.is_ok_and(|asked| asked.check_origin(policy).is_ok())
    });
    if fits {
        return Ok(());
    }
    app.edge
        .origins
        .say(|| refused(policy, handshake, hosts, forwarded.is_some()));
    Err(rejection)
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
