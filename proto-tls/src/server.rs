//! The server's side.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protocol::{Peer, Protocol};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig as RustlsConfig};

use crate::engine::Engine;
use crate::identity::Identity;
use crate::layer::{Factory, Shared, Tls};
use crate::limits::Limits;
use crate::resolver::Resolver;
use crate::stats::Stats;
use crate::tickets::TicketKeys;

/// A server's settings: the certificates it presents, and those it accepts from clients.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// Certificates with their keys, at least one. A client gets the first certificate that is for the name it asks for and whose key
    /// supports one of its signature schemes; if none is for that name, the first usable one.
    pub identities: Vec<Identity>,
    /// Whether clients present certificates. Default: [`Clients::Anonymous`].
    pub clients: Clients,
    /// The application protocols to choose from, preferred first (ALPN, RFC 7301). Default `http/1.1`. A client that offers protocols but
    /// none of these is refused; a client that offers none is served. If the list is empty, the client's offer is ignored.
    pub alpn: Vec<Vec<u8>>,
    /// Whether TLS 1.2 is allowed beside TLS 1.3. Default true. Older versions are never allowed.
    pub tls12: bool,
    /// The keys of the tickets with which clients resume sessions. Default `None`: new keys, which other processes do not know. Early data
    /// (RFC 8446 section 2.3) is never accepted, because an attacker can replay it.
    pub tickets: Option<TicketKeys>,
    /// Limits of a handshake.
    pub limits: Limits,
}

impl ServerConfig {
    /// Settings with `identities`, without client certificates.
    pub fn new(provider: Arc<CryptoProvider>, identities: impl IntoIterator<Item = Identity>) -> Self {
        ServerConfig {
            provider,
            identities: identities.into_iter().collect(),
            clients: Clients::Anonymous,
            alpn: vec![b"http/1.1".to_vec()],
            tls12: true,
            tickets: None,
            limits: Limits::default(),
        }
    }
}

/// Whether clients present certificates.
#[derive(Debug, Clone, Default)]
pub enum Clients {
    /// Clients are not asked for a certificate.
    #[default]
    Anonymous,
    /// Clients are asked for a certificate, and served without one. A certificate that is presented must be valid.
    May(Authorities),
    /// Clients must present a valid certificate.
    Must(Authorities),
}

/// The authorities that may sign client certificates.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
}

impl Authorities {
    /// Reads certificates of authorities in PEM, and certificate revocation lists if the file has any.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Authorities`] if the file is broken or has no certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        let broken = |error: rustls::pki_types::pem::Error| ConfigError::Authorities(error.to_string());
        let authorities = Authorities {
            certificates: CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(broken)?,
            revoked: CertificateRevocationListDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(broken)?,
        };
        if authorities.certificates.is_empty() {
            return Err(ConfigError::Authorities("no certificate is in the file".into()));
        }
        Ok(authorities)
    }

    fn verifier(&self, must: bool, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        let broken = |error: String| ConfigError::Authorities(error);
        let mut roots = RootCertStore::empty();
        for certificate in &self.certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| broken(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(self.revoked.iter().cloned());
        let builder = if must { builder } else { builder.allow_unauthenticated() };
        builder
            .build()
            .map(|verifier| verifier as _)
            .map_err(|error| broken(error.to_string()))
    }
}

