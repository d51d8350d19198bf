//! A blocking HTTP client: one request after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;

use proto_http::{BodyLength, ClientConnection, ClientEvent, Rules};

/// The content of requests whose answers alone matter.
const EMPTY: &[u8] = &[];

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    connection: ClientConnection,
    host: String,
    authorization: Option<String>,
    input: Vec<u8>,
}

impl Client {
    /// Connects. With a `token`, every request carries the token.
    ///
    /// # Errors
    ///
    /// If the connect fails, or takes longer than 10 s.
    pub(crate) fn open(server: SocketAddr, token: Option<&str>) -> io::Result<Self> {
        Ok(Client::over(super::connect(server)?, &server.to_string(), token))
    }

    /// Sends requests, which `next` returns until there are no more, without waiting for answers; `check` gets each answer on
    /// another thread.
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask), and those of `check`.
    pub(crate) fn pipeline(
        mut self,
        method: &str,
        target: &str,
        mut next: impl FnMut() -> Option<Vec<u8>>,
        check: impl Fn(u16, Vec<u8>) -> io::Result<()> + Send,
    ) -> io::Result<()> {
        let mut requests = Client {
            stream: self.stream.try_clone()?,
            connection: ClientConnection::new(),
            host: self.host.clone(),
            authorization: self.authorization.clone(),
            input: Vec::new(),
        };
        let (sent, answers) = mpsc::channel();
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                // Each answer belongs to a request that this side's state machine knows; what it would write has been written.
                for content in answers {
                    self.encode(method, target, content)?;
                    let (status, content) = self.answer()?;
                    check(status, content)?;
                }
                Ok(())
            });
            while let Some(content) = next() {
                requests.connection = ClientConnection::new();
                let output = requests.encode(method, target, &content)?;
                requests.stream.write_all(&output)?;
                if sent.send(EMPTY).is_err() {
                    break;
                }
            }
            drop(sent);
            let ended = reader.join();
            ended.unwrap_or_else(|_| Err(io::Error::other("the reader of answers panicked")))
        })
    }
}

impl<S: Read + Write> Client<S> {
    /// Speaks over a connection that stands, to the server of the name `host`.
    pub(crate) fn over(stream: S, host: &str, token: Option<&str>) -> Self {
        Client {
            stream,
            connection: ClientConnection::new(),
            host: host.to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
            input: Vec::new(),
        }
    }

    /// Sends a request and waits for the response. Returns its status and content.
    ///
    /// # Errors
    ///
    /// If the connection ends, nothing arrives for as long as the stream waits (10 s after `open`), or the response is not HTTP.
    pub(crate) fn ask(&mut self, method: &str, target: &str, content: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let output = self.encode(method, target, content)?;
        self.stream.write_all(&output)?;
        self.answer()
    }

    fn encode(&mut self, method: &str, target: &str, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut fields = vec![("Host", self.host.as_str())];
        if let Some(authorization) = &self.authorization {
            fields.push(("Authorization", authorization));
        }
        let mut output = Vec::new();
        let body = match content.len() {
            0 => BodyLength::Empty,
            length => BodyLength::Length(length as u64),
        };
        self.connection
            .send_request(method, target, &fields.as_slice(), body, &mut output)
            .map_err(io::Error::other)?;
        if !content.is_empty() {
            let sent = self.connection.send_data(content, &mut output);
            sent.and_then(|()| self.connection.finish(&(), &mut output))
                .map_err(io::Error::other)?;
        }
        Ok(output)
    }

    fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let (mut status, mut content) = (0, Vec::new());
        loop {
            let mut rest = &self.input[..];
            let event = self
                .connection
                .next(&Rules::DEFAULT, &mut rest)
                .map_err(io::Error::other)?;
            let (mut wants, mut ended) = (false, false);
            match event {
                Some(ClientEvent::Response(response)) => status = response.status(),
                Some(ClientEvent::Data(data)) => content.extend_from_slice(data),
                Some(ClientEvent::End(_)) => ended = true,
                None => wants = true,
                _ => {}
            }
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if ended {
                return Ok((status, content));
            }
            if wants {
                super::read(&mut self.stream, &mut self.input)?;
            }
        }
    }
}
