//! The destination of the answers of a [`Responder`](super::Responder) that does not belong to an HTTP/1.1 connection.

use std::time::Instant;

use bytes::Bytes;
use protocol::FilePiece;

use crate::{AnyFields, DATE_LENGTH, Misuse, Status};

/// One exchange of a codec for another version of HTTP, as a [`Responder`](super::Responder) uses it. Each method
/// corresponds to the responder's method of the same name.
#[doc(hidden)]
pub trait Backend {
    fn send(&mut self, status: u16, fields: &dyn AnyFields, body: &[u8]) -> Result<(), Misuse>;
    fn send_shared(&mut self, status: u16, fields: &dyn AnyFields, body: Bytes) -> Result<(), Misuse>;
    fn start(&mut self, status: Status<'_>, fields: &dyn AnyFields, length: Option<u64>) -> Result<(), Misuse>;
    fn write(&mut self, data: &[u8]) -> Result<(), Misuse>;
    fn write_shared(&mut self, data: Bytes) -> Result<(), Misuse>;
    fn write_file(&mut self, file: FilePiece) -> Result<(), Misuse>;
    fn finish(&mut self, trailers: &dyn AnyFields) -> Result<(), Misuse>;
    fn inform(&mut self, status: u16, fields: &dyn AnyFields) -> Result<(), Misuse>;
    fn expects_continue(&self) -> bool;
    fn withhold_continue(&mut self);
    fn withholds_continue(&self) -> bool;
    fn upgrade(&mut self, fields: &dyn AnyFields) -> Result<(), Misuse>;
    fn tunnel(&mut self, fields: &dyn AnyFields) -> Result<(), Misuse>;
    fn pause(&mut self, pause: bool);
    fn close(&mut self);
    fn abort(&mut self);
    fn is_congested(&self) -> bool;
    fn now(&self) -> Instant;
    fn is_due(&self) -> bool;
    fn is_open(&self) -> bool;
    fn date(&self) -> Option<[u8; DATE_LENGTH]>;
}
