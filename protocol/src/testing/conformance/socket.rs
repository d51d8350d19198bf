//! A peer over TCP.

#![expect(
    clippy::disallowed_types,
    reason = "a test peer for drivers over sockets; no protocol code"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Received, Wire};

/// The peer's end of a TCP connection to the driver under test.
#[derive(Debug)]
pub struct SocketWire {
    stream: TcpStream,
}

impl SocketWire {
    /// Connects; `None` if nobody listens.
    pub fn connect(to: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(to).ok()?;
        let _ = stream.set_nodelay(true);
        Some(SocketWire { stream })
    }
}

impl Wire for SocketWire {
    fn send(&mut self, bytes: &[u8]) {
        // A disconnected peer is detected by `receive`.
        let _ = self.stream.write_all(bytes);
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let mut buffer = vec![0; 256 * 1024];
        let _ = self
            .stream
            .set_read_timeout(Some(patience.max(Duration::from_millis(1))));
        match self.stream.read(&mut buffer) {
            Ok(0) => Received::Eof,
            Ok(n) => Received::Bytes(buffer[..n].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Received::Nothing,
            Err(_) => Received::Reset,
        }
    }

    fn shutdown(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn reset(self: Box<Self>) {
        // A close with unread input sends a reset, so some input must have arrived.
        let _ = self.stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = self.stream.peek(&mut [0]);
        drop(self.stream);
    }

    fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
