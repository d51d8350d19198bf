//! Keys of session tickets, which rotate and which threads and processes share.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{AeadKey, InboundOpaqueMessage, Iv, OutboundPlainMessage};
use rustls::crypto::tls13::HkdfExpander;
use rustls::server::ProducesTickets;
use rustls::{ContentType, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite};

/// How long a key seals tickets. It opens them for one more period.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);
/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a key's name, at the front of a ticket.
const NAME: usize = 16;
/// Bytes of a ticket's salt, which gives each ticket a cipher key of its own.
const SALT: usize = 32;
/// The largest session that fits in a ticket: one record.
const MAX: usize = 16 * 1024;

/// The keys that seal session tickets (RFC 5077, RFC 8446 section 4.6.1). Cheap to clone: clones share one state.
///
/// Every six hours, a new key is derived from the current one. A key is forgotten once it opens no more tickets: an attacker who steals
/// today's keys cannot decrypt yesterday's sessions. Processes that share keys, by [`export`](TicketKeys::export) and
/// [`import`](TicketKeys::import), derive the same later keys without communicating.
#[derive(Clone)]
pub struct TicketKeys(Arc<Mutex<Chain>>);

/// The bytes of [`TicketKeys::export`]: the number of a period and its key. Secret.
pub const EXPORTED: usize = 8 + KEY;

struct Chain {
    /// The number of the period of `current`, counted from 1970.
    period: u64,
    current: [u8; KEY],
    previous: Option<[u8; KEY]>,
    suite: &'static Tls13CipherSuite,
    provider: Arc<CryptoProvider>,
}

/// Why there are no ticket keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// The provider has no TLS 1.3 cipher suite with 256-bit keys.
    NoCipher,
    /// The system provides no randomness.
    NoRandomness,
    /// The bytes to import do not have the length [`EXPORTED`].
    Length,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TicketError::NoCipher => "the provider has no TLS 1.3 cipher suite with 256-bit keys",
            TicketError::NoRandomness => "the system provides no randomness",
            TicketError::Length => "exported ticket keys have 40 bytes",
        })
    }
}

impl core::error::Error for TicketError {}

impl TicketKeys {
    /// New keys.
    ///
    /// # Errors
    ///
    /// [`TicketError`] if the provider has no randomness or no suitable cipher.
    pub fn random(provider: &Arc<CryptoProvider>) -> Result<Self, TicketError> {
        let mut key = [0; KEY];
        provider
            .secure_random
            .fill(&mut key)
            .map_err(|_| TicketError::NoRandomness)?;
        Self::new(provider, number(SystemTime::now()), key)
    }

    /// The keys that another process has exported with [`export`](Self::export).
    ///
    /// # Errors
    ///
    /// [`TicketError`] if `exported` does not have [`EXPORTED`] bytes, or the provider has no suitable cipher.
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

    /// The bytes from which another process makes the same keys. Secret: they open all current and later tickets.
    pub fn export(&self) -> [u8; EXPORTED] {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.roll(number(SystemTime::now()));
        // Exports the previous key if there is one: its tickets are still accepted.
        let (period, key) = match chain.previous {
            Some(previous) => (chain.period - 1, previous),
            None => (chain.period, chain.current),
        };
        let mut exported = [0; EXPORTED];
        exported[..8].copy_from_slice(&period.to_be_bytes());
        exported[8..].copy_from_slice(&key);
        exported
    }

    /// A ticketer for sessions in `context`. Tickets of other contexts are not accepted.
    pub(crate) fn ticketer(&self, context: Vec<u8>) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer {
            keys: self.clone(),
            context,
            ready: RwLock::default(),
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
    /// Makes the key of `period` the current one. Does nothing if the clock ran backwards.
    fn roll(&mut self, period: u64) {
        // Far too old a period is skipped instead of derived step by step: this many periods are more than a hundred years.
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
    // Fails only for more than 255 blocks; at most two are requested.
    let _ = expander.expand_slice(info, to);
}

/// Seals and opens tickets for one set of settings.
struct Ticketer {
    keys: TicketKeys,
    context: Vec<u8>,
    /// Keys derived for the current period, so that a ticket needs only one more derivation.
    ready: RwLock<Option<Arc<Ready>>>,
}

/// The keys of one period.
struct Ready {
    period: u64,
    current: Key,
    previous: Option<Key>,
    suite: &'static Tls13CipherSuite,
    provider: Arc<CryptoProvider>,
}

/// A key, bound to the context of its ticketer.
struct Key {
    name: [u8; NAME],
    expander: Box<dyn HkdfExpander>,
}

impl Key {
    fn new(suite: &Tls13CipherSuite, key: &[u8; KEY], context: &[u8]) -> Self {
        // The context may be long: it is reduced to one key first.
        let bound: [u8; KEY] = derive(suite, key, &[b"context", context]);
        Key {
            name: derive(suite, &bound, &[b"name"]),
            expander: suite.hkdf_provider.extract_from_secret(None, &bound),
        }
    }

    /// The cipher key and nonce of one ticket. Neither repeats, because the salt is random and long.
    fn material(&self, salt: &[u8; SALT]) -> (AeadKey, Iv) {
        let (mut bytes, mut key, mut nonce) = ([0; KEY + 12], [0; KEY], [0; 12]);
        expand(&*self.expander, &[b"ticket", salt], &mut bytes);
        key.copy_from_slice(&bytes[..KEY]);
        nonce.copy_from_slice(&bytes[KEY..]);
        (AeadKey::from(key), Iv::from(nonce))
    }
}

impl Ticketer {
    /// The current and the previous key.
    fn ready(&self) -> Arc<Ready> {
        let period = number(SystemTime::now());
        if let Some(ready) = &*self.ready.read().unwrap_or_else(PoisonError::into_inner)
            && ready.period >= period
        {
            return Arc::clone(ready);
        }
        let mut chain = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.roll(period);
        let key = |key: &[u8; KEY]| Key::new(chain.suite, key, &self.context);
        let ready = Arc::new(Ready {
            period: chain.period,
            current: key(&chain.current),
            previous: chain.previous.as_ref().map(key),
            suite: chain.suite,
            provider: Arc::clone(&chain.provider),
        });
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ready));
        ready
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
        let ready = self.ready();
        let mut salt = [0; SALT];
        ready.provider.secure_random.fill(&mut salt).ok()?;
        let (cipher, nonce) = ready.current.material(&salt);
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: plain.into(),
        };
        let sealed = ready.suite.aead_alg.encrypter(cipher, nonce).encrypt(message, 0).ok()?;
        Some([&ready.current.name, &salt[..], sealed.payload.as_ref()].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let ready = self.ready();
        // The name is not secret: it needs no constant-time comparison.
        let keys = [Some(&ready.current), ready.previous.as_ref()];
        let key = keys.into_iter().flatten().find(|key| key.name == *name)?;
        let (cipher, nonce) = key.material(salt);
        let mut sealed = sealed.to_vec();
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut sealed);
        let plain = ready.suite.aead_alg.decrypter(cipher, nonce).decrypt(message, 0).ok()?;
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
            // As if the key had been made one period earlier.
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
        // A very old period, as from a machine with a wrong clock.
        let old = TicketKeys::import(&provider, &[0; EXPORTED]).unwrap();
        assert!(old.ticketer(Vec::new()).encrypt(b"session").is_some());
    }
}
