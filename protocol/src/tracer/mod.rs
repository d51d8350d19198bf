//! A layer that records the bytes of a connection as a packet capture.

mod packet;

use core::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::packet::{Flags, Stream};
use crate::{Cx, FilePiece, Input, OutputPiece, Protocol, Reason, Wrapper};

/// A capture in the format of pcap, which Wireshark, tcpdump and `comet inspect` read: every byte of the traced connections,
/// as packets of TCP over IP that might have carried it. Timestamps are microseconds of the calls' own time.
///
/// Many connections may write into one capture. A failed write ends the capture, never a connection; see
/// [`error`](Capture::error).
///
/// ```
/// use std::time::{Instant, SystemTime};
/// use protocol::testing::Harness;
/// use protocol::{Capture, Cx, Input, Simple, Tracer};
///
/// let capture = Capture::new(Vec::new(), SystemTime::now(), Instant::now())?;
/// let echo = Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all()));
/// let (client, server) = ("192.0.2.1:4242".parse()?, "192.0.2.2:80".parse()?);
/// let mut harness = Harness::new(Tracer::new(echo, &capture, server, client));
/// harness.receive(b"hello");
/// drop(harness);
/// let bytes = capture.into_inner().expect("no connection writes any more");
/// assert_eq!(bytes[..4], 0xa1b2_c3d4_u32.to_le_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Capture<W> {
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    /// The time of day at `at`.
    wall: SystemTime,
    at: Instant,
    sink: Mutex<Sink<W>>,
}

struct Sink<W> {
    write: W,
    error: Option<io::ErrorKind>,
    /// Memory for one packet.
    packet: Vec<u8>,
}

impl<W: Write> Capture<W> {
    /// Writes the beginning of a capture to `write`. Timestamps count from `wall`, which is the time at `at`.
    ///
    /// # Errors
    ///
    /// If the write fails.
    pub fn new(mut write: W, wall: SystemTime, at: Instant) -> io::Result<Self> {
        write.write_all(&packet::file_header())?;
        let sink = Mutex::new(Sink {
            write,
            error: None,
            packet: Vec::new(),
        });
        Ok(Capture {
            shared: Arc::new(Shared { wall, at, sink }),
        })
    }

    /// The error that ended the capture early, if there was one.
    pub fn error(&self) -> Option<io::ErrorKind> {
        self.shared.sink.lock().unwrap_or_else(PoisonError::into_inner).error
    }

    /// Returns the writer, if no tracer and no clone holds the capture any more.
    pub fn into_inner(self) -> Option<W> {
        let shared = Arc::into_inner(self.shared)?;
        Some(shared.sink.into_inner().unwrap_or_else(PoisonError::into_inner).write)
    }

    fn write(&self, now: Instant, stream: &mut Stream, outgoing: bool, flags: Flags, payload: &[u8]) {
        let time = self.shared.wall + now.saturating_duration_since(self.shared.at);
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut sink = self.shared.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let Sink { write, error, packet } = &mut *sink;
        packet.clear();
        stream.write(packet, time, outgoing, flags, payload);
        if error.is_none() {
            *error = write.write_all(packet).err().map(|error| error.kind());
        }
    }
}

impl<W> Clone for Capture<W> {
    fn clone(&self) -> Self {
        Capture {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<W> fmt::Debug for Capture<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

/// A layer that changes nothing and records every byte in a [`Capture`]. Around TLS it records the bytes on the wire, inside TLS the
/// plaintext.
#[derive(Debug)]
pub struct Tracer<P, W> {
    inner: P,
    capture: Capture<W>,
    stream: Stream,
    /// Bytes that were shown and not consumed: they are already in the capture.
    left: usize,
    last: Option<Instant>,
    ended: bool,
}

impl<P: Protocol, W: Write> Tracer<P, W> {
    /// Traces `inner` into `capture`, as a connection between these addresses. The addresses may be invented.
    pub fn new(inner: P, capture: &Capture<W>, local: SocketAddr, remote: SocketAddr) -> Self {
        Tracer {
            inner,
            capture: capture.clone(),
            stream: Stream::new(local, remote),
            left: 0,
            last: None,
            ended: false,
        }
    }

    /// Makes a call, and records the output that it appended.
    fn traced<R>(&mut self, cx: &mut Cx<'_>, call: impl FnOnce(&mut P, &mut Cx<'_>) -> R) -> R {
        self.last = Some(cx.now());
        let before = cx.output().len();
        let result = call(&mut self.inner, cx);
        let now = cx.now();
        let mut skip = before as u64;
        for piece in cx.output().pieces() {
            match piece {
                OutputPiece::Bytes(chunk) => {
                    let new = usize::try_from(skip).ok().and_then(|skip| chunk.get(skip..));
                    self.write(now, true, new.unwrap_or_default());
                    skip = skip.saturating_sub(chunk.len() as u64);
                }
                OutputPiece::File(file) => {
                    let mut new = file.clone();
                    new.advance(skip);
                    skip = skip.saturating_sub(file.len());
                    self.write_file(now, new);
                }
            }
        }
        result
    }

    /// Writes a piece of a file as it is now. If it cannot be read, the connection will fail.
    fn write_file(&mut self, now: Instant, mut file: FilePiece) {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = file.read(&mut buffer) {
            self.write(now, true, &buffer[..n]);
            file.advance(n as u64);
        }
    }

    fn write(&mut self, now: Instant, outgoing: bool, bytes: &[u8]) {
        for payload in bytes.chunks(packet::PAYLOAD_MAX) {
            self.capture
                .write(now, &mut self.stream, outgoing, Flags::PUSH, payload);
        }
    }

    fn mark(&mut self, now: Instant, outgoing: bool, flags: Flags) {
        self.capture.write(now, &mut self.stream, outgoing, flags, b"");
    }
}

impl<P: Protocol, W: Write> Wrapper for Tracer<P, W> {
    type Inner = P;

    fn inner(&self) -> &P {
        &self.inner
    }

    fn inner_mut(&mut self) -> &mut P {
        &mut self.inner
    }

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        // The traced side is recorded as the side that accepted the connection.
        self.mark(cx.now(), false, Flags::SYN);
        self.mark(cx.now(), true, Flags::SYN);
        self.traced(cx, P::connected)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), P::Error> {
        let newer = self.left.min(input.len());
        self.write(cx.now(), false, &input.as_slice()[newer..]);
        let result = self.traced(cx, |inner, cx| inner.received(cx, input));
        self.left = input.len();
        result
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.mark(cx.now(), false, Flags::FIN);
        self.traced(cx, P::eof)
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.traced(cx, P::timeout)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.traced(cx, P::drained)
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.traced(cx, P::again)
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.traced(cx, P::flush)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: P::Message) -> Result<(), P::Error> {
        self.traced(cx, |inner, cx| inner.posted(cx, message))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.traced(cx, P::stop)
    }

    fn closed(&mut self, reason: Reason) {
        if let Some(last) = self.last.filter(|_| !self.ended) {
            self.ended = true;
            let flags = if reason == Reason::Closed {
                Flags::FIN
            } else {
                Flags::RST
            };
            self.mark(last, true, flags);
        }
        self.inner.closed(reason);
    }
}
