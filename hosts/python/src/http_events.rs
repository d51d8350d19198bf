//! The events of HTTP.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use proto_http::Version;

use crate::bytes_like::as_bytes;
use crate::http_connection::LocalProtocolError;
use crate::http_headers::Headers;

/// The one `bytes` object of a version.
pub(crate) fn version_bytes(py: Python<'_>, version: Version) -> Py<PyBytes> {
    static BYTES: [PyOnceLock<Py<PyBytes>>; 2] = [const { PyOnceLock::new() }; 2];
    let [old, new] = &BYTES;
    let (cell, text) = match version {
        Version::Http10 => (old, b"1.0"),
        _ => (new, b"1.1"),
    };
    cell.get_or_init(py, || PyBytes::new(py, text).unbind()).clone_ref(py)
}

fn version_given(py: Python<'_>, version: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyBytes>> {
    version.map_or_else(|| Ok(version_bytes(py, Version::Http11)), as_bytes)
}

/// The head of a request.
#[pyclass(frozen, module = "wirestate.http")]
pub(crate) struct Request {
    #[pyo3(get)]
    pub(crate) method: Py<PyBytes>,
    #[pyo3(get)]
    pub(crate) target: Py<PyBytes>,
    #[pyo3(get)]
    pub(crate) headers: Py<Headers>,
    #[pyo3(get)]
    pub(crate) http_version: Py<PyBytes>,
}

impl Request {
    pub(crate) fn received(py: Python<'_>, request: &proto_http::Request<'_>) -> PyResult<Self> {
        static GET: PyOnceLock<Py<PyBytes>> = PyOnceLock::new();
        let method = match request.method() {
            "GET" => GET.get_or_init(py, || PyBytes::new(py, b"GET").unbind()).clone_ref(py),
            method => PyBytes::new(py, method.as_bytes()).unbind(),
        };
        Ok(Self {
            method,
            target: PyBytes::new(py, request.target().as_bytes()).unbind(),
            headers: Py::new(py, Headers::received(request.fields()))?,
            http_version: version_bytes(py, request.version()),
        })
    }
}

#[pymethods]
impl Request {
    #[new]
    #[pyo3(signature = (*, method, target, headers, http_version = None))]
    fn new(
        py: Python<'_>,
        method: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        http_version: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            method: as_bytes(method)?,
            target: as_bytes(target)?,
            headers: Headers::given(Some(headers), py)?,
            http_version: version_given(py, http_version)?,
        })
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else {
            return Ok(false);
        };
        let other = other.get();
        Ok(self.method.as_bytes(py) == other.method.as_bytes(py)
            && self.target.as_bytes(py) == other.target.as_bytes(py)
            && self.http_version.as_bytes(py) == other.http_version.as_bytes(py)
            && self.headers.bind(py).eq(&other.headers)?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Request(method={}, headers={}, target={}, http_version={})",
            self.method.bind(py).repr()?,
            self.headers.bind(py).repr()?,
            self.target.bind(py).repr()?,
            self.http_version.bind(py).repr()?
        ))
    }
}

/// The parts of the head of a response.
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) headers: Py<Headers>,
    pub(crate) version: Py<PyBytes>,
    pub(crate) reason: Py<PyBytes>,
}

impl ResponseHead {
    fn received(py: Python<'_>, response: &proto_http::Response<'_>) -> PyResult<Self> {
        Ok(Self {
            status: response.status(),
            headers: Py::new(py, Headers::received(response.fields()))?,
            version: version_bytes(py, response.version()),
            reason: PyBytes::new(py, response.reason()).unbind(),
        })
    }

    fn equals(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        Ok(self.status == other.status
            && self.version.as_bytes(py) == other.version.as_bytes(py)
            && self.reason.as_bytes(py) == other.reason.as_bytes(py)
            && self.headers.bind(py).eq(&other.headers)?)
    }

    fn shown(&self, py: Python<'_>, class: &str) -> PyResult<String> {
        Ok(format!(
            "{class}(status_code={}, headers={}, http_version={}, reason={})",
            self.status,
            self.headers.bind(py).repr()?,
            self.version.bind(py).repr()?,
            self.reason.bind(py).repr()?
        ))
    }
}

