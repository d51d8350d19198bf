//! Asks an NTP server for the time (RFC 5905, the simple client of section 14), and prints how far this host's clock is off. `ntp --listen
//! 127.0.0.1:1123` serves this host's time, for tests.
//!
//! The message has 48 bytes and is written here by hand: of the crates for NTP, one brings authenticated NTP and its cryptography, the others read
//! from sockets themselves or are no longer maintained.

use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use drivers::{Driver, serve_datagrams};
use protocol::bytes::Bytes;
use protocol::{Datagram, Endpoint, EndpointCx, Transmit};

/// Asks an NTP server for the time, or is one.
#[derive(Parser)]
struct Options {
    /// The server to ask.
    #[arg(required_unless_present = "listen", conflicts_with = "listen")]
    server: Option<SocketAddr>,
    /// Serve this host's time on this address.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
}

/// The length of a message without extensions.
const LENGTH: usize = 48;
/// From 1900, where NTP counts from, to 1970.
const TO_1970: u64 = 2_208_988_800;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
/// The number of requests, and the time to wait for each answer.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

/// A time in NTP's 64 bits: seconds since 1900 modulo 2^32, and fractions of 2^-32 s (RFC 5905 section 6). Differences are right if the
/// times are less than 68 years apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64);

impl Stamp {
    fn now() -> Stamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        Stamp((now.as_secs().wrapping_add(TO_1970) << 32) | fraction)
    }

    /// The seconds from `earlier` to this time; negative if this time is earlier.
    fn since(self, earlier: Stamp) -> f64 {
        self.0.wrapping_sub(earlier.0).cast_signed() as f64 / f64::from(2_u32.pow(16)).powi(2)
    }
}

/// The parts of a message that a simple client and server use (RFC 5905 section 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    /// 3 says that the sender's clock is not synchronised.
    leap: u8,
    version: u8,
    mode: u8,
    /// 1 to 15; 0 refuses the client.
    stratum: u8,
    /// In an answer, the `transmit` of the request.
    origin: Stamp,
    receive: Stamp,
    transmit: Stamp,
}

impl Message {
    fn read(bytes: &[u8]) -> Option<Message> {
        let stamp = |at: usize| Some(Stamp(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?)));
        let [first, stratum, ..] = *bytes else { return None };
        Some(Message {
            leap: first >> 6,
            version: first >> 3 & 7,
            mode: first & 7,
            stratum,
            origin: stamp(24)?,
            receive: stamp(32)?,
            transmit: stamp(40)?,
        })
    }

    fn write(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = self.leap << 6 | self.version << 3 | self.mode;
        bytes[1] = self.stratum;
        bytes[24..32].copy_from_slice(&self.origin.0.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.receive.0.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.transmit.0.to_be_bytes());
        bytes
    }
}

fn send(cx: &mut EndpointCx<'_>, to: SocketAddr, message: Message) {
    // A datagram that does not fit in the queue is lost like others; the client asks again.
    let _ = cx.transmit(Transmit {
        to,
        payload: Bytes::copy_from_slice(&message.write()),
        segment_size: None,
        ecn: None,
    });
}

/// Answers with this host's time. An answer is as long as its request, so a forged address amplifies nothing.
struct Server;

impl Endpoint for Server {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        let receive = Stamp::now();
        if let Some(request) = Message::read(datagram.payload)
            && request.mode == CLIENT
        {
            let answer = Message {
                leap: 0,
                version: request.version,
                mode: SERVER,
                // A host whose clock has no better source (the local clock of RFC 5905 section 7.3).
                stratum: 10,
                origin: request.transmit,
                receive,
                transmit: Stamp::now(),
            };
            send(cx, datagram.from, answer);
        }
        Ok(())
    }
}

struct Client {
    server: SocketAddr,
    /// The `transmit` of the last request, which the answer repeats.
    asked: Stamp,
    tries: u32,
    deadline: Option<Instant>,
    found: mpsc::Sender<Result<(f64, f64), &'static str>>,
}

