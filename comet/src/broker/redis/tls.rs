//! TLS to Redis.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use proto_resp::Client;
use proto_tls::{ClientConfig, Connector, Error, Identity, Roots, Tls};
use protocol::{Cx, Input, Protocol, Wrapper};

use crate::broker::speaker::Speaker;

/// The TLS settings for Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RedisTls {
    /// Certificates of the trusted authorities; `None` uses those of the system.
    pub(super) authorities: Option<PathBuf>,
    /// comet's certificate, and its key.
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl RedisTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// What is wrong with the files.
    pub(super) fn connector(&self) -> Result<Connector, String> {
        let provider = proto_tls::provider().map_err(|error| error.to_string())?;
        let roots = match &self.authorities {
            Some(path) => Roots::from_pem(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?,
            None => Roots::native().map_err(|error| error.to_string())?,
        };
        let mut config = ClientConfig::new(Arc::clone(&provider), roots);
        config.identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::from_pem(&read(certificate)?, &read(key)?, &provider);
                Some(identity.map_err(|error| format!("{}: {error}", certificate.display()))?)
            }
            (None, None) => None,
            _ => return Err("cert and key go together".to_owned()),
        };
        Connector::new(config).map_err(|error| error.to_string())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Records why TLS failed, for the client inside, which cannot see the error.
pub(super) struct Noted {
    inner: Tls<Client<Speaker>>,
    why: Arc<OnceLock<String>>,
}

impl Noted {
    pub(super) fn new(inner: Tls<Client<Speaker>>, why: Arc<OnceLock<String>>) -> Self {
        Noted { inner, why }
    }

    fn note(&self, outcome: Outcome) -> Outcome {
        if let Err(error) = &outcome
            && !matches!(error, Error::Inner(_))
        {
            // The first error is the cause.
            let _ = self.why.set(format!("TLS: {error}"));
        }
        outcome
    }
}

type Outcome = Result<(), <Tls<Client<Speaker>> as Protocol>::Error>;

impl Wrapper for Noted {
    type Inner = Tls<Client<Speaker>>;

    fn inner(&self) -> &Self::Inner {
        &self.inner
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        &mut self.inner
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Outcome {
        let outcome = self.inner.received(cx, input);
        self.note(outcome)
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let outcome = self.inner.eof(cx);
        self.note(outcome)
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let outcome = self.inner.timeout(cx);
        self.note(outcome)
    }
}
