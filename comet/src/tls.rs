//! TLS: certificates from files, which are read again when they change; and the redirection of plain HTTP.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use proto_http::{Handler, Misuse, Request, Responder, ServerConfig};
use proto_tls::{Acceptor, CryptoProvider, EXPORTED, Factory, Files, FilesError, Stamp, TicketKeys};
use protocol::Peer;

use crate::settings::Tls;
use crate::web::{Connection, Site, ToConnection};

/// The interval at which the files are checked.
const LOOK: Duration = Duration::from_secs(1);

/// The certificates in use. Their files are looked at all the time.
pub(crate) struct Certificates {
    acceptor: Acceptor,
    provider: Arc<CryptoProvider>,
    state: Mutex<Watched>,
}

struct Watched {
    files: Files,
    /// The files as they were when they were read, and when they were looked at the last time.
    used: Stamp,
    before: Stamp,
}

impl Certificates {
    /// Reads the files, for an acceptor with the ticket keys that another process passed, or with new keys. The files are read again when
    /// they change.
    ///
    /// # Errors
    ///
    /// The file that cannot be used, and why.
    pub(crate) fn read(tls: &Tls, keys: Option<OwnedFd>) -> io::Result<Arc<Self>> {
        let provider = proto_tls::provider().map_err(io::Error::other)?;
        let used = tls.files.stamp();
        let mut config = tls.files.load(Arc::clone(&provider)).map_err(io::Error::other)?;
        config.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.tickets = keys.map(|keys| read(&provider, keys)).transpose()?;
        let certificates = Arc::new(Certificates {
            acceptor: Acceptor::new(config).map_err(io::Error::other)?,
            provider,
            state: Mutex::new(Watched {
                files: tls.files.clone(),
                before: used.clone(),
                used,
            }),
        });
        let watched = Arc::clone(&certificates);
        let look = move || {
            loop {
                thread::sleep(LOOK);
                watched.look();
            }
        };
        thread::Builder::new().name("certificates".into()).spawn(look)?;
        Ok(certificates)
    }

    pub(crate) fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    /// Reads these files instead, from now on.
    ///
    /// # Errors
    ///
    /// The file that cannot be used, and why. Nothing has changed then.
    pub(crate) fn replace(&self, files: &Files) -> Result<(), FilesError> {
        let mut state = self.lock();
        let used = files.stamp();
        files.reload(&self.acceptor, Arc::clone(&self.provider))?;
        *state = Watched {
            files: files.clone(),
            before: used.clone(),
            used,
        };
        drop(state);
        self.tell();
        Ok(())
    }

    /// Reads the files again if they have changed. Unusable files are reported once, and change nothing.
    fn look(&self) {
        let mut state = self.lock();
        let now = state.files.stamp();
        // Files that are still changing are not read yet: writing several files takes a moment.
        let settled = now == state.before;
        state.before = now.clone();
        if !settled || now == state.used {
            return;
        }
        state.used = now;
        match state.files.reload(&self.acceptor, Arc::clone(&self.provider)) {
            Ok(()) => self.tell(),
            Err(error) => tracing::warn!("the old certificates stay in use: {error}"),
        }
    }

    fn tell(&self) {
        for identity in self.acceptor.identities() {
            let left = identity.not_after().duration_since(SystemTime::now());
            let days = left.unwrap_or_default().as_secs() / 86_400;
            let names = identity.names().join(", ");
            tracing::info!("the certificate for {names} was read; it is good for {days} days");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that the files can be used, without using them.
///
/// # Errors
///
/// The file that cannot be used, and why.
pub(crate) fn check(tls: &Tls) -> io::Result<()> {
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    tls.files.load(provider).map(drop).map_err(io::Error::other)
}

/// The ticket keys for several processes: those of a predecessor, or new keys.
///
/// # Errors
///
/// If there is no randomness, or the keys cannot be read.
pub(crate) fn keys(gave: Option<OwnedFd>) -> io::Result<TicketKeys> {
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    match gave {
        Some(keys) => read(&provider, keys),
        None => TicketKeys::random(&provider).map_err(io::Error::other),
    }
}

fn read(provider: &Arc<CryptoProvider>, keys: OwnedFd) -> io::Result<TicketKeys> {
    let mut exported = [0; EXPORTED];
    UnixStream::from(keys).read_exact(&mut exported)?;
    TicketKeys::import(provider, &exported).map_err(io::Error::other)
}

/// A socket from which a process reads the current keys.
///
/// # Errors
///
/// If no socket can be created.
pub(crate) fn give(keys: &TicketKeys) -> io::Result<OwnedFd> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(&keys.export())?;
    Ok(theirs.into())
}

/// Makes the protocols of connections whose handshake is complete.
#[derive(Clone)]
pub(crate) struct Inside(pub(crate) Arc<Site>);

impl Factory<Connection> for Inside {
    fn make(&self, peer: &Peer<'_, ToConnection>, session: proto_tls::Session<'_>) -> Option<Connection> {
        match session.alpn() {
            None => Some(self.0.connection(peer)),
            Some(agreed) => self.0.negotiated(agreed, peer),
        }
    }
}

/// Makes connections that redirect plain HTTP to https at `port`.
pub(crate) fn redirect(port: u16) -> impl FnMut(&Peer<'_, Infallible>) -> Option<Redirecting> + Clone + Send {
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    move |_: &Peer<'_, _>| Some(proto_http::Server::new(Arc::clone(&config), Redirect(port)))
}

/// A connection that only redirects.
pub(crate) type Redirecting = proto_http::Server<Redirect>;

/// Redirects all requests to https.
pub(crate) struct Redirect(u16);

impl Handler for Redirect {
    type Message = Infallible;
    type Next = proto_http::NoUpgrade<Infallible>;

    fn request(&mut self, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(authority) = request.authority() else {
            return answer.send(400, &(), b"");
        };
        let path = request.path_and_query();
        let location = location(authority, self.0, &path);
        // 308 keeps the method, and clients may remember the redirection (RFC 9110 section 15.4.9).
        answer.send(308, &[("Location", location.as_str())], b"")
    }
}

fn location(authority: &str, port: u16, path: &str) -> String {
    // An IPv6 address has brackets (RFC 3986 section 3.2.2), so the last colon may be part of it.
    let host = match authority.rsplit_once(':') {
        Some((host, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    match port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn clients_are_sent_to_the_same_place_over_https() {
        for (authority, port, expected) in [
            ("example.org", 443, "https://example.org/a?b"),
            ("example.org:80", 443, "https://example.org/a?b"),
            ("example.org:8080", 8443, "https://example.org:8443/a?b"),
            ("[::1]:80", 8443, "https://[::1]:8443/a?b"),
            ("[::1]", 443, "https://[::1]/a?b"),
        ] {
            assert_eq!(location(authority, port, "/a?b"), expected);
        }
    }
}