macro_rules! response {
    ($(#[$doc:meta])* $class:ident, $name:literal, $range:expr) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "wirestate.http")]
        pub(crate) struct $class(pub(crate) ResponseHead);

        impl $class {
            pub(crate) fn received(py: Python<'_>, response: &proto_http::Response<'_>) -> PyResult<Self> {
                ResponseHead::received(py, response).map(Self)
            }
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (*, status_code, headers, http_version = None, reason = None))]
            fn new(
                py: Python<'_>,
                status_code: &Bound<'_, PyAny>,
                headers: &Bound<'_, PyAny>,
                http_version: Option<&Bound<'_, PyAny>>,
                reason: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Self> {
                let range = $range;
                let status: i64 = status_code
                    .extract()
                    .map_err(|_| LocalProtocolError::new_err("status code must be integer"))?;
                let Some(status) = u16::try_from(status).ok().filter(|status| range.contains(status)) else {
                    let message = format!("{} status_code must be in {range:?}, not {status}", $name);
                    return Err(LocalProtocolError::new_err(message));
                };
                Ok(Self(ResponseHead {
                    status,
                    headers: Headers::given(Some(headers), py)?,
                    version: version_given(py, http_version)?,
                    reason: reason.map_or_else(|| Ok(PyBytes::new(py, b"").unbind()), as_bytes)?,
                }))
            }

            #[getter]
            fn status_code(&self) -> u16 {
                self.0.status
            }

            #[getter]
            fn headers(&self, py: Python<'_>) -> Py<Headers> {
                self.0.headers.clone_ref(py)
            }

            #[getter]
            fn http_version(&self, py: Python<'_>) -> Py<PyBytes> {
                self.0.version.clone_ref(py)
            }

            #[getter]
            fn reason(&self, py: Python<'_>) -> Py<PyBytes> {
                self.0.reason.clone_ref(py)
            }

            fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
                match other.cast::<Self>() {
                    Ok(other) => self.0.equals(py, &other.get().0),
                    Err(_) => Ok(false),
                }
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                self.0.shown(py, $name)
            }
        }
    };
}

response! {
    /// The head of an informational response.
    InformationalResponse, "InformationalResponse", 100..200
}

response! {
    /// The head of a final response.
    Response, "Response", 200..1000
}

/// A part of the content of a message.
#[pyclass(frozen, module = "wirestate.http")]
pub(crate) struct Data {
    #[pyo3(get)]
    pub(crate) data: Py<PyAny>,
    /// Not known: always false.
    #[pyo3(get)]
    chunk_start: bool,
    /// Not known: always false.
    #[pyo3(get)]
    chunk_end: bool,
}

impl Data {
    pub(crate) fn received(py: Python<'_>, data: &[u8]) -> Self {
        Self {
            data: PyBytes::new(py, data).into_any().unbind(),
            chunk_start: false,
            chunk_end: false,
        }
    }
}

#[pymethods]
impl Data {
    #[new]
    #[pyo3(signature = (data, chunk_start = false, chunk_end = false))]
    fn new(data: Py<PyAny>, chunk_start: bool, chunk_end: bool) -> Self {
        Self {
            data,
            chunk_start,
            chunk_end,
        }
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast::<Self>() {
            Ok(other) => self.data.bind(py).eq(&other.get().data),
            Err(_) => Ok(false),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Data(data={})", self.data.bind(py).repr()?))
    }
}

/// The end of a message, with its trailers.
#[pyclass(frozen, module = "wirestate.http")]
pub(crate) struct EndOfMessage {
    #[pyo3(get)]
    pub(crate) headers: Py<Headers>,
}

#[pymethods]
impl EndOfMessage {
    #[new]
    #[pyo3(signature = (*, headers = None))]
    fn new(py: Python<'_>, headers: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self {
            headers: Headers::given(headers, py)?,
        })
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast::<Self>() {
            Ok(other) => self.headers.bind(py).eq(&other.get().headers),
            Err(_) => Ok(false),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("EndOfMessage(headers={})", self.headers.bind(py).repr()?))
    }
}

/// The sender has closed its side of the connection.
#[pyclass(frozen, module = "wirestate.http")]
pub(crate) struct ConnectionClosed;

#[pymethods]
impl ConnectionClosed {
    #[new]
    fn new() -> Self {
        Self
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.is_instance_of::<Self>()
    }

    fn __repr__(&self) -> &'static str {
        "ConnectionClosed()"
    }
}

/// An event to send.
pub(crate) enum ToSend<'a, 'py> {
    Request(&'a Request),
    Informational(&'a ResponseHead),
    Response(&'a ResponseHead),
    Data(&'a Bound<'py, PyAny>),
    End(&'a Headers),
    Closed,
}

impl<'a, 'py> ToSend<'a, 'py> {
    /// The event that `object` is; its data, if any, is kept in `data`.
    pub(crate) fn of(object: &'a Bound<'py, PyAny>, data: &'a mut Option<Bound<'py, PyAny>>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(event) = object.cast::<Data>() {
            return Ok(Self::Data(data.insert(event.get().data.bind(py).clone())));
        }
        if let Ok(event) = object.cast::<EndOfMessage>() {
            return Ok(Self::End(event.get().headers.get()));
        }
        if let Ok(event) = object.cast::<Response>() {
            return Ok(Self::Response(&event.get().0));
        }
        if let Ok(event) = object.cast::<Request>() {
            return Ok(Self::Request(event.get()));
        }
        if let Ok(event) = object.cast::<InformationalResponse>() {
            return Ok(Self::Informational(&event.get().0));
        }
        if object.is_instance_of::<ConnectionClosed>() {
            return Ok(Self::Closed);
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("an event is required, not {kind}")))
    }
}
