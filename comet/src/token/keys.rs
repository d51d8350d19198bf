//! Public keys that verify tokens: a file with a JSON Web Key Set (RFC 7517).

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{SignatureVerificationAlgorithm, alg_id};
use serde::Deserialize;

use super::BadToken;

/// How often the file is looked at for changes, at most: when a token arrives.
const LOOK: Duration = Duration::from_secs(5);
/// The shortest modulus of an RSA key, in bytes (RFC 7518 section 3.3).
const SHORTEST_RSA: usize = 256;
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The keys of a file, which is read again when it changes.
pub(crate) struct Keys {
    path: PathBuf,
    provider: Arc<CryptoProvider>,
    state: RwLock<State>,
}

struct State {
    keys: Vec<Key>,
    /// The file's time and length when it was read.
    read: Option<(SystemTime, u64)>,
    looked: Instant,
}

/// A public key, which is for one algorithm only (RFC 8725 section 3.1).
struct Key {
    id: Option<String>,
    kind: Kind,
    /// As in a certificate.
    public: Vec<u8>,
}

/// An algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rs256,
    Es256,
    EdDsa,
}

/// A key in JSON.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    kid: Option<String>,
    #[serde(borrow, rename = "use")]
    usage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crv: Cow<'a, str>,
    #[serde(borrow)]
    n: Cow<'a, str>,
    #[serde(borrow)]
    e: Cow<'a, str>,
    #[serde(borrow)]
    x: Cow<'a, str>,
    #[serde(borrow)]
    y: Cow<'a, str>,
    /// The secret part of a key.
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<Jwk<'a>>,
}

impl Kind {
    fn of(alg: &str) -> Option<Self> {
        match alg {
            "RS256" => Some(Kind::Rs256),
            "ES256" => Some(Kind::Es256),
            "EdDSA" => Some(Kind::EdDsa),
            _ => None,
        }
    }

    /// The algorithm that verifies signatures of this kind.
    fn verifier(self, provider: &CryptoProvider) -> Option<&'static dyn SignatureVerificationAlgorithm> {
        let (key, signature) = match self {
            Kind::Rs256 => (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256),
            Kind::Es256 => (alg_id::ECDSA_P256, alg_id::ECDSA_SHA256),
            Kind::EdDsa => (alg_id::ED25519, alg_id::ED25519),
        };
        let mut all = provider.signature_verification_algorithms.all.iter().copied();
        all.find(|known| known.public_key_alg_id() == key && known.signature_alg_id() == signature)
    }
}

