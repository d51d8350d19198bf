//! Error codes (RFC 9113 section 7).

use core::fmt;

/// Why a stream or a connection ended (RFC 9113 section 7). Unknown codes are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The name of RFC 9113 section 7; `None` for a code that has none.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

codes! {
    /// Nothing went wrong.
    NO_ERROR = 0x0;
    /// The peer broke the protocol in a way that no other code names.
    PROTOCOL_ERROR = 0x1;
    /// An internal error, which is not the peer's fault.
    INTERNAL_ERROR = 0x2;
    /// The peer sent more than its flow-control window allowed.
    FLOW_CONTROL_ERROR = 0x3;
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 0x4;
    /// A frame arrived on a half-closed stream.
    STREAM_CLOSED = 0x5;
    /// A frame has a size that its type does not allow.
    FRAME_SIZE_ERROR = 0x6;
    /// The stream was refused before any processing; the request may be sent again.
    REFUSED_STREAM = 0x7;
    /// The stream is no longer needed.
    CANCEL = 0x8;
    /// The state of the header compression is lost.
    COMPRESSION_ERROR = 0x9;
    /// The connection of a CONNECT request failed.
    CONNECT_ERROR = 0xa;
    /// The peer causes too much work.
    ENHANCE_YOUR_CALM = 0xb;
    /// The transport does not meet the security requirements.
    INADEQUATE_SECURITY = 0xc;
    /// The resource requires HTTP/1.1.
    HTTP_1_1_REQUIRED = 0xd;
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {:#x}", self.0),
        }
    }
}
