//! What to request after a redirect (RFC 9110 section 15.4), without I/O.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    HeaderMap, LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use url::Url;

use crate::RedirectError;

/// Which redirects to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirects {
    /// How many redirects to follow for one request. With 0, the redirect itself is the answer. Default 10.
    pub limit: u32,
    /// Whether a redirect from `https` to `http` is an error. Default false: the redirect is followed, as other clients do, without
    /// credentials.
    pub stay_secure: bool,
}

impl Default for Redirects {
    fn default() -> Self {
        Redirects {
            limit: 10,
            stay_secure: false,
        }
    }
}

impl Redirects {
    /// Follows no redirect.
    pub fn none() -> Self {
        Redirects {
            limit: 0,
            ..Redirects::default()
        }
    }

    /// Follows up to `limit` redirects.
    pub fn limit(limit: u32) -> Self {
        Redirects {
            limit,
            ..Redirects::default()
        }
    }
}

/// A request that a redirect changes.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The method.
    pub method: Method,
    /// Where the request goes.
    pub url: Url,
    /// The fields that the caller has set.
    pub headers: HeaderMap,
    /// Whether the request has a body.
    pub body: bool,
}

/// The redirects of one request so far.
#[derive(Debug, Clone, Default)]
pub struct History {
    visited: Vec<(Method, Url)>,
}

impl History {
    /// How many redirects were followed.
    pub fn followed(&self) -> usize {
        self.visited.len()
    }

