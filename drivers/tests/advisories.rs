//! Advisories against dependencies of the drivers: the lock file has no affected version. The ids are those of docs/security.md.

use std::fs;

/// The versions of `name` in the lock file.
fn locked(name: &str) -> Vec<[u64; 3]> {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while let Some(line) = lines.next() {
        if line == format!("name = \"{name}\"") {
            let version = lines.next().unwrap().trim_start_matches("version = ").trim_matches('"');
            let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
            versions.push([(); 3].map(|()| numbers.next().unwrap_or(0)));
        }
    }
    versions
}

fn at_least(name: &str, fixed: [u64; 3]) {
    for version in locked(name) {
        assert!(version >= fixed, "{name} {version:?} is older than {fixed:?}");
    }
}

/// CVE-2026-25541: `reserve` overflows.
#[test]
fn t01_bytes() {
    assert!(!locked("bytes").is_empty());
    at_least("bytes", [1, 11, 1]);
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    assert!(
        manifest.contains("bytes = { version = \"1.12\""),
        "the minimum version in Cargo.toml has changed"
    );
}

/// CVE-2025-55159: an index out of bounds is accepted.
#[test]
fn t02_slab() {
    at_least("slab", [0, 4, 11]);
}

/// CVE-2024-27308 (T03), CVE-2020-35922 (T05): tokens after deregistration, layout of addresses.
#[test]
fn t03_t05_mio() {
    at_least("mio", [0, 8, 11]);
}

/// RUSTSEC-2025-0023: the broadcast channel clones values of a type that cannot be shared.
#[test]
fn t04_tokio() {
    assert!(!locked("tokio").is_empty());
    at_least("tokio", [1, 44, 2]);
}

/// CVE-2020-35919 and its like: layout of addresses.
#[test]
fn t05_socket2() {
    at_least("socket2", [0, 3, 16]);
}

/// rustls is not affected by CVE-2024-32650 or CVE-2024-11738. No crate for QUIC or NATS is in the lock file, so their advisories do not
/// apply; once one is, its version must not be affected.
#[test]
fn t06_t08_t09_what_is_not_here() {
    assert!(!locked("rustls").is_empty());
    at_least("rustls", [0, 23, 18]);
    at_least("quinn-proto", [0, 11, 14]);
    for name in ["async-nats", "native-tls", "openssl"] {
        assert_eq!(locked(name), [[0; 3]; 0], "{name} is here: look up its advisories");
    }
}
