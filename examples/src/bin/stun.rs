//! STUN (RFC 8489) over UDP, both ends: `stun --listen 127.0.0.1:3478` tells clients the address that their datagrams come from, and `stun
//! 127.0.0.1:3478` asks. The messages and the retransmissions are those of the crate `stun-proto`, which knows no socket either.

use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use drivers::{Driver, serve_datagrams};
use protocol::bytes::Bytes;
use protocol::{Datagram, Endpoint, EndpointCx, Transmit};
use stun_proto::Instant as Elapsed;
use stun_proto::agent::{StunAgent, StunAgentPollRet};
use stun_proto::types::TransportType;
use stun_proto::types::attribute::{ErrorCode, Fingerprint, XorMappedAddress};
use stun_proto::types::message::{BINDING, Message, MessageClass, MessageWriteVec};
use stun_proto::types::prelude::*;

/// Asks a STUN server for this host's address, or is one.
#[derive(Parser)]
struct Options {
    /// The server to ask.
    #[arg(required_unless_present = "listen", conflicts_with = "listen")]
    server: Option<SocketAddr>,
    /// Serve on this address.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
}

fn transmit(to: SocketAddr, message: Vec<u8>) -> Transmit {
    Transmit {
        to,
        payload: Bytes::from(message),
        segment_size: None,
        ecn: None,
    }
}

/// Answers without any state, so that a sender with a forged address costs no memory.
struct Server;

impl Endpoint for Server {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        // Only requests are answered (RFC 8489 section 6.3): two servers never answer each other.
        if let Ok(message) = Message::from_bytes(datagram.payload)
            && message.has_class(MessageClass::Request)
            && let Some(answer) = answer(&message, datagram.from)
        {
            // A lost answer is asked for again.
            let _ = cx.transmit(transmit(datagram.from, answer));
        }
        Ok(())
    }
}

fn answer(request: &Message<'_>, from: SocketAddr) -> Option<Vec<u8>> {
    // An unknown attribute that must be understood gets a 420 (RFC 8489 section 6.3.1).
    if let Some(unknown) = Message::check_attribute_types(request, &[Fingerprint::TYPE], &[], MessageWriteVec::new()) {
        return Some(unknown.finish());
    }
    if !request.has_method(BINDING) {
        let mut answer = Message::builder_error(request, MessageWriteVec::new());
        answer.add_attribute(&ErrorCode::new(400, "Bad Request").ok()?).ok()?;
        return Some(answer.finish());
    }
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    let address = XorMappedAddress::new(from, request.transaction_id());
    answer.add_attribute(&address).ok()?;
    answer.add_fingerprint().ok()?;
    Some(answer.finish())
}

struct Client {
    agent: StunAgent,
    server: SocketAddr,
    started: Instant,
    deadline: Option<Instant>,
    found: mpsc::Sender<SocketAddr>,
}

impl Client {
    /// The time as the agent counts it.
    fn elapsed(&self, now: Instant) -> Elapsed {
        let nanos = now.saturating_duration_since(self.started).as_nanos();
        Elapsed::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Sends what is due, and learns when to go on. Closes when the agent has given up.
    fn go_on(&mut self, cx: &mut EndpointCx<'_>) {
        let now = self.elapsed(cx.now());
        match self.agent.poll(now) {
            StunAgentPollRet::WaitUntil(next) => {
                self.deadline = Some(cx.now() + next.saturating_duration_since(now));
            }
            StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) => cx.close(),
        }
        while let Some(due) = self.agent.poll_transmit(now) {
            let _ = cx.transmit(transmit(due.to, due.data.to_vec()));
        }
    }
}

impl Endpoint for Client {
    type Message = Infallible;
    type Error = Infallible;

    fn opened(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
        let now = self.elapsed(cx.now());
        // A request without attributes cannot fail to be written.
        let _ = request.add_fingerprint();
        match self.agent.send_request(request.finish(), self.server, now) {
            Ok(first) => {
                let _ = cx.transmit(transmit(first.to, first.data.to_vec()));
                self.go_on(cx);
            }
            Err(_) => cx.close(),
        }
        Ok(())
    }

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        let now = self.elapsed(cx.now());
        // Anyone can send a datagram: only an answer of the server to our request counts.
        if datagram.from == self.server
            && let Ok(message) = Message::from_bytes(datagram.payload)
            && message.is_response()
            && self.agent.handle_stun_message_with_time(&message, datagram.from, now)
        {
            if let Ok(mapped) = message.attribute::<XorMappedAddress>() {
                let _ = self.found.send(mapped.addr(message.transaction_id()));
            }
            cx.close();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        self.go_on(cx);
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
    let socket = examples::datagrams_to(server)?;
    let second = Duration::from_secs(1);
    // Half a second, then twice as long each time (RFC 8489 section 6.2.1), but fewer times: somebody waits.
    let agent = StunAgent::builder(TransportType::Udp, socket.local_addr()?).request_retransmits(
        second / 2,
        second * 4,
        4,
        second,
    );
    let (found, address) = mpsc::channel();
    serve_datagrams(options.driver, socket, |_| Client {
        agent: agent.build(),
        server,
        started: Instant::now(),
        deadline: None,
        found,
    })?;
    match address.recv() {
        Ok(address) => println!("{address}"),
        Err(_) => {
            eprintln!("{server} has not answered");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
