//! Errors: numbers with names and sections.

mod codes;
mod numbers;
mod table;

use core::ffi::{CStr, c_char};

pub use codes::*;
pub(crate) use numbers::*;

use table::TABLE;

/// The party that caused an error, as `proto_error_fault` tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_fault {
    /// No error has this number.
    PROTO_FAULT_NONE = 0,
    /// The peer broke the protocol or exceeded a limit: the connection is to be closed.
    PROTO_FAULT_PEER = 1,
    /// The program called a function wrongly, or the system refused: nothing was written, and the state is unchanged.
    PROTO_FAULT_PROGRAM = 2,
}

fn find(error: i32) -> Option<(&'static CStr, &'static CStr)> {
    let (_, name, section) = TABLE.iter().find(|(code, ..)| *code == error)?;
    Some((name, section))
}

/// The name of an error, such as `PROTO_HTTP_BARE_LF`; `PROTO_OK` for 0 and above, `PROTO_OTHER` for an unknown number.
/// Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn proto_error_name(error: i32) -> *const c_char {
    if error >= 0 {
        return c"PROTO_OK".as_ptr();
    }
    find(error).map_or(c"PROTO_OTHER", |(name, _)| name).as_ptr()
}

/// The section that an error violates, such as `RFC 9112 section 2.2`; for RESP, a heading of the specification or the name of
/// a limit. Empty where there is none. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn proto_error_section(error: i32) -> *const c_char {
    find(error).map_or(c"", |(_, section)| section).as_ptr()
}

/// Who caused an error: a `proto_fault`.
#[unsafe(no_mangle)]
pub extern "C" fn proto_error_fault(error: i32) -> proto_fault {
    match error {
        0.. => proto_fault::PROTO_FAULT_NONE,
        -199..=-100 | -399..=-300 | -489..=-450 | -599..=-500 => proto_fault::PROTO_FAULT_PEER,
        _ => proto_fault::PROTO_FAULT_PROGRAM,
    }
}

/// The HTTP status with which a server answers an error of the peer, such as 400; 500 for all other errors.
#[unsafe(no_mangle)]
pub extern "C" fn proto_error_status(error: i32) -> u16 {
    #[cfg(feature = "alloc")]
    if let Some(rejection) = rejections().find(|rejection| ws_rejection(*rejection) == error) {
        return rejection.status();
    }
    let mut kinds = proto_http::ViolationKind::ALL.iter();
    kinds
        .find(|kind| http_kind(**kind) == error)
        .map_or(500, |kind| kind.status())
}

#[cfg(feature = "alloc")]
fn rejections() -> impl Iterator<Item = proto_ws::handshake::server::Rejection> {
    use proto_ws::handshake::server::Rejection::*;
    [
        Method,
        NotWebSocket,
        Connection,
        Version,
        Key,
        Host,
        Duplicate,
        Malformed,
        TooManyOffers,
        Origin,
    ]
    .into_iter()
}

/// The code of the Close frame that reports an error of a WebSocket peer (RFC 6455 section 7.4.1), such as 1002; 1011 for all
/// other errors.
#[unsafe(no_mangle)]
pub extern "C" fn proto_error_close_code(error: i32) -> u16 {
    match error {
        PROTO_WS_UTF8 | PROTO_WS_DEFLATE => 1007,
        PROTO_WS_FRAME_TOO_LONG | PROTO_WS_MESSAGE_TOO_LONG | PROTO_WS_INFLATE_RATIO => 1009,
        PROTO_WS_TOO_MANY_FRAGMENTS
        | PROTO_WS_TOO_MANY_EMPTY_FRAGMENTS
        | PROTO_WS_TOO_MANY_CONTROL_FRAMES
        | PROTO_WS_MESSAGE_TIMEOUT
        | PROTO_WS_PONG_TIMEOUT => 1008,
        -399..=-300 => 1002,
        _ => 1011,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proto_http::ViolationKind;
    use proto_ws::Violation as WsViolation;

    use super::*;

    fn text(text: *const c_char) -> String {
        // SAFETY: the tables hold C strings.
        unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
    }

    /// `BareLf` as `BARE_LF`.
    fn constant(name: &str) -> String {
        let mut out = String::new();
        for (at, letter) in name.char_indices() {
            if at > 0 && letter.is_uppercase() {
                out.push('_');
            }
            out.extend(letter.to_uppercase());
        }
        out
    }

    #[test]
    fn every_number_has_one_name() {
        let numbers: HashSet<_> = TABLE.iter().map(|(code, ..)| code).collect();
        let names: HashSet<_> = TABLE.iter().map(|(_, name, _)| name).collect();
        assert_eq!((numbers.len(), names.len()), (TABLE.len(), TABLE.len()));
        assert!(TABLE.iter().all(|(code, name, _)| *code < 0 && !name.is_empty()));
        assert_eq!(text(proto_error_name(-99_999)), "PROTO_OTHER");
        assert_eq!(text(proto_error_name(PROTO_EVENT)), "PROTO_OK");
    }

    #[test]
    fn violations_of_http_have_the_codecs_name_section_and_status() {
        for kind in ViolationKind::ALL {
            let code = http_kind(*kind);
            assert_eq!(
                text(proto_error_name(code)),
                format!("PROTO_HTTP_{}", constant(kind.name()))
            );
            assert_eq!(text(proto_error_section(code)), kind.section());
            assert_eq!(proto_error_status(code), kind.status());
            assert_eq!(proto_error_fault(code), proto_fault::PROTO_FAULT_PEER);
        }
    }

    #[test]
    fn violations_of_websocket_have_the_codecs_section_and_close_code() {
        use WsViolation::*;
        let all = [
            ReservedBit,
            ReservedOpcode(3),
            Unmasked,
            Masked,
            NonMinimalLength,
            LengthOverflow,
            ControlTooLong,
            FragmentedControl,
            NothingToContinue,
            MessageUnfinished,
            CloseTooShort,
            CloseCode(5),
            Utf8,
            FrameTooLong,
            MessageTooLong,
            TooManyFragments,
            TooManyEmptyFragments,
            TooManyControlFrames,
            Deflate,
            InflateRatio,
            MessageTimeout,
            PongTimeout,
            CloseTimeout,
        ];
        for violation in all {
            let code = ws_violation(violation);
            assert_ne!(code, PROTO_OTHER);
            assert_eq!(text(proto_error_section(code)), violation.section());
            assert_eq!(
                proto_error_close_code(code),
                violation.close_code().get(),
                "{violation:?}"
            );
            assert_eq!(proto_error_fault(code), proto_fault::PROTO_FAULT_PEER);
        }
    }

    #[test]
    fn every_violation_of_resp_has_a_number() {
        for name in proto_resp::Violation::NAMES {
            let wanted = format!("PROTO_RESP_{}", constant(name));
            assert!(
                TABLE.iter().any(|(_, name, _)| name.to_str() == Ok(&wanted)),
                "{wanted}"
            );
        }
        let violation = proto_resp::Violation::DanglingAttribute;
        assert_eq!(
            text(proto_error_section(resp_violation(violation))),
            violation.section()
        );
        assert_eq!(
            proto_error_fault(resp_violation(violation)),
            proto_fault::PROTO_FAULT_PEER
        );
    }

    #[test]
    fn a_refused_handshake_has_its_status() {
        for rejection in rejections() {
            assert_ne!(ws_rejection(rejection), PROTO_OTHER);
            assert_eq!(proto_error_status(ws_rejection(rejection)), rejection.status());
        }
        assert_eq!(proto_error_status(PROTO_WS_MISUSE_CLOSED), 500);
    }
}
