//! Bytes and text that Python hands in.

use std::borrow::Cow;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

/// The bytes of a bytes-like object; those of `bytes` are borrowed.
pub(crate) fn bytes_of<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    if let Ok(bytes) = object.cast::<PyByteArray>() {
        return Ok(Cow::Owned(bytes.to_vec()));
    }
    let Ok(buffer) = PyBuffer::<u8>::get(object) else {
        let kind = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "a bytes-like object is required, not {kind}"
        )));
    };
    Ok(Cow::Owned(buffer.to_vec(object.py())?))
}

/// The bytes of a bytes-like object or of text. Text in a head must be ASCII.
pub(crate) fn ascii_of<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    let Ok(text) = object.cast::<PyString>() else {
        return bytes_of(object);
    };
    let text = text.to_str()?;
    if !text.is_ascii() {
        return Err(pyo3::exceptions::PyValueError::new_err("text in a head must be ASCII"));
    }
    Ok(Cow::Borrowed(text.as_bytes()))
}

/// `object` as `bytes`: itself if it is `bytes`, otherwise a copy.
pub(crate) fn as_bytes(object: &Bound<'_, PyAny>) -> PyResult<Py<PyBytes>> {
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return Ok(bytes.clone().unbind());
    }
    Ok(PyBytes::new(object.py(), &ascii_of(object)?).unbind())
}
