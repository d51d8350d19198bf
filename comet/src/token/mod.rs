//! Authentication: the tokens of clients, and the API token of the back end.

mod keys;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::broker::Info;
use crate::channel::{Name, Pattern};

pub(crate) use keys::Keys;

/// The longest token that is examined, in bytes.
const LONGEST: usize = 8 * 1024;
/// The shortest secret, in bytes: shorter ones could be guessed (RFC 7518 section 3.2 requires 32).
const SHORTEST_SECRET: usize = 32;

/// The key that signs tokens.
#[derive(Clone)]
pub(crate) struct Secret(Arc<[u8]>);

/// Whose tokens are valid: those signed with the secret, or with a key of the key set.
#[derive(Clone, Default)]
pub(crate) struct Authority {
    pub(crate) secret: Option<Secret>,
    pub(crate) keys: Option<Arc<Keys>>,
}

/// Further requirements for tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// The audience (`aud`). A token for other audiences only is refused (RFC 7519 section 4.1.3).
    pub(crate) audience: Option<String>,
    /// The issuer (`iss`).
    pub(crate) issuer: Option<String>,
    /// The tolerated difference between clocks.
    pub(crate) leeway: Duration,
}

/// A time in seconds since 1970, possibly with a fraction (RFC 7519 section 2, NumericDate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) Duration);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?.max(0.0);
        // A time beyond the range of a duration never comes.
        Ok(Date(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
    }
}

impl Serialize for Date {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

/// One audience or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, whom: &str) -> bool {
        match self {
            Audience::One(name) => name == whom,
            Audience::Several(names) => names.iter().any(|name| name == whom),
        }
    }
}

/// The token that authenticates the back end.
#[derive(Clone)]
pub(crate) struct ApiToken([u8; 32]);

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claims {
    /// The user.
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    /// When the token expires, and when it becomes valid, in seconds since 1970.
    #[serde(rename = "exp", skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Date>,
    #[serde(rename = "nbf", skip_serializing_if = "Option::is_none")]
    pub(crate) begins: Option<Date>,
    /// When the token was issued, and its id. Both serve to revoke it.
    #[serde(rename = "iat", skip_serializing_if = "Option::is_none")]
    pub(crate) issued: Option<Date>,
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Arc<str>>,
    /// The audience and the issuer.
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<Audience>,
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// What others are told of the user, where they are told of the user's presence: any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<Info>,
    /// Channels that a client of Centrifugo's protocol is subscribed to as it connects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) channels: Vec<Name>,
    /// Channels with permission to read, and to write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscribe: Vec<Pattern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) publish: Vec<Pattern>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// The token is not a JSON Web Token with valid claims.
    Malformed,
    /// There is no key for the token's algorithm.
    Algorithm,
    /// There is no such key for the token's algorithm.
    Key,
    /// The signature does not match the secret.
    Signature,
    /// The token is not valid yet, or has expired.
    Time,
    /// The token is for another audience.
    Audience,
    /// The API has revoked the token.
    Revoked,
    /// The token has another issuer.
    Issuer,
    /// The token has critical extensions that are not supported.
    Critical,
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    typ: Cow<'a, str>,
    /// The id of the key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    kid: Option<Cow<'a, str>>,
    /// Names of critical extensions (RFC 7515 section 4.1.11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

impl Secret {
    /// # Errors
    ///
    /// What is wrong with the secret.
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
            alg: "HS256".into(),
            typ: "JWT".into(),
            kid: None,
            crit: None,
        };
        // Cannot fail: strings and numbers always make JSON.
        let encode = |json: serde_json::Result<Vec<u8>>| BASE64.encode(json.unwrap_or_default());
        let signed = format!(
            "{}.{}",
            encode(serde_json::to_vec(&header)),
            encode(serde_json::to_vec(claims))
        );
        let signature = BASE64.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    /// Checks the signature of a token.
    fn check(&self, signed: &str, signature: &[u8]) -> Result<(), BadToken> {
        // Compared in constant time.
        self.mac(signed)
            .verify_slice(signature)
            .map_err(|_| BadToken::Signature)
    }

    pub(crate) fn mac(&self, signed: &str) -> Hmac<Sha256> {
        // HMAC accepts keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        mac.update(signed.as_bytes());
        mac
    }
}

impl Authority {
    /// Whether there is a secret or a key.
    pub(crate) fn exists(&self) -> bool {
        self.secret.is_some() || self.keys.is_some()
    }