impl Client {
    fn ask(&mut self, cx: &mut EndpointCx<'_>) {
        self.tries += 1;
        self.deadline = Some(cx.now() + PATIENCE);
        self.asked = Stamp::now();
        let request = Message {
            leap: 0,
            version: 4,
            mode: CLIENT,
            stratum: 0,
            origin: Stamp(0),
            receive: Stamp(0),
            transmit: self.asked,
        };
        send(cx, self.server, request);
    }
}

/// Clock offset and round trip in seconds (RFC 5905 section 8), or why the answer is of no use.
fn measure(answer: Message, arrived: Stamp) -> Result<(f64, f64), &'static str> {
    if answer.stratum == 0 {
        return Err("the server refuses to answer");
    }
    if answer.leap == 3 || answer.stratum > 15 || answer.transmit == Stamp(0) {
        return Err("the server's clock is not synchronised");
    }
    let (out, back) = (answer.receive.since(answer.origin), answer.transmit.since(arrived));
    Ok(((out + back) / 2.0, out - back))
}

impl Endpoint for Client {
    type Message = Infallible;
    type Error = Infallible;

    fn opened(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        self.ask(cx);
        Ok(())
    }

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        let arrived = Stamp::now();
        // Anyone can send a datagram: only an answer that repeats the time of our request counts.
        if datagram.from == self.server
            && let Some(answer) = Message::read(datagram.payload)
            && answer.mode == SERVER
            && answer.origin == self.asked
        {
            let _ = self.found.send(measure(answer, arrived));
            cx.close();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        if self.tries < TRIES {
            self.ask(cx);
        } else {
            let _ = self.found.send(Err("no answer"));
            cx.close();
        }
        Ok(())
    }
}

fn main() -> std::io::Result<ExitCode> {
    let options = Options::parse();
    if let Some(listen) = options.listen {
        let socket = UdpSocket::bind(listen)?;
        println!("listening on {}", socket.local_addr()?);
        serve_datagrams(options.driver, socket, |_| Server)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(server) = options.server else {
        return Ok(ExitCode::FAILURE);
    };
    let (found, result) = mpsc::channel();
    serve_datagrams(options.driver, examples::datagrams_to(server)?, |_| Client {
        server,
        asked: Stamp(0),
        tries: 0,
        deadline: None,
        found,
    })?;
    match result.recv().unwrap_or(Err("the socket failed")) {
        Ok((offset, round_trip)) => println!("offset {offset:+.6} s, round trip {round_trip:.6} s"),
        Err(why) => {
            eprintln!("{server}: {why}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: u64, half: bool) -> Stamp {
        Stamp(seconds << 32 | u64::from(half) << 31)
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let message = Message {
            leap: 1,
            version: 4,
            mode: SERVER,
            stratum: 2,
            origin: Stamp(1),
            receive: Stamp(2 << 40),
            transmit: Stamp(u64::MAX),
        };
        let bytes = message.write();
        assert_eq!(Message::read(&bytes), Some(message));
        // The version and the mode of a client, as every NTP client sends them.
        assert_eq!(
            Message {
                leap: 0,
                mode: CLIENT,
                ..message
            }
            .write()[0],
            0x23
        );
        (0..LENGTH).for_each(|length| assert_eq!(Message::read(&bytes[..length]), None));
    }

    /// RFC 5905 section 8: offset ((T2 - T1) + (T3 - T4)) / 2, round trip (T4 - T1) - (T3 - T2).
    #[test]
    fn offset_and_round_trip() {
        let answer = Message {
            leap: 0,
            version: 4,
            mode: SERVER,
            stratum: 1,
            origin: stamp(100, false),
            receive: stamp(110, true),
            transmit: stamp(111, false),
        };
        assert_eq!(measure(answer, stamp(102, false)), Ok((9.75, 1.5)));
        // Across the end of the era, in 2036 (section 6).
        assert_eq!(stamp(1, false).since(stamp(u64::from(u32::MAX), true)), 1.5);
        assert!(measure(Message { stratum: 0, ..answer }, stamp(102, false)).is_err());
        assert!(measure(Message { leap: 3, ..answer }, stamp(102, false)).is_err());
    }
}
