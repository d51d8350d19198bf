//! TLS: certificates from files, which are read again when they change; and the redirection of plain HTTP.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use proto_http::{Handler, Misuse, Request, Responder, ServerConfig};
use proto_tls::{Acceptor, CryptoProvider, EXPORTED, Factory, TicketKeys};
use protocol::Peer;

use crate::settings::Tls;
use crate::web::{Connection, Site, ToConnection};

/// The interval at which the files are checked.
const LOOK: Duration = Duration::from_secs(1);

/// An acceptor of TLS connections, with the ticket keys that another process passed, or with new keys.
///
/// # Errors
///
/// The file that cannot be used, and why.
pub(crate) fn acceptor(tls: &Tls, keys: Option<OwnedFd>) -> io::Result<Acceptor> {
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    let mut config = tls.files.load(Arc::clone(&provider)).map_err(io::Error::other)?;
    config.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.tickets = keys.map(|keys| read(&provider, keys)).transpose()?;
    let acceptor = Acceptor::new(config).map_err(io::Error::other)?;
    watch(tls.clone(), provider, acceptor.clone())?;
    Ok(acceptor)
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

/// Keeps SIGHUP from ending this process. The result shows whether the signal arrived.
///
/// # Errors
///
/// If the system does not allow it.
pub(crate) fn hangup() -> io::Result<Arc<AtomicBool>> {
    let came = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&came))?;
    Ok(came)
}

/// Reads the files again when they have changed, and after SIGHUP. Unusable files are reported once, and change nothing.
fn watch(tls: Tls, provider: Arc<CryptoProvider>, acceptor: Acceptor) -> io::Result<()> {
    let came = hangup()?;
    let mut used = tls.files.stamp();
    let mut before = used.clone();
    let look = move || {
        loop {
            thread::sleep(LOOK);
            let now = tls.files.stamp();
            // Files that are still changing are not read yet: writing several files takes a moment.
            let settled = now == before;
            before = now.clone();
            if came.swap(false, Ordering::Relaxed) || (settled && now != used) {
                used = now;
                reload(&tls, &provider, &acceptor);
            }
        }
    };
    thread::Builder::new().name("certificates".into()).spawn(look).map(drop)
}

fn reload(tls: &Tls, provider: &Arc<CryptoProvider>, acceptor: &Acceptor) {
    match tls.files.reload(acceptor, Arc::clone(provider)) {
        Ok(()) => {
            for identity in acceptor.identities() {
                let left = identity.not_after().duration_since(SystemTime::now());
                let days = left.unwrap_or_default().as_secs() / 86_400;
                let names = identity.names().join(", ");
                tracing::info!("the certificate for {names} was read; it is good for {days} days");
            }
        }
        Err(error) => tracing::warn!("the old certificates stay in use: {error}"),
    }
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