/// Why the settings of a server or a client cannot be used.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no certificate.
    NoIdentity,
    /// The certificates of the authorities cannot be used; the reason.
    Authorities(String),
    /// The ticket keys cannot be made.
    Tickets(crate::TicketError),
    /// The provider lacks an algorithm that the versions of TLS need; the reason.
    Provider(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NoIdentity => f.write_str("a server over TLS needs a certificate"),
            ConfigError::Authorities(why) => write!(f, "the certificates of authorities cannot be used: {why}"),
            ConfigError::Tickets(error) => error.fmt(f),
            ConfigError::Provider(why) => write!(f, "the cryptography provider lacks an algorithm: {why}"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Accepts connections over TLS. Its settings may be replaced while it runs. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Acceptor(Arc<State>);

struct State {
    shared: Arc<Shared>,
    tickets: TicketKeys,
    /// The configuration of new connections.
    current: RwLock<Arc<RustlsConfig>>,
    /// The settings behind `current`; locked during a replacement.
    config: Mutex<ServerConfig>,
}

impl Acceptor {
    /// An acceptor with the settings `config`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the settings cannot be used.
    pub fn new(mut config: ServerConfig) -> Result<Self, ConfigError> {
        let tickets = match config.tickets.take() {
            Some(tickets) => tickets,
            None => TicketKeys::random(&config.provider).map_err(ConfigError::Tickets)?,
        };
        Ok(Acceptor(Arc::new(State {
            shared: Arc::new(Shared {
                limits: config.limits,
                ..Shared::default()
            }),
            current: RwLock::new(build(&config, &tickets)?),
            tickets,
            config: Mutex::new(config),
        })))
    }

    /// Turns `factory`, which is called for each client with a complete handshake, into a factory for a driver. Its second argument is the
    /// [`Session`](crate::Session): the application protocol, the name that the client asked for, the client's certificate.
    ///
    /// The factory is cloned for each connection; shared counters must be in an `Arc` or the like.
    pub fn accept<P, F>(&self, factory: F) -> impl FnMut(&Peer<'_, P::Message>) -> Option<Tls<P, F>> + Clone + use<P, F>
    where
        P: Protocol<Message: 'static>,
        F: Factory<P> + Clone,
    {
        let acceptor = self.clone();
        move |peer: &Peer<'_, P::Message>| {
            let current = Arc::clone(&acceptor.0.current.read().unwrap_or_else(PoisonError::into_inner));
            // Fails only for invalid settings, which `build` has excluded.
            let connection = UnbufferedServerConnection::new(current).ok()?;
            let shared = Arc::clone(&acceptor.0.shared);
            Some(Tls::server(Engine::server(connection), shared, peer, factory.clone()))
        }
    }

    /// Replaces the certificates and the authorities for new connections. Existing connections are unaffected. Sessions of clients that
    /// other authorities admitted are not resumed. If the new ones cannot be used, the old ones stay.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: why the new ones cannot be used.
    pub fn reload(&self, identities: Vec<Identity>, clients: Clients) -> Result<(), ConfigError> {
        let mut config = self.0.config.lock().unwrap_or_else(PoisonError::into_inner);
        let new = ServerConfig {
            identities,
            clients,
            ..config.clone()
        };
        let built = build(&new, &self.0.tickets)?;
        *config = new;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = built;
        Ok(())
    }

    /// The ticket keys, to share with other processes.
    pub fn tickets(&self) -> &TicketKeys {
        &self.0.tickets
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.0.shared.counters.read()
    }

    /// The certificates in use.
    pub fn identities(&self) -> Vec<Identity> {
        let config = self.0.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.identities.clone()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("identities", &self.identities())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn build(config: &ServerConfig, tickets: &TicketKeys) -> Result<Arc<RustlsConfig>, ConfigError> {
    if config.identities.is_empty() {
        return Err(ConfigError::NoIdentity);
    }
    let mut context = Vec::new();
    let verifier: Arc<dyn ClientCertVerifier> = match &config.clients {
        Clients::Anonymous => Arc::new(NoClientAuth),
        Clients::May(authorities) => {
            tie(&mut context, 1, authorities);
            authorities.verifier(false, &config.provider)?
        }
        Clients::Must(authorities) => {
            tie(&mut context, 2, authorities);
            authorities.verifier(true, &config.provider)?
        }
    };
    let versions: &[_] = match config.tls12 {
        true => &[&rustls::version::TLS13, &rustls::version::TLS12],
        false => &[&rustls::version::TLS13],
    };
    let mut built = RustlsConfig::builder_with_provider(Arc::clone(&config.provider))
        .with_protocol_versions(versions)
        .map_err(|error| ConfigError::Provider(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Resolver::new(&config.identities)));
    built.alpn_protocols = config.alpn.clone();
    // Tickets only: sessions stored in memory would be known to one process alone.
    built.session_storage = Arc::new(NoServerSessionStorage {});
    built.ticketer = tickets.ticketer(context);
    built.max_early_data_size = 0;
    Ok(Arc::new(built))
}

/// Binds tickets to the authorities that admitted their clients, because a resumed session is not verified again.
fn tie(context: &mut Vec<u8>, mode: u8, authorities: &Authorities) {
    context.push(mode);
    let certificates = authorities.certificates.iter().map(|certificate| certificate.as_ref());
    let revoked = authorities.revoked.iter().map(|list| list.as_ref());
    for part in certificates.chain(revoked) {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part);
    }
}
