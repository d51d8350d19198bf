//! The client's side of TLS beneath a connection of the generator.

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

/// Bytes of ciphertext that may wait for the socket before no more is sealed.
const WAITING: usize = 64 * 1024;

/// How connections are encrypted: whom they trust. The certificate must be for `localhost`. Each connection shakes hands in full.
#[derive(Debug, Clone)]
pub struct Encryption(Arc<ClientConfig>);

impl Encryption {
    /// Trusts the authorities, or the server's own certificate, in a file in PEM.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has none.
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

/// One connection's.
pub(super) struct Tls {
    client: Box<ClientConnection>,
    /// What the socket did not take.
    sealed: Vec<u8>,
}

impl Tls {
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_handshaking()
    }

    /// Whether the socket has not taken all.
    pub(super) fn waits(&self) -> bool {
        !self.sealed.is_empty() || self.client.wants_write()
    }

    /// Seals as much of `piece` as may wait, and sends. Returns how many bytes of it will go.
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
            // A vector takes everything.
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

    /// Opens what has come, and appends it to `plain`. Answers of its own are sent.
    pub(super) fn receive(&mut self, socket: &OwnedFd, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), Violation> {
        while !bytes.is_empty() {
            self.client
                .read_tls(&mut bytes)
                .map_err(|error| Violation::Failed(error.kind()))?;
            if self.client.process_new_packets().is_err() {
                // The alert tells the server why.
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
