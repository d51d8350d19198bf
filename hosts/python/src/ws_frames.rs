//! An open WebSocket connection: frames in and out, and the closing handshake.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use proto_ws::entropy::PerThread;
use proto_ws::{CloseCode, Config, Connection, Event, Masked, Misuse, Reader, Side as Role, Unmasked, Writer};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::bytes_like::bytes_of;
use crate::ws_events::{BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage};
use crate::ws_handshake::{Deflate, Parameters};

pyo3::import_exception!(wirestate._ws_errors, LocalProtocolError);

/// Memory for input or output that an idle connection keeps.
const KEEP: usize = 64 * 1024;

/// Messages from this size are masked and compressed while other threads run.
const LARGE: usize = 64 * 1024;

/// The time after which the peer may send as many control frames again as `Limits::control_frames` allows: that of the adapters.
const REFILL: u64 = 60;

enum Side {
    Server(Connection<Unmasked>),
    Client(Connection<Masked<PerThread>>),
}

/// Runs `$body` with the connection of either side.
macro_rules! with {
    ($side:expr, $connection:ident => $body:expr) => {
        match $side {
            Side::Server($connection) => $body,
            Side::Client($connection) => $body,
        }
    };
}

/// The states that wsproto knows after the opening handshake. The codec's state is `Closed` as soon as a Close frame arrives, for
/// the codec has answered it then; here Python answers it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    RemoteClosing,
    LocalClosing,
    Closed,
}

/// A connection after its opening handshake.
#[pyclass(module = "wirestate._core")]
pub(crate) struct Frames {
    side: Side,
    input: BytesMut,
    out: BytesMut,
    state: State,
    /// A message that is sent in parts has not ended.
    in_parts: bool,
    /// The stream ended without a Close frame, and Python was not told.
    ended: bool,
    refilled: Instant,
}

pub(crate) fn misuse(misuse: Misuse) -> PyErr {
    LocalProtocolError::new_err(misuse.to_string())
}

fn code(code: u16) -> PyResult<CloseCode> {
    match code {
        1005 => Ok(CloseCode::NO_STATUS),
        _ => CloseCode::new(code).ok_or_else(|| misuse(Misuse::CloseCode(code))),
    }
}

/// The next event, as Python sees it, and the state after it.
fn step<S: Role>(
    py: Python<'_>,
    reader: &mut Reader,
    writer: &mut Writer<S>,
    input: &mut &mut [u8],
    out: &mut BytesMut,
    state: &mut State,
) -> PyResult<Option<Py<PyAny>>> {
    let close = match reader.next(writer, input, out) {
        Ok(None) => return Ok(None),
        Ok(Some(Event::Message(message))) => return message_event(py, message, true).map(Some),
        Ok(Some(Event::Part { part, last })) => return message_event(py, part, last).map(Some),
        Ok(Some(Event::Ping(payload))) => return Ok(Some(Py::new(py, Ping::received(py, payload))?.into_any())),
        Ok(Some(Event::Pong(payload))) => return Ok(Some(Py::new(py, Pong::received(py, payload))?.into_any())),
        Ok(Some(Event::Close(close))) => CloseConnection::received(close.code, Some(close.reason)),
        // No other event exists for a connection; a later one is not known here.
        Ok(Some(_)) => return Ok(None),
        Err(violation) => CloseConnection::failed(violation),
    };
    *state = match state {
        State::Open => State::RemoteClosing,
        _ => State::Closed,
    };
    Ok(Some(Py::new(py, close)?.into_any()))
}

fn message_event(py: Python<'_>, message: proto_ws::Message<'_>, last: bool) -> PyResult<Py<PyAny>> {
    Ok(match message {
        proto_ws::Message::Text(text) => {
            let data = PyString::new(py, text).into_any().unbind();
            Py::new(
                py,
                PyClassInitializer::from(Message::received(data, last)).add_subclass(TextMessage),
            )?
            .into_any()
        }
        proto_ws::Message::Binary(bytes) => {
            let data = PyBytes::new(py, bytes).into_any().unbind();
            Py::new(
                py,
                PyClassInitializer::from(Message::received(data, last)).add_subclass(BytesMessage),
            )?
            .into_any()
        }
    })
}

impl Frames {
    fn refill(&mut self) {
        if self.refilled.elapsed().as_secs() >= REFILL {
            self.refilled = Instant::now();
            with!(&mut self.side, connection => connection.writer.refill(u32::MAX));
        }
    }

    fn take<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = PyBytes::new(py, &self.out);
        self.out.clear();
        if self.out.capacity() > KEEP {
            self.out = BytesMut::new();
        }
        bytes
    }

    fn closing(&self) -> PyResult<()> {
        match self.state {
            State::Open => Ok(()),
            _ => Err(misuse(Misuse::Closed)),
        }
    }
}

