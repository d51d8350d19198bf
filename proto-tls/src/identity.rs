//! A certificate with its key, checked before it is used.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

/// A chain of certificates and the key that belongs to the first. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

/// Why a chain and a key are no identity.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The PEM file of the chain is broken, or cut off: why.
    BrokenChain(String),
    /// There is no certificate in the file of the chain.
    NoCertificate,
    /// The PEM file of the key is broken, is cut off or has no key: why.
    BrokenKey(String),
    /// The provider cannot use the key: why.
    UnusableKey(String),
    /// The key does not belong to the first certificate.
    Mismatch,
    /// A certificate cannot be read: which, counted from 0, and why.
    Unreadable(usize, String),
    /// A certificate has expired: which, counted from 0.
    Expired(usize),
    /// A certificate is not valid yet: which, counted from 0.
    NotYetValid(usize),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = |index: &usize| match index {
            0 => "the certificate".into(),
            index => format!("the certificate of issuer {index} in the chain"),
        };
        match self {
            IdentityError::BrokenChain(why) => write!(f, "the file of the certificate is broken: {why}"),
            IdentityError::NoCertificate => f.write_str("the file of the certificate has no certificate"),
            IdentityError::BrokenKey(why) => write!(f, "the file of the key has no whole key: {why}"),
            IdentityError::UnusableKey(why) => write!(f, "the key cannot be used: {why}"),
            IdentityError::Mismatch => f.write_str("the key does not belong to the certificate"),
            IdentityError::Unreadable(index, why) => write!(f, "{} cannot be read: {why}", which(index)),
            IdentityError::Expired(index) => write!(f, "{} has expired", which(index)),
            IdentityError::NotYetValid(index) => write!(f, "{} is not valid yet", which(index)),
        }
    }
}

impl core::error::Error for IdentityError {}

impl Identity {
    /// Reads a chain (its own certificate first, then those of its issuers without the root) and a key (PKCS #8, PKCS #1 or
    /// SEC 1) in PEM, and checks that they fit and are valid now.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from_pem(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Self, IdentityError> {
        let certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityError::BrokenChain(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::BrokenKey(error.to_string()))?;
        Self::new(certificates, key, provider)
    }

    /// The same from DER.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, IdentityError> {
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let mut not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX));
        for (index, certificate) in chain.iter().enumerate() {
            not_after = not_after.min(valid_until(index, certificate, UnixTime::now())?);
        }
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| IdentityError::UnusableKey(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            // A provider that cannot say: the first handshake will.
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(IdentityError::Mismatch),
        }
        Ok(Identity {
            key: Arc::new(key),
            not_after,
        })
    }

    /// When the first of its certificates expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The names that the certificate is for, `*.example.org` among them.
    pub fn names(&self) -> Vec<String> {
        let certificate = self.key.end_entity_cert().ok();
        let certificate = certificate.and_then(|certificate| EndEntityCert::try_from(certificate).ok());
        let names = certificate.map(|certificate| {
            let names = certificate.valid_dns_names();
            names.map(str::to_ascii_lowercase).collect()
        });
        names.unwrap_or_default()
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// When `certificate` expires; `None` when it has, is not valid yet, or cannot be read.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    valid_until(0, certificate, UnixTime::now()).ok()
}

/// When a certificate expires, if it is valid at `now`. webpki looks at times before it looks for an issuer, and we name none: so
/// its answer is about the time, or the time is right.
fn valid_until(index: usize, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<SystemTime, IdentityError> {
    let unreadable = |error: webpki::Error| IdentityError::Unreadable(index, error.to_string());
    let parsed = EndEntityCert::try_from(certificate).map_err(unreadable)?;
    let at = |time: UnixTime| {
        let path = parsed.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None);
        path.err()
    };
    match at(now) {
        Some(webpki::Error::CertExpired { .. }) => return Err(IdentityError::Expired(index)),
        Some(webpki::Error::CertNotValidYet { .. }) => return Err(IdentityError::NotYetValid(index)),
        Some(error @ (webpki::Error::BadDer | webpki::Error::InvalidCertValidity)) => return Err(unreadable(error)),
        _ => {}
    }
    // RFC 5280 section 4.1.2.5 ends time with the year 9999.
    let end = Duration::from_secs(253_402_300_799);
    let not_after = match at(UnixTime::since_unix_epoch(end)) {
        Some(webpki::Error::CertExpired { not_after, .. }) => Duration::from_secs(not_after.as_secs()),
        _ => end,
    };
    Ok(SystemTime::UNIX_EPOCH + not_after)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
