//! A blocking WebSocket client.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use proto_http::{HeadScanner, Parsed, Response, Rules};
use proto_ws::entropy::PerThread;
use proto_ws::handshake::Key;
use proto_ws::handshake::client::Request;
use proto_ws::{Config, Connection, Entropy, Event, Masked, Message};
use protocol::bytes::BytesMut;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    connection: Connection<Masked<PerThread>>,
    input: Vec<u8>,
    output: BytesMut,
}

impl Client {
    /// Connects, and opens a WebSocket at `target`.
    ///
    /// # Errors
    ///
    /// If that fails, or takes longer than 10 s.
    pub(crate) fn open(server: SocketAddr, target: &str) -> io::Result<Self> {
        let mut stream = super::connect(server)?;
        let mut entropy = PerThread;
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let (key, host) = (Key::new(nonce), server.to_string());
        let request = Request::new(&host, target);
        let mut output = BytesMut::new();
        request.write(&key, &mut output).map_err(io::Error::other)?;
        stream.write_all(&output)?;
        output.clear();
        let (mut input, mut scanner) = (Vec::new(), HeadScanner::new());
        let connection = loop {
            if scanner.ready(&input, &Rules::RESPONSES.limits)
                && let Parsed::Complete { head, length } =
                    Response::parse(&input, &Rules::RESPONSES).map_err(io::Error::other)?
            {
                let fields = head.fields().iter().map(|field| (field.name, field.value));
                let granted = request.verify(&key, head.status(), fields).map_err(io::Error::other)?;
                let connection = Connection::client(Arc::new(Config::default()), entropy).granted(&granted);
                input.drain(..length);
                break connection;
            }
            super::read(&mut stream, &mut input)?;
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
    /// If the socket fails.
    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        let Client { connection, output, .. } = self;
        connection.writer.text(output, text).map_err(io::Error::other)?;
        self.flush()
    }

    /// Waits for the next text message.
    ///
    /// # Errors
    ///
    /// If the connection ends, or nothing arrives for 10 s.
    pub(crate) fn receive(&mut self) -> io::Result<String> {
        loop {
            let Connection { reader, writer } = &mut self.connection;
            let mut rest = &mut self.input[..];
            let there = rest.len();
            let heard = match reader.next(writer, &mut rest, &mut self.output) {
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
                None => super::read(&mut self.stream, &mut self.input)?,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }
}