#[pymethods]
impl Frames {
    #[new]
    #[pyo3(signature = (is_client, max_message_size, parts, deflate = None, parameters = None))]
    fn new(
        is_client: bool,
        max_message_size: u64,
        parts: bool,
        deflate: Option<&Bound<'_, Deflate>>,
        parameters: Option<&Bound<'_, Parameters>>,
    ) -> Self {
        let mut config = Config::default();
        config.limits.message = max_message_size;
        config.limits.frame = max_message_size;
        config.parts = parts;
        if let Some(deflate) = deflate {
            config.deflate = deflate.get().0.clone();
        }
        let config = Arc::new(config);
        let parameters = parameters.map(|parameters| parameters.get().0);
        let side = if is_client {
            let connection = Connection::client(config, PerThread);
            Side::Client(match parameters {
                Some(parameters) => connection.deflate(parameters),
                None => connection,
            })
        } else {
            let connection = Connection::server(config);
            Side::Server(match parameters {
                Some(parameters) => connection.deflate(parameters),
                None => connection,
            })
        };
        Self {
            side,
            input: BytesMut::new(),
            out: BytesMut::new(),
            state: State::Open,
            in_parts: false,
            ended: false,
            refilled: Instant::now(),
        }
    }

    /// The state's name in `ConnectionState`.
    #[getter]
    fn state(&self) -> &'static str {
        match self.state {
            State::Open => "OPEN",
            State::RemoteClosing => "REMOTE_CLOSING",
            State::LocalClosing => "LOCAL_CLOSING",
            State::Closed => "CLOSED",
        }
    }

    /// Adds received bytes; `None` means that the stream has ended.
    fn receive_data(&mut self, data: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let Some(data) = data else {
            self.ended = self.state != State::Closed;
            self.state = State::Closed;
            with!(&mut self.side, connection => connection.writer.end());
            return Ok(());
        };
        match self.state {
            State::Open | State::LocalClosing => {
                self.refill();
                self.input.extend_from_slice(&bytes_of(data)?);
                Ok(())
            }
            State::RemoteClosing => Ok(()),
            State::Closed => Err(LocalProtocolError::new_err("the connection is closed")),
        }
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.ended {
            self.ended = false;
            let close = CloseConnection::received(CloseCode::ABNORMAL, None);
            return Ok(Some(Py::new(py, close)?.into_any()));
        }
        if self.input.is_empty() {
            return Ok(None);
        }
        let (out, state) = (&mut self.out, &mut self.state);
        let mut rest = &mut self.input[..];
        let before = rest.len();
        let event = with!(&mut self.side, connection => {
            step(py, &mut connection.reader, &mut connection.writer, &mut rest, out, state)
        });
        let used = before - rest.len();
        self.input.advance(used);
        // Python sends the Pongs and the Close frame that the codec would send.
        self.out.clear();
        if self.input.is_empty() && self.input.capacity() > KEEP {
            self.input = BytesMut::new();
        }
        event
    }

    /// The frame of a message, or of a part of one.
    #[pyo3(signature = (data, finished = true))]
    fn message<'py>(&mut self, data: &Bound<'py, PyAny>, finished: bool) -> PyResult<Bound<'py, PyBytes>> {
        self.closing()?;
        let py = data.py();
        let bytes;
        let message = match data.cast::<PyString>() {
            Ok(text) => proto_ws::Message::Text(text.to_str()?),
            Err(_) => {
                bytes = bytes_of(data)?;
                proto_ws::Message::Binary(&bytes)
            }
        };
        let whole = finished && !self.in_parts;
        let (side, out) = (&mut self.side, &mut self.out);
        let mut send = || {
            with!(side, connection => match whole {
                true => connection.writer.message(out, message),
                false => connection.writer.part(out, message, finished),
            })
        };
        let sent = if message.as_bytes().len() >= LARGE {
            py.detach(send)
        } else {
            send()
        };
        sent.map_err(misuse)?;
        self.in_parts = !finished;
        Ok(self.take(py))
    }

    fn ping<'py>(&mut self, payload: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        self.closing()?;
        let out = &mut self.out;
        with!(&mut self.side, connection => connection.writer.ping(out, payload.as_bytes())).map_err(misuse)?;
        Ok(self.take(payload.py()))
    }

    fn pong<'py>(&mut self, payload: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        self.closing()?;
        let out = &mut self.out;
        with!(&mut self.side, connection => connection.writer.pong(out, payload.as_bytes())).map_err(misuse)?;
        Ok(self.take(payload.py()))
    }

    /// A Close frame: the first, or the answer to the peer's.
    #[pyo3(signature = (number, reason = None))]
    fn close<'py>(&mut self, py: Python<'py>, number: u16, reason: Option<&str>) -> PyResult<Bound<'py, PyBytes>> {
        let (code, reason, out) = (code(number)?, reason.unwrap_or_default(), &mut self.out);
        match self.state {
            State::Open => {
                with!(&mut self.side, connection => connection.writer.close(out, code, reason)).map_err(misuse)?;
                self.state = State::LocalClosing;
            }
            State::RemoteClosing => {
                // The connection's own writer has closed. Another writes the same frame.
                let config = Arc::clone(plain());
                match &self.side {
                    Side::Server(_) => Connection::server(config).writer.close(out, code, reason),
                    Side::Client(_) => Connection::client(config, PerThread).writer.close(out, code, reason),
                }
                .map_err(misuse)?;
                self.state = State::Closed;
            }
            State::LocalClosing | State::Closed => return Err(misuse(Misuse::Closed)),
        }
        Ok(self.take(py))
    }
}

/// The default settings.
fn plain() -> &'static Arc<Config> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    CONFIG.get_or_init(Arc::default)
}
