//! An HTTP client: fetches URLs, several from one server over one connection if possible.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use clap::Parser;
use drivers::{Driver, Server};
use proto_http::{
    BodyLength, Caller, Client, ClientConfig, ClientError, Fields, Misuse, NoUpgrade, Requester, Response, Target,
    Unanswered,
};
use proto_tls::{Connector, Roots};
use protocol::Reason;

/// Fetches URLs: writes their content to standard output, and each status to standard error.
#[derive(Parser)]
struct Options {
    /// The URLs, such as http://127.0.0.1:8080/ or https://localhost:8443/.
    #[arg(required = true)]
    urls: Vec<Url>,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
    /// Trust the authorities in this file, in PEM, instead of the system's.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Request only the heads.
    #[arg(long)]
    head: bool,
    /// Send this file, with POST.
    #[arg(long, value_name = "FILE", conflicts_with = "head")]
    send: Option<PathBuf>,
    /// Send the file in chunks.
    #[arg(long, requires = "send")]
    chunked: bool,
}

/// The server of a resource, and its path there.
#[derive(Clone)]
struct Url {
    secure: bool,
    authority: String,
    target: String,
}

impl std::str::FromStr for Url {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        match Target::parse("GET", url) {
            Some(Target::Absolute {
                scheme: scheme @ ("http" | "https"),
                authority,
                path,
                query,
            }) => Ok(Url {
                secure: scheme == "https",
                authority: authority.to_owned(),
                target: format!(
                    "{}{}{}",
                    if path.is_empty() { "/" } else { path },
                    if query.is_some() { "?" } else { "" },
                    query.unwrap_or_default()
                ),
            }),
            _ => Err("not of the form http://host/path or https://host/path"),
        }
    }
}

impl Url {
    /// The host, and the part after its colon.
    fn parts(&self) -> (&str, Option<&str>) {
        // An IPv6 address has brackets (RFC 3986 section 3.2.2).
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (&self.authority, None),
        }
    }

    /// The name or address that the certificate must have.
    fn host(&self) -> &str {
        self.parts().0.trim_start_matches('[').trim_end_matches(']')
    }

    fn address(&self) -> io::Result<SocketAddr> {
        let found = match self.parts() {
            (_, Some(_)) => self.authority.to_socket_addrs()?.next(),
            (host, None) => {
                let port = if self.secure { 443 } else { 80 };
                format!("{host}:{port}").to_socket_addrs()?.next()
            }
        };
        found.ok_or_else(|| io::Error::other(format!("{} has no address", self.authority)))
    }
}

/// The TLS connector, if one of the URLs needs it.
fn connector(options: &Options) -> io::Result<Option<Connector>> {
    if !options.urls.iter().any(|url| url.secure) {
        return Ok(None);
    }
    let roots = match &options.tls_ca {
        Some(file) => Roots::from_pem(&std::fs::read(file)?),
        None => Roots::native(),
    };
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    let config = proto_tls::ClientConfig::new(provider, roots.map_err(io::Error::other)?);
    Connector::new(config).map(Some).map_err(io::Error::other)
}

/// The content of each request.
#[derive(Clone)]
struct Request {
    method: &'static str,
    content: Arc<Vec<u8>>,
    chunked: bool,
}

/// The result of one connection.
#[derive(Default)]
struct Outcome {
    /// The number of complete responses.
    complete: usize,
    /// Whether one of them was an error.
    refused: bool,
    /// Why the connection failed.
    failure: Option<String>,
    /// Why it ended.
    reason: String,
}

struct Fetcher {
    left: VecDeque<Url>,
    request: Request,
    /// Bytes of the content sent so far.
    sent: usize,
    outcome: Outcome,
    report: mpsc::Sender<Outcome>,
}

/// The most bytes passed to the connection at once.
const PIECE: usize = 64 * 1024;

