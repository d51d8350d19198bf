//! The client's side of TLS for a connection of the generator.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use proto_tls::CertificateDer;
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::script::Violation;

/// The size of the ciphertext waiting for the socket at which no more plaintext is sealed, in bytes.
const WAITING: usize = 64 * 1024;

/// How connections are encrypted: the certificates they trust. The server's certificate must be for `localhost`. Each
/// connection makes a full handshake.
#[derive(Debug, Clone)]
pub struct Encryption(Arc<ClientConfig>);

impl Encryption {
    /// Trusts the certificates in a PEM file: authorities, or the server's own certificate.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no certificate.
    pub fn trusting(file: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
            let certificate = certificate.map_err(io::Error::other)?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
        let provider = proto_tls::provider().map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Encryption(Arc::new(config)))
    }

    pub(super) fn begin(&self) -> io::Result<Tls> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(Tls {
            client: Box::new(client),
            sealed: Vec::new(),
        })
    }
}

/// The TLS state of one connection.
pub(super) struct Tls {
    client: Box<ClientConnection>,
    /// Ciphertext that the socket has not taken yet.
    sealed: Vec<u8>,
}

impl Tls {
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_handshaking()
    }

    /// Whether ciphertext still waits for the socket.
    pub(super) fn waits(&self) -> bool {
        !self.sealed.is_empty() || self.client.wants_write()
    }

    /// Seals and sends as much of `piece` as there is room for. Returns the number of bytes of `piece` sealed.
    pub(super) fn send(&mut self, socket: &OwnedFd, piece: &[u8]) -> Result<usize, Violation> {
        let n = match self.sealed.len() < WAITING {
            true => self
                .client
                .writer()
                .write(piece)
                .map_err(|error| Violation::Failed(error.kind()))?,
            false => 0,
        };
        self.flush(socket)?;
        Ok(n)
    }

    pub(super) fn flush(&mut self, socket: &OwnedFd) -> Result<(), Violation> {
        while self.client.wants_write() {
            // Writing to a vector cannot fail.
            let _ = self.client.write_tls(&mut self.sealed);
        }
        while !self.sealed.is_empty() {
            match rustix::net::send(socket, &self.sealed, SendFlags::NOSIGNAL) {
                Ok(n) => drop(self.sealed.drain(..n)),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => return Err(Violation::Failed(io::Error::from(errno).kind())),
            }
        }
        if self.sealed.is_empty() && self.sealed.capacity() > WAITING {
            self.sealed = Vec::new();
        }
        Ok(())
    }

    /// Decrypts `bytes` and appends the plaintext to `plain`. Sends TLS's own replies.
    pub(super) fn receive(&mut self, socket: &OwnedFd, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), Violation> {
        while !bytes.is_empty() {
            self.client
                .read_tls(&mut bytes)
                .map_err(|error| Violation::Failed(error.kind()))?;
            if self.client.process_new_packets().is_err() {
                // Sends the alert that tells the server the reason.
                let _ = self.flush(socket);
                return Err(Violation::Tls);
            }
            match self.client.reader().read_to_end(plain) {
                Ok(_) => return Err(Violation::Closed),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Violation::Failed(error.kind())),
            }
        }
        if self.client.wants_write() {
            self.flush(socket)?;
        }
        Ok(())
    }
}
