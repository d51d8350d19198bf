//! The bodies of the fuzz targets as plain functions, so that `cargo test` can replay on stable Rust what a fuzzer has found.
//!
//! Each module is one target: `run` takes any bytes, and panics where one of the properties named in the module's documentation does not
//! hold. See `fuzz/README.md` for the commands.

pub mod chunked_body;
pub mod clients;
pub mod connection;
mod cuts;
#[cfg(target_os = "linux")]
pub mod driver_loop;
pub mod h2_client;
pub mod h2_hpack;
pub mod h2_server;
pub mod http_client;
pub mod http_messages;
pub mod http_server;
pub mod mask;
pub mod memory;
mod miniz;
pub mod output;
mod plain_frames;
pub mod proxy;
pub mod request_head;
pub mod resp;
pub mod response_head;
mod scripted;
pub mod sim;
pub mod switch;
pub mod tls;
pub mod wheel;
pub mod ws_frames;
pub mod ws_handshake;
pub mod ws_inflate;
pub mod ws_messages;

/// The body of a target.
pub type Body = fn(&[u8]);

/// Every target: its name, which is also that of its corpus, and its body.
pub const TARGETS: &[(&str, Body)] = &[
    ("chunked_body", chunked_body::run),
    ("clients", clients::run),
    ("connection", connection::run),
    #[cfg(target_os = "linux")]
    ("driver_loop", driver_loop::run),
    ("h2_client", h2_client::run),
    ("h2_hpack", h2_hpack::run),
    ("h2_server", h2_server::run),
    ("http_client", http_client::run),
    ("http_messages", http_messages::run),
    ("http_server", http_server::run),
    ("mask", mask::run),
    ("output", output::run),
    ("proxy", proxy::run),
    ("request_head", request_head::run),
    ("resp", resp::run),
    ("response_head", response_head::run),
    ("sim", sim::run),
    ("switch", switch::run),
    ("tls", tls::run),
    ("wheel", wheel::run),
    ("ws_frames", ws_frames::run),
    ("ws_handshake", ws_handshake::run),
    ("ws_inflate", ws_inflate::run),
    ("ws_messages", ws_messages::run),
];