impl Fetcher {
    /// Sends as much of the content as the connection accepts now.
    fn send(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let content = &self.request.content;
        while self.sent < content.len() && !requester.is_congested() {
            let piece = &content[self.sent..content.len().min(self.sent + PIECE)];
            requester.write(piece)?;
            self.sent += piece.len();
            if self.sent == content.len() {
                requester.finish()?;
            }
        }
        Ok(())
    }
}

impl Caller for Fetcher {
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(url) = self.left.pop_front() else {
            requester.close();
            return Ok(());
        };
        let Request {
            method,
            content,
            chunked,
        } = &self.request;
        let body = match content.len() as u64 {
            0 => BodyLength::Empty,
            _ if *chunked => BodyLength::Chunked,
            length => BodyLength::Length(length),
        };
        requester.start(method, &url.target, &[("Host", &*url.authority)], body)?;
        self.sent = 0;
        self.send(requester)
    }

    fn response(&mut self, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        eprintln!("{} {}", response.status(), String::from_utf8_lossy(response.reason()));
        self.outcome.refused |= response.status() >= 400;
        Ok(())
    }

    fn data(&mut self, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        if let Err(error) = io::stdout().write_all(data) {
            self.outcome.failure = Some(error.to_string());
            requester.close();
        }
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.outcome.complete += 1;
        Ok(())
    }

    fn drained(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.send(requester)
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: Unanswered) {
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.reason = reason.to_string();
        match error {
            Some(error) => outcome.failure = Some(error.to_string()),
            // If a kept connection has ended, another fetches the rest.
            None if unanswered == Unanswered::Uncertain && outcome.failure.is_none() => {
                outcome.failure = Some(outcome.reason.clone())
            }
            None => {}
        }
        // The receiver waits for the result.
        let _ = self.report.send(outcome);
    }
}

fn main() -> ExitCode {
    match fetch(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("get: {error}");
            ExitCode::from(2)
        }
    }
}

/// Fetches everything. Returns whether all responses were successful.
fn fetch(options: &Options) -> io::Result<bool> {
    let request = Request {
        method: match (options.head, &options.send) {
            (true, _) => "HEAD",
            (false, Some(_)) => "POST",
            (false, None) => "GET",
        },
        content: Arc::new(options.send.as_ref().map_or(Ok(Vec::new()), std::fs::read)?),
        chunked: options.chunked,
    };
    let mut config = ClientConfig::default();
    // Content is written as it arrives, so it may have any length.
    config.rules.limits.body = None;
    let config = Arc::new(config);
    let connector = connector(options)?;
    let mut left = &options.urls[..];
    let mut all_well = true;
    while let Some(first) = left.first() {
        let same = left
            .iter()
            .take_while(|url| (url.secure, &url.authority) == (first.secure, &first.authority));
        let (report, reports) = mpsc::channel();
        let fetcher = Fetcher {
            left: same.cloned().collect(),
            request: request.clone(),
            sent: 0,
            outcome: Outcome::default(),
            report,
        };
        let config = Arc::clone(&config);
        let (server, address) = (Server::on(options.driver), first.address()?);
        let client = Client::new(config, fetcher);
        let outcome = match connector.as_ref().filter(|_| first.secure) {
            None => {
                let running = server.connect(address, move |_| client)?;
                let outcome = reports.recv().unwrap_or_default();
                running.join()?;
                outcome
            }
            Some(connector) => {
                let client = connector.connect(first.host(), client).map_err(io::Error::other)?;
                let running = server.connect(address, move |_| client)?;
                let outcome = reports.recv().unwrap_or_default();
                running.join()?;
                outcome
            }
        };
        io::stdout().flush()?;
        if let Some(failure) = outcome.failure {
            return Err(io::Error::other(failure));
        }
        if outcome.complete == 0 {
            return Err(io::Error::other(format!(
                "no answer from {}: {}",
                first.authority, outcome.reason
            )));
        }
        all_well &= !outcome.refused;
        // A server may close after any response: another connection fetches the rest.
        left = left.get(outcome.complete..).unwrap_or_default();
    }
    Ok(all_well)
}
