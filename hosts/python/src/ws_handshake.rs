//! The opening handshake: what the codec checks and says, over fields that Python has.

use std::sync::OnceLock;

use bytes::BytesMut;
use proto_ws::deflate::{Pool, Settings};
use proto_ws::handshake::server::Rejection;
use proto_ws::handshake::{Key, client, server};
use proto_ws::{Entropy, entropy::PerThread};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bytes_like::ascii_of;
use crate::ws_frames::LocalProtocolError;

pyo3::import_exception!(wirestate._ws_errors, Refused);

/// Settings of permessage-deflate.
#[pyclass(frozen, subclass, module = "wirestate.ws", name = "PerMessageDeflate")]
pub(crate) struct Deflate(pub(crate) Settings);

fn pool() -> Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(Pool::default).clone()
}

#[pymethods]
impl Deflate {
    #[new]
    #[pyo3(signature = (
        client_no_context_takeover = true,
        client_max_window_bits = None,
        server_no_context_takeover = true,
        server_max_window_bits = None,
        *,
        level = 1,
        threshold = 256,
    ))]
    fn new(
        client_no_context_takeover: bool,
        client_max_window_bits: Option<u8>,
        server_no_context_takeover: bool,
        server_max_window_bits: Option<u8>,
        level: i32,
        threshold: usize,
    ) -> PyResult<Self> {
        let bits = |bits: Option<u8>| match bits.unwrap_or(15) {
            bits @ 8..=15 => Ok(bits),
            _ => Err(PyValueError::new_err("a window has 8 to 15 bits")),
        };
        let mut settings = Settings::default();
        settings.client_no_context_takeover = client_no_context_takeover;
        settings.client_max_window_bits = bits(client_max_window_bits)?;
        settings.server_no_context_takeover = server_no_context_takeover;
        settings.server_max_window_bits = bits(server_max_window_bits)?;
        settings.level = level;
        settings.threshold = threshold;
        settings.pool = pool();
        Ok(Self(settings))
    }

    /// The extension's name.
    #[getter]
    fn name(&self) -> &'static str {
        "permessage-deflate"
    }
}

/// What both sides agreed on.
#[pyclass(frozen, module = "wirestate._core")]
pub(crate) struct Parameters(pub(crate) proto_ws::deflate::Parameters);

type Field = (String, Vec<u8>);

/// The fields of an answer, and what it grants.
type Answer = (Vec<(&'static str, String)>, Option<Parameters>);

/// The fields of Python's list.
fn fields(list: &Bound<'_, PyAny>) -> PyResult<Vec<Field>> {
    let mut fields = Vec::new();
    for pair in list.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
        let name = String::from_utf8_lossy(&ascii_of(&name)?).into_owned();
        fields.push((name, ascii_of(&value)?.into_owned()));
    }
    Ok(fields)
}

fn views(fields: &[Field]) -> impl Iterator<Item = (&str, &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
}

fn refused(rejection: Rejection) -> PyErr {
    Refused::new_err((rejection.to_string(), rejection.status(), rejection.fields().to_vec()))
}

/// A client's request to open a connection, checked.
#[pyclass(frozen, module = "wirestate._core")]
pub(crate) struct UpgradeRequest {
    fields: Vec<Field>,
}

impl UpgradeRequest {
    fn request(&self) -> Result<server::Request<'_>, Rejection> {
        server::Request::read("GET", views(&self.fields))
    }
}

#[pymethods]
impl UpgradeRequest {
    /// Checks the request. Raises `Refused`, with the answer.
    #[new]
    fn new(method: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let method = String::from_utf8_lossy(&ascii_of(method)?).into_owned();
        let fields = fields(headers)?;
        server::Request::read(&method, views(&fields)).map_err(refused)?;
        Ok(Self { fields })
    }

    /// The host that the request is for.
    #[getter]
    fn host(&self) -> PyResult<String> {
        Ok(self.request().map_err(refused)?.host().to_owned())
    }

    /// The subprotocols that may be chosen.
    #[getter]
    fn subprotocols(&self) -> PyResult<Vec<String>> {
        Ok(self
            .request()
            .map_err(refused)?
            .protocols()
            .map(str::to_owned)
            .collect())
    }

    /// The fields of the 101, and the parameters of permessage-deflate if it was offered and `deflate` accepts it.
    #[pyo3(signature = (subprotocol = None, deflate = None))]
    fn accept(&self, subprotocol: Option<&str>, deflate: Option<&Bound<'_, Deflate>>) -> PyResult<Answer> {
        let request = self.request().map_err(refused)?;
        let mut answer = request.accept();
        if let Some(wanted) = subprotocol {
            answer = answer.protocol(|offered| offered == wanted);
            if answer.chosen_protocol().is_none() {
                return Err(LocalProtocolError::new_err(format!(
                    "the subprotocol {wanted:?} was not offered"
                )));
            }
        }
        if let Some(deflate) = deflate {
            answer = answer.deflate(&deflate.get().0);
        }
        let fields = answer.fields().map(|(name, value)| (name, value.to_owned())).collect();
        Ok((fields, answer.chosen_deflate().map(Parameters)))
    }
}

/// A client's request to open a connection, to send.
#[pyclass(frozen, module = "wirestate._core")]
pub(crate) struct UpgradeOffer {
    host: String,
    target: String,
    protocols: Vec<String>,
    deflate: Option<Settings>,
    key: Key,
}

impl UpgradeOffer {
    fn with<T>(&self, run: impl FnOnce(client::Request<'_>) -> T) -> T {
        let protocols: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        let request = client::Request::new(&self.host, &self.target).protocols(&protocols);
        run(match &self.deflate {
            Some(settings) => request.deflate(settings),
            None => request,
        })
    }
}

#[pymethods]
impl UpgradeOffer {
    #[new]
    fn new(host: String, target: String, subprotocols: Vec<String>, deflate: Option<&Bound<'_, Deflate>>) -> Self {
        let mut nonce = [0; 16];
        PerThread.fill(&mut nonce);
        Self {
            host,
            target,
            protocols: subprotocols,
            deflate: deflate.map(|deflate| deflate.get().0.clone()),
            key: Key::new(nonce),
        }
    }

    /// The fields of the request, in order.
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let mut head = BytesMut::new();
        self.with(|request| request.write(&self.key, &mut head))
            .map_err(|bad| LocalProtocolError::new_err(bad.to_string()))?;
        let parsed = proto_http::Request::parse(&head, &proto_http::Rules::DEFAULT);
        let Ok(proto_http::Parsed::Complete { head, .. }) = parsed else {
            return Err(LocalProtocolError::new_err("the request is too large"));
        };
        let pair =
            |field: proto_http::Field<'_>| (PyBytes::new(py, field.name.as_bytes()), PyBytes::new(py, field.value));
        Ok(head.fields().iter().map(pair).collect())
    }

    /// Checks the answer. Returns the subprotocol and the parameters of permessage-deflate. Raises `Refused`.
    fn verify(&self, status: u16, headers: &Bound<'_, PyAny>) -> PyResult<(Option<String>, Option<Parameters>)> {
        let fields = fields(headers)?;
        self.with(|request| {
            let granted = request
                .verify(&self.key, status, views(&fields))
                .map_err(|refusal| Refused::new_err((refusal.to_string(), 400)))?;
            Ok((granted.protocol.map(str::to_owned), granted.deflate.map(Parameters)))
        })
    }
}
