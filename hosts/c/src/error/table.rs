//! The name and the section of each number.

use core::ffi::CStr;

use super::codes::*;

macro_rules! table {
    ($($code:ident, $section:literal;)*) => {
        /// Each number with its name and its section, which is empty where no document has one.
        pub(super) const TABLE: &[(i32, &CStr, &CStr)] = &[
            $((
                $code,
                match CStr::from_bytes_with_nul(concat!(stringify!($code), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => c"",
                },
                $section,
            ),)*
        ];
    };
}

table! {
    PROTO_NULL, c"";
    PROTO_NO_SPACE, c"";
    PROTO_NOT_UTF8, c"";
    PROTO_ARGUMENT, c"";
    PROTO_MEMORY, c"";
    PROTO_IO, c"";
    PROTO_ADDRESS, c"";
    PROTO_GONE, c"";
    PROTO_FULL, c"";
    PROTO_OTHER, c"";
    PROTO_HTTP_BARE_LF, c"RFC 9112 section 2.2";
    PROTO_HTTP_BARE_CR, c"RFC 9112 section 2.2";
    PROTO_HTTP_LEADING_LINES, c"RFC 9112 section 2.2";
    PROTO_HTTP_METHOD, c"RFC 9112 section 3.1";
    PROTO_HTTP_TARGET, c"RFC 9112 section 3.2";
    PROTO_HTTP_TARGET_TOO_LONG, c"RFC 9110 section 15.5.15";
    PROTO_HTTP_VERSION, c"RFC 9112 section 2.3";
    PROTO_HTTP_VERSION_UNSUPPORTED, c"RFC 9110 section 15.6.6";
    PROTO_HTTP_STATUS_LINE, c"RFC 9112 section 4";
    PROTO_HTTP_FIELD_NAME, c"RFC 9110 section 5.1";
    PROTO_HTTP_SPACE_BEFORE_COLON, c"RFC 9112 section 5.1";
    PROTO_HTTP_FOLDING, c"RFC 9112 section 5.2";
    PROTO_HTTP_FIELD_VALUE, c"RFC 9110 section 5.5";
    PROTO_HTTP_TOO_MANY_FIELDS, c"RFC 6585 section 5";
    PROTO_HTTP_FIELDS_TOO_LARGE, c"RFC 6585 section 5";
    PROTO_HTTP_HOST_MISSING, c"RFC 9112 section 3.2";
    PROTO_HTTP_HOST_REPEATED, c"RFC 9112 section 3.2";
    PROTO_HTTP_HOST, c"RFC 9110 section 7.2";
    PROTO_HTTP_CONTENT_LENGTH, c"RFC 9110 section 8.6";
    PROTO_HTTP_CONTENT_LENGTH_REPEATED, c"RFC 9112 section 6.3";
    PROTO_HTTP_LENGTH_AND_CODING, c"RFC 9112 section 6.1";
    PROTO_HTTP_TRANSFER_ENCODING, c"RFC 9112 section 6.3";
    PROTO_HTTP_CODING_UNKNOWN, c"RFC 9112 section 6.1";
    PROTO_HTTP_CODING_IN_OLD_VERSION, c"RFC 9112 section 6.1";
    PROTO_HTTP_FRAMING_FORBIDDEN, c"RFC 9112 section 6.1";
    PROTO_HTTP_EXPECTATION, c"RFC 9110 section 10.1.1";
    PROTO_HTTP_CONNECT_WITH_BODY, c"RFC 9110 section 9.3.6";
    PROTO_HTTP_BODY_TOO_LARGE, c"RFC 9110 section 15.5.14";
    PROTO_HTTP_CHUNK_SIZE, c"RFC 9112 section 7.1";
    PROTO_HTTP_CHUNK_EXTENSION, c"RFC 9112 section 7.1.1";
    PROTO_HTTP_CHUNK_LINE_TOO_LONG, c"RFC 9112 section 7.1.1";
    PROTO_HTTP_CHUNK_END, c"RFC 9112 section 7.1";
    PROTO_HTTP_TRAILER, c"RFC 9110 section 6.5.1";
    PROTO_HTTP_TRUNCATED, c"RFC 9112 section 8";
    PROTO_HTTP_UNASKED_SWITCH, c"RFC 9110 section 7.8";
    PROTO_HTTP_UNEXPECTED, c"RFC 9112 section 9.2";
    PROTO_HTTP_MISUSE_METHOD, c"RFC 9110 section 9.1";
    PROTO_HTTP_MISUSE_TARGET, c"RFC 9112 section 3.2";
    PROTO_HTTP_MISUSE_STATUS, c"RFC 9110 section 15";
    PROTO_HTTP_MISUSE_REASON, c"RFC 9112 section 4";
    PROTO_HTTP_MISUSE_FIELD_NAME, c"RFC 9110 section 5.1";
    PROTO_HTTP_MISUSE_FIELD_VALUE, c"RFC 9110 section 5.5";
    PROTO_HTTP_MISUSE_FRAMING_FIELD, c"RFC 9112 section 6";
    PROTO_HTTP_MISUSE_TRAILER, c"RFC 9110 section 6.5.1";
    PROTO_HTTP_MISUSE_HOST, c"RFC 9112 section 3.2";
    PROTO_HTTP_MISUSE_BODY_TOO_LONG, c"RFC 9112 section 6.2";
    PROTO_HTTP_MISUSE_BODY_TOO_SHORT, c"RFC 9112 section 6.2";
    PROTO_HTTP_MISUSE_TRAILERS_NEED_CHUNKS, c"RFC 9112 section 6.5";
    PROTO_HTTP_MISUSE_NOT_ALLOWED, c"";
    PROTO_HTTP_MISUSE_SWITCH_UNASKED, c"RFC 9110 section 7.8";
    PROTO_HTTP_MISUSE_CANNOT_SWITCH, c"";
    PROTO_HTTP_MISUSE_NO_SUCCESSOR, c"";
    PROTO_HTTP_MISUSE_OUT_OF_TURN, c"RFC 9112 section 9.3";
    PROTO_WS_RESERVED_BIT, c"RFC 6455 section 5.2";
    PROTO_WS_RESERVED_OPCODE, c"RFC 6455 section 5.2";
    PROTO_WS_UNMASKED, c"RFC 6455 section 5.1";
    PROTO_WS_MASKED, c"RFC 6455 section 5.1";
    PROTO_WS_NON_MINIMAL_LENGTH, c"RFC 6455 section 5.2";
    PROTO_WS_LENGTH_OVERFLOW, c"RFC 6455 section 5.2";
    PROTO_WS_CONTROL_TOO_LONG, c"RFC 6455 section 5.5";
    PROTO_WS_FRAGMENTED_CONTROL, c"RFC 6455 section 5.5";
    PROTO_WS_NOTHING_TO_CONTINUE, c"RFC 6455 section 5.4";
    PROTO_WS_MESSAGE_UNFINISHED, c"RFC 6455 section 5.4";
    PROTO_WS_CLOSE_TOO_SHORT, c"RFC 6455 section 5.5.1";
    PROTO_WS_CLOSE_CODE, c"RFC 6455 section 7.4";
    PROTO_WS_UTF8, c"RFC 6455 section 8.1";
    PROTO_WS_FRAME_TOO_LONG, c"RFC 6455 section 10.4";
    PROTO_WS_MESSAGE_TOO_LONG, c"RFC 6455 section 10.4";
    PROTO_WS_TOO_MANY_FRAGMENTS, c"RFC 6455 section 10.4";
    PROTO_WS_TOO_MANY_EMPTY_FRAGMENTS, c"RFC 6455 section 10.4";
    PROTO_WS_TOO_MANY_CONTROL_FRAMES, c"RFC 6455 section 10.4";
    PROTO_WS_DEFLATE, c"RFC 7692 section 7.2.2";
    PROTO_WS_INFLATE_RATIO, c"RFC 6455 section 10.4";
    PROTO_WS_MESSAGE_TIMEOUT, c"RFC 6455 section 10.4";
    PROTO_WS_PONG_TIMEOUT, c"RFC 6455 section 5.5.2";
    PROTO_WS_CLOSE_TIMEOUT, c"RFC 6455 section 7.1.1";
    PROTO_WS_MISUSE_CLOSED, c"RFC 6455 section 5.5.1";
    PROTO_WS_MISUSE_CONTROL_TOO_LONG, c"RFC 6455 section 5.5";
    PROTO_WS_MISUSE_CLOSE_CODE, c"RFC 6455 section 7.4";
    PROTO_WS_MISUSE_MESSAGE_UNFINISHED, c"RFC 6455 section 5.4";
    PROTO_WS_MISUSE_KIND_CHANGED, c"";
    PROTO_WS_REJECT_METHOD, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_NOT_WEB_SOCKET, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_CONNECTION, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_VERSION, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_KEY, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_HOST, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_DUPLICATE, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_MALFORMED, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_TOO_MANY_OFFERS, c"RFC 6455 section 4.2.1";
    PROTO_WS_REJECT_ORIGIN, c"RFC 6455 section 10.2";
    PROTO_WS_REFUSED_STATUS, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_MALFORMED, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_UPGRADE, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_CONNECTION, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_ACCEPT, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_PROTOCOL, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_EXTENSION, c"RFC 6455 section 4.1";
    PROTO_WS_REFUSED_DUPLICATE, c"RFC 6455 section 4.1";
    PROTO_WS_REQUEST_HOST, c"RFC 6455 section 4.1";
    PROTO_WS_REQUEST_TARGET, c"RFC 6455 section 4.1";
    PROTO_WS_REQUEST_PROTOCOL, c"RFC 6455 section 4.1";
    PROTO_WS_REQUEST_FIELD, c"RFC 6455 section 4.1";
    PROTO_RESP_UNKNOWN_TYPE, c"RESP protocol description";
    PROTO_RESP_RESP3_TYPE, c"RESP versions";
    PROTO_RESP_BARE_LF, c"RESP protocol description";
    PROTO_RESP_BARE_CR, c"RESP protocol description";
    PROTO_RESP_BULK_END, c"Bulk strings";
    PROTO_RESP_LENGTH, c"Bulk strings";
    PROTO_RESP_INTEGER, c"Integers";
    PROTO_RESP_DOUBLE, c"Doubles";
    PROTO_RESP_BOOLEAN, c"Booleans";
    PROTO_RESP_NULL, c"Nulls";
    PROTO_RESP_BIG_NUMBER, c"Big numbers";
    PROTO_RESP_VERBATIM, c"Verbatim strings";
    PROTO_RESP_NESTED_PUSH, c"Pushes";
    PROTO_RESP_PUSH_KIND, c"Pushes";
    PROTO_RESP_DANGLING_ATTRIBUTE, c"Attributes";
    PROTO_RESP_STRAY_END, c"Streamed aggregated data types";
    PROTO_RESP_STRAY_CHUNK, c"Streamed strings";
    PROTO_RESP_MISSING_CHUNK, c"Streamed strings";
    PROTO_RESP_ODD_MAP, c"Streamed aggregated data types";
    PROTO_RESP_TOO_DEEP, c"Limits::depth";
    PROTO_RESP_TOO_MANY_ITEMS, c"Limits::items";
    PROTO_RESP_BULK_TOO_LONG, c"Limits::bulk";
    PROTO_RESP_REPLY_TOO_LONG, c"Limits::reply";
    PROTO_RESP_LINE_TOO_LONG, c"Limits::line";
    PROTO_RESP_NOT_A_COMMAND, c"Sending commands to a Redis server";
    PROTO_RESP_NOT_AN_ARGUMENT, c"Sending commands to a Redis server";
    PROTO_RESP_EMPTY_COMMAND, c"Sending commands to a Redis server";
    PROTO_RESP_TOO_MANY_ARGUMENTS, c"Limits::arguments";
    PROTO_RESP_COMMAND_TOO_LONG, c"Limits::command";
    PROTO_RESP_QUOTES, c"Inline commands";
    PROTO_RESP_HTTP, c"Inline commands";
    PROTO_RESP_MISORDERED, c"Request-Response model";
    PROTO_RESP_UNSOLICITED, c"Request-Response model";
    PROTO_RESP_MISUSE_LINE_BREAK, c"";
    PROTO_RESP_MISUSE_BIG_NUMBER, c"";
    PROTO_RESP_MISUSE_EMPTY_COMMAND, c"";
    PROTO_RESP_MISUSE_COUNT, c"";
    PROTO_RESP_MISUSE_PUSH, c"";
    PROTO_RESP_MISUSE_TOO_LARGE, c"";
    PROTO_RESP_MISUSE_UNBALANCED, c"";
    PROTO_RESP_MISUSE_UNFINISHED, c"";
    PROTO_RESP_MISUSE_RESP3, c"";
    PROTO_RESP_MISUSE_NOT_DUE, c"";
    PROTO_RESP_MISUSE_OUTSTANDING, c"";
    PROTO_RESP_MISUSE_NOT_READY, c"";
    PROTO_RESP_MISUSE_UNANSWERABLE, c"";
}
