//! The destination of a request, and the fields to forward.

use std::net::{IpAddr, SocketAddr};

use proto_http::{Field, Request, Response, Target, Version};

use crate::link::{Failure, Lines, Order};

/// The address of a server.
pub(crate) enum Place {
    Address(SocketAddr),
    Name(String, u16),
}

/// The treatment of a request.
pub(crate) struct Way {
    pub(crate) place: Place,
    /// The request to send there; `None` for a tunnel.
    pub(crate) order: Option<Order>,
}

/// The permitted destinations.
pub(crate) struct Routes {
    /// The server of a reverse proxy.
    pub(crate) to: Option<SocketAddr>,
    /// Ports permitted for tunnels.
    pub(crate) tunnels: Vec<u16>,
}

impl Routes {
    /// Decides the treatment of a request.
    pub(crate) fn way(&self, request: &Request<'_>, client: Option<SocketAddr>, name: &str) -> Result<Way, Failure> {
        let passed = |element: &[u8]| element.split(|byte| *byte == b' ').nth(1) == Some(name.as_bytes());
        if request.fields().list("via").any(passed) {
            return Err(Failure(508, "this request has been here before".into()));
        }
        let refuse = |status, text: &str| Err(Failure(status, text.into()));
        let (place, authority) = match (self.to, request.target_form()) {
            (None, Target::Authority(authority)) => return self.tunnel(authority),
            (Some(_), Target::Authority(_)) => return refuse(501, "no tunnels here"),
            (Some(to), _) => (
                Place::Address(to),
                request.authority().map_or_else(|| to.to_string(), str::to_owned),
            ),
            (None, Target::Absolute { scheme, authority, .. }) if scheme.eq_ignore_ascii_case("http") => {
                (place(authority, 80)?, authority.to_owned())
            }
            (None, Target::Absolute { .. }) => return refuse(501, "http is the only scheme here"),
            (None, _) => return refuse(400, "a request to a proxy names the server, as GET http://host/path"),
        };
        let mut fields = vec![("Host".to_owned(), authority.into_bytes())];
        fields.extend(request_fields(request, name)?);
        if self.to.is_some() {
            fields.push(("Forwarded".to_owned(), forwarded(request, client)));
        }
        let order = Order {
            method: request.method().to_owned(),
            target: request.path_and_query().into_owned(),
            fields,
            body: request.body(),
        };
        Ok(Way {
            place,
            order: Some(order),
        })
    }

    /// Tunnels go only to certain ports; otherwise the proxy would deliver mail for anybody (RFC 9110 section 9.3.6).
    fn tunnel(&self, authority: &str) -> Result<Way, Failure> {
        let place = place(authority, 443)?;
        let port = match &place {
            Place::Address(address) => address.port(),
            Place::Name(_, port) => *port,
        };
        if !self.tunnels.contains(&port) {
            return Err(Failure(403, format!("no tunnels to port {port} here")));
        }
        Ok(Way { place, order: None })
    }
}

/// Parses `host` or `host:port`.
fn place(authority: &str, default: u16) -> Result<Place, Failure> {
    if let Ok(address) = authority.parse() {
        return Ok(Place::Address(address));
    }
    let host = authority.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Place::Address((address, default).into()));
    }
    match authority.rsplit_once(':') {
        None => Ok(Place::Name(authority.to_owned(), default)),
        Some((host, "")) => Ok(Place::Name(host.to_owned(), default)),
        Some((host, port)) => match port.parse() {
            Ok(port) => Ok(Place::Name(host.to_owned(), port)),
            Err(_) => Err(Failure(400, format!("there is no port {port}"))),
        },
    }
}

/// The fields of a request to forward, without Host, which the authority of the target replaces (RFC 9112 section 3.2.2).
fn request_fields(request: &Request<'_>, name: &str) -> Result<Lines, Failure> {
    let fields = request.fields();
    let end_to_end = fields.end_to_end();
    let is = |field: &Field<'_>, name| field.name.eq_ignore_ascii_case(name);
    let mut sent = lines(
        end_to_end
            .iter()
            .filter(|field| !is(field, "host") && !is(field, "max-forwards")),
    );
    let mut add = |name: &str, value: &[u8]| sent.push((name.to_owned(), value.to_vec()));
    if let Some(left) = fields.get_str("max-forwards").and_then(|left| left.parse::<u32>().ok()) {
        match (request.method(), left.checked_sub(1)) {
            // With Max-Forwards 0, this proxy is the final recipient (RFC 9110 section 7.6.2).
            ("OPTIONS" | "TRACE", None) => return Err(Failure(501, "this is as far as the request was to go".into())),
            ("OPTIONS" | "TRACE", Some(less)) => add("Max-Forwards", less.to_string().as_bytes()),
            _ => add("Max-Forwards", left.to_string().as_bytes()),
        }
    }
    // The proxy forwards trailers (RFC 9110 section 10.1.4) and upgrades (section 7.8), so it announces both.
    if fields.has_token("te", "trailers") {
        add("TE", b"trailers");
        add("Connection", b"TE");
    }
    if request.wants_upgrade() {
        fields.get_all("upgrade").for_each(|protocol| add("Upgrade", protocol));
    }
    add("Via", via(version(request.version()), name).as_bytes());
    Ok(sent)
}

/// The fields of a response to forward.
pub(crate) fn response_fields(response: &Response<'_>, name: &str) -> Lines {
    let fields = response.fields();
    let mut sent = lines(fields.end_to_end().iter());
    let mut add = |name: &str, value: &[u8]| sent.push((name.to_owned(), value.to_vec()));
    if response.status() == 101 {
        fields.get_all("upgrade").for_each(|protocol| add("Upgrade", protocol));
    }
    add("Via", via(version(response.version()), name).as_bytes());
    sent
}

/// Copies fields.
pub(crate) fn lines<'a>(fields: impl Iterator<Item = Field<'a>>) -> Lines {
    fields
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect()
}

/// The Via field: the version of the received message, and this proxy's name (RFC 9110 section 7.6.3).
pub(crate) fn via(version: &str, name: &str) -> String {
    format!("{version} {name}")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2",
    }
}

/// The Forwarded field (RFC 7239): the client of a reverse proxy, and the host that the client requested.
fn forwarded(request: &Request<'_>, client: Option<SocketAddr>) -> Vec<u8> {
    let client = match client {
        Some(SocketAddr::V4(address)) => address.ip().to_string(),
        Some(SocketAddr::V6(address)) => format!("\"[{}]\"", address.ip()),
        None => "unknown".to_owned(),
    };
    let host = request
        .authority()
        .map_or(String::new(), |host| format!(";host=\"{host}\""));
    format!("for={client};proto=http{host}").into_bytes()
}
