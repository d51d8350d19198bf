//! Cookies between requests (RFC 6265).

use http::{HeaderMap, HeaderValue};
use url::Url;

/// Keeps cookies between requests: [`CookieJar`], or a jar of the program's own. Set it as [`Settings::cookies`](crate::Settings::cookies).
/// Called on the threads that send requests and on the client's own: a jar must not block.
pub trait Cookies: Send + Sync + 'static {
    /// Takes the `Set-Cookie` fields of an answer from `url`; also of an answer that redirects.
    fn store(&self, url: &Url, fields: &HeaderMap);

    /// The value of the `Cookie` field of a request to `url`. Not asked if the request sets the field itself.
    fn cookie(&self, url: &Url) -> Option<HeaderValue>;
}

#[cfg(feature = "cookies")]
pub use self::jar::CookieJar;

#[cfg(feature = "cookies")]
mod jar {
    use std::fmt;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use cookie_store::CookieStore;
    use http::header::SET_COOKIE;
    use http::{HeaderMap, HeaderValue};
    use url::Url;

    use super::Cookies;

    /// The most cookies of one answer, and in all; bytes of one cookie (RFC 6265 section 6.1 asks for 50 of a domain, 3,000 and 4,096).
    const OF_ANSWER: usize = 50;
    const IN_ALL: usize = 3000;
    const LONGEST: usize = 4096;

    /// Cookies in memory, by the crate `cookie_store`: each goes only to the hosts, paths and schemes that it is for, until it expires.
    ///
    /// Keeps at most 3,000 cookies, 50 of one answer, and 4,096 bytes of each; what is beyond is dropped. There is no list of public suffixes:
    /// a cookie for a whole top-level domain is dropped, one for `co.uk` is not. Use one jar for hosts that may know each other's
    /// cookies.
    ///
    /// ```
    /// use http_client::{CookieJar, Settings};
    ///
    /// let mut settings = Settings::default();
    /// settings.cookies = Some(std::sync::Arc::new(CookieJar::default()));
    /// ```
    #[derive(Default)]
    pub struct CookieJar {
        store: Mutex<CookieStore>,
    }

    impl CookieJar {
        fn lock(&self) -> MutexGuard<'_, CookieStore> {
            self.store.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Cookies for CookieJar {
        fn store(&self, url: &Url, fields: &HeaderMap) {
            let mut cookies = fields.get_all(SET_COOKIE).iter().take(OF_ANSWER).peekable();
            if cookies.peek().is_none() {
                return;
            }
            let mut store = self.lock();
            let mut count = store.iter_any().count();
            for cookie in cookies {
                let Some(text) = cookie.to_str().ok().filter(|text| text.len() <= LONGEST) else {
                    continue;
                };
                let Ok(cookie) = cookie_store::Cookie::parse(text, url) else {
                    continue;
                };
                let whole = cookie
                    .domain()
                    .is_some_and(|domain| !domain.trim_start_matches('.').contains('.'));
                let named_host = cookie.domain().is_some_and(|domain| Some(domain) == url.host_str());
                if whole && !named_host {
                    continue;
                }
                let known = store.contains_any(
                    &String::from(&cookie.domain),
                    &String::from(&cookie.path),
                    cookie.name(),
                );
                if count >= IN_ALL && !known {
                    continue;
                }
                count += usize::from(!known);
                // What the rules forbid, such as a cookie for another domain, is dropped.
                let _ = store.insert(cookie.into_owned(), url);
            }
        }

        fn cookie(&self, url: &Url) -> Option<HeaderValue> {
            let store = self.lock();
            let pairs: Vec<String> = store
                .get_request_values(url)
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            if pairs.is_empty() {
                return None;
            }
            let mut value = HeaderValue::from_str(&pairs.join("; ")).ok()?;
            value.set_sensitive(true);
            Some(value)
        }
    }

    impl fmt::Debug for CookieJar {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("CookieJar").finish_non_exhaustive()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn url(text: &str) -> Url {
            text.parse().unwrap()
        }

        fn set(jar: &CookieJar, from: &str, cookies: &[&str]) {
            let mut fields = HeaderMap::new();
            for cookie in cookies {
                fields.append(SET_COOKIE, cookie.parse().unwrap());
            }
            jar.store(&url(from), &fields);
        }

        fn sent(jar: &CookieJar, to: &str) -> String {
            let value = jar.cookie(&url(to));
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        }

        /// RFC 6265 sections 5.3 and 5.4.
        #[test]
        fn cookies_go_where_they_are_for() {
            let jar = CookieJar::default();
            set(
                &jar,
                "https://www.a.test/x/y",
                &["host=1", "domain=2; Domain=a.test; Path=/", "secure=3; Secure; Path=/"],
            );
            set(
                &jar,
                "https://www.a.test/",
                &["other=4; Domain=b.test", "top=5; Domain=test", "gone=6; Max-Age=0"],
            );
            assert_eq!(sent(&jar, "https://b.test/"), "");
            assert_eq!(sent(&jar, "https://other.a.test/"), "domain=2");
            assert_eq!(sent(&jar, "http://www.a.test/"), "domain=2");
            let mut all: Vec<_> = sent(&jar, "https://www.a.test/x/z")
                .split("; ")
                .map(str::to_owned)
                .collect();
            all.sort_unstable();
            assert_eq!(all, ["domain=2", "host=1", "secure=3"]);
            set(&jar, "https://www.a.test/x/y", &["host=; Max-Age=0"]);
            assert!(!sent(&jar, "https://www.a.test/x/z").contains("host"));
            set(&jar, "http://127.0.0.1:8080/", &["here=1"]);
            set(&jar, "http://localhost/", &["local=1; Domain=localhost"]);
            assert_eq!(sent(&jar, "http://127.0.0.1:9090/a"), "here=1");
            assert_eq!(sent(&jar, "http://localhost/"), "local=1");
        }

        #[test]
        fn a_jar_is_bounded() {
            let jar = CookieJar::default();
            let long = format!("long={}", "x".repeat(LONGEST));
            set(&jar, "http://a.test/", &[&long]);
            assert_eq!(sent(&jar, "http://a.test/"), "");
            let many: Vec<String> = (0..OF_ANSWER + 9).map(|n| format!("c{n}=1")).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            for host in 0..100 {
                set(&jar, &format!("http://{host}.test/"), &many);
            }
            assert_eq!(sent(&jar, "http://1.test/").split("; ").count(), OF_ANSWER);
            assert_eq!(jar.lock().iter_any().count(), IN_ALL);
            // A cookie that is known can change.
            set(&jar, "http://1.test/", &["c1=2"]);
            assert!(sent(&jar, "http://1.test/").contains("c1=2"));
        }
    }
}
