//! proto-tls beside plain rustls, with the same cryptography, in memory: the cost of a layer of the contract.
//!
//! `cargo run --release -p benches --features tls --bin tls [ROUNDS]` prints, for both, the server's processor time (medians over
//! alternating rounds) of full and resumed handshakes, of records received and sent, and of small exchanges; and the memory of an idle
//! connection. The clients are plain rustls; their time does not count.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use proto_tls::{Acceptor, Identity, ServerConfig, provider};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

mod memory;
mod servers;

use servers::{Bare, Kind, Ours, Server};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Only for tests and measurements.
const CERTIFICATE: &[u8] = include_bytes!("../../../../fuzz/bodies/src/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../../../fuzz/bodies/src/tls/key.pem");

/// Processor time of this thread.
fn clock() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

struct Setup {
    bare: Arc<rustls::ServerConfig>,
    ours: Acceptor,
    fresh: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
}

impl Setup {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let provider = provider()?;
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE)?;
        let mut bare = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from_pem_slice(KEY)?)?;
        bare.ticketer = rustls_graviola::Ticketer::new()?;
        let identity = Identity::from_pem(CERTIFICATE, KEY, &provider)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate)?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut fresh = client.clone();
        fresh.resumption = Resumption::disabled();
        Ok(Setup {
            bare: Arc::new(bare),
            ours: Acceptor::new(ServerConfig::new(provider, [identity]))?,
            fresh: Arc::new(fresh),
            resuming: Arc::new(client),
        })
    }

    fn server(&self, ours: bool, kind: Kind) -> Box<dyn Server> {
        match ours {
            true => Box::new(Ours::new(&self.ours, kind)),
            false => Box::new(Bare::new(&self.bare, kind)),
        }
    }
}

/// A client that also measures its server's time.
struct Client(ClientConnection);

impl Client {
    fn new(config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap_or_else(|error| panic!("{error}"));
        Client(ClientConnection::new(Arc::clone(config), name).unwrap_or_else(|error| panic!("{error}")))
    }

    fn say(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut said).unwrap_or_else(|error| panic!("{error}"));
        }
        said
    }

    fn hear(&mut self, mut bytes: &[u8]) -> usize {
        let (mut plain, mut sink) = (0, [0; 16 * 1024]);
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
            self.0.process_new_packets().unwrap_or_else(|error| panic!("{error}"));
            while let Ok(n @ 1..) = self.0.reader().read(&mut sink) {
                plain += n;
            }
        }
        plain
    }

    fn shake_hands(&mut self, server: &mut dyn Server) -> Duration {
        let mut time = Duration::ZERO;
        loop {
            let mut said = self.say();
            if said.is_empty() {
                return time;
            }
            let mut answer = Vec::new();
            let before = clock();
            server.take(&mut said, &mut answer);
            time += clock() - before;
            self.hear(&answer);
        }
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        for part in plain.chunks(16 * 1024) {
            self.0
                .writer()
                .write_all(part)
                .unwrap_or_else(|error| panic!("{error}"));
            sealed.extend(self.say());
        }
        sealed
    }
}

/// Microseconds and allocations of the server for one measured item.
type Measure = fn(&Setup, bool) -> (f64, f64);

const HANDSHAKES: u32 = 30;

fn full(setup: &Setup, ours: bool) -> (f64, f64) {
    handshakes(setup, ours, &setup.fresh)
}

fn resumed(setup: &Setup, ours: bool) -> (f64, f64) {
    // The first client of each kind of server gets a ticket.
    Client::new(&setup.resuming).shake_hands(&mut *setup.server(ours, Kind::Discard));
    handshakes(setup, ours, &setup.resuming)
}

fn handshakes(setup: &Setup, ours: bool, config: &Arc<ClientConfig>) -> (f64, f64) {
    let mut time = Duration::ZERO;
    for _ in 0..HANDSHAKES {
        let before = clock();
        let mut server = setup.server(ours, Kind::Discard);
        time += clock() - before;
        time += Client::new(config).shake_hands(&mut *server);
    }
    (time.as_secs_f64() * 1e6 / f64::from(HANDSHAKES), 0.0)
}

