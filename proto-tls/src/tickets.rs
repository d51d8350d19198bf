//! Keys of session tickets that rotate, and that threads and processes share.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{AeadKey, InboundOpaqueMessage, Iv, OutboundPlainMessage};
use rustls::crypto::tls13::HkdfExpander;
use rustls::server::ProducesTickets;
use rustls::{ContentType, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite};

/// How long a key makes tickets. It opens them for as long again.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);
/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of the name of a key, at the front of a ticket.
const NAME: usize = 16;
/// Bytes that make the cipher's key of each ticket another.
const SALT: usize = 32;
/// Bytes that a ticket may carry: a record's.
const MAX: usize = 16 * 1024;

/// The keys that session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1). Cheap to clone: clones share one state.
///
/// Every six hours a key is derived from the one before, which is forgotten when it opens tickets no longer: whoever steals the keys
/// of today cannot open yesterday's sessions. Processes that were given the same keys, by [`export`](TicketKeys::export) and
/// [`import`](TicketKeys::import), derive the same from then on, without a word between them.
#[derive(Clone)]
pub struct TicketKeys(Arc<Mutex<Chain>>);

/// What [`TicketKeys::export`] gives: the number of a period and its key. Secret.
pub const EXPORTED: usize = 8 + KEY;

struct Chain {
    /// The number of the period that `current` is for, counted from 1970.
    period: u64,
    current: [u8; KEY],
    previous: Option<[u8; KEY]>,
    suite: &'static Tls13CipherSuite,
    provider: Arc<CryptoProvider>,
}

/// Why there are no keys for tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// The provider has no cipher suite of TLS 1.3 with keys of 256 bits.
    NoCipher,
    /// There is no randomness.
    NoRandomness,
    /// What is to be imported is not [`EXPORTED`] bytes long.
    Length,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TicketError::NoCipher => "the provider has no cipher suite of TLS 1.3 with keys of 256 bits",
            TicketError::NoRandomness => "the system gives no randomness",
            TicketError::Length => "exported keys of tickets have 40 bytes",
        })
    }
}

impl core::error::Error for TicketError {}

impl TicketKeys {
    /// New keys.
    ///
    /// # Errors
    ///
    /// When the provider has no randomness, or no cipher for tickets.
    pub fn random(provider: &Arc<CryptoProvider>) -> Result<Self, TicketError> {
        let mut key = [0; KEY];
        provider
            .secure_random
            .fill(&mut key)
            .map_err(|_| TicketError::NoRandomness)?;
        Self::new(provider, number(SystemTime::now()), key)
    }

    /// The keys that another process has exported.
    ///
    /// # Errors
    ///
    /// When `exported` has not [`EXPORTED`] bytes, or the provider has no cipher for tickets.
    pub fn import(provider: &Arc<CryptoProvider>, exported: &[u8]) -> Result<Self, TicketError> {
        let (period, key) = exported.split_first_chunk().ok_or(TicketError::Length)?;
        let key = key.try_into().map_err(|_| TicketError::Length)?;
        Self::new(provider, u64::from_be_bytes(*period), key)
    }

    fn new(provider: &Arc<CryptoProvider>, period: u64, current: [u8; KEY]) -> Result<Self, TicketError> {
        let suites = provider.cipher_suites.iter();
        let mut suites = suites.filter_map(SupportedCipherSuite::tls13);
        let suite = suites.find(|suite| suite.aead_alg.key_len() == KEY);
        Ok(TicketKeys(Arc::new(Mutex::new(Chain {
            period,
            current,
            previous: None,
            suite: suite.ok_or(TicketError::NoCipher)?,
            provider: Arc::clone(provider),
        }))))
    }

    /// What another process needs to have the same keys. Secret: whoever has this can open the tickets of now and later.
    pub fn export(&self) -> [u8; EXPORTED] {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.roll(number(SystemTime::now()));
        // The key before goes along where there is one: tickets made with it are still good.
        let (period, key) = match chain.previous {
            Some(previous) => (chain.period - 1, previous),
            None => (chain.period, chain.current),
        };
        let mut exported = [0; EXPORTED];
        exported[..8].copy_from_slice(&period.to_be_bytes());
        exported[8..].copy_from_slice(&key);
        exported
    }

    /// A ticketer for sessions in `context`; tickets of another are not opened.
    pub(crate) fn ticketer(&self, context: Vec<u8>) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer {
            keys: self.clone(),
            context,
        })
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(..)")
    }
}

fn number(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / PERIOD.as_secs()
}

impl Chain {
    /// Makes the key of `period` the current one. A clock that runs backwards changes nothing.
    fn roll(&mut self, period: u64) {
        // Keys long past need not be walked through one by one: so many periods are more than a hundred years.
        if period.saturating_sub(self.period) > 1 << 18 {
            self.period = period.saturating_sub(2);
        }
        while self.period < period {
            let next = derive(self.suite, &self.current, &[b"next"]);
            self.previous = Some(core::mem::replace(&mut self.current, next));
            self.period += 1;
        }
    }
}

fn derive<const N: usize>(suite: &Tls13CipherSuite, key: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut derived = [0; N];
    let expander = suite.hkdf_provider.extract_from_secret(None, key);
    expand(&*expander, info, &mut derived);
    derived
}

