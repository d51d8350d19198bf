//! The client's side.

use core::fmt;
use std::sync::Arc;

use protocol::{KeptPeer, Protocol};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig as RustlsConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::engine::Engine;
use crate::identity::Identity;
use crate::layer::{Factory, Shared, Tls};
use crate::limits::Limits;
use crate::server::ConfigError;
use crate::stats::Stats;

/// A client's settings: the certificates it trusts, and those it presents.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// The certificate authorities to trust.
    pub roots: Roots,
    /// The application protocols to offer, preferred first (ALPN, RFC 7301). Default none.
    pub alpn: Vec<Vec<u8>>,
    /// The certificate for servers that ask for one. Default none.
    pub identity: Option<Identity>,
    /// Whether TLS 1.2 is allowed beside TLS 1.3. Default true.
    pub tls12: bool,
    /// Number of sessions kept for resumption. Default 256; 0 disables resumption.
    pub sessions: usize,
    /// A further check of a chain that is valid and trusted, before anything is sent to its server. Default none.
    pub pin: Option<Pin>,
    /// Accepts any certificate, whoever has issued it and for whatever name: anyone on the way may read and change everything. Default
    /// false.
    pub insecure: bool,
    /// Limits of a handshake.
    pub limits: Limits,
}

/// Returns whether to accept a server's chain, which begins with the server's own certificate.
pub type Pin = Arc<dyn Fn(&[CertificateDer<'_>]) -> bool + Send + Sync>;

impl ClientConfig {
    /// A client that trusts everybody: see [`insecure`](Self::insecure).
    pub fn insecure(provider: Arc<CryptoProvider>) -> Self {
        ClientConfig {
            insecure: true,
            ..Self::new(provider, Roots(RootCertStore::empty()))
        }
    }

    /// A client that trusts `roots`.
    pub fn new(provider: Arc<CryptoProvider>, roots: Roots) -> Self {
        ClientConfig {
            provider,
            roots,
            alpn: Vec::new(),
            identity: None,
            tls12: true,
            sessions: 256,
            pin: None,
            insecure: false,
            limits: Limits::default(),
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("roots", &self.roots)
            .field("identity", &self.identity)
            .field("pinned", &self.pin.is_some())
            .finish_non_exhaustive()
    }
}

/// Certificates of the authorities that a client trusts.
#[derive(Clone)]
pub struct Roots(RootCertStore);

impl Roots {
    /// Reads certificates in PEM. A self-signed certificate of a server may be among them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Authorities`] if the file is broken or has no usable certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        let broken = |error: String| ConfigError::Authorities(error);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| broken(error.to_string()))?;
            roots.add(certificate).map_err(|error| broken(error.to_string()))?;
        }
        Self::some(roots)
    }

    /// The authorities that Mozilla trusted when `webpki-roots` was published.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki() -> Self {
        Roots(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        })
    }

    /// The authorities that the operating system trusts. Reads files.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Authorities`] if the system has none.
    #[cfg(feature = "native-roots")]
    pub fn native() -> Result<Self, ConfigError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::some(roots)
    }

    fn some(roots: RootCertStore) -> Result<Self, ConfigError> {
        match roots.is_empty() {
            true => Err(ConfigError::Authorities("no certificate was found".into())),
            false => Ok(Roots(roots)),
        }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

/// Connects over TLS. Cheap to clone: clones share their stored sessions.
#[derive(Clone)]
pub struct Connector {
    config: Arc<RustlsConfig>,
    shared: Arc<Shared>,
}

/// The given text is neither a DNS name nor an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName(pub String);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither a DNS name nor an IP address", self.0)
    }
}

impl core::error::Error for InvalidName {}

impl Connector {
    /// A connector with the settings `config`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the settings cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let provider = Arc::clone(&config.provider);
        let roots = Arc::new(config.roots.0);
        let verifier = || {
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&config.provider))
                .build()
                .map_err(|error| ConfigError::Authorities(error.to_string()))
        };
        let versions: &[_] = match config.tls12 {
            true => &[&rustls::version::TLS13, &rustls::version::TLS12],
            false => &[&rustls::version::TLS13],
        };
        let builder = RustlsConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| ConfigError::Provider(error.to_string()))?;
        let builder = match config.pin {
            _ if config.insecure => {
                let anybody = Anybody(Arc::clone(&config.provider));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(anybody))
            }
            None => builder.with_webpki_verifier(verifier()?),
            Some(pin) => {
                let verifier = verifier()?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Pinned { verifier, pin }))
            }
        };
        let mut built = match config.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = SingleCertAndKey::from(Arc::clone(identity.certified()));
                builder.with_client_cert_resolver(Arc::new(key))
            }
        };
        built.alpn_protocols = config.alpn;
        built.resumption = match config.sessions {
            0 => Resumption::disabled(),
            sessions => Resumption::in_memory_sessions(sessions),
        };
        Ok(Connector {
            config: Arc::new(built),
            shared: Arc::new(Shared {
                limits: config.limits,
                ..Shared::default()
            }),
        })
    }

    /// Runs `inner` over TLS, with a server whose certificate must be for `name`: a DNS name, which is also sent to the server (SNI), or an
    /// IP address, which is not. `inner` is connected when the handshake is complete.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if `name` is neither.
    pub fn connect<P: Protocol>(&self, name: &str, inner: P) -> Result<Tls<P>, InvalidName> {
        Ok(Tls::client(self.engine(name)?, Arc::clone(&self.shared), inner))
    }

    /// Like [`connect`](Self::connect), but `factory` makes the protocol when the handshake is complete, and knows its result: for a
    /// client that offers several application protocols. `peer` is shown to it. Messages that arrive before are dropped.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_with<P, F>(
        &self,
        name: &str,
        peer: KeptPeer<P::Message>,
        factory: F,
    ) -> Result<Tls<P, F>, InvalidName>
    where
        P: Protocol,
        F: Factory<P>,
    {
        let engine = self.engine(name)?;
        Ok(Tls::client_with(engine, Arc::clone(&self.shared), peer, factory))
    }

    fn engine(&self, name: &str) -> Result<Engine, InvalidName> {
        let invalid = || InvalidName(name.into());
        let server = ServerName::try_from(name.to_owned()).map_err(|_| invalid())?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&self.config), server).map_err(|_| invalid())?;
        Ok(Engine::client(connection))
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Accepts every certificate; checks only that the server has the certificate's key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Applies the caller's [`Pin`] to chains that are otherwise valid.
struct Pinned {
    verifier: Arc<WebPkiServerVerifier>,
    pin: Pin,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let chain: Vec<_> = core::iter::once(end_entity).chain(intermediates).cloned().collect();
        if (self.pin)(&chain) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned(..)")
    }
}
