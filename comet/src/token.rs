//! Who somebody is: tokens that clients show, and the back end's one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::channel::{Name, Pattern};

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;
/// The shortest secret, in bytes: shorter ones are guessed (RFC 7518 section 3.2 asks for 32).
const SHORTEST_SECRET: usize = 32;

/// The key that signs tokens.
#[derive(Clone)]
pub(crate) struct Secret(Arc<[u8]>);

/// The word by which a back end is known.
#[derive(Clone)]
pub(crate) struct ApiToken([u8; 32]);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claims {
    /// The user.
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    /// When it ends, and begins, in seconds since 1970.
    #[serde(rename = "exp", skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    #[serde(rename = "nbf", skip_serializing_if = "Option::is_none")]
    pub(crate) begins: Option<u64>,
    /// The channels that may be read, and written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscribe: Vec<Pattern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) publish: Vec<Pattern>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// Not a JSON Web Token with claims of ours.
    Malformed,
    /// Not signed by HS256.
    Algorithm,
    /// Not signed with the secret.
    Signature,
    /// Its time has not come, or is over.
    Time,
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(default)]
    typ: &'a str,
}

impl Secret {
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn new(secret: &str) -> Result<Self, String> {
        if secret.len() < SHORTEST_SECRET {
            return Err(format!(
                "a secret has at least {SHORTEST_SECRET} bytes, this one {}",
                secret.len()
            ));
        }
        Ok(Secret(secret.as_bytes().into()))
    }

    /// Makes a token.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let header = Header {
            alg: "HS256",
            typ: "JWT",
        };
        // Plain strings and numbers always make JSON.
        let encode = |json: serde_json::Result<Vec<u8>>| BASE64.encode(json.unwrap_or_default());
        let signed = format!(
            "{}.{}",
            encode(serde_json::to_vec(&header)),
            encode(serde_json::to_vec(claims))
        );
        let signature = BASE64.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    /// Reads a token and checks that it is good at `now`.
    pub(crate) fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, BadToken> {
        if token.len() > LONGEST {
            return Err(BadToken::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| BadToken::Malformed);
        let header = decode(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| BadToken::Malformed)?;
        // What the token says of itself chooses nothing: there is one algorithm (RFC 8725 section 3.1).
        if header.alg != "HS256" {
            return Err(BadToken::Algorithm);
        }
        // Compared in constant time.
        self.mac(signed)
            .verify_slice(&decode(signature)?)
            .map_err(|_| BadToken::Signature)?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| BadToken::Malformed)?;
        if claims.is_good_at(now) {
            Ok(claims)
        } else {
            Err(BadToken::Time)
        }
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        mac.update(signed.as_bytes());
        mac
    }
}

impl Claims {
    pub(crate) fn is_good_at(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.expires.is_none_or(|end| now < end) && self.begins.is_none_or(|begin| begin <= now)
    }

    pub(crate) fn may_subscribe(&self, channel: &Name) -> bool {
        self.subscribe.iter().any(|pattern| pattern.fits(channel))
    }

    pub(crate) fn may_publish(&self, channel: &Name) -> bool {
        self.publish.iter().any(|pattern| pattern.fits(channel))
    }
}

impl ApiToken {
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn new(token: &str) -> Result<Self, String> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("an API token is visible ASCII without spaces".to_owned());
        }
        Ok(ApiToken(Sha256::digest(token).into()))
    }

    /// Whether `shown` is it. Takes the same time wherever they differ.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        shown.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadToken::Malformed => "not a JSON Web Token",
            BadToken::Algorithm => "a token of another algorithm than HS256",
            BadToken::Signature => "the token's signature is wrong",
            BadToken::Time => "the token is not valid now",
        })
    }
}

impl std::error::Error for BadToken {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn claims() -> Claims {
        Claims {
            user: Some("ann".into()),
            expires: Some(1000),
            begins: Some(10),
            subscribe: vec![Pattern::try_from("room:*".to_owned()).unwrap()],
            publish: Vec::new(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Made by other people's code: PyJWT 2.15, `jwt.encode({"sub": "ann", "exp": 2000000000, "publish": ["news"]}, key, "HS256")`.
    const FOREIGN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjIwMDAwMDAwMDAsInB1Ymxpc2giOlsib\
                           mV3cyJdfQ.e6_pjCDeSnLZvnoTpUMcZkh0to4bWt4kInVNaDn_pNk";

    #[test]
    fn tokens_read_back_while_they_are_good() {
        let token = secret().sign(&claims());
        assert_eq!(secret().verify(&token, at(10)), Ok(claims()));
        assert_eq!(secret().verify(&token, at(999)), Ok(claims()));
        assert_eq!(secret().verify(&token, at(1000)), Err(BadToken::Time));
        assert_eq!(secret().verify(&token, at(9)), Err(BadToken::Time));
        let rights = claims();
        assert!(rights.may_subscribe(&"room:7".parse().unwrap()) && !rights.may_publish(&"room:7".parse().unwrap()));
    }

    #[test]
    fn tokens_of_others_are_read() {
        let claims = secret().verify(FOREIGN, at(1000)).unwrap();
        assert_eq!(claims.user.as_deref(), Some("ann"));
        assert!(claims.may_publish(&"news".parse().unwrap()) && !claims.may_subscribe(&"news".parse().unwrap()));
    }

    #[test]
    fn c02_whatever_is_changed_is_refused() {
        let token = secret().sign(&claims());
        let other = Secret::new("0123456789abcdef0123456789abcdeg").unwrap();
        assert_eq!(other.verify(&token, at(10)), Err(BadToken::Signature));
        for cut in 0..token.len() {
            assert!(secret().verify(&token[..cut], at(10)).is_err());
        }
        let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode("{}"));
        assert_eq!(secret().verify(&unsigned, at(10)), Err(BadToken::Algorithm));
        assert_eq!(secret().verify("a.b", at(10)), Err(BadToken::Malformed));
        assert_eq!(
            secret().verify(&"x".repeat(LONGEST + 1), at(10)),
            Err(BadToken::Malformed)
        );
    }

    #[test]
    fn secrets_and_api_tokens() {
        assert!(Secret::new("short").is_err());
        assert_eq!(
            format!("{:?} {:?}", secret(), ApiToken::new("x").unwrap()),
            "Secret(..) ApiToken(..)"
        );
        let token = ApiToken::new("let-me-in").unwrap();
        assert!(token.is(b"let-me-in") && !token.is(b"let-me-out") && !token.is(b""));
        assert!(ApiToken::new("").is_err() && ApiToken::new("a b").is_err());
    }
}
