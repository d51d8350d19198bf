//! The event that the program looks at.

use super::connection::{Happened, What};
use super::{proto_server_event, proto_server_event_kind};
use crate::buffer::{proto_bytes, set};
use crate::http_head::proto_http_head;

/// Keeps what the last event shows.
#[derive(Default)]
pub(super) struct Current(Option<Happened>);

impl Current {
    pub(super) fn new(happened: Happened) -> Self {
        Current(Some(happened))
    }

    /// Writes the event.
    ///
    /// # Safety
    ///
    /// `event` may be written.
    pub(super) unsafe fn show(&self, event: *mut proto_server_event) {
        let Some(Happened { id, what }) = &self.0 else { return };
        let (mut text, mut code) = (false, 0);
        let (kind, data) = match what {
            What::Request(asked) => {
                if let Some(request) = asked.request() {
                    // SAFETY: as promised.
                    unsafe { set(&raw mut (*event).head, proto_http_head::from(&request)) };
                }
                (proto_server_event_kind::PROTO_SERVER_REQUEST, asked.body.as_slice())
            }
            What::Opened => (proto_server_event_kind::PROTO_SERVER_OPENED, &[][..]),
            What::Message { text: is_text, payload } => {
                text = *is_text;
                (proto_server_event_kind::PROTO_SERVER_MESSAGE, payload.as_slice())
            }
            What::Closed { code: with, reason } => {
                code = *with;
                (proto_server_event_kind::PROTO_SERVER_CLOSED, reason.as_bytes())
            }
        };
        // SAFETY: as promised.
        unsafe {
            set(&raw mut (*event).kind, kind);
            set(&raw mut (*event).text, text);
            set(&raw mut (*event).code, code);
            set(&raw mut (*event).id, *id);
            set(&raw mut (*event).data, proto_bytes::from(data));
        }
    }
}
