//! `wirestate._core`: the codecs for Python. README.md describes the package; what Python sees is in `python/wirestate`.
//!
//! Every method runs with the interpreter attached, as it takes microseconds; only the sending of large WebSocket messages detaches.
//! A connection that two threads use at once raises `RuntimeError`.

#![forbid(unsafe_code)]

mod bytes_like;
mod http_client;
mod http_connection;
mod http_events;
mod http_headers;
mod http_server;
mod http_states;
mod ws_events;
mod ws_frames;
mod ws_handshake;

use pyo3::prelude::*;

/// The codecs.
#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::http_connection::Connection;
    #[pymodule_export]
    use super::http_events::{ConnectionClosed, Data, EndOfMessage, InformationalResponse, Request, Response};
    #[pymodule_export]
    use super::http_headers::Headers;
    #[pymodule_export]
    use super::http_states::Sentinel;
    #[pymodule_export]
    use super::ws_events::{BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage};
    #[pymodule_export]
    use super::ws_frames::Frames;
    #[pymodule_export]
    use super::ws_handshake::{Deflate, Parameters, UpgradeOffer, UpgradeRequest};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::http_states::add_to(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
