//! Which proxy a request takes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use crate::Error;

/// A proxy.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub(crate) kind: ProxyKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// User and password.
    pub(crate) credentials: Option<(String, String)>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyKind {
    /// HTTP: requests for `http` in absolute form (RFC 9112 section 3.2.2), tunnels by CONNECT for `https` (RFC 9110 section 9.3.6).
    Http,
    /// SOCKS5 (RFC 1928, 1929); the proxy looks up the names.
    Socks5,
}

impl Proxy {
    /// Reads the URL of a proxy: `http://host:port`, `socks5://host:port` or `socks5h://host:port`, with `user:password@` if it asks for
    /// them. A SOCKS proxy looks up the names, with either scheme. Without a scheme it is an HTTP proxy. The ports are 80 and 1080 by default.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] for another URL.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Url(text.to_owned());
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&whole).map_err(|_| invalid())?;
        let (kind, port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            _ => return Err(invalid()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?;
        let credentials = (!url.username().is_empty() || url.password().is_some())
            .then(|| (unescape(url.username()), unescape(url.password().unwrap_or_default())));
        Ok(Proxy {
            kind,
            host: host.to_owned(),
            port: url.port().unwrap_or(port),
            credentials,
        })
    }

    /// How the proxy is spoken to.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// The value of Proxy-Authorization (RFC 7617), if there are credentials.
    pub(crate) fn authorization(&self) -> Option<String> {
        let (user, password) = self.credentials.as_ref()?;
        Some(basic(user, password))
    }
}

impl fmt::Debug for Proxy {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}:{}", self.kind, self.host, self.port)
    }
}

/// Credentials for Basic authentication (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Undoes percent-encoding.
pub(crate) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The proxies for each scheme, and the hosts that need none.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<Arc<Proxy>>,
    /// For `https` URLs.
    pub https: Option<Arc<Proxy>>,
    /// The hosts that are reached without a proxy.
    pub direct: Direct,
}

impl Proxies {
    /// `proxy` for everything.
    pub fn all(proxy: Proxy) -> Self {
        let proxy = Arc::new(proxy);
        Proxies {
            http: Some(Arc::clone(&proxy)),
            https: Some(proxy),
            direct: Direct::default(),
        }
    }

    /// What the environment says: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, and all but the first in capitals too, which a
    /// CGI server would set from a client's field.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if one of them is not the URL of a proxy.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let first = |names: &[&str]| {
            let set = names
                .iter()
                .find_map(|name| variable(name).filter(|value| !value.is_empty()));
            set.map(|value| Proxy::parse(&value).map(Arc::new)).transpose()
        };
        let hosts = variable("no_proxy").or_else(|| variable("NO_PROXY"));
        Ok(Proxies {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            direct: Direct::parse(&hosts.unwrap_or_default()),
        })
    }

    /// The proxy for `url`, if any.
    pub fn for_url(&self, url: &Url) -> Option<&Arc<Proxy>> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        };
        proxy.filter(|_| !self.direct.has(url))
    }
}

/// A list of hosts, as in `no_proxy`: names, which include their subdomains; addresses; networks such as `10.0.0.0/8`; `*` for all.
#[derive(Debug, Clone, Default)]
pub struct Direct {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    All,
    Name(String),
    Network(IpAddr, u32),
}

impl Direct {
    /// Reads a list, separated by commas or spaces. What is none of the forms counts as a name.
    pub fn parse(list: &str) -> Self {
        let words = list.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        let rules = words.map(|word| {
            let bare = word.replace(['[', ']'], "");
            let (address, bits) = bare.split_once('/').unwrap_or((&bare, ""));
            match (address.parse::<IpAddr>(), bits.parse()) {
                _ if word == "*" => Rule::All,
                (Ok(address), Ok(bits)) => Rule::Network(address, bits),
                (Ok(address), Err(_)) if bits.is_empty() => Rule::Network(address, 128),
                _ => Rule::Name(word.trim_start_matches('.').to_ascii_lowercase()),
            }
        });
        Direct { rules: rules.collect() }
    }

    fn has(&self, url: &Url) -> bool {
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_ascii_lowercase(),
            Some(Host::Ipv4(address)) => return self.has_address(address.into()),
            Some(Host::Ipv6(address)) => return self.has_address(address.into()),
            None => return false,
        };
        self.rules.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Name(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Rule::Network(..) => false,
        })
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let prefix = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let (ours, width) = prefix(address);
        self.rules.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Name(_) => false,
            Rule::Network(network, bits) => {
                let (theirs, of_width) = prefix(*network);
                let shift = 128 - (*bits).min(of_width);
                width == of_width && (ours ^ theirs).checked_shr(shift).unwrap_or(0) == 0
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies() {
        let proxy = Proxy::parse("socks5h://me:p%40ss@[::1]:9").unwrap();
        assert_eq!(
            (proxy.kind, proxy.host.as_str(), proxy.port),
            (ProxyKind::Socks5, "[::1]", 9)
        );
        assert_eq!(proxy.credentials, Some(("me".into(), "p@ss".into())));
        assert_eq!(proxy.authorization().unwrap(), "Basic bWU6cEBzcw==");
        let proxy = Proxy::parse("proxy.test:3128").unwrap();
        assert_eq!(
            (proxy.kind, proxy.port, proxy.credentials),
            (ProxyKind::Http, 3128, None)
        );
        assert_eq!(Proxy::parse("socks5://a").unwrap().port, 1080);
        for text in ["https://a", "ftp://a", "", "http://"] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment() {
        let variables = [
            ("HTTP_PROXY", "http://evil"),
            ("https_proxy", "s:1"),
            ("ALL_PROXY", "socks5://all"),
            ("no_proxy", "a.test"),
        ];
        let look_up = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::from_variables(look_up).unwrap();
        let host = |url: &str| proxies.for_url(&url.parse().unwrap()).map(|proxy| proxy.host.clone());
        assert_eq!(host("http://b.test/").as_deref(), Some("all"));
        assert_eq!(host("https://b.test/").as_deref(), Some("s"));
        assert_eq!(host("https://a.test/"), None);
        assert!(Proxies::from_variables(|name| (name == "http_proxy").then(|| "ftp://x".into())).is_err());
        assert!(Proxies::from_variables(|_| None).unwrap().http.is_none());
    }

    #[test]
    fn hosts_without_a_proxy() {
        let direct = Direct::parse("a.test, .b.test 10.0.0.0/8,192.0.2.1,[2001:db8::]/32,::1,0.0.0.0/0x");
        let has = |host: &str| direct.has(&format!("http://{host}/").parse().unwrap());
        for host in [
            "a.test",
            "A.test.",
            "x.a.test",
            "b.test",
            "x.b.test",
            "10.9.8.7",
            "192.0.2.1",
            "[2001:db8::9]",
            "[::1]",
        ] {
            assert!(has(host), "{host}");
        }
        for host in [
            "xa.test",
            "test",
            "11.0.0.1",
            "192.0.2.2",
            "[2001:db9::9]",
            "[::2]",
            "localhost",
        ] {
            assert!(!has(host), "{host}");
        }
        assert!(Direct::parse("*").has(&"http://any.test".parse().unwrap()));
        assert!(!Direct::parse("").has(&"http://any.test".parse().unwrap()));
    }
}
