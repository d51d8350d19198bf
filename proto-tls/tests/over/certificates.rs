//! Certificates for tests, made when they run.

#![allow(dead_code, reason = "not every test needs all of it")]

use graviola::hashing::Sha256;
use graviola::signing::ecdsa::{P256, SigningKey};
use proto_tls::{Authorities, Identity, Roots, provider};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm,
};

/// A key pair.
pub(crate) struct Key {
    key: SigningKey<P256>,
    /// The public key as an uncompressed point.
    public: Vec<u8>,
}

impl Key {
    pub(crate) fn new() -> Self {
        let key = SigningKey::<P256>::generate().unwrap();
        let mut buffer = [0; 128];
        let spki = key.to_spki_der(&mut buffer).unwrap();
        let public = spki[spki.len() - 65..].to_vec();
        Key { key, public }
    }

    pub(crate) fn pem(&self) -> String {
        let mut buffer = [0; 256];
        let der = self.key.to_pkcs8_der(&mut buffer).unwrap();
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in base64(der).as_bytes().chunks(64) {
            pem.push_str(core::str::from_utf8(line).unwrap());
            pem.push('\n');
        }
        pem + "-----END PRIVATE KEY-----\n"
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let padding = digit > chunk.len();
            text.push(if padding { '=' } else { DIGITS[index as usize] as char });
        }
    }
    text
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut buffer = [0; 128];
        let signature = self.key.sign_asn1::<Sha256>(&[message], &mut buffer);
        Ok(signature.map_err(|_| rcgen::Error::RemoteKeyError)?.to_vec())
    }
}

/// The validity of a certificate, relative to the time of the test.
#[derive(Clone, Copy)]
pub(crate) enum Valid {
    Now,
    Before,
    Later,
}

/// A certificate authority.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, Key>,
}

fn params(name: &str, names: &[&str], valid: Valid) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let (from, to) = match valid {
        Valid::Now => (2020, 2096),
        Valid::Before => (2020, 2021),
        Valid::Later => (2095, 2096),
    };
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(name.as_bytes()[..name.len().min(16)].to_vec()));
    params.key_identifier_method = KeyIdMethod::PreSpecified(name.as_bytes().to_vec());
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, &[], Valid::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = Key::new();
        Authority {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn authorities(&self) -> Authorities {
        Authorities::from_pem(self.pem().as_bytes()).unwrap()
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes()).unwrap()
    }

    /// A certificate for `names` and its key, in PEM.
    pub(crate) fn issue(&self, names: &[&str], valid: Valid) -> (String, String) {
        let mut params = params(names[0], names, valid);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = Key::new();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.pem())
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let (chain, key) = self.issue(names, Valid::Now);
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), &provider().unwrap()).unwrap()
    }
}