    /// Verifies a token at the time `now`.
    pub(crate) fn verify(&self, token: &str, now: SystemTime, demands: &Demands) -> Result<Claims, BadToken> {
        if token.len() > LONGEST {
            return Err(BadToken::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| BadToken::Malformed);
        let header = decode(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| BadToken::Malformed)?;
        let signature = decode(signature)?;
        // The header chooses among keys, each of which is for a single algorithm (RFC 8725 section 3.1).
        match (&*header.alg, &self.secret, &self.keys) {
            ("HS256", Some(secret), _) => secret.check(signed, &signature)?,
            (alg, _, Some(keys)) => keys.check(alg, header.kid.as_deref(), signed, &signature)?,
            _ => return Err(BadToken::Algorithm),
        }
        // No extension is supported, so any critical one makes the token invalid.
        if header.crit.is_some() {
            return Err(BadToken::Critical);
        }
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| BadToken::Malformed)?;
        let ours = demands.audience.as_deref();
        if claims
            .audience
            .as_ref()
            .map(|audience| ours.is_some_and(|us| audience.names(us)))
            == Some(false)
            || claims.audience.is_none() && ours.is_some()
        {
            return Err(BadToken::Audience);
        }
        if demands.issuer.is_some() && claims.issuer != demands.issuer {
            return Err(BadToken::Issuer);
        }
        if claims.is_good_at(now, demands.leeway) {
            Ok(claims)
        } else {
            Err(BadToken::Time)
        }
    }
}

impl Claims {
    /// Whether the token is valid at `now`, for clocks that may differ by `leeway`.
    pub(crate) fn is_good_at(&self, now: SystemTime, leeway: Duration) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let has_begun = |begin: Date| begin.0 <= now.saturating_add(leeway);
        self.is_left(now, leeway) != Some(Duration::ZERO) && self.begins.is_none_or(has_begun)
    }

    /// The remaining validity, if the token expires.
    pub(crate) fn left(&self, now: SystemTime, leeway: Duration) -> Option<Duration> {
        self.is_left(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO), leeway)
    }

    fn is_left(&self, now: Duration, leeway: Duration) -> Option<Duration> {
        let end = self.expires?.0.saturating_add(leeway);
        Some(end.saturating_sub(now))
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
    /// What is wrong with the token.
    pub(crate) fn new(token: &str) -> Result<Self, String> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("an API token is visible ASCII without spaces".to_owned());
        }
        Ok(ApiToken(Sha256::digest(token).into()))
    }

    /// Whether `shown` equals the token. Takes constant time.
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

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

