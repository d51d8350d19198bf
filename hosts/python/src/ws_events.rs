//! The events of an open WebSocket connection.

use proto_ws::{CloseCode, Violation};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::bytes_like::bytes_of;

/// A message, or a part of one: text if `data` is `str`.
#[pyclass(frozen, subclass, module = "wirestate.ws")]
pub(crate) struct Message {
    #[pyo3(get)]
    pub(crate) data: Py<PyAny>,
    #[pyo3(get)]
    frame_finished: bool,
    #[pyo3(get)]
    pub(crate) message_finished: bool,
}

impl Message {
    pub(crate) fn received(data: Py<PyAny>, last: bool) -> Self {
        Self {
            data,
            frame_finished: last,
            message_finished: last,
        }
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (data, frame_finished = true, message_finished = true))]
    fn new(data: Py<PyAny>, frame_finished: bool, message_finished: bool) -> Self {
        Self {
            data,
            frame_finished,
            message_finished,
        }
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["data", "frame_finished", "message_finished"])
    }

    fn __eq__(this: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else {
            return Ok(false);
        };
        let same_class = this.get_type().is(other.get_type());
        let (py, this, other) = (this.py(), this.get(), other.get());
        let same_flags = (this.frame_finished, this.message_finished) == (other.frame_finished, other.message_finished);
        Ok(same_class && same_flags && this.data.bind(py).eq(&other.data)?)
    }

    fn __repr__(this: &Bound<'_, Self>) -> PyResult<String> {
        let (class, message) = (this.get_type().name()?, this.get());
        let flag = |flag| if flag { "True" } else { "False" };
        Ok(format!(
            "{class}(data={}, frame_finished={}, message_finished={})",
            message.data.bind(this.py()).repr()?,
            flag(message.frame_finished),
            flag(message.message_finished)
        ))
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, extends = Message, module = "wirestate.ws")]
        pub(crate) struct $class;

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (data, frame_finished = true, message_finished = true))]
            fn new(data: Py<PyAny>, frame_finished: bool, message_finished: bool) -> PyClassInitializer<Self> {
                PyClassInitializer::from(Message::new(data, frame_finished, message_finished)).add_subclass(Self)
            }
        }
    };
}

message! {
    /// Text, or a part of it.
    TextMessage
}

message! {
    /// Bytes, or a part of them.
    BytesMessage
}

macro_rules! control {
    ($(#[$doc:meta])* $class:ident, $name:literal, $($method:item)?) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "wirestate.ws")]
        pub(crate) struct $class {
            #[pyo3(get)]
            pub(crate) payload: Py<PyBytes>,
        }

        impl $class {
            pub(crate) fn received(py: Python<'_>, payload: &[u8]) -> Self {
                let payload = PyBytes::new(py, payload).unbind();
                Self { payload }
            }
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (payload = None))]
            fn new(py: Python<'_>, payload: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
                Ok(match payload {
                    Some(payload) => Self::received(py, &bytes_of(payload)?),
                    None => Self::received(py, b""),
                })
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, ["payload"])
            }

            fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> bool {
                match other.cast::<Self>() {
                    Ok(other) => self.payload.as_bytes(py) == other.get().payload.as_bytes(py),
                    Err(_) => false,
                }
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                Ok(format!(concat!($name, "(payload={})"), self.payload.bind(py).repr()?))
            }

            $($method)?
        }
    };
}

control! {
    /// A Ping: answer it with `response()`.
    Ping, "Ping",
    /// The Pong that answers this Ping.
    fn response(&self, py: Python<'_>) -> Pong {
        let payload = self.payload.clone_ref(py);
        Pong { payload }
    }
}

control! {
    /// A Pong.
    Pong, "Pong",
}

/// A Close frame, or what ended the connection in place of one.
#[pyclass(frozen, module = "wirestate.ws")]
pub(crate) struct CloseConnection {
    #[pyo3(get)]
    pub(crate) code: u16,
    #[pyo3(get)]
    pub(crate) reason: Option<String>,
    violation: Option<Violation>,
}

impl CloseConnection {
    /// A Close frame, or the end of the stream.
    pub(crate) fn received(code: CloseCode, reason: Option<&str>) -> Self {
        Self {
            code: code.get(),
            reason: reason.map(str::to_owned),
            violation: None,
        }
    }

    /// The Close frame that a violation asks for.
    pub(crate) fn failed(violation: Violation) -> Self {
        Self {
            code: violation.close_code().get(),
            reason: Some(violation.to_string()),
            violation: Some(violation),
        }
    }
}

#[pymethods]
impl CloseConnection {
    #[new]
    #[pyo3(signature = (code, reason = None))]
    fn new(code: u16, reason: Option<String>) -> Self {
        let violation = None;
        Self {
            code,
            reason,
            violation,
        }
    }

    /// The name of the peer's violation, such as `ReservedBit`; `None` for a Close frame.
    #[getter]
    fn violation(&self) -> Option<String> {
        let name = format!("{:?}", self.violation?);
        Some(name.split('(').next().unwrap_or_default().to_owned())
    }

    /// The section that the peer violated.
    #[getter]
    fn section(&self) -> Option<&'static str> {
        self.violation.map(Violation::section)
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["code", "reason"])
    }

    /// The Close frame that answers this one.
    fn response(&self) -> Self {
        Self::new(self.code, self.reason.clone())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        match other.cast::<Self>() {
            Ok(other) => (self.code, &self.reason) == (other.get().code, &other.get().reason),
            Err(_) => false,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let reason = self.reason.as_deref().into_pyobject(py)?.repr()?;
        Ok(format!("CloseConnection(code={}, reason={reason})", self.code))
    }
}
