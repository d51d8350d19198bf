//! Counts the connections of each address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

/// Counts connections by their remote address, and refuses further ones when an address has enough. For drivers: see
/// `Config::max_per_address` of a driver.
///
/// For an IPv6 address only the first 64 bits count: a client with one address of such a network has all of them.
#[derive(Debug, Default)]
pub struct PerAddress {
    max: usize,
    counts: HashMap<u64, usize>,
    networks: HashMap<u64, u64>,
}

impl PerAddress {
    /// Admits `max` connections of each address.
    pub fn new(max: usize) -> Self {
        PerAddress {
            max,
            ..Default::default()
        }
    }

    /// Counts the connection `token` from `address`. Returns false, without counting it, if the address has enough
    /// connections.
    pub fn admit(&mut self, token: u64, address: IpAddr) -> bool {
        let network = network(address);
        let count = self.counts.entry(network).or_default();
        if *count >= self.max {
            return false;
        }
        *count += 1;
        self.networks.insert(token, network);
        true
    }

    /// The connection `token` has ended. Does nothing if the connection was not counted.
    pub fn release(&mut self, token: u64) {
        let Some(network) = self.networks.remove(&token) else {
            return;
        };
        if let Entry::Occupied(mut count) = self.counts.entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// IPv4 addresses never meet IPv6 networks: none of those in use starts with 32 zero bits.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_its_share() {
        let mut limit = PerAddress::new(2);
        let [a, b]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        assert!(limit.admit(1, a) && limit.admit(2, a) && !limit.admit(3, a));
        assert!(limit.admit(4, b));
        limit.release(3);
        limit.release(1);
        limit.release(1);
        assert!(limit.admit(5, a) && !limit.admit(6, a));
        for token in [2, 4, 5] {
            limit.release(token);
        }
        assert!(limit.counts.is_empty() && limit.networks.is_empty());
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let mut limit = PerAddress::new(1);
        assert!(limit.admit(1, "2001:db8::1".parse().unwrap()));
        assert!(!limit.admit(2, "2001:db8::2".parse().unwrap()));
        assert!(limit.admit(3, "2001:db8:0:1::1".parse().unwrap()));
        assert!(limit.admit(4, "::ffff:192.0.2.1".parse().unwrap()));
        assert!(!limit.admit(5, "192.0.2.1".parse().unwrap()));
    }
}
