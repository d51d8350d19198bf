//! A small curl: fetches URLs with `http-client`. Its exit code is 0 only if every answer was complete and no error.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use drivers::{Driver, Server};
use http_client::dns::{DnsConfig, DnsResolver};
use http_client::http::Method;
use http_client::tls::{ClientConfig, Roots, provider};
use http_client::{Body, Client, CookieJar, Proxies, Proxy, Redirects, RequestBuilder, Settings, wait};

/// Fetches URLs: writes their content to standard output, and each status to standard error.
#[derive(Parser)]
struct Options {
    /// The URLs, such as http://127.0.0.1:8080/ or https://localhost:8443/.
    #[arg(required = true)]
    urls: Vec<String>,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
    /// Follow redirects.
    #[arg(short = 'L', long)]
    location: bool,
    /// Write the content to this file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Ask for a part of the content, such as 0-99, 100- or -100.
    #[arg(short, long, allow_hyphen_values = true)]
    range: Option<String>,
    /// Use this proxy: http://, socks5:// or socks5h://, with user:password@ if it wants them.
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Option<String>,
    /// Use the proxies that the environment names (http_proxy, https_proxy, all_proxy, no_proxy).
    #[arg(long, conflicts_with = "proxy")]
    proxy_from_env: bool,
    /// Send this with POST, as a form; @FILE sends a file.
    #[arg(short, long)]
    data: Option<String>,
    /// Add a field, as in "Name: value".
    #[arg(short = 'H', long, value_name = "FIELD")]
    header: Vec<String>,
    /// The method.
    #[arg(short = 'X', long)]
    request: Option<Method>,
    /// Do not check the server's certificate.
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trust the authorities in this file, in PEM, instead of the system's.
    #[arg(long, alias = "cacert", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Look up names at these DNS servers, such as 192.0.2.53:53, instead of by the system.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns_servers: Vec<SocketAddr>,
    /// Ask for compressed content, and decompress it.
    #[arg(long)]
    compressed: bool,
    /// Keep cookies between the requests, also those of a redirect.
    #[arg(long)]
    cookies: bool,
    /// Speak HTTP/1.1 only.
    #[arg(long = "http1.1")]
    http1: bool,
    /// Request only the heads.
    #[arg(short = 'I', long)]
    head: bool,
    /// Send this file, with POST.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["head", "data"])]
    send: Option<PathBuf>,
    /// Send the file in chunks.
    #[arg(long, requires = "send")]
    chunked: bool,
}

type Failure = Box<dyn std::error::Error>;

impl Options {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        settings.decompress = self.compressed;
        settings.http2 = !self.http1;
        if self.cookies {
            settings.cookies = Some(Arc::new(CookieJar::default()));
        }
        settings.redirects = if self.location {
            Redirects::limit(50)
        } else {
            Redirects::none()
        };
        if self.insecure {
            settings.tls = Some(ClientConfig::insecure(provider()?));
        } else if let Some(file) = &self.tls_ca {
            settings.tls = Some(ClientConfig::new(provider()?, Roots::from_pem(&std::fs::read(file)?)?));
        }
        if !self.dns_servers.is_empty() {
            let resolver = DnsResolver::start(DnsConfig::new(self.dns_servers.clone()))?;
            settings.resolver = Some(Arc::new(resolver));
        }
        match &self.proxy {
            Some(proxy) => settings.proxies = Proxies::all(Proxy::parse(proxy)?),
            None if self.proxy_from_env => settings.proxies = Proxies::from_env()?,
            None => {}
        }
        Ok(settings)
    }

    fn request(&self, client: &Client, url: &str) -> Result<RequestBuilder, Failure> {
        let posts = self.data.is_some() || self.send.is_some();
        let usual = match (self.head, posts) {
            (true, _) => Method::HEAD,
            (false, true) => Method::POST,
            (false, false) => Method::GET,
        };
        let mut request = client.request(self.request.clone().unwrap_or(usual), url);
        for field in &self.header {
            let (name, value) = field.split_once(':').ok_or("a field has the form \"Name: value\"")?;
            request = request.header(name, value.trim());
        }
        if let Some(range) = &self.range {
            request = request.header("range", format!("bytes={range}"));
        }
        match (&self.data, &self.send) {
            (Some(data), _) => {
                let body = match data.strip_prefix('@') {
                    Some(file) => Body::file(file)?,
                    None => Body::from(data.clone()),
                };
                let form = "application/x-www-form-urlencoded";
                let named = self
                    .header
                    .iter()
                    .any(|field| field.to_ascii_lowercase().starts_with("content-type:"));
                request = if named {
                    request
                } else {
                    request.header("content-type", form)
                };
                Ok(request.body(body))
            }
            (None, Some(file)) if self.chunked => Ok(request.body(in_pieces(file)?)),
            (None, Some(file)) => Ok(request.body(Body::file(file)?)),
            (None, None) => Ok(request),
        }
    }
}

/// The content of a file as a body of unknown length, read on another thread as fast as it is sent.
fn in_pieces(file: &Path) -> io::Result<Body> {
    let mut file = File::open(file)?;
    let (mut sender, body) = Body::channel(None);
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        loop {
            match io::Read::read(&mut file, &mut piece) {
                Ok(0) => return sender.finish(),
                // Dropping the sender fails the request.
                Err(_) => return,
                Ok(n) if wait(sender.send(piece[..n].to_vec())).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    Ok(body)
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
fn fetch(options: &Options) -> Result<bool, Failure> {
    let client = Client::on(&Server::on(options.driver), options.settings()?)?;
    let mut output: Box<dyn Write> = match &options.output {
        Some(file) => Box::new(File::create(file)?),
        None => Box::new(io::stdout().lock()),
    };
    let mut all_well = true;
    for url in &options.urls {
        let mut answer = wait(options.request(&client, url)?.send())?;
        eprintln!("{}", answer.status());
        all_well &= answer.status().as_u16() < 400;
        while let Some(piece) = wait(answer.chunk())? {
            output.write_all(&piece)?;
        }
    }
    output.flush()?;
    Ok(all_well)
}
