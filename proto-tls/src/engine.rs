//! The TLS state machine of one connection: the one file that knows how rustls is driven.
//!
//! rustls is shown whole records alone. One that it does not discard at once is a part of a longer handshake message, and is
//! held here until the rest has come, so that rustls sees the same memory again at every call, those that send included.

use protocol::bytes::{Buf, BytesMut};
use protocol::{Input, Output};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error};

use crate::error::Fault;
use crate::{resolver, staging};

/// Bytes of a record's header (RFC 8446 section 5.1).
const HEADER: usize = 5;
/// Bytes of plaintext in a full record (RFC 8446 section 5.1).
pub(crate) const FULL: usize = 16 * 1024;
/// Bytes of ciphertext that a record may have, in TLS 1.2 (RFC 5246 section 6.2.3); less in TLS 1.3.
const MAX_CIPHERTEXT: usize = FULL + 2048;
/// More than any cipher adds to a record, its header included.
const OVERHEAD: usize = 64;

/// One side of one connection.
pub(crate) struct Engine {
    side: Side,
    /// Records of a handshake message that is not whole; empty, and without memory, but for that.
    held: Vec<u8>,
    /// The name that the client asked for, on a server.
    name: Option<Box<str>>,
    /// Whether the peer has said that it will send no more.
    closed: bool,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// What is left of the input is no whole record.
    Waits,
    /// There is more, for which there was no room.
    More,
    /// The handshake has ended.
    Open,
}

/// Where plaintext goes.
pub(crate) struct Plaintext<'a> {
    pub(crate) room: &'a mut [u8],
    pub(crate) filled: usize,
    /// What one record had that was more than all of the room.
    pub(crate) over: Vec<u8>,
}

impl<'a> Plaintext<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Plaintext {
            room,
            filled: 0,
            over: Vec::new(),
        }
    }

    fn push(&mut self, payload: &[u8]) {
        let end = self.filled + payload.len();
        match self.room.get_mut(self.filled..end) {
            Some(room) if self.over.is_empty() => {
                room.copy_from_slice(payload);
                self.filled = end;
            }
            _ => self.over.extend_from_slice(payload),
        }
    }
}

impl Engine {
    pub(crate) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Side::Server(connection))
    }

    pub(crate) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Side::Client(connection))
    }

    fn new(side: Side) -> Self {
        Engine {
            side,
            held: Vec::new(),
            name: None,
            closed: false,
        }
    }

    /// What both sides know of the connection.
    pub(crate) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// The name that the client asked for.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Whether the peer has sent `close_notify`.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes held of a message that is not whole.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Says what this side says first: a client's hello.
    pub(crate) fn start(&mut self, output: &mut Output) -> Result<(), Fault> {
        self.process(&mut [], output.tail(), &mut Plaintext::new(&mut []))
            .map(drop)
    }

    /// Reads records until the handshake ends, the room is used up, or no whole record is left. Answers go to `output`,
    /// an alert about an error included.
    pub(crate) fn read(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output,
        plaintext: &mut Plaintext<'_>,
    ) -> Result<Read, Fault> {
        let handshaking = self.is_handshaking();
        loop {
            if self.closed {
                // RFC 8446 section 6.1: what comes after a closure alert is ignored.
                input.take_all();
                return Ok(Read::Waits);
            }
            let Some(length) = record_length(input.as_slice()) else {
                return Ok(Read::Waits);
            };
            let room = plaintext.room.len() - plaintext.filled;
            if (plaintext.filled > 0 && room < length) || !plaintext.over.is_empty() {
                return Ok(Read::More);
            }
            self.record(input.take(length), output.tail(), plaintext)?;
            if handshaking {
                self.name = self.name.take().or_else(resolver::take_asked);
                if !self.is_handshaking() {
                    return Ok(Read::Open);
                }
            }
        }
    }

    fn record(&mut self, record: &mut [u8], output: &mut BytesMut, plaintext: &mut Plaintext<'_>) -> Result<(), Fault> {
        if self.held.is_empty() {
            let used = self.process(record, output, plaintext)?;
            if let Some(rest) = record.get(used..).filter(|rest| !rest.is_empty()) {
                self.held.extend_from_slice(rest);
            }
            return Ok(());
        }
        let mut held = core::mem::take(&mut self.held);
        held.extend_from_slice(record);
        let used = self.process(&mut held, output, plaintext)?;
        held.drain(..used.min(held.len()));
        if !held.is_empty() {
            self.held = held;
        }
        Ok(())
    }

    fn process(
        &mut self,
        records: &mut [u8],
        output: &mut BytesMut,
        plaintext: &mut Plaintext<'_>,
    ) -> Result<usize, Fault> {
        let closed = &mut self.closed;
        match &mut self.side {
            Side::Server(connection) => process(connection, records, output, plaintext, closed),
            Side::Client(connection) => process(connection, records, output, plaintext, closed),
        }
    }

    /// Seals the first `n` bytes of `plaintext` into `output`, in full records (RFC 8446 section 5.1). The handshake must have
    /// ended.
    pub(crate) fn write(&mut self, plaintext: &Output, n: usize, output: &mut Output) -> Result<(), Fault> {
        if let Some(piece) = plaintext.chunk().get(..n) {
            return self.seal(piece, output);
        }
        // Pieces are joined, so that a head and its shared body do not make a record each.
        let mut left = n;
        let pieces = plaintext.chunks().map_while(|chunk| {
            let piece = &chunk[..chunk.len().min(left)];
            left -= piece.len();
            Some(piece).filter(|piece| !piece.is_empty())
        });
        staging::join(pieces, |piece| self.seal(piece, output))
    }

    fn seal(&mut self, plaintext: &[u8], output: &mut Output) -> Result<(), Fault> {
        let output = output.tail();
        match &mut self.side {
            Side::Server(connection) => with_writer(connection, &mut self.held, output, |writer, output| {
                encrypt(writer, plaintext, output)
            }),
            Side::Client(connection) => with_writer(connection, &mut self.held, output, |writer, output| {
                encrypt(writer, plaintext, output)
            }),
        }
    }

    /// Says that no more will be sent (RFC 8446 section 6.1). Where this cannot be said, because the connection has failed
    /// or is still in its handshake, nothing is.
    pub(crate) fn close(&mut self, output: &mut Output) {
        if self.is_handshaking() {
            return;
        }
        let output = output.tail();
        let _ = match &mut self.side {
            Side::Server(connection) => with_writer(connection, &mut self.held, output, notify),
            Side::Client(connection) => with_writer(connection, &mut self.held, output, notify),
        };
    }
}

