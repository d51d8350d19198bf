//! What an answer says, and who waits for it.

use std::io::ErrorKind;
use std::net::IpAddr;

use driver_common::{Answer, Family};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData};

/// What a message says about a name.
pub(super) enum Verdict {
    /// Addresses, and how long they are valid, in seconds.
    Found(Vec<IpAddr>, u32),
    /// Another name must be asked for: the server has not followed the CNAME itself.
    Elsewhere(Name, u32),
    /// There is no address, for so many seconds.
    Nothing(u32),
}

/// Reads the answer for `name`, along its CNAMEs. Records of other names are ignored (RFC 5452 section 6).
pub(super) fn read(message: &Message, name: &Name, family: Family) -> Verdict {
    let mut name = name.clone();
    let (mut ttl, mut moved) = (u32::MAX, false);
    // As many steps as there are records: a loop ends.
    for _ in 0..=message.answers.len() {
        let of_name = || message.answers.iter().filter(|record| record.name == name);
        let mut addresses = Vec::new();
        for record in of_name() {
            match (&record.data, family) {
                (RData::A(address), Family::V4) => addresses.push(IpAddr::V4(address.0)),
                (RData::AAAA(address), Family::V6) => addresses.push(IpAddr::V6(address.0)),
                _ => continue,
            }
            ttl = ttl.min(record.ttl);
        }
        if !addresses.is_empty() {
            return Verdict::Found(addresses, ttl);
        }
        let alias = of_name().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else { break };
        (name, ttl, moved) = (target, ttl.min(alias_ttl), true);
    }
    // RFC 2308 section 5: the lesser of the SOA's own TTL and its minimum.
    let soa = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    match soa {
        None if moved => Verdict::Elsewhere(name, ttl),
        soa => Verdict::Nothing(soa.unwrap_or(0)),
    }
}

/// One who waits for both families.
pub(super) struct Shared {
    answer: Option<Answer>,
    found: bool,
    failed: Option<Family>,
}

impl Shared {
    pub(super) fn new(answer: Answer) -> Self {
        Shared {
            answer: Some(answer),
            found: false,
            failed: None,
        }
    }

    /// One family is known, or has failed. The look-up has failed only if both have; else the failed one counts as empty.
    pub(super) fn tell(&mut self, family: Family, outcome: Result<Vec<IpAddr>, ErrorKind>) {
        let Some(answer) = &mut self.answer else { return };
        match outcome {
            Ok(addresses) => {
                self.found = true;
                answer.found(family, addresses);
                if let Some(failed) = self.failed {
                    answer.found(failed, Vec::new());
                }
            }
            Err(_) if self.found => answer.found(family, Vec::new()),
            Err(failure) if self.failed.is_some() => {
                if let Some(answer) = self.answer.take() {
                    answer.fail(failure);
                }
            }
            Err(_) => self.failed = Some(family),
        }
    }
}