impl BadToken {
    /// The reason in words.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            BadToken::Malformed => "not a JSON Web Token",
            BadToken::Algorithm => "the token's algorithm is none that this server has keys for",
            BadToken::Key => "this server does not know the key that the token names",
            BadToken::Signature => "the token's signature is wrong",
            BadToken::Time => "the token is not valid now",
            BadToken::Audience => "the token's audience is not `token_audience`",
            BadToken::Revoked => "the token is revoked",
            BadToken::Issuer => "the token's issuer is not `token_issuer`",
            BadToken::Critical => "the token has critical extensions that are not supported",
        }
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BadToken {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn authority() -> Authority {
        Authority {
            secret: Some(secret()),
            keys: None,
        }
    }

    fn claims() -> Claims {
        Claims {
            user: Some("ann".into()),
            expires: Some(Date(Duration::from_secs(1000))),
            begins: Some(Date(Duration::from_secs(10))),
            issued: None,
            id: None,
            audience: None,
            issuer: None,
            info: None,
            channels: Vec::new(),
            subscribe: vec![Pattern::try_from("room:*".to_owned()).unwrap()],
            publish: Vec::new(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Made by another implementation: PyJWT 2.15, `jwt.encode({"sub": "ann", "exp": 2000000000, "publish": ["news"]}, key, "HS256")`.
    const FOREIGN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjIwMDAwMDAwMDAsInB1Ymxpc2giOlsib\
                           mV3cyJdfQ.e6_pjCDeSnLZvnoTpUMcZkh0to4bWt4kInVNaDn_pNk";

    #[test]
    fn tokens_read_back_while_they_are_good() {
        let token = secret().sign(&claims());
        assert_eq!(authority().verify(&token, at(10), &Demands::default()), Ok(claims()));
        assert_eq!(authority().verify(&token, at(999), &Demands::default()), Ok(claims()));
        assert_eq!(
            authority().verify(&token, at(1000), &Demands::default()),
            Err(BadToken::Time)
        );
        assert_eq!(
            authority().verify(&token, at(9), &Demands::default()),
            Err(BadToken::Time)
        );
        let rights = claims();
        assert!(rights.may_subscribe(&"room:7".parse().unwrap()) && !rights.may_publish(&"room:7".parse().unwrap()));
    }

    #[test]
    fn tokens_of_others_are_read() {
        let claims = authority().verify(FOREIGN, at(1000), &Demands::default()).unwrap();
        assert_eq!(claims.user.as_deref(), Some("ann"));
        assert!(claims.may_publish(&"news".parse().unwrap()) && !claims.may_subscribe(&"news".parse().unwrap()));
    }

    #[test]
    fn c02_whatever_is_changed_is_refused() {
        let token = secret().sign(&claims());
        let other = Secret::new("0123456789abcdef0123456789abcdeg").unwrap();
        assert_eq!(
            Authority {
                secret: Some(other),
                keys: None
            }
            .verify(&token, at(10), &Demands::default()),
            Err(BadToken::Signature)
        );
        for cut in 0..token.len() {
            assert!(authority().verify(&token[..cut], at(10), &Demands::default()).is_err());
        }
        let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode("{}"));
        assert_eq!(
            authority().verify(&unsigned, at(10), &Demands::default()),
            Err(BadToken::Algorithm)
        );
        assert_eq!(
            authority().verify("a.b", at(10), &Demands::default()),
            Err(BadToken::Malformed)
        );
        assert_eq!(
            authority().verify(&"x".repeat(LONGEST + 1), at(10), &Demands::default()),
            Err(BadToken::Malformed)
        );
    }

    /// A correctly signed token with this header and these claims.
    fn signed(header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature = BASE64.encode(secret().mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    const HEADER: &str = r#"{"alg":"HS256"}"#;

    fn verified(header: &str, claims: &str, demands: &Demands) -> Result<Claims, BadToken> {
        authority().verify(&signed(header, claims), at(1000), demands)
    }

    #[test]
    fn times_may_have_fractions_and_clocks_differ() {
        let half = r#"{"exp":1000.5}"#;
        let none = Demands::default();
        assert!(verified(HEADER, half, &none).is_ok());
        let token = signed(HEADER, half);
        let later = at(1000) + Duration::from_millis(600);
        assert_eq!(authority().verify(&token, later, &none), Err(BadToken::Time));
        let lenient = Demands {
            leeway: Duration::from_secs(5),
            ..Demands::default()
        };
        assert!(authority().verify(&token, later, &lenient).is_ok());
        assert_eq!(authority().verify(&token, at(1006), &lenient), Err(BadToken::Time));
        assert!(verified(HEADER, r#"{"nbf":1003}"#, &lenient).is_ok());
        assert_eq!(verified(HEADER, r#"{"nbf":1003}"#, &none), Err(BadToken::Time));
        // Python's `time.time() + 3600`, and extreme numbers.
        for good in ["1795000000.4218", "1e10", "1e300"] {
            assert!(
                verified(HEADER, &format!(r#"{{"exp":{good}}}"#), &none).is_ok(),
                "{good}"
            );
        }
        for bad in ["-1", "0", "\"1795000000\"", "null,\"exp\":5"] {
            assert!(
                verified(HEADER, &format!(r#"{{"exp":{bad}}}"#), &none).is_err(),
                "{bad}"
            );
        }
    }

    /// RFC 7515 section 4.1.11: extensions named in `crit` must be understood, or the token is refused.
    #[test]
    fn c09_extensions_that_must_be_understood_are_refused() {
        let header = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
        assert_eq!(verified(header, "{}", &Demands::default()), Err(BadToken::Critical));
        let header = r#"{"alg":"HS256","crit":null}"#;
        assert!(verified(header, "{}", &Demands::default()).is_ok());
    }

    /// A header as PHP writes it.
    #[test]
    fn headers_may_have_escapes() {
        let header = r#"{"typ":"application\/jwt","alg":"HS\u003256"}"#;
        assert!(verified(header, "{}", &Demands::default()).is_ok());
    }

    /// The audience of a token (RFC 7519 section 4.1.3).
    #[test]
    fn c09_tokens_for_others_are_refused() {
        let ours = Demands {
            audience: Some("comet".to_owned()),
            issuer: Some("us".to_owned()),
            ..Demands::default()
        };
        for (claims, expected) in [
            (r#"{"aud":"comet","iss":"us"}"#, None),
            (r#"{"aud":["billing","comet"],"iss":"us"}"#, None),
            (r#"{"aud":"billing","iss":"us"}"#, Some(BadToken::Audience)),
            (r#"{"iss":"us"}"#, Some(BadToken::Audience)),
            (r#"{"aud":"comet","iss":"them"}"#, Some(BadToken::Issuer)),
            (r#"{"aud":"comet"}"#, Some(BadToken::Issuer)),
            (r#"{"aud":7,"iss":"us"}"#, Some(BadToken::Malformed)),
        ] {
            assert_eq!(verified(HEADER, claims, &ours).err(), expected, "{claims}");
        }
        assert_eq!(
            verified(HEADER, r#"{"aud":"billing"}"#, &Demands::default()).err(),
            Some(BadToken::Audience)
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
