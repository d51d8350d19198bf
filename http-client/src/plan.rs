//! From a request to what is sent, and where.

use std::sync::Arc;

use http::Method;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, RANGE};
use url::{Position, Url};

use crate::body::Body;
use crate::greeting::{Destination, Handshake};
use crate::proxy::{basic, unescape};
use crate::{Error, Hop, Proxy, ProxyKind, Settings, decode};

/// The connections that can carry a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) secure: bool,
    /// The host, an IPv6 address without brackets; empty for all hosts that an HTTP proxy reaches.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) proxy: Option<Arc<Proxy>>,
}

impl Key {
    /// Where the socket connects to.
    pub(crate) fn place(&self) -> (&str, u16) {
        match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.host, self.port),
        }
    }

    /// The handshake with the proxy. `None` if there is no proxy, or it needs none.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        let proxy = self.proxy.as_ref()?;
        let destination = Destination {
            host: self.host.clone(),
            port: self.port,
        };
        match proxy.kind {
            ProxyKind::Http if self.host.is_empty() => None,
            ProxyKind::Http => Some(Handshake::Connect(destination, proxy.authorization())),
            ProxyKind::Socks5 => Some(Handshake::Socks5(destination, proxy.credentials.clone())),
        }
    }
}

/// What is sent.
pub(crate) struct Plan {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    /// The target over HTTP/1.1.
    pub(crate) target: String,
    /// The path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Plans the request `hop`.
pub(crate) fn plan(settings: &Settings, hop: &Hop, body: &Body) -> Result<(Key, Plan), Error> {
    let url = &hop.url;
    let invalid = || Error::Url(url.to_string());
    let secure = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(invalid()),
    };
    let bracketed = url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?;
    let port = url.port_or_known_default().ok_or_else(invalid)?;
    let authority = match url.port() {
        Some(port) => format!("{bracketed}:{port}"),
        None => bracketed.to_owned(),
    };
    let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
    let proxy = settings.proxies.for_url(url).cloned();
    let mut headers = headers(settings, hop, url)?;
    if !headers.contains_key(HOST) {
        headers.insert(HOST, value(&authority)?);
    }
    let path = url[Position::BeforePath..Position::AfterQuery].to_owned();
    let mut target = path.clone();
    let mut key = Key {
        secure,
        host,
        port,
        proxy,
    };
    let by_http = key.proxy.as_ref().filter(|proxy| proxy.kind == ProxyKind::Http);
    if let Some(proxy) = by_http.filter(|_| !secure) {
        target = format!("http://{authority}{path}");
        if let Some(authorization) = proxy.authorization() {
            headers.insert(PROXY_AUTHORIZATION, secret(&authorization)?);
        }
        // One connection to the proxy reaches all hosts.
        (key.host, key.port) = (String::new(), 0);
    }
    let plan = Plan {
        method: hop.method.clone(),
        scheme: if secure { "https" } else { "http" },
        authority,
        target,
        path,
        headers,
        body: if hop.body { body.clone() } else { Body::default() },
    };
    Ok((key, plan))
}

/// The fields of the request, with those that the settings add.
fn headers(settings: &Settings, hop: &Hop, url: &Url) -> Result<HeaderMap, Error> {
    let mut headers = hop.headers.clone();
    for (name, value) in &settings.headers {
        if !hop.headers.contains_key(name) {
            headers.append(name, value.clone());
        }
    }
    // A range is one of the coded content, which could not be decoded.
    let ranged = headers.contains_key(RANGE) || headers.contains_key(ACCEPT_ENCODING);
    if settings.decompress && !ranged && !decode::accepted().is_empty() {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(decode::accepted()));
    }
    if let Some(cookies) = &settings.cookies
        && !headers.contains_key(COOKIE)
        && let Some(value) = cookies.cookie(url)
    {
        headers.insert(COOKIE, value);
    }
    let named = !url.username().is_empty() || url.password().is_some();
    if named && !headers.contains_key(AUTHORIZATION) {
        let credentials = basic(&unescape(url.username()), &unescape(url.password().unwrap_or_default()));
        headers.insert(AUTHORIZATION, secret(&credentials)?);
    }
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::Invalid("field value"))
}

fn secret(text: &str) -> Result<HeaderValue, Error> {
    let mut value = value(text)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Proxies;

    fn of(settings: &Settings, url: &str) -> (Key, Plan) {
        let hop = Hop {
            method: Method::GET,
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            body: false,
        };
        plan(settings, &hop, &Body::default()).unwrap()
    }

    #[test]
    fn directly() {
        let settings = Settings::default();
        let (key, plan) = of(&settings, "https://me:p%40ss@[2001:db8::1]:8443/a%20b?c=d#e");
        assert_eq!((key.secure, key.place()), (true, ("2001:db8::1", 8443)));
        assert_eq!(
            (plan.target.as_str(), plan.authority.as_str()),
            ("/a%20b?c=d", "[2001:db8::1]:8443")
        );
        assert_eq!(plan.headers[AUTHORIZATION], "Basic bWU6cEBzcw==");
        assert_eq!(plan.headers[HOST], "[2001:db8::1]:8443");
        assert!(key.handshake().is_none());
        let (key, plan) = of(&settings, "http://a.test");
        assert_eq!((key.place(), plan.target.as_str()), (("a.test", 80), "/"));
    }

    #[test]
    fn by_proxy() {
        let settings = Settings {
            proxies: Proxies::all(Proxy::parse("http://u:p@proxy.test:3128").unwrap()),
            ..Settings::default()
        };
        let (key, plan) = of(&settings, "http://a.test/x?y");
        assert_eq!(plan.target, "http://a.test/x?y");
        assert_eq!(plan.headers[PROXY_AUTHORIZATION], "Basic dTpw");
        assert_eq!((key.place(), key.handshake()), (("proxy.test", 3128), None));
        assert_eq!(key, of(&settings, "http://b.test/").0);
        let (key, plan) = of(&settings, "https://a.test/x");
        assert_eq!(plan.target, "/x");
        assert!(!plan.headers.contains_key(PROXY_AUTHORIZATION));
        let to = Destination {
            host: "a.test".into(),
            port: 443,
        };
        assert_eq!(key.handshake(), Some(Handshake::Connect(to, Some("Basic dTpw".into()))));
    }
}
