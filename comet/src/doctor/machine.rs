//! Checks whether this machine's limits suffice for a server with many connections.

use std::fs;

use super::{Check, Verdict};

/// The requirements for this many connections.
pub(super) fn checks(connections: u64, processes: u64) -> Vec<Check> {
    let each = connections.div_ceil(processes);
    // Some descriptors are not for connections.
    let descriptors = each + 100;
    let mut checks = vec![limit(descriptors)];
    let at_least = |what: &'static str, path: &str, needed: u64, otherwise: Verdict, advice: &str| {
        let given = first_number(path)?;
        Some(Check {
            id: what,
            what: format!("{path} is {given}, and {needed} are needed"),
            verdict: if given >= needed { Verdict::Good } else { otherwise },
            advice: (given < needed).then(|| advice.to_owned()),
        })
    };
    let sysctl = |name: &str, value: u64| format!("sysctl -w {name}={value}");
    checks.extend(
        [
            at_least(
                "descriptors-per-process",
                "/proc/sys/fs/nr_open",
                descriptors,
                Verdict::Bad,
                &format!("{}, or --prefork", sysctl("fs.nr_open", descriptors)),
            ),
            at_least(
                "descriptors-of-all",
                "/proc/sys/fs/file-max",
                connections + connections / 10 + 1000,
                Verdict::Bad,
                &sysctl("fs.file-max", connections * 2),
            ),
            at_least(
                "accept-queue",
                "/proc/sys/net/core/somaxconn",
                4096,
                Verdict::Fair,
                &sysctl("net.core.somaxconn", 4096),
            ),
            at_least(
                "syn-queue",
                "/proc/sys/net/ipv4/tcp_max_syn_backlog",
                4096,
                Verdict::Fair,
                &sysctl("net.ipv4.tcp_max_syn_backlog", 4096),
            ),
            at_least(
                "tracked-connections",
                "/proc/sys/net/netfilter/nf_conntrack_max",
                connections + connections / 10,
                Verdict::Bad,
                &format!(
                    "{}, or do not track",
                    sysctl("net.netfilter.nf_conntrack_max", connections * 2)
                ),
            ),
        ]
        .into_iter()
        .flatten(),
    );
    checks.extend(memory(connections));
    checks
}

/// Checks the process's own limit of descriptors.
fn limit(needed: u64) -> Check {
    #[cfg(unix)]
    let (soft, hard) = {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
    };
    #[cfg(not(unix))]
    let (soft, hard) = (u64::MAX, u64::MAX);
    Check {
        id: "descriptor-limit",
        what: format!("a process may have {soft} descriptors, {hard} if it asks; {needed} are needed"),
        verdict: match () {
            () if soft >= needed => Verdict::Good,
            () if hard >= needed => Verdict::Fair,
            () => Verdict::Bad,
        },
        advice: (soft < needed)
            .then(|| format!("ulimit -n {needed}, LimitNOFILE={needed} in a systemd unit, or --prefork")),
    }
}

/// Checks the memory that kernel and comet need for idle connections, from docs/performance.md.
fn memory(connections: u64) -> Option<Check> {
    const EACH: u64 = 4500;
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let available = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let needed = connections * EACH;
    Some(Check {
        id: "memory",
        what: format!(
            "{} MiB are available, and {} are needed for connections that are idle",
            available >> 20,
            needed >> 20
        ),
        verdict: if available > needed {
            Verdict::Good
        } else {
            Verdict::Bad
        },
        advice: (available <= needed).then(|| "fewer connections, or more memory".to_owned()),
    })
}

fn first_number(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_need_more() {
        let verdicts = |connections| checks(connections, 1).into_iter().map(|check| check.verdict);
        assert!(verdicts(1).all(|verdict| verdict != Verdict::Bad));
        assert!(verdicts(1 << 40).any(|verdict| verdict == Verdict::Bad));
        assert!(
            checks(1 << 40, 1)
                .iter()
                .all(|check| (check.verdict == Verdict::Good) == check.advice.is_none())
        );
    }
}