/// Full records of 16 KiB, received.
fn received(setup: &Setup, ours: bool) -> (f64, f64) {
    exchange(setup, ours, Kind::Discard, &[b'r'; 64 * 16 * 1024], 64)
}

/// A request of 100 bytes that is answered with 1 MiB.
fn sent(setup: &Setup, ours: bool) -> (f64, f64) {
    exchange(setup, ours, Kind::Answer(64 * 16 * 1024), b"?", 64)
}

/// 100 bytes, sent back.
fn small(setup: &Setup, ours: bool) -> (f64, f64) {
    exchange(setup, ours, Kind::Echo, &[b's'; 100], 1)
}

fn exchange(setup: &Setup, ours: bool, kind: Kind, plain: &[u8], records: u32) -> (f64, f64) {
    let (mut server, mut client) = (setup.server(ours, kind), Client::new(&setup.fresh));
    client.shake_hands(&mut *server);
    let times = if records == 1 { 500 } else { 20 };
    let (mut time, mut calls) = (Duration::ZERO, 0);
    let mut answer = Vec::with_capacity(2 << 20);
    for round in 0..times + 3 {
        let mut sealed = client.seal(plain);
        answer.clear();
        let (before, asked) = (clock(), memory::now().0);
        server.take(&mut sealed, &mut answer);
        // The first rounds warm up.
        if round >= 3 {
            time += clock() - before;
            calls += memory::now().0 - asked;
        }
        let heard = client.hear(&answer);
        let expected = match kind {
            Kind::Discard => 0,
            Kind::Echo => plain.len(),
            Kind::Answer(length) => length,
        };
        assert_eq!(heard, expected);
    }
    let count = f64::from(times * records);
    (time.as_secs_f64() * 1e6 / count, calls as f64 / count)
}

/// Memory of an idle connection after an exchange.
fn idle(setup: &Setup, ours: bool) -> i64 {
    const CONNECTIONS: i64 = 100;
    let exchanged = |server: &mut dyn Server| {
        let mut client = Client::new(&setup.fresh);
        client.shake_hands(server);
        let mut answer = Vec::new();
        server.take(&mut client.seal(b"hello"), &mut answer);
    };
    let before = memory::now().1;
    if ours {
        let mut kept = Vec::with_capacity(CONNECTIONS as usize);
        for _ in 0..CONNECTIONS {
            let mut server = Ours::new(&setup.ours, Kind::Echo);
            exchanged(&mut server);
            kept.push(server);
        }
        (memory::now().1 - before) / CONNECTIONS
    } else {
        let mut kept = Vec::with_capacity(CONNECTIONS as usize);
        for _ in 0..CONNECTIONS {
            let mut server = Bare::new(&setup.bare, Kind::Echo);
            exchanged(&mut server);
            server.forget_buffer();
            kept.push(server);
        }
        (memory::now().1 - before) / CONNECTIONS
    }
}

fn median(values: &mut [(f64, f64)]) -> (f64, f64) {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(9), |rounds| rounds.parse())?;
    let setup = Setup::new()?;
    let rows: [(&str, Measure); 5] = [
        ("full handshake", full),
        ("resumed handshake", resumed),
        ("record of 16 KiB received", received),
        ("record of 16 KiB sent", sent),
        ("100 bytes echoed", small),
    ];
    println!("microseconds of the server's processor time, allocations");
    println!("{:28} {:>18} {:>18} {:>8}", "", "rustls alone", "proto-tls", "ratio");
    for (name, measure) in rows {
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            bare.push(measure(&setup, false));
            ours.push(measure(&setup, true));
        }
        let (bare, ours) = (median(&mut bare), median(&mut ours));
        println!(
            "{name:28} {:>10.2} {:>7.1} {:>10.2} {:>7.1} {:>8.2}",
            bare.0,
            bare.1,
            ours.0,
            ours.1,
            bare.0 / ours.0
        );
    }
    idle(&setup, true);
    let (bare, ours) = (idle(&setup, false), idle(&setup, true));
    let ratio = bare as f64 / ours as f64;
    println!(
        "{:28} {bare:>10} bytes   {ours:>10} bytes   {ratio:>8.2}",
        "idle connection"
    );
    Ok(())
}
