//! Endpoints on UDP sockets.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_common::udp::{Batches, TRANSMITS, UdpSockRef};
use protocol::driver::Datagrams;
use protocol::{Endpoint, Mailbox, Peer, PeerSource, Reason, Sender};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::poll::wait;
use crate::queue::Queue;

/// The most messages that wait for the endpoint.
const MAILBOX: usize = 1024;
/// Batches handled per turn.
const BATCHES: usize = 4;
/// Event data of the socket, and of the mailbox.
const SOCKET: u64 = 0;
const WAKE: u64 = 1;

/// Runs the endpoint that `make` returns on `socket`, on this thread, until the endpoint closes or fails. Receives and sends
/// in batches where the system supports it (`recvmmsg`, segmentation offload).
///
/// # Errors
///
/// When the socket's options cannot be set, or the kernel refuses to wait. If the socket fails later, the endpoint is told
/// with `closed`.
pub fn serve_datagrams<E>(socket: UdpSocket, make: impl FnOnce(&Peer<'_, E::Message>) -> E) -> io::Result<Reason>
where
    E: Endpoint,
    E::Message: Send + 'static,
{
    let mut batches = Batches::new(UdpSockRef::from(&socket))?;
    let queue = Queue::new(MAILBOX)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &socket,
        epoll::EventData::new_u64(SOCKET),
        epoll::EventFlags::IN,
    )?;
    epoll::add(
        &epoll,
        queue.wake_fd(),
        epoll::EventData::new_u64(WAKE),
        epoll::EventFlags::IN,
    )?;
    let endpoint = make(&Peer::new(&Source {
        socket: &socket,
        queue: &queue,
    }));
    let mut datagrams = Datagrams::new(endpoint, TRANSMITS);
    let mut events: Vec<epoll::Event> = Vec::with_capacity(2);
    let mut messages = VecDeque::new();
    let mut interest = epoll::EventFlags::IN;
    datagrams.opened(Instant::now());
    loop {
        send(&socket, &batches, &mut datagrams);
        if let Some(reason) = datagrams.ended() {
            queue.close();
            return Ok(reason);
        }
        // Backpressure: while the socket takes no output, no input is read that would need an answer.
        let blocked = datagrams.next().is_some();
        let wanted = if blocked {
            epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        if wanted != interest {
            epoll::modify(&epoll, &socket, epoll::EventData::new_u64(SOCKET), wanted)?;
            interest = wanted;
        }
        let now = Instant::now();
        let sleep = datagrams
            .deadline()
            .map(|deadline| deadline.saturating_duration_since(now));
        let sleep = if queue.may_sleep() { sleep } else { Some(Duration::ZERO) };
        wait(&epoll, spare_capacity(&mut events), sleep)?;
        let now = Instant::now();
        for event in events.drain(..) {
            if event.data.u64() == WAKE {
                queue.clear_wake();
            } else if !blocked {
                for _ in 0..BATCHES {
                    // Fails only if no datagram waits.
                    if batches.receive(UdpSockRef::from(&socket), now, &mut datagrams).is_err() {
                        break;
                    }
                    send(&socket, &batches, &mut datagrams);
                }
            }
        }
        queue.drain(&mut messages);
        for message in messages.drain(..) {
            datagrams.posted(now, message);
        }
        datagrams.timeout(now);
    }
}

/// Sends queued transmits, as far as the socket takes them.
fn send<E: Endpoint>(socket: &UdpSocket, batches: &Batches, datagrams: &mut Datagrams<E>) {
    while let Some(transmit) = datagrams.next() {
        match batches.send(|| UdpSockRef::from(socket), transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // A datagram that cannot be sent is lost, as on the network.
            Ok(()) | Err(_) => datagrams.sent(),
        }
    }
}

struct Source<'a, M> {
    socket: &'a UdpSocket,
    queue: &'a Arc<Queue<M>>,
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
        Sender::new(Arc::clone(self.queue) as Arc<dyn Mailbox<M>>, 0)
    }
}
