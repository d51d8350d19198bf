//! What `/etc/resolv.conf` says (resolv.conf(5)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The settings of a [`Dns`](super::Dns).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsConfig {
    /// The servers to ask, in this order.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended to names with few dots. At most six are used.
    pub search: Vec<String>,
    /// A name with this many dots is tried as it is before the search list. Default 1.
    pub ndots: usize,
    /// How long to wait for one answer. Default 2 s.
    pub timeout: Duration,
    /// How often each server is asked. Default 2.
    pub attempts: u32,
    /// How many answers are kept for as long as they are valid. Default 4,096; further ones are not kept.
    pub cache: usize,
    /// How many look-ups may be under way; further ones fail with `ResourceBusy`. Default 1,024.
    pub lookups: usize,
}

impl DnsConfig {
    /// Asks `servers`.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        DnsConfig {
            servers,
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(2),
            attempts: 2,
            cache: 4096,
            lookups: 1024,
        }
    }

    /// What `/etc/resolv.conf` says.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn system() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/etc/resolv.conf")?))
    }

    /// Reads the text of a `resolv.conf`. What is not understood is ignored. Without a server, it is that of this machine.
    pub fn parse(text: &str) -> Self {
        let mut config = Self::new(Vec::new());
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if config.servers.len() < 3 => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    config
                        .servers
                        .extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => config.search = words.take(6).map(str::to_owned).collect(),
                Some("options") => {
                    for option in words {
                        let Some((name, value)) = option.split_once(':') else {
                            continue;
                        };
                        let Ok(value) = value.parse::<u8>() else { continue };
                        match name {
                            "ndots" => config.ndots = usize::from(value.min(15)),
                            "timeout" => config.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
                            "attempts" => config.attempts = u32::from(value.clamp(1, 5)),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        config
    }

    /// The full names to ask for, in their order.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![format!("{full}.")];
        }
        let plain = format!("{name}.");
        let searched = self
            .search
            .iter()
            .take(6)
            .map(|domain| format!("{name}.{}.", domain.trim_matches('.')));
        let mut all: Vec<String> = searched.collect();
        let at = if name.matches('.').count() >= self.ndots {
            0
        } else {
            all.len()
        };
        all.insert(at, plain);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file() {
        let text = "# comment\nnameserver 192.0.2.1\nnameserver ::1 ; mine\nnameserver no\nsearch a.test b.test.\n\
                    options ndots:2 timeout:9 rotate attempts:99 x:y\n";
        let config = DnsConfig::parse(text);
        assert_eq!(
            config.servers,
            ["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
        );
        assert_eq!(
            (config.ndots, config.timeout, config.attempts),
            (2, Duration::from_secs(9), 5)
        );
        assert_eq!(config.candidates("x.y"), ["x.y.a.test.", "x.y.b.test.", "x.y."]);
        assert_eq!(config.candidates("x.y.z"), ["x.y.z.", "x.y.z.a.test.", "x.y.z.b.test."]);
        assert_eq!(config.candidates("x."), ["x."]);
        assert_eq!(DnsConfig::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
