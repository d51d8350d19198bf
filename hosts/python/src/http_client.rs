//! The client's half of [`Connection`](crate::http_connection::Connection).

use pyo3::prelude::*;

use proto_http::{BodyLength, ClientConnection, ClientEvent, Rules, Version};

use crate::bytes_like::bytes_of;
use crate::http_connection::{LocalProtocolError, Progress, Read, misuse, violation};
use crate::http_events::{Data, InformationalResponse, Request, Response};

/// Reads the next event from `input`.
pub(crate) fn read(
    py: Python<'_>,
    codec: &mut ClientConnection,
    rules: &Rules,
    input: &mut &[u8],
    eof: bool,
    progress: &mut Progress,
) -> PyResult<Read> {
    let mut event = codec.next(rules, input);
    if eof && matches!(event, Ok(None)) {
        codec.eof();
        event = codec.next(rules, input);
    }
    Ok(match event.map_err(|error| violation(error, progress))? {
        Some(ClientEvent::Informational(response)) => {
            progress.version = Some(response.version());
            Read::Event(Py::new(py, InformationalResponse::received(py, &response)?)?.into_any())
        }
        Some(ClientEvent::Response(response)) if response.status() == 101 => {
            progress.version = Some(response.version());
            Read::Event(Py::new(py, InformationalResponse::received(py, &response)?)?.into_any())
        }
        Some(ClientEvent::Response(response)) => {
            progress.version = Some(response.version());
            progress.keep_alive &= response.keep_alive();
            Read::Event(Py::new(py, Response::received(py, &response)?)?.into_any())
        }
        Some(ClientEvent::Data(data)) => Read::Event(Py::new(py, Data::received(py, data))?.into_any()),
        Some(ClientEvent::End(trailers)) => Read::end(py, trailers)?,
        Some(ClientEvent::Switched) => Read::Paused,
        Some(ClientEvent::Closed) => Read::Closed,
        None => Read::NeedData,
    })
}

/// Appends the head of a request.
pub(crate) fn request(
    py: Python<'_>,
    codec: &mut ClientConnection,
    request: &Request,
    progress: &mut Progress,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let version = request.http_version.bind(py);
    if *bytes_of(version.as_any())? != *b"1.1" {
        return Err(LocalProtocolError::new_err("a client sends only HTTP/1.1"));
    }
    if progress.is_over {
        return Err(LocalProtocolError::new_err(
            "start_next_cycle must be called before the next request",
        ));
    }
    let method = String::from_utf8_lossy(request.method.as_bytes(py));
    let target = String::from_utf8_lossy(request.target.as_bytes(py));
    let headers = request.headers.get().to_send();
    let body = match (headers.chunked, headers.length) {
        (true, _) => BodyLength::Chunked,
        (false, Some(length)) => BodyLength::Length(length),
        (false, None) => BodyLength::Empty,
    };
    codec
        .send_request(&method, &target, &headers.fields, body, out)
        .map_err(misuse)?;
    progress.begin(Version::Http11, !headers.close && method != "CONNECT");
    progress.version = None;
    progress.owe_end = body.is_empty();
    Ok(())
}
