//! Endpoints on UDP sockets.

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use protocol::driver::Datagrams;
use protocol::{Datagram, Ecn, Endpoint, Mailbox, Peer, PeerSource, Reason, Sender, Transmit};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use crate::mailbox::{Lazy, Queue};

/// Datagrams taken from the kernel at once.
const BATCH: usize = 32;
/// Batches, messages and timeouts handled before other tasks have their turn.
const ROUNDS: usize = 16;
/// Transmits that may wait for the socket.
const TRANSMITS: usize = 1024;
/// Messages that may wait for the endpoint.
const MAILBOX: usize = 1024;

/// Runs the endpoint that `make` makes on `socket`, until it closes or fails. Receives and sends in batches where the
/// system can (`recvmmsg`, segmentation offload).
///
/// Cancel-safe: nothing is kept across an await but in the future itself.
///
/// # Errors
///
/// When the socket's options cannot be set. A socket that fails later the endpoint is told of, as `closed`.
pub async fn serve_datagrams<E>(socket: UdpSocket, make: impl FnOnce(&Peer<'_, E::Message>) -> E) -> io::Result<Reason>
where
    E: Endpoint,
    E::Message: Send + 'static,
{
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let source = Source {
        socket: &socket,
        mailbox: Lazy::new(),
    };
    let endpoint = make(&Peer::new(&source));
    let mailbox = source.mailbox.into_inner();
    // Room for a batch whose every member the kernel has joined from several datagrams.
    let room = 64 * 1024;
    let mut buffers = vec![0; BATCH * room];
    let mut datagrams = Datagrams::new(endpoint, TRANSMITS);
    datagrams.opened(Instant::now());
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    poll_fn(|cx| {
        for _ in 0..ROUNDS {
            send(&socket, &state, cx, &mut datagrams);
            if let Some(reason) = datagrams.ended() {
                return Poll::Ready(Ok(reason));
            }
            let now = Instant::now();
            if let Some(message) = mailbox.as_ref().and_then(|mailbox| mailbox.poll(cx.waker())) {
                datagrams.message(now, message);
                continue;
            }
            if let Some(deadline) = datagrams.deadline() {
                if deadline <= now {
                    datagrams.timeout(now);
                    continue;
                }
                sleep.as_mut().reset(deadline.into());
                if sleep.as_mut().poll(cx).is_ready() {
                    continue;
                }
            }
            // Back-pressure: while the socket takes nothing, nothing is read that would have to be answered.
            if datagrams.next().is_some() || receive(&socket, &state, cx, &mut buffers, &mut datagrams).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Sends what waits, as far as the socket takes it.
fn send<E: Endpoint>(socket: &UdpSocket, state: &UdpSocketState, cx: &mut Context<'_>, datagrams: &mut Datagrams<E>) {
    while let Some(transmit) = datagrams.next() {
        let outcome = match socket.poll_send_ready(cx) {
            Poll::Pending => return,
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) => socket.try_io(Interest::WRITABLE, || send_one(socket, state, transmit)),
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A datagram that cannot be sent is lost, as on the way.
            Ok(()) | Err(_) => datagrams.sent(),
        }
    }
}

/// Sends one transmit, in one call where the system can, else segment by segment.
fn send_one(socket: &UdpSocket, state: &UdpSocketState, transmit: &Transmit) -> io::Result<()> {
    let to = |contents, segment_size| quinn_udp::Transmit {
        destination: transmit.to,
        ecn: transmit.ecn.map(|ecn| match ecn {
            Ecn::Ect0 => EcnCodepoint::Ect0,
            Ecn::Ect1 => EcnCodepoint::Ect1,
            Ecn::Ce => EcnCodepoint::Ce,
        }),
        contents,
        segment_size,
        src_ip: None,
    };
    let socket = || UdpSockRef::from(socket);
    let Some(size) = transmit.segment_size.map(|size| usize::from(size.get())) else {
        return state.try_send(socket(), &to(&transmit.payload, None));
    };
    for part in transmit.payload.chunks(size * state.max_gso_segments().max(1)) {
        state.try_send(socket(), &to(part, (part.len() > size).then_some(size)))?;
    }
    Ok(())
}

/// Receives one batch and shows it to the endpoint.
fn receive<E: Endpoint>(
    socket: &UdpSocket,
    state: &UdpSocketState,
    cx: &mut Context<'_>,
    buffers: &mut [u8],
    datagrams: &mut Datagrams<E>,
) -> Poll<()> {
    let room = buffers.len() / BATCH;
    let mut metas = [RecvMeta::default(); BATCH];
    let received = loop {
        if let Err(error) = ready!(socket.poll_recv_ready(cx)) {
            break Err(error);
        }
        let mut slices = buffers.chunks_mut(room).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            core::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let receive = || state.recv(UdpSockRef::from(socket), &mut slices, &mut metas);
        match socket.try_io(Interest::READABLE, receive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => break outcome,
        }
    };
    match received {
        Ok(count) => {
            let now = Instant::now();
            for (meta, buffer) in metas.iter().zip(buffers.chunks_mut(room)).take(count) {
                let joined = buffer.get_mut(..meta.len).unwrap_or_default();
                let mut show = |payload: &mut [u8]| {
                    let mut datagram = Datagram::new(meta.addr, payload);
                    datagram.to = meta.dst_ip;
                    datagram.ecn = meta.ecn.map(|ecn| match ecn {
                        EcnCodepoint::Ect0 => Ecn::Ect0,
                        EcnCodepoint::Ect1 => Ecn::Ect1,
                        EcnCodepoint::Ce => Ecn::Ce,
                    });
                    datagrams.received(now, datagram);
                };
                if joined.is_empty() {
                    show(&mut []);
                }
                joined.chunks_mut(meta.stride.max(1)).for_each(show);
            }
        }
        // An answer to something sent earlier: that peer is not there, others are.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) => datagrams.failed(error.kind()),
    }
    Poll::Ready(())
}

struct Source<'a, M> {
    socket: &'a UdpSocket,
    mailbox: Lazy<M>,
}

impl<M: Send + 'static> PeerSource<M> for Source<'_, M> {
    /// None: a datagram socket has many peers.
    fn remote(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    fn sender(&self) -> Sender<M> {
        let mailbox = Arc::clone(self.mailbox.get_or_init(|| Queue::new(MAILBOX)));
        Sender::new(mailbox as Arc<dyn Mailbox<M>>, 0)
    }
}