fn expand(expander: &dyn HkdfExpander, info: &[&[u8]], to: &mut [u8]) {
    // Fails for more than 255 blocks alone; nothing here has two.
    let _ = expander.expand_slice(info, to);
}

/// Seals and opens tickets for one set of settings.
struct Ticketer {
    keys: TicketKeys,
    context: Vec<u8>,
}

/// A key, and what it takes to use it.
struct Key {
    name: [u8; NAME],
    key: [u8; KEY],
    suite: &'static Tls13CipherSuite,
}

impl Ticketer {
    /// The current key and the one before.
    fn keys(&self) -> (Key, Option<Key>, Arc<CryptoProvider>) {
        let mut chain = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.roll(number(SystemTime::now()));
        let key = |key: [u8; KEY]| Key {
            name: derive(chain.suite, &key, &[b"name", &self.context]),
            key,
            suite: chain.suite,
        };
        let provider = Arc::clone(&chain.provider);
        (key(chain.current), chain.previous.map(key), provider)
    }

    /// The cipher's key and nonce of one ticket. Both are used once, as the salt is random and long.
    fn material(&self, key: &Key, salt: &[u8]) -> (AeadKey, Iv) {
        let expander = key.suite.hkdf_provider.extract_from_secret(Some(salt), &key.key);
        let (mut cipher, mut nonce) = ([0; KEY], [0; 12]);
        expand(&*expander, &[b"key", &self.context], &mut cipher);
        expand(&*expander, &[b"nonce", &self.context], &mut nonce);
        (AeadKey::from(cipher), Iv::from(nonce))
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD.as_secs().try_into().unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MAX {
            return None;
        }
        let (key, _, provider) = self.keys();
        let mut salt = [0; SALT];
        provider.secure_random.fill(&mut salt).ok()?;
        let (cipher, nonce) = self.material(&key, &salt);
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: plain.into(),
        };
        let sealed = key.suite.aead_alg.encrypter(cipher, nonce).encrypt(message, 0).ok()?;
        Some([&key.name, &salt[..], sealed.payload.as_ref()].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let (current, previous, _) = self.keys();
        // The name is no secret, so comparing it in constant time would hide nothing.
        let key = [Some(current), previous]
            .into_iter()
            .flatten()
            .find(|key| key.name == *name)?;
        let (cipher, nonce) = self.material(&key, salt);
        let mut sealed = sealed.to_vec();
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut sealed);
        let plain = key.suite.aead_alg.decrypter(cipher, nonce).decrypt(message, 0).ok()?;
        Some(plain.payload.to_vec())
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(..)")
    }
}

#[cfg(all(test, feature = "graviola"))]
mod tests {
    use super::*;

    fn keys() -> TicketKeys {
        TicketKeys::random(&Arc::new(rustls_graviola::default_provider())).unwrap()
    }

    fn copy(keys: &TicketKeys) -> TicketKeys {
        let provider = Arc::new(rustls_graviola::default_provider());
        TicketKeys::import(&provider, &keys.export()).unwrap()
    }

    #[test]
    fn a_ticket_opens_with_the_same_keys_and_context_alone() {
        let keys = keys();
        let ticket = keys.ticketer(b"a".to_vec()).encrypt(b"session").unwrap();
        let opened = |keys: &TicketKeys, context: &[u8], ticket: &[u8]| keys.ticketer(context.to_vec()).decrypt(ticket);
        assert_eq!(opened(&keys, b"a", &ticket), Some(b"session".to_vec()));
        assert_eq!(opened(&copy(&keys), b"a", &ticket), Some(b"session".to_vec()));
        assert_eq!(opened(&keys, b"b", &ticket), None);
        assert_eq!(opened(&super::tests::keys(), b"a", &ticket), None);
        for at in 0..ticket.len() {
            let mut broken = ticket.clone();
            broken[at] ^= 1;
            assert_eq!(opened(&keys, b"a", &broken), None, "byte {at}");
            assert_eq!(opened(&keys, b"a", &ticket[..at]), None);
        }
        assert_ne!(keys.ticketer(b"a".to_vec()).encrypt(b"session"), Some(ticket));
    }

    #[test]
    fn a_ticket_is_good_for_one_period_more() {
        let keys = keys();
        let ticket = keys.ticketer(Vec::new()).encrypt(b"session").unwrap();
        let later = |keys: &TicketKeys| {
            let mut chain = keys.0.lock().unwrap();
            // As if the key had been made a period earlier.
            chain.period -= 1;
        };
        later(&keys);
        assert_eq!(keys.ticketer(Vec::new()).decrypt(&ticket), Some(b"session".to_vec()));
        assert_eq!(
            copy(&keys).ticketer(Vec::new()).decrypt(&ticket),
            Some(b"session".to_vec())
        );
        later(&keys);
        assert_eq!(keys.ticketer(Vec::new()).decrypt(&ticket), None);
    }

    #[test]
    fn what_is_not_exported_is_not_imported() {
        let provider = Arc::new(rustls_graviola::default_provider());
        for length in [0, 7, 8, 39, 41] {
            let imported = TicketKeys::import(&provider, &vec![0; length]);
            assert_eq!(imported.err(), Some(TicketError::Length));
        }
        // A period long ago, as of a machine whose clock was wrong.
        let old = TicketKeys::import(&provider, &[0; EXPORTED]).unwrap();
        assert!(old.ticketer(Vec::new()).encrypt(b"session").is_some());
    }
}
