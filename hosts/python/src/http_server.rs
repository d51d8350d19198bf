//! The server's half of [`Connection`](crate::http_connection::Connection): events to Python, messages to bytes.

use pyo3::prelude::*;

use proto_http::state::State;
use proto_http::{Fields, Misuse, Rules, ServerConnection, ServerEvent, Status};

use crate::http_connection::{Progress, Read, misuse, violation};
use crate::http_events::{Data, Request, ResponseHead};
use crate::http_headers::Headers;

/// Reads the next event from `input`.
pub(crate) fn read(
    py: Python<'_>,
    codec: &mut ServerConnection,
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
        Some(ServerEvent::Request(request)) => {
            progress.begin(request.version(), request.keep_alive() && request.method() != "CONNECT");
            // A request without content ends with the next event.
            progress.owes_end = request.body().is_empty();
            Read::Event(Py::new(py, Request::received(py, &request)?)?.into_any())
        }
        Some(ServerEvent::Data(data)) => Read::Event(Py::new(py, Data::received(py, data))?.into_any()),
        Some(ServerEvent::End(trailers)) => Read::end(py, trailers)?,
        Some(ServerEvent::Paused) => Read::Paused,
        Some(ServerEvent::Closed) => Read::Closed,
        None => Read::NeedData,
    })
}

/// Whether no request has arrived that a response could answer: it is a 408, or what a server says before it closes.
fn is_unasked(codec: &ServerConnection, progress: &Progress) -> bool {
    codec.request_state() == State::Idle && !progress.is_over
}

/// Appends the head of a final response.
pub(crate) fn respond(
    py: Python<'_>,
    codec: &mut ServerConnection,
    head: &ResponseHead,
    progress: &mut Progress,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let headers = head.headers.get().to_send();
    let reason = head.reason.as_bytes(py);
    let status = if reason.is_empty() {
        head.status.into()
    } else {
        Status::with_reason(head.status, reason).map_err(misuse)?
    };
    let mut next = *codec;
    if is_unasked(codec, progress) {
        next.give_up();
    }
    let length = headers.length.filter(|_| !headers.chunked);
    let sent = next.send_response(status, &headers.fields, length, None, out);
    if sent == Err(Misuse::NotAllowed) {
        // A 2xx to a CONNECT: what follows belongs to the tunnel.
        return codec.switch(head.status, &headers.fields, out).map_err(misuse);
    }
    sent.map_err(misuse)?;
    let last = headers.close || next.ends_by_close() || codec.expects_continue() || is_unasked(codec, progress);
    progress.keep_alive &= !last;
    *codec = next;
    Ok(())
}

/// Appends an informational response. A 101 switches protocols.
pub(crate) fn inform(codec: &mut ServerConnection, head: &ResponseHead, out: &mut Vec<u8>) -> PyResult<()> {
    let headers = head.headers.get().to_send();
    let sent = match head.status {
        101 => codec.switch(101, &headers.fields, out),
        status => codec.send_informational(status, &headers.fields, out),
    };
    sent.map_err(misuse)
}

impl Read {
    /// The end of a message.
    pub(crate) fn end(py: Python<'_>, trailers: Fields<'_>) -> PyResult<Self> {
        let headers = Py::new(py, Headers::received(trailers))?;
        Ok(Self::Event(
            Py::new(py, crate::http_events::EndOfMessage { headers })?.into_any(),
        ))
    }
}
