//! A certificate with its key, checked before use.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

/// A certificate chain with the key of its first certificate. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

/// Why a chain and a key cannot be used together.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The PEM file of the chain is broken or truncated; the reason.
    BrokenChain(String),
    /// The file of the chain has no certificate.
    NoCertificate,
    /// The PEM file of the key is broken or truncated, or has no key; the reason.
    BrokenKey(String),
    /// The provider cannot use the key; the reason.
    UnusableKey(String),
    /// The key does not belong to the first certificate.
    Mismatch,
    /// A certificate cannot be parsed: its index, counted from 0, and the reason.
    Unreadable(usize, String),
    /// A certificate has expired: its index, counted from 0.
    Expired(usize),
    /// A certificate is not valid yet: its index, counted from 0.
    NotYetValid(usize),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = |index: &usize| match index {
            0 => "the certificate".into(),
            index => format!("certificate {index} of the chain (an issuer)"),
        };
        match self {
            IdentityError::BrokenChain(why) => write!(f, "the certificate file is broken: {why}"),
            IdentityError::NoCertificate => f.write_str("the certificate file has no certificate"),
            IdentityError::BrokenKey(why) => write!(f, "the key file has no complete key: {why}"),
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
    /// Reads a chain and a key in PEM, and checks that they belong together and are valid now. The chain is the own certificate followed by
    /// its issuers without the root; the key is PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]: what is wrong with the chain or the key.
    pub fn from_pem(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Self, IdentityError> {
        let certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityError::BrokenChain(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::BrokenKey(error.to_string()))?;
        Self::new(certificates, key, provider)
    }

    /// Like [`from_pem`](Self::from_pem), for DER.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]: what is wrong with the chain or the key.
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
            // The provider cannot compare them; the first handshake will show a mismatch.
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(IdentityError::Mismatch),
        }
        Ok(Identity {
            key: Arc::new(key),
            not_after,
        })
    }

    /// When the first certificate of the chain to expire does so.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The names of the certificate, including wildcards such as `*.example.org`.
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

/// When `certificate` expires; `None` if it has expired, is not valid yet, or cannot be parsed.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    valid_until(0, certificate, UnixTime::now()).ok()
}

/// When a certificate expires, if it is valid at `now`. webpki checks the time before it looks for an issuer, and we give it none: any
/// error other than one about the time means that the time is fine.
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
    // The last year that a certificate can express is 9999 (RFC 5280 section 4.1.2.5).
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
