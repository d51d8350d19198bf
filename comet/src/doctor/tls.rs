//! Checks a server's TLS, including its reaction to misuse.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use proto_tls::{CertificateDer, expiry};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::manners::{PATIENCE, Patient};
use super::{Check, Verdict};

/// How long a server may wait for the first byte.
const SILENCE: Duration = Duration::from_secs(15);
/// A certificate that expires sooner should have been renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// More bytes than any client's handshake needs.
const ENDLESS: usize = 1 << 20;

/// The doctor's TLS client.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    seen: Arc<Seen>,
}

/// A verifier that accepts every certificate, and records what an ordinary client would object to.
#[derive(Debug)]
struct Seen {
    verifier: Arc<WebPkiServerVerifier>,
    said: Mutex<Option<Certificate>>,
}

#[derive(Debug, Clone)]
struct Certificate {
    /// Why an ordinary client would refuse the certificate.
    refused: Option<String>,
    expires: Option<SystemTime>,
}

impl Tls {
    /// A client for `host`, whose certificate should be issued by an authority of the system, or by one in the file `authorities`.
    ///
    /// # Errors
    ///
    /// If `host` cannot be a certificate's name, the file cannot be read, or no cryptography is available.
    pub(super) fn new(host: &str, authorities: Option<&Path>) -> io::Result<Self> {
        let provider = proto_tls::provider().map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = authorities {
            let wrong = |why: String| io::Error::other(format!("{}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        if roots.is_empty() {
            return Err(io::Error::other(
                "this system has no certificates of authorities: name some with --tls-ca",
            ));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let seen = Arc::new(Seen {
            verifier: verifier.build().map_err(io::Error::other)?,
            said: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_early_data = true;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Tls {
            config: Arc::new(config),
            name: ServerName::try_from(host).map_err(io::Error::other)?,
            seen,
        })
    }

    /// Performs a handshake on `stream`.
    ///
    /// # Errors
    ///
    /// If the handshake fails.
    pub(super) fn open(&self, stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let client = ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(client, stream);
        stream.sock.set_read_timeout(Some(PATIENCE))?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let chain = std::iter::once(end_entity).chain(intermediates);
        let certificate = Certificate {
            refused: verified.err().map(|error| error.to_string()),
            expires: chain.filter_map(expiry).min(),
        };
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A verdict, and the observation.
type Finding = (Verdict, String);

type Examine = fn(&Patient, &Tls) -> io::Result<Finding>;

/// All TLS checks: the id, the subject, the function, and advice.
const EXAMINATIONS: &[(&str, &str, Examine, &str)] = &[
    (
        "tls-certificate",
        "the certificate",
        certificate,
        "a certificate for this name by an authority that clients know, renewed in time; --tls-ca names one of your own",
    ),
    ("tls-version", "the version", version, "TLS 1.3 should be spoken"),
    (
        "tls-key-exchange",
        "the key exchange",
        key_exchange,
        "without X25519MLKEM768, what is recorded today may be read by quantum computers later",
    ),
    ("tls-old", "TLS 1.0", |patient, _| old(patient, 1), OLD),
    ("tls-old", "TLS 1.1", |patient, _| old(patient, 2), OLD),
    (
        "tls-ciphers",
        "a client that has old ciphers alone",
        ciphers,
        "ciphers without authentication of data, or without forward secrecy, should be off (RFC 9325 section 4)",
    ),
    (
        "tls-resumption",
        "a client that comes back",
        resumption,
        "sessions should be resumed: a full handshake costs many times as much; early data can be replayed (RFC 8446 section 8)",
    ),
    (
        "s01",
        "silence instead of a handshake",
        silence,
        "it should end within 15 s",
    ),
    ("s03", "a handshake without end", endless, "it should be ended"),
    ("s04", "HTTP without TLS", plain, "a 400 would say what is wrong"),
    ("s05", "garbage", garbage, "it should be refused with an alert"),
    (
        "s06",
        "the end of a connection",
        ending,
        "without close_notify, clients cannot tell a whole answer from one that was cut off (RFC 8446 section 6.1)",
    ),
];

const OLD: &str = "TLS before 1.2 must not be spoken (RFC 8996)";

/// Runs all TLS checks. Calls `told` with the name of each before it starts.
pub(super) fn checks(patient: &Patient, tls: &Tls, mut told: impl FnMut(&str)) -> Vec<Check> {
    let check = |(id, what, examine, advice): &(&'static str, &str, Examine, &str)| {
        told(what);
        let (verdict, came) = examine(patient, tls).unwrap_or_else(|error| (Verdict::Bad, error.to_string()));
        Check {
            id,
            what: format!("{what}: {came}"),
            advice: (verdict != Verdict::Good).then(|| (*advice).to_owned()),
            verdict,
        }
    };
    EXAMINATIONS.iter().map(check).collect()
}

/// The number of TLS checks.
pub(super) const COUNT: usize = EXAMINATIONS.len();

fn certificate(patient: &Patient, tls: &Tls) -> io::Result<Finding> {
    tls.open(patient.connect()?)?;
    let said = tls.seen.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let said = said.ok_or_else(|| io::Error::other("none was shown"))?;
    Ok(judge(&said, SystemTime::now()))
}

fn judge(certificate: &Certificate, now: SystemTime) -> Finding {
    if let Some(why) = &certificate.refused {
        return (Verdict::Bad, why.clone());
    }
    let left = certificate
        .expires
        .map_or(Duration::MAX, |expires| expires.duration_since(now).unwrap_or_default());
    let verdict = if left < SOON { Verdict::Fair } else { Verdict::Good };
    (
        verdict,
        format!("trusted, and good for {} days", left.as_secs() / 86_400),
    )
}

fn version(patient: &Patient, tls: &Tls) -> io::Result<Finding> {
    let stream = tls.open(patient.connect()?)?;
    Ok(match stream.conn.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => (Verdict::Good, "TLS 1.3".to_owned()),
        _ => (Verdict::Fair, "TLS 1.2".to_owned()),
    })
}

fn key_exchange(patient: &Patient, tls: &Tls) -> io::Result<Finding> {
    let stream = tls.open(patient.connect()?)?;
    let group = stream.conn.negotiated_key_exchange_group().map(|group| group.name());
    let has_hybrid = |group: &&dyn rustls::crypto::SupportedKxGroup| group.name() == NamedGroup::X25519MLKEM768;
    let offered = tls.config.crypto_provider().kx_groups.iter().any(has_hybrid);
    Ok(match group {
        Some(NamedGroup::X25519MLKEM768) => (Verdict::Good, "X25519MLKEM768".to_owned()),
        // The doctor's own cryptography lacks it.
        Some(group) if !offered => (Verdict::Good, format!("{group:?}")),
        Some(group) => (Verdict::Fair, format!("{group:?}")),
        None => (Verdict::Fair, "none that is known".to_owned()),
    })
}

fn old(patient: &Patient, minor: u8) -> io::Result<Finding> {
    // ECDHE and RSA with AES in CBC mode, the usual ciphers of these versions.
    let answer = say_hello(patient, minor, &[0xc013, 0xc009, 0xc014, 0xc00a, 0x002f, 0x0035])?;
    Ok(match answer {
        Hello::Accepted(cipher) => (Verdict::Bad, format!("spoken, with the cipher {cipher:#06x}")),
        Hello::Refused(how) => (Verdict::Good, how),
        Hello::Open => (Verdict::Bad, "no answer, and left open".to_owned()),
    })
}

fn ciphers(patient: &Patient, _: &Tls) -> io::Result<Finding> {
    // Broken: NULL, RC4, 3DES, export, anonymous. Old: CBC, and the RSA key exchange.
    let broken = say_hello(
        patient,
        3,
        &[
            0x0001, 0x0002, 0x003b, 0x0003, 0x0004, 0x0005, 0xc011, 0x000a, 0xc012, 0xc018,
        ],
    )?;
    if let Hello::Accepted(cipher) = broken {
        return Ok((
            Verdict::Bad,
            format!("the cipher {cipher:#06x} is broken, and accepted"),
        ));
    }
    let old = [
        0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d, 0xc013, 0xc014, 0xc009, 0xc00a, 0xc023, 0xc027,
    ];
    Ok(match say_hello(patient, 3, &old)? {
        Hello::Accepted(cipher) => (Verdict::Fair, format!("the cipher {cipher:#06x} is accepted")),
        Hello::Refused(how) => (Verdict::Good, how),
        Hello::Open => (Verdict::Bad, "no answer, and left open".to_owned()),
    })
}

fn resumption(patient: &Patient, tls: &Tls) -> io::Result<Finding> {
    let mut first = tls.open(patient.connect()?)?;
    // TLS 1.3 sends tickets after the handshake, at the latest with the answer.
    ask(patient, &mut first)?;
    let again = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone()).map_err(io::Error::other)?;
    let mut again = StreamOwned::new(again, patient.connect()?);
    let early = again.conn.early_data().is_some();
    while again.conn.is_handshaking() {
        again.conn.complete_io(&mut again.sock)?;
    }
    Ok(match (again.conn.handshake_kind(), early) {
        (Some(HandshakeKind::Resumed), false) => (Verdict::Good, "resumed".to_owned()),
        (Some(HandshakeKind::Resumed), true) => (Verdict::Fair, "resumed, with early data".to_owned()),
        _ => (Verdict::Fair, "not resumed".to_owned()),
    })
}

fn silence(patient: &Patient, _: &Tls) -> io::Result<Finding> {
    let begun = Instant::now();
    let (_, ended) = hear(&mut patient.connect()?, SILENCE)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(match ended {
        true => (Verdict::Good, format!("ended after {seconds:.0} s")),
        false => (Verdict::Fair, format!("left open for {seconds:.0} s")),
    })
}

fn endless(patient: &Patient, _: &Tls) -> io::Result<Finding> {
    let mut stream = patient.connect()?;
    // A ClientHello that announces 16 MiB (RFC 8446 section 4), in full records.
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.resize(5 + (1 << 14), 0);
    record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    let mut sent = 0;
    while sent < ENDLESS {
        if stream.write_all(&record).is_err() {
            return Ok((
                Verdict::Good,
                format!("ended within {} KiB", (sent + record.len()) >> 10),
            ));
        }
        sent += record.len();
        record[5..9].fill(0);
    }
    let (_, ended) = hear(&mut stream, PATIENCE)?;
    Ok(match ended {
        true => (Verdict::Good, "ended".to_owned()),
        false => (
            Verdict::Bad,
            format!("{} KiB were taken, and more is waited for", sent >> 10),
        ),
    })
}

fn plain(patient: &Patient, _: &Tls) -> io::Result<Finding> {
    let mut stream = patient.connect()?;
    write!(
        stream,
        "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
        patient.path, patient.address
    )?;
    let (answer, ended) = hear(&mut stream, PATIENCE)?;
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    Ok(match status.map(String::from_utf8_lossy) {
        Some(status) if status == "400" => (Verdict::Good, "400".to_owned()),
        Some(status) if status.starts_with('3') => (Verdict::Good, format!("{status}, which leads elsewhere")),
        Some(status) => (Verdict::Bad, format!("answered with {status}")),
        None if ended => (Verdict::Fair, "closed without an answer".to_owned()),
        None => (Verdict::Bad, "no answer, and left open".to_owned()),
    })
}

fn garbage(patient: &Patient, _: &Tls) -> io::Result<Finding> {
    let mut stream = patient.connect()?;
    // A server that refuses early may already have closed.
    let _ = stream.write_all(b"SSH-2.0-doctor\r\n");
    let (answer, ended) = hear(&mut stream, PATIENCE)?;
    Ok(match refusal(&answer, ended) {
        Some(how) => (Verdict::Good, how),
        None if ended => (Verdict::Fair, "closed without an alert".to_owned()),
        None => (Verdict::Bad, "left open".to_owned()),
    })
}

fn ending(patient: &Patient, tls: &Tls) -> io::Result<Finding> {
    let mut stream = tls.open(patient.connect()?)?;
    Ok(match ask(patient, &mut stream) {
        Ok(()) => (Verdict::Good, "told by close_notify".to_owned()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => (Verdict::Fair, "not told".to_owned()),
        Err(error) => return Err(error),
    })
}

/// Requests the path, and reads to the end of the connection.
fn ask(patient: &Patient, stream: &mut StreamOwned<ClientConnection, TcpStream>) -> io::Result<()> {
    let Patient { path, address, .. } = patient;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut buffer = [0; 4096];
    let begun = Instant::now();
    while stream.read(&mut buffer)? > 0 {
        if begun.elapsed() > PATIENCE {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// The answer to a hello.
enum Hello {
    /// The server continues with this cipher.
    Accepted(u16),
    /// The server refuses, in this way.
    Refused(String),
    /// The server does not answer.
    Open,
}

fn say_hello(patient: &Patient, minor: u8, ciphers: &[u16]) -> io::Result<Hello> {
    let mut stream = patient.connect()?;
    stream.write_all(&hello(minor, ciphers))?;
    let (answer, ended) = hear(&mut stream, PATIENCE)?;
    Ok(match (cipher(&answer), refusal(&answer, ended)) {
        (Some(cipher), _) => Hello::Accepted(cipher),
        (None, Some(how)) => Hello::Refused(how),
        (None, None) if ended => Hello::Refused("closed".to_owned()),
        (None, None) => Hello::Open,
    })
}

/// A ClientHello of TLS 1.`minor - 1` with the extensions that servers of that version expect (RFC 5246 section 7.4.1.2).
fn hello(minor: u8, ciphers: &[u16]) -> Vec<u8> {
    fn vector(width: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - width..], content].concat()
    }
    let extension = |id: u16, content: Vec<u8>| [&id.to_be_bytes()[..], &vector(2, &content)].concat();
    let numbers = |numbers: &[u16]| {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let extensions = [
        // x25519, secp256r1, secp384r1; uncompressed points; RSA and ECDSA with SHA-256 and SHA-1.
        extension(10, vector(2, &numbers(&[29, 23, 24]))),
        extension(11, vector(1, &[0])),
        extension(13, vector(2, &numbers(&[0x0403, 0x0401, 0x0804, 0x0201, 0x0203]))),
    ];
    let parts = [
        vec![3, minor],
        vec![0xd0; 32],
        vector(1, &[]),
        vector(2, &numbers(ciphers)),
        vector(1, &[0]),
        vector(2, &extensions.concat()),
    ];
    let message = [vec![1], vector(3, &parts.concat())].concat();
    [vec![22, 3, 1], vector(2, &message)].concat()
}

/// The cipher chosen in a ServerHello (RFC 5246 section 7.4.1.3).
fn cipher(answer: &[u8]) -> Option<u16> {
    let [22, 3, _, _, _, 2, rest @ ..] = answer else {
        return None;
    };
    // The session id follows the length, the version and the random bytes.
    let rest = rest.get(3 + 2 + 32..)?;
    let (id, rest) = rest.split_first()?;
    let cipher: &[u8; 2] = rest.get(usize::from(*id)..)?.first_chunk()?;
    Some(u16::from_be_bytes(*cipher))
}

/// How a server refused: its alert, if any (RFC 8446 section 6).
fn refusal(answer: &[u8], ended: bool) -> Option<String> {
    let [21, 3, _, 0, 2, _, alert, ..] = answer else {
        return None;
    };
    let ending = if ended { "closed" } else { "left open" };
    Some(format!("alert {alert}, and {ending}")).filter(|_| ended)
}

/// Reads until the connection ends or the time has passed. Returns whether it ended.
fn hear(stream: &mut TcpStream, patience: Duration) -> io::Result<(Vec<u8>, bool)> {
    let begun = Instant::now();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() || bytes.len() > 64 * 1024 || cipher(&bytes).is_some() {
            return Ok((bytes, false));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((bytes, true)),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok((bytes, true));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok((bytes, false));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_judged() {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        let verdict = |refused: Option<&str>, days| {
            let certificate = Certificate {
                refused: refused.map(Into::into),
                expires: Some(now + day * days),
            };
            judge(&certificate, now).0
        };
        assert_eq!(verdict(None, 30), Verdict::Good);
        assert_eq!(verdict(None, 13), Verdict::Fair);
        assert_eq!(verdict(Some("unknown issuer"), 30), Verdict::Bad);
    }

    #[test]
    fn answers_to_a_hello_are_read() {
        let mut accepted = vec![22, 3, 2, 0, 44, 2, 0, 0, 40, 3, 2];
        accepted.extend([7; 32]);
        accepted.extend([2, 9, 9, 0xc0, 0x13, 0]);
        assert_eq!(cipher(&accepted), Some(0xc013));
        for length in 0..accepted.len() - 1 {
            assert_eq!(cipher(&accepted[..length]), None);
        }
        assert_eq!(refusal(&[21, 3, 3, 0, 2, 2, 70], true).unwrap(), "alert 70, and closed");
        assert_eq!(refusal(&[21, 3, 3, 0, 2, 2, 70], false), None);
        assert_eq!(cipher(&[21, 3, 3, 0, 2, 2, 70]), None);
    }
}
