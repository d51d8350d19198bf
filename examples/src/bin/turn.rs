//! A TURN server over UDP (RFC 8656): relays datagrams for clients behind address translators, such as browsers. The protocol is that of the
//! crate `turn-server-proto`, which knows no socket either; try `turnutils_uclient -u user -w secret 127.0.0.1` of coturn.
//!
//! One endpoint talks with the clients and owns the protocol. Each allocation has a socket, whose endpoint runs in a thread of its own; the
//! endpoints send each other messages. Mailboxes are bounded: what does not fit is lost, as datagrams may be.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::Parser;
use drivers::{Driver, serve_datagrams};
use protocol::bytes::Bytes;
use protocol::{Datagram, Endpoint, EndpointCx, Reason, Sender, Transmit};
use stun_proto::Instant as Elapsed;
use stun_proto::agent::Transmit as Packet;
use stun_proto::types::TransportType;
use turn_server_proto::api::{SocketAllocateError, TurnServerApi, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::types::prelude::DelayedTransmitBuild;

/// Relays datagrams for clients that know a name and a password.
#[derive(Parser)]
struct Options {
    /// Where to listen. Relayed datagrams leave from other ports of the same address.
    #[arg(long, default_value = "127.0.0.1:3478")]
    listen: SocketAddr,
    /// The realm of the credentials.
    #[arg(long, default_value = "example.org")]
    realm: String,
    /// The name of the user.
    #[arg(long)]
    user: String,
    /// The password of the user.
    #[arg(long)]
    password: String,
    /// The most allocations at a time, each with a socket and a thread.
    #[arg(long, default_value_t = 100)]
    allocations: usize,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
}

/// A datagram that a peer has sent to an allocation.
struct Arrived {
    at: SocketAddr,
    from: SocketAddr,
    payload: Vec<u8>,
}

/// What an allocation has to do.
enum Order {
    Send { to: SocketAddr, payload: Vec<u8> },
    Close,
}

fn transmit(cx: &mut EndpointCx<'_>, to: SocketAddr, payload: Vec<u8>) {
    let transmit = Transmit {
        to,
        payload: Bytes::from(payload),
        segment_size: None,
        ecn: None,
    };
    let _ = cx.transmit(transmit);
}

/// The socket of an allocation.
struct Relay {
    at: SocketAddr,
    front: Sender<Arrived>,
}

impl Endpoint for Relay {
    type Message = Order;
    type Error = Infallible;

    fn received(&mut self, _: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        let _ = self.front.send(Arrived {
            at: self.at,
            from: datagram.from,
            payload: datagram.payload.to_vec(),
        });
        Ok(())
    }

    fn posted(&mut self, cx: &mut EndpointCx<'_>, order: Order) -> Result<(), Infallible> {
        match order {
            Order::Send { to, payload } => transmit(cx, to, payload),
            Order::Close => cx.close(),
        }
        Ok(())
    }
}

/// The socket of the clients, and the protocol.
struct Front {
    turn: TurnServer,
    driver: Driver,
    listen: SocketAddr,
    own: Sender<Arrived>,
    relays: HashMap<SocketAddr, Sender<Order>>,
    most: usize,
    started: Instant,
    deadline: Option<Instant>,
}

impl Front {
    /// The time as the protocol counts it.
    fn elapsed(&self, now: Instant) -> Elapsed {
        let nanos = now.saturating_duration_since(self.started).as_nanos();
        Elapsed::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Gives the protocol a datagram that came to the socket `at`.
    fn take(&mut self, cx: &mut EndpointCx<'_>, at: SocketAddr, from: SocketAddr, payload: &[u8]) {
        let now = self.elapsed(cx.now());
        let packet = Packet::new(payload, TransportType::Udp, from, at);
        if let Some(reply) = self.turn.recv(packet, now) {
            self.send(cx, reply.from, reply.to, reply.data.build());
        }
        self.go_on(cx);
    }

    /// Sends a datagram from the socket `from`.
    fn send(&self, cx: &mut EndpointCx<'_>, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        if from == self.listen {
            transmit(cx, to, payload);
        } else if let Some(relay) = self.relays.get(&from) {
            let _ = relay.send(Order::Send { to, payload });
        }
    }

    /// Does what the protocol asks for, until it only waits.
    fn go_on(&mut self, cx: &mut EndpointCx<'_>) {
        let now = self.elapsed(cx.now());
        loop {
            match self.turn.poll(now) {
                TurnServerPollRet::WaitUntil(next) => {
                    self.deadline = Some(cx.now() + next.saturating_duration_since(now));
                    break;
                }
                TurnServerPollRet::AllocateSocket {
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                } => {
                    let made = match allocation_transport {
                        TransportType::Udp => self.allocate(),
                        TransportType::Tcp => Err(SocketAllocateError::AddressFamilyNotSupported),
                    };
                    self.turn.allocated_socket(
                        transport,
                        listen_addr,
                        client_addr,
                        allocation_transport,
                        family,
                        made,
                        now,
                    );
                }
                TurnServerPollRet::SocketClose { listen_addr, .. } => {
                    if let Some(relay) = self.relays.remove(&listen_addr) {
                        let _ = relay.send(Order::Close);
                    }
                }
                // There are no allocations of TCP.
                TurnServerPollRet::TcpConnect { .. } | TurnServerPollRet::TcpClose { .. } => {}
            }
        }
        while let Some(packet) = self.turn.poll_transmit(now) {
            self.send(cx, packet.from, packet.to, packet.data);
        }
    }

    /// Binds the socket of an allocation, and serves it in a thread.
    fn allocate(&mut self) -> Result<SocketAddr, SocketAllocateError> {
        let full = |_| SocketAllocateError::InsufficientCapacity;
        if self.relays.len() >= self.most {
            return Err(SocketAllocateError::InsufficientCapacity);
        }
        let socket = UdpSocket::bind((self.listen.ip(), 0)).map_err(full)?;
        let at = socket.local_addr().map_err(full)?;
        let (driver, front) = (self.driver, self.own.clone());
        let (ready, made) = mpsc::sync_channel(1);
        let serve = move || {
            serve_datagrams(driver, socket, |peer| {
                let _ = ready.send(peer.sender());
                Relay { at, front }
            })
        };
        thread::Builder::new().name("relay".into()).spawn(serve).map_err(full)?;
        let relay = made.recv().map_err(|_| SocketAllocateError::InsufficientCapacity)?;
        self.relays.insert(at, relay);
        Ok(at)
    }
}

impl Endpoint for Front {
    type Message = Arrived;
    type Error = Infallible;

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        self.take(cx, self.listen, datagram.from, datagram.payload);
        Ok(())
    }

    fn posted(&mut self, cx: &mut EndpointCx<'_>, arrived: Arrived) -> Result<(), Infallible> {
        self.take(cx, arrived.at, arrived.from, &arrived.payload);
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        self.go_on(cx);
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        for relay in self.relays.values() {
            let _ = relay.send(Order::Close);
        }
    }
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let socket = UdpSocket::bind(options.listen)?;
    let listen = socket.local_addr()?;
    println!("listening on {listen}");
    let mut turn = TurnServer::new(TransportType::Udp, listen, options.realm);
    turn.add_user(options.user, options.password);
    serve_datagrams(options.driver, socket, |peer| Front {
        turn,
        driver: options.driver,
        listen,
        own: peer.sender(),
        relays: HashMap::new(),
        most: options.allocations,
        started: Instant::now(),
        deadline: None,
    })
    .map(drop)
}