impl Keys {
    /// Reads the keys of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let provider = proto_tls::provider().map_err(|error| error.to_string())?;
        let state = State {
            read: stamp(path),
            keys: load(path)?,
            looked: Instant::now(),
        };
        Ok(Keys {
            path: path.to_owned(),
            provider,
            state: RwLock::new(state),
        })
    }

    /// Checks the signature of a token whose header names this algorithm and key.
    pub(super) fn check(&self, alg: &str, id: Option<&str>, signed: &str, signature: &[u8]) -> Result<(), BadToken> {
        let kind = Kind::of(alg).ok_or(BadToken::Algorithm)?;
        self.look(Instant::now());
        let der = match kind {
            Kind::Es256 => Cow::Owned(ecdsa_der(signature).ok_or(BadToken::Signature)?),
            Kind::Rs256 | Kind::EdDsa => Cow::Borrowed(signature),
        };
        let verifier = kind.verifier(&self.provider).ok_or(BadToken::Algorithm)?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let named = |key: &&Key| key.kind == kind && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut found = BadToken::Key;
        for key in state.keys.iter().filter(named) {
            match verifier.verify_signature(&key.public, signed.as_bytes(), &der) {
                Ok(()) => return Ok(()),
                Err(_) => found = BadToken::Signature,
            }
        }
        Err(found)
    }

    /// Reads the file again if it has changed. If the new content cannot be used, the known keys stay.
    fn look(&self, now: Instant) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) < LOOK {
            return;
        }
        drop(state);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) < LOOK {
            return;
        }
        state.looked = now;
        let stamp = stamp(&self.path);
        if stamp == state.read {
            return;
        }
        state.read = stamp;
        match load(&self.path) {
            Ok(keys) => {
                tracing::info!("token_keys: {} keys are read again", keys.len());
                state.keys = keys;
            }
            Err(problem) => tracing::warn!("token_keys: {problem}; the keys read before stay"),
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

fn load(path: &Path) -> Result<Vec<Key>, String> {
    let named = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    if fs::metadata(path).is_ok_and(|data| data.len() > LARGEST) {
        return Err(named(&"larger than 1 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| named(&error))?;
    parse(&text).map_err(|problem| named(&problem))
}

/// The keys of a set that comet can use. Others are ignored (RFC 7517 section 5).
fn parse(text: &str) -> Result<Vec<Key>, String> {
    let set: Set<'_> = serde_json::from_str(text).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
    if set.keys.iter().any(|key| key.d.is_some()) {
        return Err("it has private keys, which comet does not need and should not see".to_owned());
    }
    let mut keys = Vec::new();
    for jwk in set.keys {
        let id = jwk.kid.clone().unwrap_or_default();
        if jwk.kty == "oct" {
            return Err(format!("key {id:?} is a secret, which belongs in `secret`"));
        }
        if let Some(key) = jwk.key().map_err(|problem| format!("key {id:?}: {problem}"))? {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err("it has no key for RS256, ES256 or EdDSA".to_owned());
    }
    Ok(keys)
}

impl Jwk<'_> {
    /// The key. `None` if it is for something else.
    fn key(self) -> Result<Option<Key>, String> {
        let kind = match (&*self.kty, &*self.crv) {
            ("RSA", _) => Kind::Rs256,
            ("EC", "P-256") => Kind::Es256,
            ("OKP", "Ed25519") => Kind::EdDsa,
            _ => return Ok(None),
        };
        let is_for_another = self.alg.as_deref().is_some_and(|alg| Kind::of(alg) != Some(kind));
        if is_for_another || self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let decode = |name: &str, text: &str| BASE64.decode(text).map_err(|_| format!("{name} is not base64url"));
        let of_length = |name: &str, text: &str| match decode(name, text)? {
            bytes if bytes.len() == 32 => Ok(bytes),
            bytes => Err(format!("{name} has {} bytes, not 32", bytes.len())),
        };
        let public = match kind {
            Kind::Rs256 => {
                let (n, e) = (decode("n", &self.n)?, decode("e", &self.e)?);
                let n = n.strip_prefix(&[0]).unwrap_or(&n);
                if n.len() < SHORTEST_RSA {
                    return Err("an RSA key has at least 2048 bits".to_owned());
                }
                if e.is_empty() {
                    return Err("e is missing".to_owned());
                }
                sequence(&[integer(n), integer(&e)])
            }
            Kind::Es256 => [vec![4], of_length("x", &self.x)?, of_length("y", &self.y)?].concat(),
            Kind::EdDsa => of_length("x", &self.x)?,
        };
        Ok(Some(Key {
            id: self.kid,
            kind,
            public,
        }))
    }
}

/// A signature of ECDSA as certificates have it, from two numbers of 32 bytes (RFC 7518 section 3.4).
fn ecdsa_der(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(32)?;
    (s.len() == 32).then(|| sequence(&[integer(r), integer(s)]))
}

/// A positive integer in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut content = bytes.get(first..).unwrap_or_default().to_vec();
    // The first bit is the sign.
    if content.first().is_none_or(|byte| *byte >= 0x80) {
        content.insert(0, 0);
    }
    element(0x02, &content)
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// An element in DER, of at most 65,535 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match content.len() {
        length @ ..0x80 => element.push(length as u8),
        length @ 0x80..0x100 => element.extend([0x81, length as u8]),
        length => {
            element.push(0x82);
            element.extend((length as u16).to_be_bytes());
        }
    }
    element.extend_from_slice(content);
    element
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::Value;

    use super::*;
    use crate::token::{Authority, Claims, Demands};

    /// A key set and tokens by another implementation: the Python package cryptography.
    const VECTORS: &str = include_str!("vectors.json");

    fn vectors() -> Value {
        serde_json::from_str(VECTORS).unwrap()
    }

    /// A file of this test with this content.
    fn file(name: &str, content: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("comet-keys-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    fn verified(keys: &Arc<Keys>, token: &str) -> Result<Claims, BadToken> {
        let authority = Authority {
            secret: None,
            keys: Some(Arc::clone(keys)),
        };
        authority.verify(
            token,
            UNIX_EPOCH + Duration::from_secs(1_900_000_000),
            &Demands::default(),
        )
    }

    #[test]
    fn tokens_of_each_algorithm_are_verified() {
        let path = file("each", &vectors()["jwks"].to_string());
        let keys = Arc::new(Keys::read(&path).unwrap());
        for (name, token) in vectors()["tokens"].as_object().unwrap() {
            let token = token.as_str().unwrap();
            let claims = verified(&keys, token).unwrap_or_else(|bad| panic!("{name}: {bad}"));
            assert_eq!(claims.user.as_deref(), Some("ann"));
            assert_eq!(claims.expires.unwrap().0, Duration::from_millis(2_000_000_000_500));
            // One changed byte of the claims, or of the signature.
            let middle = token.find('.').unwrap() + 5;
            for at in [middle, token.len() - 20] {
                let mut changed = token.as_bytes().to_vec();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let bad = verified(&keys, str::from_utf8(&changed).unwrap()).unwrap_err();
                assert_eq!(bad, BadToken::Signature, "{name} at {at}");
            }
            let cut = &token[..token.len() - 4];
            assert!(verified(&keys, cut).is_err(), "{name}");
        }
        for (name, token) in vectors()["mismatched"].as_object().unwrap() {
            let expected = if name == "PS256" {
                BadToken::Algorithm
            } else {
                BadToken::Key
            };
            assert_eq!(verified(&keys, token.as_str().unwrap()), Err(expected), "{name}");
        }
        fs::remove_file(path).unwrap();
    }

    /// The public key must not serve as a secret of HS256 (RFC 8725 section 2.1).
    #[test]
    fn c09_a_public_key_is_no_secret() {
        let path = file("confusion", &vectors()["jwks"].to_string());
        let keys = Arc::new(Keys::read(&path).unwrap());
        let public = vectors()["jwks"]["keys"][0]["n"].as_str().unwrap().to_owned();
        let forged = super::super::Secret::new(&public).unwrap().sign(&Claims::default());
        assert_eq!(verified(&keys, &forged), Err(BadToken::Algorithm));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let set = vectors()["jwks"].clone();
        let path = file("changed", &set.to_string());
        let keys = Arc::new(Keys::read(&path).unwrap());
        let token = vectors()["tokens"]["ES256"].as_str().unwrap().to_owned();
        assert!(verified(&keys, &token).is_ok());
        let without: Vec<_> = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|key| key["kid"] != "e")
            .collect();
        fs::write(&path, serde_json::json!({ "keys": without }).to_string()).unwrap();
        keys.look(Instant::now() + LOOK);
        assert_eq!(verified(&keys, &token), Err(BadToken::Key));
        // What cannot be read changes nothing.
        fs::write(&path, "nonsense").unwrap();
        keys.look(Instant::now() + LOOK * 2);
        assert!(verified(&keys, vectors()["tokens"]["EdDSA"].as_str().unwrap()).is_ok());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_set_is_said() {
        for (set, expected) in [
            ("[]", "not a JSON Web Key Set"),
            (r#"{"keys":[]}"#, "no key for"),
            (
                r#"{"keys":[{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}]}"#,
                "no key for",
            ),
            (r#"{"keys":[{"kty":"EC","crv":"P-384"}]}"#, "no key for"),
            (r#"{"keys":[{"kty":"oct","kid":"s","k":"AA"}]}"#, "belongs in `secret`"),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#,
                "private keys",
            ),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#,
                "1 bytes, not 32",
            ),
            (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"!"}]}"#, "x is not base64url"),
            (
                r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
                "at least 2048 bits",
            ),
        ] {
            let problem = parse(set).err().unwrap();
            assert!(problem.contains(expected), "{set}: {problem}");
        }
    }
}
