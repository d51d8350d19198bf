//! UDP sockets: the system's ways to receive and send many datagrams in one call (`recvmmsg`, generic receive and
//! segmentation offload), in the terms of the `protocol` crate.

use std::io::{self, ErrorKind, IoSliceMut};
use std::time::Instant;

use protocol::driver::Datagrams;
use protocol::{Datagram, Ecn, Endpoint, Transmit};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};

pub use quinn_udp::UdpSockRef;

/// The most transmits that wait for a socket.
pub const TRANSMITS: usize = 1024;

/// Datagrams taken from the kernel at once.
const BATCH: usize = 32;
/// Bytes for one member of a batch, into which the kernel may have joined several datagrams of one sender.
const ROOM: usize = 64 * 1024;

/// The state for receiving and sending on one socket, besides the socket itself. Memory: 2 MiB of buffers.
#[derive(Debug)]
pub struct Batches {
    state: UdpSocketState,
    buffers: Box<[u8]>,
}

impl Batches {
    /// Sets the socket's options and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// When a required option cannot be set.
    pub fn new(socket: UdpSockRef<'_>) -> io::Result<Self> {
        Ok(Batches {
            state: UdpSocketState::new(socket)?,
            buffers: vec![0; BATCH * ROOM].into(),
        })
    }

    /// Sends one transmit: in one call if the system can split it into segments, otherwise in several.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](ErrorKind::WouldBlock) when the socket takes nothing now; any other error means that the transmit is
    /// lost.
    pub fn send<'s>(&self, socket: impl Fn() -> UdpSockRef<'s>, transmit: &Transmit) -> io::Result<()> {
        let of = |contents, segment_size| quinn_udp::Transmit {
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
        let Some(size) = transmit.segment_size.map(|size| usize::from(size.get())) else {
            return self.state.try_send(socket(), &of(&transmit.payload, None));
        };
        for part in transmit.payload.chunks(size * self.state.max_gso_segments().max(1)) {
            self.state
                .try_send(socket(), &of(part, (part.len() > size).then_some(size)))?;
        }
        Ok(())
    }

    /// Receives one batch and passes it to the endpoint. If the socket has failed, the endpoint is told.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](ErrorKind::WouldBlock) when no datagram waits.
    pub fn receive<E: Endpoint>(
        &mut self,
        socket: UdpSockRef<'_>,
        now: Instant,
        datagrams: &mut Datagrams<E>,
    ) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BATCH];
        let mut slices = self.buffers.chunks_mut(ROOM).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            core::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let count = match self.state.recv(socket, &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
            // ICMP's answer to an earlier datagram: that peer is unreachable, others are not.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) => 0,
            Err(error) => {
                datagrams.failed(error.kind());
                0
            }
        };
        for (meta, buffer) in metas.iter().zip(self.buffers.chunks_mut(ROOM)).take(count) {
            let joined = buffer.get_mut(..meta.len).unwrap_or_default();
            if joined.is_empty() {
                show(now, meta, &mut [], datagrams);
            }
            for payload in joined.chunks_mut(meta.stride.max(1)) {
                show(now, meta, payload, datagrams);
            }
        }
        Ok(())
    }
}

fn show<E: Endpoint>(now: Instant, meta: &RecvMeta, payload: &mut [u8], datagrams: &mut Datagrams<E>) {
    let mut datagram = Datagram::new(meta.addr, payload);
    datagram.to = meta.dst_ip;
    datagram.ecn = meta.ecn.map(|ecn| match ecn {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    });
    datagrams.received(now, datagram);
}
