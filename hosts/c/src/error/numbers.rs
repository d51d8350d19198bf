//! Which number each error of a codec has.

use proto_http::{Misuse as HttpMisuse, ViolationKind};
#[cfg(feature = "resp")]
use proto_resp::{Misuse as RespMisuse, Violation as RespViolation};
#[cfg(feature = "alloc")]
use proto_ws::Misuse as WsMisuse;
use proto_ws::Violation as WsViolation;
#[cfg(feature = "alloc")]
use proto_ws::handshake::{client::BadRequest, client::Refusal, server::Rejection};

use super::codes::*;

macro_rules! numbers {
    ($($(#[$cfg:meta])* $function:ident($type:ident) { $($code:ident = $pattern:pat,)* })*) => {
        $(
            $(#[$cfg])*
            #[allow(unreachable_patterns, reason = "the types may get further values")]
            pub(crate) fn $function(error: $type) -> i32 {
                match error {
                    $($pattern => $code,)*
                    _ => PROTO_OTHER,
                }
            }
        )*
    };
}

numbers! {
    http_kind(ViolationKind) {
        PROTO_HTTP_BARE_LF = ViolationKind::BareLf,
        PROTO_HTTP_BARE_CR = ViolationKind::BareCr,
        PROTO_HTTP_LEADING_LINES = ViolationKind::LeadingLines,
        PROTO_HTTP_METHOD = ViolationKind::Method,
        PROTO_HTTP_TARGET = ViolationKind::Target,
        PROTO_HTTP_TARGET_TOO_LONG = ViolationKind::TargetTooLong,
        PROTO_HTTP_VERSION = ViolationKind::Version,
        PROTO_HTTP_VERSION_UNSUPPORTED = ViolationKind::VersionUnsupported,
        PROTO_HTTP_STATUS_LINE = ViolationKind::StatusLine,
        PROTO_HTTP_FIELD_NAME = ViolationKind::FieldName,
        PROTO_HTTP_SPACE_BEFORE_COLON = ViolationKind::SpaceBeforeColon,
        PROTO_HTTP_FOLDING = ViolationKind::Folding,
        PROTO_HTTP_FIELD_VALUE = ViolationKind::FieldValue,
        PROTO_HTTP_TOO_MANY_FIELDS = ViolationKind::TooManyFields,
        PROTO_HTTP_FIELDS_TOO_LARGE = ViolationKind::FieldsTooLarge,
        PROTO_HTTP_HOST_MISSING = ViolationKind::HostMissing,
        PROTO_HTTP_HOST_REPEATED = ViolationKind::HostRepeated,
        PROTO_HTTP_HOST = ViolationKind::Host,
        PROTO_HTTP_CONTENT_LENGTH = ViolationKind::ContentLength,
        PROTO_HTTP_CONTENT_LENGTH_REPEATED = ViolationKind::ContentLengthRepeated,
        PROTO_HTTP_LENGTH_AND_CODING = ViolationKind::LengthAndCoding,
        PROTO_HTTP_TRANSFER_ENCODING = ViolationKind::TransferEncoding,
        PROTO_HTTP_CODING_UNKNOWN = ViolationKind::CodingUnknown,
        PROTO_HTTP_CODING_IN_OLD_VERSION = ViolationKind::CodingInOldVersion,
        PROTO_HTTP_FRAMING_FORBIDDEN = ViolationKind::FramingForbidden,
        PROTO_HTTP_EXPECTATION = ViolationKind::Expectation,
        PROTO_HTTP_CONNECT_WITH_BODY = ViolationKind::ConnectWithBody,
        PROTO_HTTP_BODY_TOO_LARGE = ViolationKind::BodyTooLarge,
        PROTO_HTTP_CHUNK_SIZE = ViolationKind::ChunkSize,
        PROTO_HTTP_CHUNK_EXTENSION = ViolationKind::ChunkExtension,
        PROTO_HTTP_CHUNK_LINE_TOO_LONG = ViolationKind::ChunkLineTooLong,
        PROTO_HTTP_CHUNK_END = ViolationKind::ChunkEnd,
        PROTO_HTTP_TRAILER = ViolationKind::Trailer,
        PROTO_HTTP_TRUNCATED = ViolationKind::Truncated,
        PROTO_HTTP_UNASKED_SWITCH = ViolationKind::UnaskedSwitch,
        PROTO_HTTP_UNEXPECTED = ViolationKind::Unexpected,
    }
    http_misuse(HttpMisuse) {
        PROTO_HTTP_MISUSE_METHOD = HttpMisuse::Method,
        PROTO_HTTP_MISUSE_TARGET = HttpMisuse::Target,
        PROTO_HTTP_MISUSE_STATUS = HttpMisuse::Status,
        PROTO_HTTP_MISUSE_REASON = HttpMisuse::Reason,
        PROTO_HTTP_MISUSE_FIELD_NAME = HttpMisuse::FieldName,
        PROTO_HTTP_MISUSE_FIELD_VALUE = HttpMisuse::FieldValue,
        PROTO_HTTP_MISUSE_FRAMING_FIELD = HttpMisuse::FramingField,
        PROTO_HTTP_MISUSE_TRAILER = HttpMisuse::Trailer,
        PROTO_HTTP_MISUSE_HOST = HttpMisuse::Host,
        PROTO_HTTP_MISUSE_BODY_TOO_LONG = HttpMisuse::BodyTooLong,
        PROTO_HTTP_MISUSE_BODY_TOO_SHORT = HttpMisuse::BodyTooShort,
        PROTO_HTTP_MISUSE_TRAILERS_NEED_CHUNKS = HttpMisuse::TrailersNeedChunks,
        PROTO_HTTP_MISUSE_NOT_ALLOWED = HttpMisuse::NotAllowed,
        PROTO_HTTP_MISUSE_SWITCH_UNASKED = HttpMisuse::SwitchUnasked,
        PROTO_HTTP_MISUSE_CANNOT_SWITCH = HttpMisuse::CannotSwitch,
        PROTO_HTTP_MISUSE_NO_SUCCESSOR = HttpMisuse::NoSuccessor,
        PROTO_HTTP_MISUSE_OUT_OF_TURN = HttpMisuse::OutOfTurn,
        PROTO_NO_SPACE = HttpMisuse::NoSpace,
    }
    ws_violation(WsViolation) {
        PROTO_WS_RESERVED_BIT = WsViolation::ReservedBit,
        PROTO_WS_RESERVED_OPCODE = WsViolation::ReservedOpcode(_),
        PROTO_WS_UNMASKED = WsViolation::Unmasked,
        PROTO_WS_MASKED = WsViolation::Masked,
        PROTO_WS_NON_MINIMAL_LENGTH = WsViolation::NonMinimalLength,
        PROTO_WS_LENGTH_OVERFLOW = WsViolation::LengthOverflow,
        PROTO_WS_CONTROL_TOO_LONG = WsViolation::ControlTooLong,
        PROTO_WS_FRAGMENTED_CONTROL = WsViolation::FragmentedControl,
        PROTO_WS_NOTHING_TO_CONTINUE = WsViolation::NothingToContinue,
        PROTO_WS_MESSAGE_UNFINISHED = WsViolation::MessageUnfinished,
        PROTO_WS_CLOSE_TOO_SHORT = WsViolation::CloseTooShort,
        PROTO_WS_CLOSE_CODE = WsViolation::CloseCode(_),
        PROTO_WS_UTF8 = WsViolation::Utf8,
        PROTO_WS_FRAME_TOO_LONG = WsViolation::FrameTooLong,
        PROTO_WS_MESSAGE_TOO_LONG = WsViolation::MessageTooLong,
        PROTO_WS_TOO_MANY_FRAGMENTS = WsViolation::TooManyFragments,
        PROTO_WS_TOO_MANY_EMPTY_FRAGMENTS = WsViolation::TooManyEmptyFragments,
        PROTO_WS_TOO_MANY_CONTROL_FRAMES = WsViolation::TooManyControlFrames,
        PROTO_WS_DEFLATE = WsViolation::Deflate,
        PROTO_WS_INFLATE_RATIO = WsViolation::InflateRatio,
        PROTO_WS_MESSAGE_TIMEOUT = WsViolation::MessageTimeout,
        PROTO_WS_PONG_TIMEOUT = WsViolation::PongTimeout,
        PROTO_WS_CLOSE_TIMEOUT = WsViolation::CloseTimeout,
    }
    #[cfg(feature = "alloc")]
    ws_misuse(WsMisuse) {
        PROTO_WS_MISUSE_CLOSED = WsMisuse::Closed,
        PROTO_WS_MISUSE_CONTROL_TOO_LONG = WsMisuse::ControlTooLong,
        PROTO_WS_MISUSE_CLOSE_CODE = WsMisuse::CloseCode(_),
        PROTO_WS_MISUSE_MESSAGE_UNFINISHED = WsMisuse::MessageUnfinished,
        PROTO_WS_MISUSE_KIND_CHANGED = WsMisuse::KindChanged,
    }
    #[cfg(feature = "alloc")]
    ws_rejection(Rejection) {
        PROTO_WS_REJECT_METHOD = Rejection::Method,
        PROTO_WS_REJECT_NOT_WEB_SOCKET = Rejection::NotWebSocket,
        PROTO_WS_REJECT_CONNECTION = Rejection::Connection,
        PROTO_WS_REJECT_VERSION = Rejection::Version,
        PROTO_WS_REJECT_KEY = Rejection::Key,
        PROTO_WS_REJECT_HOST = Rejection::Host,
        PROTO_WS_REJECT_DUPLICATE = Rejection::Duplicate,
        PROTO_WS_REJECT_MALFORMED = Rejection::Malformed,
        PROTO_WS_REJECT_TOO_MANY_OFFERS = Rejection::TooManyOffers,
        PROTO_WS_REJECT_ORIGIN = Rejection::Origin,
    }
    #[cfg(feature = "alloc")]
    ws_refusal(Refusal) {
        PROTO_WS_REFUSED_STATUS = Refusal::Status(_),
        PROTO_WS_REFUSED_MALFORMED = Refusal::Malformed,
        PROTO_WS_REFUSED_UPGRADE = Refusal::Upgrade,
        PROTO_WS_REFUSED_CONNECTION = Refusal::Connection,
        PROTO_WS_REFUSED_ACCEPT = Refusal::Accept,
        PROTO_WS_REFUSED_PROTOCOL = Refusal::Protocol,
        PROTO_WS_REFUSED_EXTENSION = Refusal::Extension,
        PROTO_WS_REFUSED_DUPLICATE = Refusal::Duplicate,
    }
    #[cfg(feature = "alloc")]
    ws_bad_request(BadRequest) {
        PROTO_WS_REQUEST_HOST = BadRequest::Host,
        PROTO_WS_REQUEST_TARGET = BadRequest::Target,
        PROTO_WS_REQUEST_PROTOCOL = BadRequest::Protocol,
        PROTO_WS_REQUEST_FIELD = BadRequest::Field,
    }
    #[cfg(feature = "resp")]
    resp_violation(RespViolation) {
        PROTO_RESP_UNKNOWN_TYPE = RespViolation::UnknownType(_),
        PROTO_RESP_RESP3_TYPE = RespViolation::Resp3Type(_),
        PROTO_RESP_BARE_LF = RespViolation::BareLf,
        PROTO_RESP_BARE_CR = RespViolation::BareCr,
        PROTO_RESP_BULK_END = RespViolation::BulkEnd,
        PROTO_RESP_LENGTH = RespViolation::Length,
        PROTO_RESP_INTEGER = RespViolation::Integer,
        PROTO_RESP_DOUBLE = RespViolation::Double,
        PROTO_RESP_BOOLEAN = RespViolation::Boolean,
        PROTO_RESP_NULL = RespViolation::Null,
        PROTO_RESP_BIG_NUMBER = RespViolation::BigNumber,
        PROTO_RESP_VERBATIM = RespViolation::Verbatim,
        PROTO_RESP_NESTED_PUSH = RespViolation::NestedPush,
        PROTO_RESP_PUSH_KIND = RespViolation::PushKind,
        PROTO_RESP_DANGLING_ATTRIBUTE = RespViolation::DanglingAttribute,
        PROTO_RESP_STRAY_END = RespViolation::StrayEnd,
        PROTO_RESP_STRAY_CHUNK = RespViolation::StrayChunk,
        PROTO_RESP_MISSING_CHUNK = RespViolation::MissingChunk(_),
        PROTO_RESP_ODD_MAP = RespViolation::OddMap,
        PROTO_RESP_TOO_DEEP = RespViolation::TooDeep,
        PROTO_RESP_TOO_MANY_ITEMS = RespViolation::TooManyItems,
        PROTO_RESP_BULK_TOO_LONG = RespViolation::BulkTooLong,
        PROTO_RESP_REPLY_TOO_LONG = RespViolation::ReplyTooLong,
        PROTO_RESP_LINE_TOO_LONG = RespViolation::LineTooLong,
        PROTO_RESP_NOT_A_COMMAND = RespViolation::NotACommand(_),
        PROTO_RESP_NOT_AN_ARGUMENT = RespViolation::NotAnArgument(_),
        PROTO_RESP_EMPTY_COMMAND = RespViolation::EmptyCommand,
        PROTO_RESP_TOO_MANY_ARGUMENTS = RespViolation::TooManyArguments,
        PROTO_RESP_COMMAND_TOO_LONG = RespViolation::CommandTooLong,
        PROTO_RESP_QUOTES = RespViolation::Quotes,
        PROTO_RESP_HTTP = RespViolation::Http,
        PROTO_RESP_MISORDERED = RespViolation::Misordered,
        PROTO_RESP_UNSOLICITED = RespViolation::Unsolicited,
    }
    #[cfg(feature = "resp")]
    resp_misuse(RespMisuse) {
        PROTO_RESP_MISUSE_LINE_BREAK = RespMisuse::LineBreak,
        PROTO_RESP_MISUSE_BIG_NUMBER = RespMisuse::BigNumber,
        PROTO_RESP_MISUSE_EMPTY_COMMAND = RespMisuse::EmptyCommand,
        PROTO_RESP_MISUSE_COUNT = RespMisuse::Count,
        PROTO_RESP_MISUSE_PUSH = RespMisuse::Push,
        PROTO_RESP_MISUSE_TOO_LARGE = RespMisuse::TooLarge,
        PROTO_RESP_MISUSE_UNBALANCED = RespMisuse::Unbalanced,
        PROTO_RESP_MISUSE_UNFINISHED = RespMisuse::Unfinished,
        PROTO_RESP_MISUSE_RESP3 = RespMisuse::Resp3,
        PROTO_RESP_MISUSE_NOT_DUE = RespMisuse::NotDue,
        PROTO_RESP_MISUSE_OUTSTANDING = RespMisuse::Outstanding,
        PROTO_RESP_MISUSE_NOT_READY = RespMisuse::NotReady,
        PROTO_RESP_MISUSE_UNANSWERABLE = RespMisuse::Unanswerable,
        PROTO_NO_SPACE = RespMisuse::NoSpace,
    }
}
