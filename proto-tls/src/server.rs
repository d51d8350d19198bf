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

/// What a server shows and accepts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// Certificates with their keys, at least one. A client is shown the first that is for the name that it asks for and whose key can sign
    /// as it wants; where none is for that name, the first of all.
    pub identities: Vec<Identity>,
    /// Whether clients show certificates. Default: none do.
    pub clients: Clients,
    /// The application protocols to choose from, the preferred first (ALPN, RFC 7301). Default `http/1.1`. A client that offers
    /// some and none of these is refused; one that offers none is served. Empty: whatever a client offers is ignored.
    pub alpn: Vec<Vec<u8>>,
    /// Whether TLS 1.2 is spoken as well as 1.3. Default true. Older versions never are.
    pub tls12: bool,
    /// The keys of tickets, by which clients resume sessions. Default `None`: new ones, which other processes do not know. Early
    /// data (RFC 8446 section 2.3), which an attacker can repeat, is never accepted.
    pub tickets: Option<TicketKeys>,
    /// What a handshake may cost.
    pub limits: Limits,
}

impl ServerConfig {
    /// A server with `identities`, and no certificates of clients.
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

/// Whether clients show certificates.
#[derive(Debug, Clone, Default)]
pub enum Clients {
    /// They are not asked for any.
    #[default]
    Anonymous,
    /// They are asked, and served without; a certificate that is shown must be good.
    May(Authorities),
    /// They must.
    Must(Authorities),
}

/// The authorities whose certificates of clients are accepted.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
}

impl Authorities {
    /// Reads certificates of authorities in PEM, and their lists of revoked certificates if there are any in the file.
    ///
    /// # Errors
    ///
    /// When the file is broken, or has no certificate.
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

/// Why there can be no server, or no client, with these settings.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no certificate to show.
    NoIdentity,
    /// The authorities cannot be used: why.
    Authorities(String),
    /// There can be no tickets.
    Tickets(crate::TicketError),
    /// The provider does not have what the versions of TLS need: what.
    Provider(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NoIdentity => f.write_str("a server over TLS needs a certificate"),
            ConfigError::Authorities(why) => write!(f, "the certificates of authorities cannot be used: {why}"),
            ConfigError::Tickets(error) => error.fmt(f),
            ConfigError::Provider(why) => write!(f, "the provider of cryptography does not suffice: {why}"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Accepts connections over TLS, with settings that may be replaced while it does. Cheap to clone: clones share all.
#[derive(Clone)]
pub struct Acceptor(Arc<State>);

struct State {
    shared: Arc<Shared>,
    tickets: TicketKeys,
    /// What connections begin with from now on.
    current: RwLock<Arc<RustlsConfig>>,
    /// What `current` was made of; held while it is replaced.
    config: Mutex<ServerConfig>,
}

impl Acceptor {
    /// Accepts connections with `config`.
    ///
    /// # Errors
    ///
    /// When a server cannot be run with it.
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

    /// Makes `factory`, which sees clients whose handshake has ended, a factory for a driver. Its third view is of the
    /// [`Session`](crate::Session): the application protocol, the name that the client asked for, the client's certificate.
    ///
    /// The factory is cloned for each connection; what it counts, it counts in something shared.
    pub fn accept<P, F>(&self, factory: F) -> impl FnMut(&Peer<'_, P::Message>) -> Option<Tls<P, F>> + Clone + use<P, F>
    where
        P: Protocol<Message: 'static>,
        F: Factory<P> + Clone,
    {
        let acceptor = self.clone();
        move |peer: &Peer<'_, P::Message>| {
            let current = Arc::clone(&acceptor.0.current.read().unwrap_or_else(PoisonError::into_inner));
            // Fails where the settings are wrong alone, which `build` has found.
            let connection = UnbufferedServerConnection::new(current).ok()?;
            let shared = Arc::clone(&acceptor.0.shared);
            Some(Tls::server(Engine::server(connection), shared, peer, factory.clone()))
        }
    }

    /// Replaces the certificates and the authorities, for the connections that begin from now on. Others go on. Sessions of clients that
    /// were let in by other authorities are not resumed. Where the new ones cannot be used, the old ones stay.
    ///
    /// # Errors
    ///
    /// Why the new ones cannot be used.
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

    /// The keys of tickets, to share with other processes.
    pub fn tickets(&self) -> &TicketKeys {
        &self.0.tickets
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.0.shared.counters.read()
    }

    /// The certificates that are shown now.
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
    // Tickets alone: sessions in memory would be known to this process only.
    built.session_storage = Arc::new(NoServerSessionStorage {});
    built.ticketer = tickets.ticketer(context);
    built.max_early_data_size = 0;
    Ok(Arc::new(built))
}

/// Ties tickets to the authorities that let their clients in: a resumed session is not verified again.
fn tie(context: &mut Vec<u8>, mode: u8, authorities: &Authorities) {
    context.push(mode);
    let certificates = authorities.certificates.iter().map(|certificate| certificate.as_ref());
    let revoked = authorities.revoked.iter().map(|list| list.as_ref());
    for part in certificates.chain(revoked) {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part);
    }
}
