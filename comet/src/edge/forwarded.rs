//! The client behind trusted proxies, from `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Each proxy appends the address of the peer that it serves. So the rightmost element is the one that the nearest proxy has seen, and a
//! client may have invented everything on the left. The walk begins at the connection and goes to the left as long as the address that
//! it stands on is that of a trusted proxy. It stops before an element that names no address.

use std::borrow::Cow;
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::CharIndices;

use proto_http::Fields;

use super::Networks;

/// The most proxies in a chain.
const MOST: usize = 32;

/// What trusted proxies say about a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'r> {
    /// The client's address: the rightmost that is not itself a trusted proxy. The proxy's own address, if the proxy names nobody;
    /// `None` if that proxy has no address either.
    pub(crate) client: Option<IpAddr>,
    /// The hosts that the client may have asked for.
    pub(crate) hosts: Vec<Cow<'r, str>>,
    /// Whether `Forwarded` and `X-Forwarded-For` name different clients. Proxies write one of the two and pass the other on as the client
    /// has sent it, and nothing tells which. So neither is believed.
    pub(crate) contradicts: bool,
}

impl<'r> Forwarded<'r> {
    /// Reads the fields of a request that came from `proxy`, which is one of the `trusted`.
    pub(crate) fn read(fields: &Fields<'r>, proxy: Option<IpAddr>, trusted: &Networks) -> Self {
        let standard: Vec<&[u8]> = fields.get_all("forwarded").collect();
        let common: Vec<&[u8]> = fields.get_all("x-forwarded-for").collect();
        let by_standard = (!standard.is_empty()).then(|| {
            let elements = standard.iter().rev().flat_map(|line| elements(line).into_iter().rev());
            walk(proxy, elements, trusted)
        });
        let by_common = (!common.is_empty()).then(|| {
            let lines = common.iter().rev().map(|line| std::str::from_utf8(line).unwrap_or("?"));
            let parts = lines.flat_map(|line| line.rsplit(',').map(trim).filter(|part| !part.is_empty()));
            let elements = parts.map(|part| address(part).map(|address| Element { address, host: None }));
            walk(proxy, elements, trusted)
        });
        let found = match (by_standard, by_common) {
            (Some(standard), Some(common)) if standard.client != common.client => {
                return Forwarded {
                    client: proxy,
                    hosts: Vec::new(),
                    contradicts: true,
                };
            }
            (Some(standard), Some(common)) => Found {
                hops: common.hops,
                ..standard
            },
            (standard, common) => standard.or(common).unwrap_or(Found {
                client: proxy,
                host: None,
                hops: 0,
            }),
        };
        // Proxies replace this field or append to it, as to `X-Forwarded-For`.
        let lines: Vec<&[u8]> = fields.get_all("x-forwarded-host").collect();
        let lines = lines.iter().rev().filter_map(|line| std::str::from_utf8(line).ok());
        let hosts = lines.flat_map(|line| line.rsplit(',').map(trim).filter(|part| !part.is_empty()));
        let host = hosts.take(found.hops.max(1)).last();
        Forwarded {
            client: found.client,
            hosts: found.host.into_iter().chain(host.map(Cow::Borrowed)).collect(),
            contradicts: false,
        }
    }
}

/// One element of `Forwarded` or `X-Forwarded-For`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Element<'r> {
    address: IpAddr,
    host: Option<Cow<'r, str>>,
}

struct Found<'r> {
    client: Option<IpAddr>,
    host: Option<Cow<'r, str>>,
    /// The number of elements that were read.
    hops: usize,
}

/// Walks over elements from right to left; `None` is an element that names no address.
fn walk<'r>(
    proxy: Option<IpAddr>,
    elements: impl Iterator<Item = Option<Element<'r>>>,
    trusted: &Networks,
) -> Found<'r> {
    let mut found = Found {
        client: proxy,
        host: None,
        hops: 0,
    };
    for element in elements.take(MOST) {
        let Some(Element { address, host }) = element else {
            break;
        };
        found.client = Some(address);
        found.host = host.or(found.host);
        found.hops += 1;
        if !trusted.contains(found.client) {
            break;
        }
    }
    found
}