/// How long the record at the front is, if it is whole. What cannot be a record is taken as one, so that rustls refuses it at
/// once instead of waiting for the rest of it.
pub(crate) fn record_length(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let is_record = (20..=24).contains(&header[0]) && header[1] == 3 && length < MAX_CIPHERTEXT;
    if !is_record {
        return Some(bytes.len());
    }
    Some(HEADER + length).filter(|length| *length <= bytes.len())
}

/// What clients' and servers' connections have in common.
trait Records {
    type Data;

    /// Whether there is something to send, which comes before anything is read.
    fn has_output(&self) -> bool;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn has_output(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(records)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn has_output(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(records)
    }
}

/// Has rustls do all that there is to do with `records`; returns how many bytes of them it is done with.
fn process<R: Records>(
    connection: &mut R,
    records: &mut [u8],
    output: &mut BytesMut,
    plaintext: &mut Plaintext<'_>,
    closed: &mut bool,
) -> Result<usize, Fault> {
    let mut used = 0;
    loop {
        let rest = records.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { discard, state, .. } = connection.process(rest);
        used += discard;
        match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, output),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(Fault::new)?;
                    plaintext.push(record.payload);
                    used += record.discard;
                }
            }
            Ok(ConnectionState::PeerClosed) => *closed = true,
            // Early data is off: a server says so, and skips it.
            Ok(_) => return Ok(used),
            Err(error) => {
                say_why(connection, output);
                return Err(Fault::new(error));
            }
        }
    }
}

/// After an error: sends the alert that rustls has made of it. rustls is asked for no more than that, and shown nothing.
fn say_why<R: Records>(connection: &mut R, output: &mut BytesMut) {
    while connection.has_output() {
        match connection.process(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, output),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            _ => return,
        }
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, output: &mut BytesMut) {
    let start = output.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        output.resize(start + size.required_size, 0);
        let written = data.encode(&mut output[start..]).unwrap_or(0);
        output.truncate(start + written);
    }
}

/// Calls `write` when rustls is ready to send.
fn with_writer<R: Records>(
    connection: &mut R,
    held: &mut [u8],
    output: &mut BytesMut,
    write: impl FnOnce(&mut WriteTraffic<'_, R::Data>, &mut BytesMut) -> Result<(), EncryptError>,
) -> Result<(), Fault> {
    loop {
        match connection.process(held).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, output),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::WriteTraffic(mut writer)) => {
                return write(&mut writer, output).map_err(|_| Fault::new(Error::EncryptError));
            }
            Ok(_) => return Err(Fault::new(Error::HandshakeNotComplete)),
            Err(error) => return Err(Fault::new(error)),
        }
    }
}

fn encrypt<D>(writer: &mut WriteTraffic<'_, D>, plaintext: &[u8], output: &mut BytesMut) -> Result<(), EncryptError> {
    let records = plaintext.len().div_ceil(FULL);
    append(output, plaintext.len() + records * OVERHEAD, |room| {
        writer.encrypt(plaintext, room)
    })
}

fn notify<D>(writer: &mut WriteTraffic<'_, D>, output: &mut BytesMut) -> Result<(), EncryptError> {
    append(output, OVERHEAD, |room| writer.queue_close_notify(room))
}

/// Appends what `write` writes, which needs about `size` bytes of room.
fn append(
    output: &mut BytesMut,
    size: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), EncryptError> {
    let start = output.len();
    output.resize(start + size, 0);
    let mut written = write(&mut output[start..]);
    if let Err(EncryptError::InsufficientSize(more)) = &written {
        // What waited in rustls goes out in front.
        output.resize(start + more.required_size, 0);
        written = write(&mut output[start..]);
    }
    output.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop)
}
