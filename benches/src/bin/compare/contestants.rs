//! The servers, and how each is started.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use benches::load::Mode;

use crate::cases::Case;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Epoll,
    Tokio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ours(Driver),
    Floor(Driver),
    Peer,
}

#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) address: SocketAddr,
    program: PathBuf,
    arguments: Vec<String>,
    http: bool,
    websocket: bool,
    /// Whether it serves only TLS.
    tls: bool,
}

impl Contestant {
    pub(crate) fn takes_part(&self, case: &Case) -> bool {
        if self.tls != case.tls {
            return false;
        }
        match case.mode {
            Mode::Http => self.http,
            Mode::WebSocket => self.websocket,
        }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }
}

const HTTP: (bool, bool) = (true, false);
const WEBSOCKET: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

/// The peers, and the crates whose versions they report.
const PEERS: [(&str, &str, Role, (bool, bool)); 9] = [
    ("floor-epoll", "rustix", Role::Floor(Driver::Epoll), BOTH),
    ("floor-tokio", "tokio", Role::Floor(Driver::Tokio), BOTH),
    ("hyper", "hyper", Role::Peer, HTTP),
    ("actix-web", "actix-web", Role::Peer, HTTP),
    ("ntex", "ntex", Role::Peer, HTTP),
    ("may-minihttp", "may_minihttp", Role::Peer, HTTP),
    ("fastwebsockets", "fastwebsockets", Role::Peer, WEBSOCKET),
    ("tokio-tungstenite", "tokio-tungstenite", Role::Peer, WEBSOCKET),
    ("tokio-websockets", "tokio-websockets", Role::Peer, WEBSOCKET),
];

/// Only for tests and measurements.
const CERTIFICATE: &[u8] = include_bytes!("../../../../fuzz/bodies/src/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../../../fuzz/bodies/src/tls/key.pem");

/// The path of the self-signed certificate of all TLS servers.
pub(crate) fn certificate(scratch: &Path) -> PathBuf {
    scratch.join("certificate.pem")
}

/// All servers that can be started on this machine. `scratch` is a folder for configuration files.
pub(crate) fn all(programs: &Path, port: u16, scratch: &Path) -> io::Result<Vec<Contestant>> {
    let mut ports = (port..).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut next = || ports.next().ok_or_else(|| io::Error::other("no ports left"));
    let mut contestants = Vec::new();
    let (certificate, key) = (certificate(scratch), scratch.join("key.pem"));
    fs::write(&certificate, CERTIFICATE)?;
    fs::write(&key, KEY)?;
    let pair = [
        "--tls-cert",
        &certificate.to_string_lossy(),
        "--tls-key",
        &key.to_string_lossy(),
    ]
    .map(str::to_owned);
    let pair = pair.to_vec();
    for (driver, name) in [(Driver::Epoll, "epoll"), (Driver::Tokio, "tokio")] {
        let address = next()?;
        contestants.push(Contestant {
            name: format!("**proto, driver-{name}**"),
            role: Role::Ours(driver),
            address,
            program: programs.join("testbed"),
            arguments: words(&["--driver", name, "--listen", &address.to_string()]),
            http: true,
            websocket: true,
            tls: false,
        });
        let address = next()?;
        contestants.push(Contestant {
            name: format!("**proto, driver-{name}, over TLS**"),
            role: Role::Ours(driver),
            address,
            program: programs.join("testbed"),
            arguments: [
                words(&["--driver", name, "--listen", &address.to_string()]),
                pair.clone(),
            ]
            .concat(),
            http: true,
            websocket: true,
            tls: true,
        });
    }
    for (name, krate, role, (http, websocket)) in PEERS {
        let address = next()?;
        contestants.push(Contestant {
            name: match role {
                Role::Peer => format!("{name} {}", version(krate)),
                _ => name.to_owned(),
            },
            role,
            address,
            program: programs.join("peer"),
            arguments: words(&[name, "--listen", &address.to_string()]),
            http,
            websocket,
            tls: false,
        });
    }
    let address = next()?;
    contestants.push(Contestant {
        name: format!(
            "hyper {} over tokio-rustls {}",
            version("hyper"),
            version("tokio-rustls")
        ),
        role: Role::Peer,
        address,
        program: programs.join("peer"),
        arguments: [words(&["hyper-tls", "--listen", &address.to_string()]), pair].concat(),
        http: true,
        websocket: false,
        tls: true,
    });
    contestants.extend(uwebsockets(next()?, programs));
    contestants.extend(nginx(next()?, scratch, false)?);
    contestants.extend(nginx(next()?, scratch, true)?);
    Ok(contestants)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The version of a crate that this program was built with.
fn version(krate: &str) -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let name = format!("name = \"{krate}\"\nversion = \"");
    lock.split_once(&name)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(version, _)| version)
}

/// uWebSockets, if `benches/uwebsockets/build.sh` has built it.
fn uwebsockets(address: SocketAddr, programs: &Path) -> Option<Contestant> {
    let program = programs.join("uwebsockets");
    program.exists().then(|| Contestant {
        name: "uWebSockets (C++)".to_owned(),
        role: Role::Peer,
        address,
        program,
        arguments: words(&["--listen", &address.to_string()]),
        http: true,
        websocket: true,
        tls: false,
    })
}

/// nginx, if it is installed.
fn nginx(address: SocketAddr, scratch: &Path, tls: bool) -> io::Result<Option<Contestant>> {
    let Ok(output) = Command::new("nginx").arg("-v").output() else {
        return Ok(None);
    };
    let version = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = version.trim().rsplit('/').next().unwrap_or_default();
    let folder = scratch.display();
    let (configuration, ssl, encryption) = match tls {
        false => (scratch.join("nginx.conf"), "", String::new()),
        true => (
            scratch.join("nginx-tls.conf"),
            " ssl",
            format!("ssl_certificate {folder}/certificate.pem;\nssl_certificate_key {folder}/key.pem;\n"),
        ),
    };
    fs::write(
        &configuration,
        format!(
            "daemon off;\nworker_processes 1;\npid {folder}/nginx{}.pid;\nerror_log {folder}/nginx.log crit;\n\
             events {{ worker_connections 20000; }}\n\
             http {{\n  access_log off;\n  default_type text/plain;\n  keepalive_timeout 3600;\n\
             keepalive_requests 1000000000;\n  server {{\n    listen {address}{ssl} backlog=4096;\n\
             {encryption}location / {{ return 200 'Hello, World!'; }}\n  }}\n}}\n",
            ssl.trim()
        ),
    )?;
    Ok(Some(Contestant {
        name: match tls {
            false => format!("nginx {version}"),
            true => format!("nginx {version} over OpenSSL"),
        },
        role: Role::Peer,
        address,
        program: "nginx".into(),
        arguments: words(&["-c", &configuration.display().to_string()]),
        http: true,
        websocket: false,
        tls,
    }))
}