/// An element of `X-Forwarded-For`: an address, which some proxies write with a port.
fn address(element: &str) -> Option<IpAddr> {
    let bare = || {
        let inside = element.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let with_port = || Some(element.parse::<SocketAddr>().ok()?.ip());
    let found = element.parse().ok().or_else(bare).or_else(with_port)?;
    Some(found.to_canonical())
}

/// The address in a node of `Forwarded` (RFC 7239 section 6): IPv6 has brackets, and a port may be obfuscated. `None` for `unknown` and
/// for obfuscated nodes.
fn node(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (inside, port) = rest.split_once(']')?;
            (IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let end = node.find(':').unwrap_or(node.len());
            let (address, port) = node.split_at(end);
            (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    let is_port = |port: &str| {
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let obfuscated = port.strip_prefix('_').is_some_and(|rest| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !rest.is_empty() && rest.bytes().all(known)
        });
        digits || obfuscated
    };
    let fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    fine.then(|| address.to_canonical())
}

/// The elements of one line of `Forwarded` (RFC 7239 section 4), left to right. A line is read only up to its first fault, after which
/// nothing says where an element ends: a quotation mark that the client has opened would hide what a proxy has appended. So the
/// fault is the last element, where the walk stops at once.
fn elements(line: &[u8]) -> Vec<Option<Element<'_>>> {
    let Ok(line) = std::str::from_utf8(line) else {
        return vec![None];
    };
    let (mut all, mut reader) = (Vec::new(), Reader::new(line));
    while !reader.is_at_end() {
        if reader.take(',') {
            continue;
        }
        match reader.element() {
            Some(element) => all.push(element),
            None => {
                all.push(None);
                break;
            }
        }
    }
    all
}

/// Reads `Forwarded`.
struct Reader<'r> {
    line: &'r str,
    rest: Peekable<CharIndices<'r>>,
}

impl<'r> Reader<'r> {
    fn new(line: &'r str) -> Self {
        Reader {
            line,
            rest: line.char_indices().peekable(),
        }
    }

    fn is_at_end(&mut self) -> bool {
        while self.rest.next_if(|&(_, found)| matches!(found, ' ' | '\t')).is_some() {}
        self.rest.peek().is_none()
    }

    fn take(&mut self, expected: char) -> bool {
        self.rest.next_if(|&(_, found)| found == expected).is_some()
    }

    fn index(&mut self) -> usize {
        self.rest.peek().map_or(self.line.len(), |&(index, _)| index)
    }

    /// One element, up to its comma. `None` is a fault, `Some(None)` an element that names no address.
    fn element(&mut self) -> Option<Option<Element<'r>>> {
        let (mut node_found, mut host) = (None, None);
        loop {
            if self.is_at_end() || self.take(',') {
                break;
            }
            if self.take(';') {
                continue;
            }
            let name = self.token()?;
            if !self.take('=') {
                return None;
            }
            let value = self.value()?;
            // No parameter may occur twice (section 4).
            if name.eq_ignore_ascii_case("for") && node_found.replace(value.clone()).is_some() {
                return None;
            }
            if name.eq_ignore_ascii_case("host") && host.replace(value).is_some() {
                return None;
            }
            let ended = self.is_at_end() || self.rest.peek().is_some_and(|&(_, next)| matches!(next, ';' | ','));
            if !ended {
                return None;
            }
        }
        let address = node_found.and_then(|value| node(&value));
        Some(address.map(|address| Element { address, host }))
    }

    fn token(&mut self) -> Option<&'r str> {
        let start = self.index();
        let is_token = |found: char| found.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(found);
        while self.rest.next_if(|&(_, found)| is_token(found)).is_some() {}
        let end = self.index();
        self.line.get(start..end).filter(|token| !token.is_empty())
    }

    /// A token or a quoted string (RFC 9110 section 5.6.4).
    fn value(&mut self) -> Option<Cow<'r, str>> {
        if !self.take('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        loop {
            match self.rest.next()?.1 {
                '"' => return Some(Cow::Owned(value)),
                '\\' => value.push(self.rest.next()?.1),
                other => value.push(other),
            }
        }
    }
}

fn trim(element: &str) -> &str {
    element.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests;
