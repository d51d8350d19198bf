//! Endpoints on UDP sockets.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use driver_common::tasks::Queue;
use driver_common::udp::{Batches, TRANSMITS, UdpSockRef};
use protocol::driver::Datagrams;
use protocol::{Endpoint, Mailbox, Peer, PeerSource, Reason, Sender};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

/// Batches, messages and timeouts handled before other tasks run.
const ROUNDS: usize = 16;
/// The most messages that wait for the endpoint.
const MAILBOX: usize = 1024;

/// Runs the endpoint that `make` returns on `socket`, until the endpoint closes or fails. Receives and sends in batches
/// where the system supports it (`recvmmsg`, segmentation offload).
///
/// Cancel-safe: the future keeps all state in itself.
///
/// # Errors
///
/// When the socket's options cannot be set. If the socket fails later, the endpoint is told with `closed`.
pub async fn serve_datagrams<E>(socket: UdpSocket, make: impl FnOnce(&Peer<'_, E::Message>) -> E) -> io::Result<Reason>
where
    E: Endpoint,
    E::Message: Send + 'static,
{
    let mut batches = Batches::new(UdpSockRef::from(&socket))?;
    let source = Source {
        socket: &socket,
        mailbox: OnceCell::new(),
    };
    let endpoint = make(&Peer::new(&source));
    let mailbox = source.mailbox.into_inner();
    let mut datagrams = Datagrams::new(endpoint, TRANSMITS);
    datagrams.opened(Instant::now());
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    poll_fn(|cx| {
        for _ in 0..ROUNDS {
            send(&socket, &batches, cx, &mut datagrams);
            if let Some(reason) = datagrams.ended() {
                return Poll::Ready(Ok(reason));
            }
            let now = Instant::now();
            if let Some(message) = mailbox.as_ref().and_then(|mailbox| mailbox.poll(cx.waker())) {
                datagrams.posted(now, message);
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
            // Backpressure: while the socket takes no output, no input is read that would need an answer.
            if datagrams.next().is_some() || receive(&socket, &mut batches, cx, &mut datagrams).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Sends queued transmits, as far as the socket takes them.
fn send<E: Endpoint>(socket: &UdpSocket, batches: &Batches, cx: &mut Context<'_>, datagrams: &mut Datagrams<E>) {
    while let Some(transmit) = datagrams.next() {
        let outcome = match socket.poll_send_ready(cx) {
            Poll::Pending => return,
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) => socket.try_io(Interest::WRITABLE, || {
                batches.send(|| UdpSockRef::from(socket), transmit)
            }),
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A datagram that cannot be sent is lost, as on the network.
            Ok(()) | Err(_) => datagrams.sent(),
        }
    }
}

/// Receives one batch and passes it to the endpoint.
fn receive<E: Endpoint>(
    socket: &UdpSocket,
    batches: &mut Batches,
    cx: &mut Context<'_>,
    datagrams: &mut Datagrams<E>,
) -> Poll<()> {
    loop {
        if let Err(error) = ready!(socket.poll_recv_ready(cx)) {
            datagrams.failed(error.kind());
            return Poll::Ready(());
        }
        let receive = || batches.receive(UdpSockRef::from(socket), Instant::now(), datagrams);
        // Fails only if no datagram waits.
        if socket.try_io(Interest::READABLE, receive).is_ok() {
            return Poll::Ready(());
        }
    }
}

struct Source<'a, M> {
    socket: &'a UdpSocket,
    mailbox: OnceCell<Arc<Queue<M>>>,
}

impl<M: Send + 'static> PeerSource<M> for Source<'_, M> {
    /// `None`: a datagram socket has many peers.
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
