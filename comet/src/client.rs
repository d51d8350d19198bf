//! A WebSocket client on a blocking socket, for the tools.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use proto_ws::entropy::PerThread;
use proto_ws::handshake::client::Request;
use proto_ws::handshake::{Head, Key};
use proto_ws::{Config, Connection, Entropy, Event, Masked, Message};
use protocol::bytes::BytesMut;

/// How long either side may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    connection: Connection<Masked<PerThread>>,
    input: Vec<u8>,
    output: BytesMut,
}

impl Client {
    /// Connects, and opens the WebSocket at `target`.
    ///
    /// # Errors
    ///
    /// When that does not work, or takes longer than 10 s.
    pub(crate) fn open(server: SocketAddr, target: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut entropy = PerThread;
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let (key, host) = (Key::new(nonce), server.to_string());
        let request = Request::new(&host, target);
        let mut output = BytesMut::new();
        request.write(&key, &mut output).map_err(io::Error::other)?;
        stream.write_all(&output)?;
        output.clear();
        let (mut input, mut scanned) = (Vec::new(), 0);
        let connection = loop {
            if let Some((head, length)) = Head::read(&input, &mut scanned).map_err(io::Error::other)? {
                let granted = request.verify(&key, head).map_err(io::Error::other)?;
                let connection = Connection::client(Arc::new(Config::default()), entropy).granted(&granted);
                input.drain(..length);
                break connection;
            }
            read(&mut stream, &mut input)?;
        };
        Ok(Client {
            stream,
            connection,
            input,
            output,
        })
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        let Client { connection, output, .. } = self;
        connection.writer.text(output, text).map_err(io::Error::other)?;
        self.flush()
    }

    /// The next text message; waits for it.
    ///
    /// # Errors
    ///
    /// When the connection ends, or nothing comes for 10 s.
    pub(crate) fn receive(&mut self) -> io::Result<String> {
        loop {
            let Connection { reader, writer } = &mut self.connection;
            let mut rest = &mut self.input[..];
            let there = rest.len();
            let heard = match reader.receive(writer, &mut rest, &mut self.output) {
                Ok(Some(Event::Message(Message::Text(text)))) => Some(text.to_owned()),
                Ok(Some(Event::Close(close))) => {
                    return Err(io::Error::other(format!("closed with {}", close.code.get())));
                }
                Ok(Some(_)) => Some(String::new()),
                Ok(None) => None,
                Err(error) => return Err(io::Error::other(error)),
            };
            let used = there - rest.len();
            self.input.drain(..used);
            self.flush()?;
            match heard {
                Some(text) if !text.is_empty() => return Ok(text),
                Some(_) => {}
                None => read(&mut self.stream, &mut self.input)?,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }
}

fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let there = input.len();
    input.resize(there + READ, 0);
    let n = stream.read(&mut input[there..])?;
    input.truncate(there + n);
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
