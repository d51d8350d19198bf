//! Certificates, keys and certificate authorities in files.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use rustls::crypto::CryptoProvider;

use crate::identity::{Identity, IdentityError};
use crate::server::{Acceptor, Authorities, Clients, ConfigError, ServerConfig};

/// The paths of a server's certificates, keys and certificate authorities. Apart from `Roots::native`, only this part of the crate reads
/// files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Certificate chains and their keys, in PEM.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// The authorities that must have signed the clients' certificates, in PEM; `None` if clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Modification times and lengths of files, to detect changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64)>>);

/// Why the files cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum FilesError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A chain and a key do not make an identity: the chain's file, the key's file, the reason.
    Identity(PathBuf, PathBuf, IdentityError),
    /// The resulting settings cannot be used.
    Config(ConfigError),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilesError::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            FilesError::Identity(chain, key, error) => {
                write!(f, "cannot use {} with {}: {error}", chain.display(), key.display())
            }
            FilesError::Config(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FilesError {}

impl From<ConfigError> for FilesError {
    fn from(error: ConfigError) -> Self {
        FilesError::Config(error)
    }
}

impl Files {
    /// Reads and checks all files, and returns a server's settings.
    ///
    /// # Errors
    ///
    /// [`FilesError`]: the file that cannot be used, and the reason.
    pub fn load(&self, provider: Arc<CryptoProvider>) -> Result<ServerConfig, FilesError> {
        let mut identities = Vec::new();
        for (chain, key) in &self.pairs {
            let identity = Identity::from_pem(&read(chain)?, &read(key)?, &provider);
            let identity = identity.map_err(|error| FilesError::Identity(chain.clone(), key.clone(), error))?;
            identities.push(identity);
        }
        let mut config = ServerConfig::new(provider, identities);
        if let Some(path) = &self.client_ca {
            config.clients = Clients::Must(Authorities::from_pem(&read(path)?)?);
        }
        Ok(config)
    }

    /// Reads and checks all files again, and makes `acceptor` use them from now on. If any file fails, none is used.
    ///
    /// # Errors
    ///
    /// [`FilesError`]: the file that cannot be used, and the reason. The old certificates and authorities stay in use.
    pub fn reload(&self, acceptor: &Acceptor, provider: Arc<CryptoProvider>) -> Result<(), FilesError> {
        let config = self.load(provider)?;
        Ok(acceptor.reload(config.identities, config.clients)?)
    }

    /// The current modification times and lengths of the files.
    pub fn stamp(&self) -> Stamp {
        let pairs = self.pairs.iter().flat_map(|(chain, key)| [chain, key]);
        let look = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Stamp(pairs.chain(&self.client_ca).map(look).collect())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    fs::read(path).map_err(|error| FilesError::Read(path.into(), error))
}
