//! The fields of a head or of a trailer section.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};

use proto_http::{FieldLines, Fields, Misuse};

use crate::bytes_like::ascii_of;
use crate::http_connection::LocalProtocolError;

/// The fields of a head: a sequence of pairs of `bytes`, with names in lower case.
#[pyclass(frozen, module = "wirestate.http")]
pub(crate) struct Headers {
    /// Names and values, one behind the other.
    bytes: Vec<u8>,
    /// Where each name and its value end in `bytes`.
    ends: Vec<(usize, usize)>,
    /// The pairs, made when Python first looks at them.
    list: PyOnceLock<Py<PyList>>,
}

impl Headers {
    pub(crate) fn received(fields: Fields<'_>) -> Self {
        let mut headers = Self::empty();
        headers.bytes.reserve_exact(fields.as_bytes().len());
        for field in fields.iter() {
            headers.put(field.name.as_bytes(), field.value);
        }
        headers
    }

    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((end, self.bytes.len()));
    }

    pub(crate) fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            list: PyOnceLock::new(),
        }
    }

    /// Checks what Python gave as headers: this class, or pairs of bytes or text.
    pub(crate) fn given(object: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<Py<Self>> {
        let Some(object) = object else {
            return Py::new(py, Self::empty());
        };
        if let Ok(headers) = object.cast::<Self>() {
            return Ok(headers.clone().unbind());
        }
        let mut headers = Self::empty();
        let mut length = None;
        for pair in object.try_iter()? {
            let (name, value) = two(&pair?)?;
            let (name, value) = (ascii_of(&name)?, ascii_of(&value)?);
            match Framing::of(&name) {
                Some(Framing::Length) => {
                    let this = content_length(&value)?;
                    if length.replace(this).is_some_and(|other| other != this) {
                        return Err(LocalProtocolError::new_err("conflicting Content-Length headers"));
                    }
                }
                Some(Framing::Coding) if value.eq_ignore_ascii_case(b"chunked") => {}
                Some(Framing::Coding) => {
                    let message = "the only Transfer-Encoding that can be sent is chunked";
                    return Err(LocalProtocolError::new_err((message, 501)));
                }
                None => {
                    let pair: [(&[u8], &[u8]); 1] = [(&name, &value)];
                    pair.check().map_err(|misuse| bad_field(misuse, &name))?;
                }
            }
            headers.put(&name, &value);
        }
        Py::new(py, headers)
    }

    /// The fields in order: names as written, and values.
    pub(crate) fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(name_end, end)| {
            let begin = std::mem::replace(&mut start, *end);
            let part = |from, to| self.bytes.get(from..to).unwrap_or_default();
            (part(begin, *name_end), part(*name_end, *end))
        })
    }

    /// The fields to send, without those that the codec writes.
    pub(crate) fn to_send(&self) -> ToSend<'_> {
        let mut all = ToSend::default();
        for (name, value) in self.pairs() {
            match Framing::of(name) {
                Some(Framing::Length) => all.length = content_length(value).ok(),
                Some(Framing::Coding) => all.chunked = true,
                None => {
                    let is_connection = name.eq_ignore_ascii_case(b"connection");
                    all.close |= is_connection && has_token(value, b"close");
                    all.fields.push((name, value));
                }
            }
        }
        all
    }

    fn list<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyList>> {
        let made = self.list.get_or_try_init(py, || -> PyResult<_> {
            let mut pairs = Vec::with_capacity(self.ends.len());
            for (name, value) in self.pairs() {
                pairs.push((name_bytes(py, name)?, PyBytes::new(py, value)));
            }
            Ok(PyList::new(py, pairs)?.unbind())
        })?;
        Ok(made.bind(py))
    }
}

/// What a message to send says in its fields.
#[derive(Default)]
pub(crate) struct ToSend<'a> {
    pub(crate) fields: Vec<(&'a [u8], &'a [u8])>,
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
}

/// The fields that the codec writes itself.
enum Framing {
    Length,
    Coding,
}

impl Framing {
    fn of(name: &[u8]) -> Option<Self> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => Some(Self::Length),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Some(Self::Coding),
            _ => None,
        }
    }
}

/// Names whose `bytes` are made once.
const COMMON: [&str; 24] = [
    "te",
    "host",
    "date",
    "accept",
    "cookie",
    "origin",
    "server",
    "referer",
    "upgrade",
    "connection",
    "user-agent",
    "content-type",
    "cache-control",
    "authorization",
    "content-length",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "x-forwarded-for",
    "x-forwarded-proto",
    "transfer-encoding",
];

/// A name in lower case.
fn name_bytes<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    static BYTES: [PyOnceLock<Py<PyBytes>>; COMMON.len()] = [const { PyOnceLock::new() }; COMMON.len()];
    for (common, bytes) in COMMON.iter().zip(&BYTES) {
        if common.len() == name.len() && common.as_bytes().eq_ignore_ascii_case(name) {
            let made = bytes.get_or_init(py, || PyBytes::new(py, common.as_bytes()).unbind());
            return Ok(made.bind(py).clone());
        }
    }
    PyBytes::new_with(py, name.len(), |lower| {
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Ok(())
    })
}

fn content_length(value: &[u8]) -> PyResult<u64> {
    let digits = std::str::from_utf8(value).unwrap_or_default();
    let number = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok());
    number
        .flatten()
        .ok_or_else(|| LocalProtocolError::new_err("bad Content-Length"))
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
}

fn bad_field(misuse: Misuse, name: &[u8]) -> PyErr {
    let name = String::from_utf8_lossy(name.get(..100).unwrap_or(name)).into_owned();
    LocalProtocolError::new_err(format!("{misuse}: {name:?}"))
}

/// The two elements of a pair: a tuple, or any iterable of two.
fn two<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(tuple) = pair.cast::<PyTuple>() {
        return tuple.extract();
    }
    let elements = pair.try_iter()?.take(3).collect::<PyResult<Vec<_>>>()?;
    match <[_; 2]>::try_from(elements) {
        Ok([name, value]) => Ok((name, value)),
        Err(_) => Err(pyo3::exceptions::PyValueError::new_err(
            "a header is a pair of name and value",
        )),
    }
}

#[pymethods]
impl Headers {
    fn __len__(&self) -> usize {
        self.ends.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.list(py)?.try_iter()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.list(index.py())?.as_any().get_item(index)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.try_iter() else {
            return Ok(false);
        };
        let py = other.py();
        let other = PyList::new(py, other.collect::<PyResult<Vec<_>>>()?)?;
        self.list(py)?.as_any().eq(other)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Headers({})>", self.list(py)?.repr()?))
    }

    /// The pairs with the names as the sender wrote them.
    fn raw_items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self.pairs();
        PyList::new(
            py,
            pairs
                .map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)))
                .collect::<Vec<_>>(),
        )
    }
}
