//! The TLS state machine of one connection. Only this file knows how to drive rustls.
//!
//! rustls is given only whole records. A record that it does not consume at once is part of a longer handshake message. Such records are
//! held here until the rest arrives, because rustls must see the same memory at every call, including calls that send.

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
/// Largest ciphertext of a record in TLS 1.2 (RFC 5246 section 6.2.3); TLS 1.3 allows less.
const MAX_CIPHERTEXT: usize = FULL + 2048;
/// An upper bound for the bytes that a cipher adds to a record, including the header.
const OVERHEAD: usize = 64;

/// One side of one connection.
pub(crate) struct Engine {
    side: Side,
    /// Records of an incomplete handshake message. Otherwise empty and without allocation.
    held: Vec<u8>,
    /// On a server, the name that the client asked for.
    name: Option<Box<str>>,
    /// Whether the peer has sent `close_notify`.
    closed: bool,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The result of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The input holds no further whole record.
    Waits,
    /// The input holds another record, but the plaintext buffer is full.
    More,
    /// The handshake is complete.
    Open,
}

/// The destination for plaintext.
pub(crate) struct Plaintext<'a> {
    pub(crate) room: &'a mut [u8],
    pub(crate) filled: usize,
    /// Plaintext of one record that is larger than the whole buffer.
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

    /// The state that rustls has in both roles.
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

    /// Bytes held of an incomplete handshake message.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Starts the handshake: a client sends its hello.
    pub(crate) fn start(&mut self, output: &mut Output) -> Result<(), Fault> {
        self.process(&mut [], output.tail(), &mut Plaintext::new(&mut []))
            .map(drop)
    }

    /// Reads records until the handshake is complete, the plaintext buffer is full, or no whole record is left. Replies go to `output`,
    /// including an alert if there was an error.
    pub(crate) fn read(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output,
        plaintext: &mut Plaintext<'_>,
    ) -> Result<Read, Fault> {
        let handshaking = self.is_handshaking();
        loop {
            if self.closed {
                // Input after a closure alert is ignored (RFC 8446 section 6.1).
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

    /// Encrypts the first `n` bytes of `plaintext` into `output`, in full records (RFC 8446 section 5.1). The handshake must be complete.
    pub(crate) fn write(&mut self, plaintext: &Output, n: usize, output: &mut Output) -> Result<(), Fault> {
        if let Some(piece) = plaintext.chunk().get(..n) {
            return self.seal(piece, output);
        }
        // Pieces are joined, so that a head and its shared body do not become a record each.
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

    /// Sends `close_notify` (RFC 8446 section 6.1). Does nothing during the handshake or after a failure.
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

/// The length of the first record, if the record is complete. Bytes that cannot begin a record count as one, so that rustls refuses them at
/// once instead of waiting for more.
pub(crate) fn record_length(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let is_record = (20..=24).contains(&header[0]) && header[1] == 3 && length < MAX_CIPHERTEXT;
    if !is_record {
        return Some(bytes.len());
    }
    Some(HEADER + length).filter(|length| *length <= bytes.len())
}

/// The interface that rustls's client and server connections share.
trait Records {
    type Data;

    /// Whether there is output, which must be sent before anything is read.
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

/// Lets rustls process `records` completely. Returns how many bytes it has consumed.
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
            // Early data is disabled: the server refuses and skips it.
            Ok(_) => return Ok(used),
            Err(error) => {
                say_why(connection, output);
                return Err(Fault::new(error));
            }
        }
    }
}

/// After an error: sends the alert that rustls has prepared. Gives rustls no more input.
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

/// Calls `write` once rustls is ready to send.
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

/// Appends the output of `write`, which needs about `size` bytes.
fn append(
    output: &mut BytesMut,
    size: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), EncryptError> {
    let start = output.len();
    output.resize(start + size, 0);
    let mut written = write(&mut output[start..]);
    if let Err(EncryptError::InsufficientSize(more)) = &written {
        // rustls puts its pending output in front.
        output.resize(start + more.required_size, 0);
        written = write(&mut output[start..]);
    }
    output.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop)
}
