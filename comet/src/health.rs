//! Asks a running server whether it is well: for containers, which have no other program that could ask.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use clap::Args;

use crate::client::{self, http};
use crate::place;
use crate::settings::{Options, Span};

/// What to ask, and where.
#[derive(Args)]
pub(crate) struct Health {
    /// The server, HOST:PORT or unix:PATH [default: admin_listen of the settings, or else the first address of listen]
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// Asks whether it serves and can publish (/readyz), and not only whether it runs (/healthz)
    #[arg(long)]
    ready: bool,
    /// The longest time for each step: connecting, sending, hearing the next bytes
    #[arg(long, value_name = "TIME", default_value = "3s")]
    timeout: Span,
}

impl Health {
    /// Whether the settings must be read to find the server.
    pub(crate) fn needs_settings(&self) -> bool {
        self.address.is_none()
    }

    /// Asks. `options` are those of the server, with defaults.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, or answers with anything but 200.
    pub(crate) fn run(self, options: &Options) -> Result<(), String> {
        let (address, encrypted) = match self.address {
            Some(address) => (address, false),
            None => served(options)?,
        };
        let path = if self.ready { "/readyz" } else { "/healthz" };
        if encrypted {
            return Err(format!(
                "{address} speaks TLS, which `comet health` does not: set admin_listen, where it asks without TLS"
            ));
        }
        match ask(&address, path, self.timeout.0) {
            Ok((200, _)) => Ok(()),
            Ok((status, content)) => {
                let why = String::from_utf8_lossy(&content);
                Err(format!("{address} answers {path} with {status}: {}", why.trim_end()))
            }
            Err(error) => Err(format!("{address} does not answer {path}: {error}")),
        }
    }
}

/// Where a server with these settings answers, and whether it does so over TLS.
fn served(options: &Options) -> Result<(String, bool), String> {
    if let Some(admin) = &options.admin_listen {
        return Ok((admin.clone(), false));
    }
    let encrypted = options
        .tls_cert
        .as_ref()
        .is_some_and(|certificates| !certificates.is_empty());
    let first = options.listen.iter().flatten().next();
    first
        .map(|first| (first.clone(), encrypted))
        .ok_or_else(|| "the settings name no address".to_owned())
}

fn ask(address: &str, path: &str, patience: Duration) -> io::Result<(u16, Vec<u8>)> {
    if let Some(socket) = place::path(address) {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        return http::Client::over(stream, "localhost", None).ask("GET", path, &[]);
    }
    let server = client::resolve(address)?;
    let stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    http::Client::over(stream, &server.to_string(), None).ask("GET", path, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_where_to_ask() {
        let place = |text: &str| served(&toml::from_str::<Options>(text).unwrap().or(Options::defaults())).unwrap();
        let plain = |address: &str| (address.to_owned(), false);
        assert_eq!(place(""), plain("127.0.0.1:8080"));
        assert_eq!(place("listen = [\"unix:/run/a\", \"[::]:80\"]"), plain("unix:/run/a"));
        let tls = "tls_cert = [\"a\"]\ntls_key = [\"b\"]\n";
        assert!(place(tls).1);
        assert_eq!(
            place(&format!("{tls}admin_listen = \"127.0.0.1:9000\"")),
            plain("127.0.0.1:9000")
        );
        assert!(served(&Options::default()).is_err());
    }

    #[test]
    fn an_address_where_nothing_listens_is_not_well() {
        let nowhere = Health {
            address: Some("unix:/nowhere/comet.sock".to_owned()),
            ready: false,
            timeout: Span(Duration::from_secs(1)),
        };
        assert!(!nowhere.needs_settings());
        let problem = nowhere.run(&Options::default()).unwrap_err();
        assert!(problem.contains("/healthz"), "{problem}");
    }
}
