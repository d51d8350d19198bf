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
    /// The field lines, as `name:value` with CRLF.
    lines: Vec<u8>,
    /// The pairs, made when Python first looks at them.
    list: PyOnceLock<Py<PyList>>,
}

impl Headers {
    pub(crate) fn received(fields: Fields<'_>) -> Self {
        let mut lines = Vec::with_capacity(fields.as_bytes().len());
        for field in fields.iter() {
            put(&mut lines, field.name.as_bytes(), field.value);
        }
        Self {
            lines,
            list: PyOnceLock::new(),
        }
    }

    pub(crate) fn empty() -> Self {
        Self::received(Fields::EMPTY)
    }

    /// Checks what Python gave as headers: this class, or pairs of bytes or text.
    pub(crate) fn given(object: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<Py<Self>> {
        let Some(object) = object else {
            return Py::new(py, Self::empty());
        };
        if let Ok(headers) = object.cast::<Self>() {
            return Ok(headers.clone().unbind());
        }
        let mut lines = Vec::new();
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
            put(&mut lines, &name, &value);
        }
        let list = PyOnceLock::new();
        Py::new(py, Self { lines, list })
    }

    /// The fields in order: names as written, and values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line.get(..colon)?, line.get(colon + 1..)?))
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
        let made = self.list.get_or_try_init(py, || {
            let list = PyList::empty(py);
            for (name, value) in self.pairs() {
                let name = PyBytes::new_with(py, name.len(), |lower| {
                    for (to, from) in lower.iter_mut().zip(name) {
                        *to = from.to_ascii_lowercase();
                    }
                    Ok(())
                })?;
                list.append((name, PyBytes::new(py, value)))?;
            }
            PyResult::Ok(list.unbind())
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

fn put(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.extend_from_slice(name);
    lines.push(b':');
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
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
        self.pairs().count()
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