    /// Changes `hop` to the request that follows the answer `status` with the fields `answer`. Returns false if the answer is not a
    /// redirect to follow; it is then the final answer.
    ///
    /// * 301 and 302 change POST to GET, 303 changes everything but HEAD to GET; the body is dropped with its fields. 307 and 308 change
    ///   nothing. A 300 and others are final.
    /// * The target may be relative, and inherits the fragment (section 10.2.2). User and password in it are dropped.
    /// * Credentials (Authorization, Cookie, Proxy-Authorization) and Host stay within their origin: scheme, host and port.
    ///
    /// # Errors
    ///
    /// [`RedirectError`] if there is no way to go on. `hop` is unchanged then. Whether the body can be sent again is not checked here.
    pub fn follow(
        &mut self,
        policy: &Redirects,
        hop: &mut Hop,
        status: StatusCode,
        answer: &HeaderMap,
    ) -> Result<bool, RedirectError> {
        if policy.limit == 0 || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(false);
        }
        let Some(location) = answer.get(LOCATION) else {
            return Ok(false);
        };
        let shown = || String::from_utf8_lossy(location.as_bytes()).into_owned();
        let text = std::str::from_utf8(location.as_bytes()).map_err(|_| RedirectError::Target(shown()))?;
        let mut target = hop.url.join(text).map_err(|_| RedirectError::Target(shown()))?;
        let can_go = matches!(target.scheme(), "http" | "https") && target.has_host();
        // A URL with a host has these parts.
        if !can_go || target.set_username("").is_err() || target.set_password(None).is_err() {
            return Err(RedirectError::Target(shown()));
        }
        if target.fragment().is_none() {
            target.set_fragment(hop.url.fragment());
        }
        if policy.stay_secure && hop.url.scheme() == "https" && target.scheme() == "http" {
            return Err(RedirectError::Insecure(target.into()));
        }
        if self.visited.len() >= usize::try_from(policy.limit).unwrap_or(usize::MAX) {
            return Err(RedirectError::TooMany(policy.limit));
        }
        let method = match (status.as_u16(), &hop.method) {
            (301 | 302, &Method::POST) => Method::GET,
            (303, method) if method != Method::HEAD => Method::GET,
            (_, method) => method.clone(),
        };
        self.visited.push((hop.method.clone(), hop.url.clone()));
        if self.visited.iter().any(|(was, url)| *was == method && *url == target) {
            return Err(RedirectError::Loop(target.into()));
        }
        if method != hop.method {
            hop.body = false;
            for name in [
                CONTENT_TYPE,
                CONTENT_LENGTH,
                CONTENT_ENCODING,
                CONTENT_LANGUAGE,
                CONTENT_LOCATION,
                TRANSFER_ENCODING,
            ] {
                hop.headers.remove(name);
            }
        }
        if target.origin() != hop.url.origin() {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST] {
                hop.headers.remove(name);
            }
        }
        hop.method = method;
        hop.url = target;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hop(method: Method, url: &str) -> Hop {
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST, CONTENT_TYPE] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("x-own", HeaderValue::from_static("y"));
        Hop {
            body: method == Method::POST,
            method,
            url: url.parse().unwrap(),
            headers,
        }
    }

    fn to(location: &str) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        answer
    }

    fn follow(hop: &mut Hop, status: u16, location: &str) -> Result<bool, RedirectError> {
        let status = StatusCode::from_u16(status).unwrap();
        History::default().follow(&Redirects::default(), hop, status, &to(location))
    }

    /// RFC 9110 sections 15.4.2 to 15.4.9.
    #[test]
    fn methods_and_bodies() {
        for (status, before, after, body) in [
            (301, Method::POST, Method::GET, false),
            (302, Method::POST, Method::GET, false),
            (301, Method::PUT, Method::PUT, false),
            (302, Method::HEAD, Method::HEAD, false),
            (303, Method::POST, Method::GET, false),
            (303, Method::PUT, Method::GET, false),
            (303, Method::HEAD, Method::HEAD, false),
            (307, Method::POST, Method::POST, true),
            (308, Method::POST, Method::POST, true),
        ] {
            let mut hop = hop(before.clone(), "http://a.test/1");
            assert_eq!(follow(&mut hop, status, "/2"), Ok(true));
            assert_eq!((&hop.method, hop.body), (&after, body), "{status} {before}");
            assert_eq!(
                hop.headers.contains_key(CONTENT_TYPE),
                before == after,
                "{status} {before}"
            );
        }
        for status in [200, 300, 304, 305, 306, 404] {
            let mut hop = hop(Method::GET, "http://a.test/1");
            assert_eq!(follow(&mut hop, status, "/2"), Ok(false), "{status}");
        }
    }

    /// RFC 9110 section 10.2.2 and RFC 3986 section 5.
    #[test]
    fn targets_are_resolved_and_inherit_the_fragment() {
        for (location, expected) in [
            ("/x?y", "http://a.test/x?y#part"),
            ("x", "http://a.test/dir/x#part"),
            ("?q=1", "http://a.test/dir/file?q=1#part"),
            ("../z#own", "http://a.test/z#own"),
            ("//b.test/p", "http://b.test/p#part"),
            ("HTTPS://B.test:443/p", "https://b.test/p#part"),
            ("http://user:secret@a.test/p", "http://a.test/p#part"),
        ] {
            let mut hop = hop(Method::GET, "http://a.test/dir/file?old#part");
            assert_eq!(follow(&mut hop, 302, location), Ok(true), "{location}");
            assert_eq!(hop.url.as_str(), expected);
        }
        for location in [
            "ftp://a.test/",
            "http://",
            "javascript:alert(1)",
            "http://[::1",
            "\u{ff}",
        ] {
            let mut hop = hop(Method::GET, "http://a.test/");
            let outcome = follow(&mut hop, 302, location);
            let relative = location == "\u{ff}";
            assert_eq!(outcome.is_ok(), relative, "{location}: {outcome:?}");
        }
    }

    #[test]
    fn credentials_stay_within_their_origin() {
        for (location, stays) in [
            ("/other", true),
            ("http://a.test:80/other", true),
            ("http://a.test:81/", false),
            ("https://a.test/", false),
            ("http://b.a.test/", false),
        ] {
            let mut hop = hop(Method::GET, "http://a.test/");
            assert_eq!(follow(&mut hop, 302, location), Ok(true));
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST] {
                assert_eq!(hop.headers.contains_key(&name), stays, "{location} {name}");
            }
            assert!(hop.headers.contains_key("x-own"));
        }
    }

    #[test]
    fn limits_and_loops() {
        let found = StatusCode::FOUND;
        let mut at = hop(Method::GET, "http://a.test/0");
        let (mut history, policy) = (History::default(), Redirects::limit(3));
        for n in 1..=3 {
            assert_eq!(history.follow(&policy, &mut at, found, &to(&format!("/{n}"))), Ok(true));
        }
        assert_eq!(
            history.follow(&policy, &mut at, found, &to("/4")),
            Err(RedirectError::TooMany(3))
        );
        assert_eq!(at.url.path(), "/3");
        let mut at = hop(Method::GET, "http://a.test/0");
        let mut history = History::default();
        assert_eq!(
            history.follow(&Redirects::default(), &mut at, found, &to("/1")),
            Ok(true)
        );
        let back = history.follow(&Redirects::default(), &mut at, found, &to("/0"));
        assert_eq!(back, Err(RedirectError::Loop("http://a.test/0".into())));
        // A POST that leads to a GET of the same URL is no loop.
        let mut at = hop(Method::POST, "http://a.test/0");
        assert_eq!(follow(&mut at, 303, "/0"), Ok(true));
        let mut none = hop(Method::GET, "http://a.test/0");
        assert_eq!(
            History::default().follow(&Redirects::none(), &mut none, found, &to("/1")),
            Ok(false)
        );
    }

    #[test]
    fn https_may_be_kept() {
        let policy = Redirects {
            stay_secure: true,
            ..Redirects::default()
        };
        let mut at = hop(Method::GET, "https://a.test/");
        let outcome = History::default().follow(&policy, &mut at, StatusCode::FOUND, &to("http://a.test/x"));
        assert_eq!(outcome, Err(RedirectError::Insecure("http://a.test/x".into())));
    }
}
