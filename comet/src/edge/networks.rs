//! Networks of proxies.

use std::net::IpAddr;

use ipnet::IpNet;

/// Peers without an IP address, in a list of networks.
const UNIX: &str = "unix";

/// A set of networks, and perhaps the peers over Unix sockets, which have no address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    pub(crate) networks: Vec<IpNet>,
    pub(crate) unix: bool,
}

impl Networks {
    /// Reads networks such as `10.0.0.0/8`, addresses, and the word `unix`.
    ///
    /// # Errors
    ///
    /// Each part that is none of these.
    pub(crate) fn read(parts: &[String]) -> Result<Self, Vec<String>> {
        let (mut known, mut problems) = (Networks::default(), Vec::new());
        for part in parts.iter().map(|part| part.trim()) {
            let address = || part.parse::<IpAddr>().map(IpNet::from);
            match part.parse::<IpNet>().or_else(|_| address()) {
                _ if part == UNIX => known.unix = true,
                Ok(network) => known.networks.push(network),
                Err(_) => problems.push(format!(
                    "{part:?} is neither a network such as 10.0.0.0/8, nor an address, nor \"unix\""
                )),
            }
        }
        if problems.is_empty() { Ok(known) } else { Err(problems) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether a peer belongs to these networks; `None` is a peer without an address. IPv4 addresses may be written as mapped IPv6 ones.
    pub(crate) fn contains(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|address| address.to_canonical()) {
            None => self.unix,
            Some(address) => self.networks.iter().any(|network| network.contains(&address)),
        }
    }

    /// The first network that holds every address of its family.
    pub(crate) fn everyone(&self) -> Option<&IpNet> {
        self.networks.iter().find(|network| network.prefix_len() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> Result<Networks, Vec<String>> {
        Networks::read(&parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn networks_addresses_and_unix_sockets() {
        let known = read(&["10.0.0.0/8", " 2001:db8::/32", "192.0.2.7", "::1", "unix"]).unwrap();
        for inside in ["10.9.8.7", "::ffff:10.1.1.1", "2001:db8:1::2", "192.0.2.7", "::1"] {
            assert!(known.contains(inside.parse().ok()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2"] {
            assert!(!known.contains(outside.parse().ok()), "{outside}");
        }
        assert!(known.contains(None) && !read(&["10.0.0.0/8"]).unwrap().contains(None));
        assert!(known.everyone().is_none() && read(&["::/0"]).unwrap().everyone().is_some());
    }

    #[test]
    fn each_wrong_part_is_named() {
        let problems = read(&["10.0.0.0/33", "::1", "", "example.org", "10.0.0.1:80"]).unwrap_err();
        assert_eq!(problems.len(), 4);
        assert!(problems[0].contains("\"10.0.0.0/33\""), "{problems:?}");
    }
}
