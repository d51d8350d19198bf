//! Checks whether a machine and a server are prepared for many connections and for attacks.

mod machine;
mod manners;
mod tls;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::manners::{ATTEMPTS, Patient};
use self::tls::Tls;
use crate::client;

/// Checks this machine's limits, and how your server answers known attacks
#[derive(Args)]
pub(crate) struct Doctor {
    /// Your server, HOST:PORT or https://HOST:PORT; each known attack is tried on it once
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// The number of connections that the machine should hold
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    connections: u64,
    /// The number of processes that share the connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    processes: u64,
    /// A path that the server answers with 200
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// The path of its WebSocket
    #[arg(long, value_name = "PATH", default_value = "/ws")]
    ws: String,
    /// The server has no WebSocket
    #[arg(long)]
    no_ws: bool,
    /// A file in PEM with the authority of the server's certificate
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The server is mine, although it is not on this machine
    #[arg(long)]
    mine: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    id: &'static str,
    what: String,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// Acceptable, but could be better.
    Fair,
    Bad,
}

impl Doctor {
    /// Prints the results. Returns whether no check failed.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, or if the user may not try attacks on it.
    pub(crate) fn run(&self) -> io::Result<bool> {
        let mut checks = machine::checks(self.connections, self.processes);
        if let Some(address) = &self.address {
            checks.extend(self.examine(address)?);
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&checks)?);
        } else {
            print(&checks);
        }
        Ok(checks.iter().all(|check| check.verdict != Verdict::Bad))
    }

    fn examine(&self, address: &str) -> io::Result<Vec<Check>> {
        let (place, host) = place(address);
        let tls = host.map(|host| Tls::new(host, self.tls_ca.as_deref())).transpose()?;
        let address = client::resolve(&place)?;
        if !address.ip().is_loopback() && !self.mine {
            return Err(io::Error::other(format!(
                "{address} is not on this machine; attacks are for servers of your own: say --mine if it is"
            )));
        }
        let patient = Patient {
            address,
            path: self.path.clone(),
            ws: self.ws.clone(),
            tls,
        };
        let attempts: Vec<_> = ATTEMPTS
            .iter()
            .filter(|attempt| attempt.is_http() || !self.no_ws)
            .collect();
        let more = patient.tls.as_ref().map_or(0, |_| tls::COUNT);
        let bar = ProgressBar::new((attempts.len() + more) as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        let mut checks = Vec::new();
        if let Some(tls) = &patient.tls {
            checks = tls::checks(&patient, tls, |what| {
                bar.set_message(what.to_owned());
                bar.inc(1);
            });
        }
        for attempt in attempts {
            bar.set_message(attempt.name());
            checks.push(attempt.run(&patient));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(checks)
    }
}

/// HOST:PORT of an address, and HOST if the server uses TLS.
fn place(address: &str) -> (String, Option<&str>) {
    let address = address.trim_end_matches('/');
    let Some(rest) = address.strip_prefix("https://") else {
        return (address.strip_prefix("http://").unwrap_or(address).to_owned(), None);
    };
    // An IPv6 address has brackets (RFC 3986 section 3.2.2), so the last colon may be part of it.
    match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, _)) => (rest.to_owned(), Some(host)),
        None => (format!("{rest}:443"), Some(rest)),
    }
}

fn print(checks: &[Check]) {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for Check {
        id,
        what,
        verdict,
        advice,
    } in checks
    {
        let (word, code) = match verdict {
            Verdict::Good => ("good", "\x1b[32m"),
            Verdict::Fair => ("fair", "\x1b[33m"),
            Verdict::Bad => ("BAD", "\x1b[31m"),
        };
        let (begin, end) = if colour { (code, "\x1b[0m") } else { ("", "") };
        println!("{begin}{word:<5}{end} {id:<24} {what}");
        if let Some(advice) = advice {
            println!("{:30} {advice}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn addresses_may_be_urls() {
        for (address, expected, host) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", None),
            ("http://localhost:80/", "localhost:80", None),
            ("https://localhost:8443", "localhost:8443", Some("localhost")),
            ("https://example.org/", "example.org:443", Some("example.org")),
            ("https://[::1]", "[::1]:443", Some("[::1]")),
            ("https://[::1]:444", "[::1]:444", Some("[::1]")),
        ] {
            assert_eq!(place(address), (expected.to_owned(), host));
        }
    }
}
