//! The numbers of all errors. A number never changes its meaning; new ones are added.
//!
//! -1 to -99 are general, -100 to -199 HTTP by the peer, -200 to -299 HTTP by the caller, -300 to -399 WebSocket by the peer, -400 to
//! -449 WebSocket by the caller, -450 to -499 its handshake, -500 to -599 RESP by the peer, -600 to -699 RESP by the caller.

/// Done. The same number as `PROTO_MORE`.
pub const PROTO_OK: i32 = 0;
/// No event yet: more bytes are needed, after those that were not used.
pub const PROTO_MORE: i32 = 0;
/// An event was written.
pub const PROTO_EVENT: i32 = 1;
/// A pointer is NULL that may not be, or NULL has a length, or a length is above half the address space, or a
/// `proto_buffer` is longer than its capacity.
pub const PROTO_NULL: i32 = -1;
/// The output does not fit into the rest of the `proto_buffer`. Nothing was written.
pub const PROTO_NO_SPACE: i32 = -3;
/// Text that is not UTF-8.
pub const PROTO_NOT_UTF8: i32 = -4;
/// A number that stands for none of the values that the parameter has.
pub const PROTO_ARGUMENT: i32 = -5;
/// No memory is left.
pub const PROTO_MEMORY: i32 = -6;
/// The operating system refused: `proto_server_errno` has its error.
pub const PROTO_IO: i32 = -7;
/// An address that is not of the form `127.0.0.1:8080` or `[::1]:8080`.
pub const PROTO_ADDRESS: i32 = -8;
/// The connection has ended meanwhile; its `PROTO_SERVER_CLOSED` follows or was read.
pub const PROTO_GONE: i32 = -9;
/// Too many answers wait for one `proto_server_poll`: call it first.
pub const PROTO_FULL: i32 = -10;
/// A fault that this version has no number for.
pub const PROTO_OTHER: i32 = -11;
/// A line that ends with LF alone.
pub const PROTO_HTTP_BARE_LF: i32 = -100;
/// A CR without an LF after it.
pub const PROTO_HTTP_BARE_CR: i32 = -101;
/// More empty lines before the start line than `Limits::leading_lines`.
pub const PROTO_HTTP_LEADING_LINES: i32 = -102;
/// A method that is no token.
pub const PROTO_HTTP_METHOD: i32 = -103;
/// A request target that fits none of the four forms, or has a byte no target may have.
pub const PROTO_HTTP_TARGET: i32 = -104;
/// A request line longer than `Limits::request_line`, while the target is read.
pub const PROTO_HTTP_TARGET_TOO_LONG: i32 = -105;
/// Other bytes in the place of `HTTP/1.1`.
pub const PROTO_HTTP_VERSION: i32 = -106;
/// A major version other than 1.
pub const PROTO_HTTP_VERSION_UNSUPPORTED: i32 = -107;
/// A status line without a three-digit status, or with a forbidden byte in its reason.
pub const PROTO_HTTP_STATUS_LINE: i32 = -108;
/// A field name that is no token, or is empty.
pub const PROTO_HTTP_FIELD_NAME: i32 = -109;
/// White space between a field name and its colon.
pub const PROTO_HTTP_SPACE_BEFORE_COLON: i32 = -110;
/// A field line that starts with white space.
pub const PROTO_HTTP_FOLDING: i32 = -111;
/// A control character in a field value.
pub const PROTO_HTTP_FIELD_VALUE: i32 = -112;
/// More field lines than `Limits::fields`.
pub const PROTO_HTTP_TOO_MANY_FIELDS: i32 = -113;
/// A field section longer than `Limits::fields_bytes`.
pub const PROTO_HTTP_FIELDS_TOO_LARGE: i32 = -114;
/// An HTTP/1.1 request without a Host field.
pub const PROTO_HTTP_HOST_MISSING: i32 = -115;
/// Several Host fields.
pub const PROTO_HTTP_HOST_REPEATED: i32 = -116;
/// A Host field (or the authority of a target) that is no host with an optional port.
pub const PROTO_HTTP_HOST: i32 = -117;
/// A Content-Length that is no plain decimal number.
pub const PROTO_HTTP_CONTENT_LENGTH: i32 = -118;
/// Several Content-Length fields.
pub const PROTO_HTTP_CONTENT_LENGTH_REPEATED: i32 = -119;
/// Content-Length and Transfer-Encoding in one message.
pub const PROTO_HTTP_LENGTH_AND_CODING: i32 = -120;
/// A Transfer-Encoding whose one final coding is not `chunked`.
pub const PROTO_HTTP_TRANSFER_ENCODING: i32 = -121;
/// An unknown transfer coding.
pub const PROTO_HTTP_CODING_UNKNOWN: i32 = -122;
/// A Transfer-Encoding in an HTTP/1.0 message.
pub const PROTO_HTTP_CODING_IN_OLD_VERSION: i32 = -123;
/// A Transfer-Encoding or a Content-Length in a response that has no body by its status.
pub const PROTO_HTTP_FRAMING_FORBIDDEN: i32 = -124;
/// An expectation other than `100-continue`.
pub const PROTO_HTTP_EXPECTATION: i32 = -125;
/// A CONNECT request with a body.
pub const PROTO_HTTP_CONNECT_WITH_BODY: i32 = -126;
/// A body longer than `Limits::body`.
pub const PROTO_HTTP_BODY_TOO_LARGE: i32 = -127;
/// A chunk size that is not 1 to 16 hexadecimal digits.
pub const PROTO_HTTP_CHUNK_SIZE: i32 = -128;
/// A chunk extension that breaks the grammar.
pub const PROTO_HTTP_CHUNK_EXTENSION: i32 = -129;
/// A chunk line, or all chunk extensions of a body, over the limit.
pub const PROTO_HTTP_CHUNK_LINE_TOO_LONG: i32 = -130;
/// Chunk data that is not followed by CRLF.
pub const PROTO_HTTP_CHUNK_END: i32 = -131;
/// A trailer field that may not stand in a trailer section.
pub const PROTO_HTTP_TRAILER: i32 = -132;
/// The connection ended inside a message.
pub const PROTO_HTTP_TRUNCATED: i32 = -133;
/// A response that switches protocols though the request did not ask for it.
pub const PROTO_HTTP_UNASKED_SWITCH: i32 = -134;
/// Bytes after the responses to all requests.
pub const PROTO_HTTP_UNEXPECTED: i32 = -135;
/// A method that is no token (RFC 9110 section 9.1).
pub const PROTO_HTTP_MISUSE_METHOD: i32 = -200;
/// A request target with a forbidden byte, or of the wrong form for its method (RFC 9112 section 3.2).
pub const PROTO_HTTP_MISUSE_TARGET: i32 = -201;
/// A status outside its place: 100 to 199 as a final response, 101 without an upgrade, or not three digits (RFC 9110
/// section 15).
pub const PROTO_HTTP_MISUSE_STATUS: i32 = -202;
/// A reason phrase with CR, LF, NUL or another control character (RFC 9112 section 4).
pub const PROTO_HTTP_MISUSE_REASON: i32 = -203;
/// A field name that is no token (RFC 9110 section 5.1).
pub const PROTO_HTTP_MISUSE_FIELD_NAME: i32 = -204;
/// A field value with CR, LF, NUL or another control character, or white space at its ends (RFC 9110 section 5.5).
pub const PROTO_HTTP_MISUSE_FIELD_VALUE: i32 = -205;
/// A field the encoder writes itself: Content-Length, Transfer-Encoding (RFC 9112 section 6).
pub const PROTO_HTTP_MISUSE_FRAMING_FIELD: i32 = -206;
/// A field no trailer section may have (RFC 9110 section 6.5.1).
pub const PROTO_HTTP_MISUSE_TRAILER: i32 = -207;
/// The request needs exactly one valid Host field (RFC 9112 section 3.2).
pub const PROTO_HTTP_MISUSE_HOST: i32 = -208;
/// More body bytes than the announced length (RFC 9112 section 6.2).
pub const PROTO_HTTP_MISUSE_BODY_TOO_LONG: i32 = -209;
/// The body ended before its announced length (RFC 9112 section 6.2).
pub const PROTO_HTTP_MISUSE_BODY_TOO_SHORT: i32 = -210;
/// Trailers for a body that is not chunked (RFC 9112 section 6.5).
pub const PROTO_HTTP_MISUSE_TRAILERS_NEED_CHUNKS: i32 = -211;
/// A body for a message that cannot have one, or a response that does not fit a switch of protocols.
pub const PROTO_HTTP_MISUSE_NOT_ALLOWED: i32 = -212;
/// A switch of protocols that the request does not ask for: the request is of HTTP/1.0, has content, or has no
/// `Connection: Upgrade` beside an `Upgrade` (RFC 9110 section 7.8); or a tunnel for another method than CONNECT. The
/// client's fault, not the caller's.
pub const PROTO_HTTP_MISUSE_SWITCH_UNASKED: i32 = -213;
/// An upgrade or a tunnel on a server or client that was made without `switching`: nothing could take over the
/// connection.
pub const PROTO_HTTP_MISUSE_CANNOT_SWITCH: i32 = -214;
/// The answer was an upgrade or a tunnel, and the handler named no protocol to take over.
pub const PROTO_HTTP_MISUSE_NO_SUCCESSOR: i32 = -215;
/// Not allowed now: for instance a response before the request, or a second one (RFC 9112 section 9.3).
pub const PROTO_HTTP_MISUSE_OUT_OF_TURN: i32 = -216;
/// A reserved bit is set, and no negotiated extension uses it (section 5.2).
pub const PROTO_WS_RESERVED_BIT: i32 = -300;
/// A reserved opcode (section 5.2).
pub const PROTO_WS_RESERVED_OPCODE: i32 = -301;
/// A client's frame without a mask (section 5.1).
pub const PROTO_WS_UNMASKED: i32 = -302;
/// A server's frame with a mask (section 5.1).
pub const PROTO_WS_MASKED: i32 = -303;
/// A length encoded in more bytes than needed (section 5.2).
pub const PROTO_WS_NON_MINIMAL_LENGTH: i32 = -304;
/// A 64-bit length with its highest bit set (section 5.2).
pub const PROTO_WS_LENGTH_OVERFLOW: i32 = -305;
/// A control frame of more than 125 bytes (section 5.5).
pub const PROTO_WS_CONTROL_TOO_LONG: i32 = -306;
/// A control frame without FIN (section 5.5).
pub const PROTO_WS_FRAGMENTED_CONTROL: i32 = -307;
/// A continuation frame without a message to continue (section 5.4).
pub const PROTO_WS_NOTHING_TO_CONTINUE: i32 = -308;
/// A text or binary frame before the current message has ended (section 5.4).
pub const PROTO_WS_MESSAGE_UNFINISHED: i32 = -309;
/// A Close frame with a payload of one byte (section 5.5.1).
pub const PROTO_WS_CLOSE_TOO_SHORT: i32 = -310;
/// A code that may not be sent (section 7.4).
pub const PROTO_WS_CLOSE_CODE: i32 = -311;
/// Text, or the reason of a Close frame, that is not UTF-8 (section 8.1).
pub const PROTO_WS_UTF8: i32 = -312;
/// A frame longer than `Limits::frame`.
pub const PROTO_WS_FRAME_TOO_LONG: i32 = -313;
/// A message longer than `Limits::message`, compressed or inflated.
pub const PROTO_WS_MESSAGE_TOO_LONG: i32 = -314;
/// A message of more than `Limits::fragments` frames.
pub const PROTO_WS_TOO_MANY_FRAGMENTS: i32 = -315;
/// A message with more than `Limits::empty_fragments` frames without payload.
pub const PROTO_WS_TOO_MANY_EMPTY_FRAGMENTS: i32 = -316;
/// More control frames than `Limits::control_frames` allows.
pub const PROTO_WS_TOO_MANY_CONTROL_FRAMES: i32 = -317;
/// A compressed message that is not a deflate stream (RFC 7692 section 7.2.2).
pub const PROTO_WS_DEFLATE: i32 = -318;
/// A message that inflates by more than `Limits::inflate_ratio`.
pub const PROTO_WS_INFLATE_RATIO: i32 = -319;
/// A message was not complete within its time limit.
pub const PROTO_WS_MESSAGE_TIMEOUT: i32 = -320;
/// No Pong arrived within its time limit.
pub const PROTO_WS_PONG_TIMEOUT: i32 = -321;
/// No Close frame, or no end of the stream after it, arrived within its time limit.
pub const PROTO_WS_CLOSE_TIMEOUT: i32 = -322;
/// A Close frame has been sent or the connection has failed: no frame may follow (RFC 6455 section 5.5.1).
pub const PROTO_WS_MISUSE_CLOSED: i32 = -400;
/// The payload is too long: a control frame may have 125 bytes, the reason of a Close frame 123 (section 5.5).
pub const PROTO_WS_MISUSE_CONTROL_TOO_LONG: i32 = -401;
/// This code may not be sent (section 7.4).
pub const PROTO_WS_MISUSE_CLOSE_CODE: i32 = -402;
/// A message sent in parts has not ended (section 5.4).
pub const PROTO_WS_MISUSE_MESSAGE_UNFINISHED: i32 = -403;
/// A part of a message differs in kind from the previous part.
pub const PROTO_WS_MISUSE_KIND_CHANGED: i32 = -404;
/// The method is not GET (405).
pub const PROTO_WS_REJECT_METHOD: i32 = -450;
/// No `Upgrade: websocket`: a plain HTTP request (426).
pub const PROTO_WS_REJECT_NOT_WEB_SOCKET: i32 = -451;
/// No `Connection: Upgrade` (400).
pub const PROTO_WS_REJECT_CONNECTION: i32 = -452;
/// A version other than 13 (426, which names 13).
pub const PROTO_WS_REJECT_VERSION: i32 = -453;
/// No key, or a key that is not 16 bytes in base64 (400).
pub const PROTO_WS_REJECT_KEY: i32 = -454;
/// No Host field (400).
pub const PROTO_WS_REJECT_HOST: i32 = -455;
/// A field that may occur only once is repeated (400).
pub const PROTO_WS_REJECT_DUPLICATE: i32 = -456;
/// A field that does not match its grammar (400).
pub const PROTO_WS_REJECT_MALFORMED: i32 = -457;
/// More subprotocols or extensions than any client needs (400).
pub const PROTO_WS_REJECT_TOO_MANY_OFFERS: i32 = -458;
/// The page's origin may not connect (403).
pub const PROTO_WS_REJECT_ORIGIN: i32 = -459;
/// A status other than 101.
pub const PROTO_WS_REFUSED_STATUS: i32 = -470;
/// A field contains invalid characters or breaks its grammar.
pub const PROTO_WS_REFUSED_MALFORMED: i32 = -471;
/// No `Upgrade: websocket`.
pub const PROTO_WS_REFUSED_UPGRADE: i32 = -472;
/// No `Connection: Upgrade`.
pub const PROTO_WS_REFUSED_CONNECTION: i32 = -473;
/// `Sec-WebSocket-Accept` is missing or wrong: the response does not answer this request.
pub const PROTO_WS_REFUSED_ACCEPT: i32 = -474;
/// A subprotocol that was not offered.
pub const PROTO_WS_REFUSED_PROTOCOL: i32 = -475;
/// An extension that was not offered, or with invalid parameters.
pub const PROTO_WS_REFUSED_EXTENSION: i32 = -476;
/// A field that may occur only once is repeated.
pub const PROTO_WS_REFUSED_DUPLICATE: i32 = -477;
/// The host is empty or has a character that no host may have.
pub const PROTO_WS_REQUEST_HOST: i32 = -490;
/// The target is not a path of visible ASCII characters that begins with a slash.
pub const PROTO_WS_REQUEST_TARGET: i32 = -491;
/// A subprotocol is not a token.
pub const PROTO_WS_REQUEST_PROTOCOL: i32 = -492;
/// A field given by the caller is not a valid field, or is one that the handshake sends itself.
pub const PROTO_WS_REQUEST_FIELD: i32 = -493;
/// An item that begins with a byte of an unknown type.
pub const PROTO_RESP_UNKNOWN_TYPE: i32 = -500;
/// A RESP3 type on a connection in RESP2.
pub const PROTO_RESP_RESP3_TYPE: i32 = -501;
/// A line that ends with LF alone, or contains LF.
pub const PROTO_RESP_BARE_LF: i32 = -502;
/// A CR without an LF after it.
pub const PROTO_RESP_BARE_CR: i32 = -503;
/// A bulk string without a CRLF after it.
pub const PROTO_RESP_BULK_END: i32 = -504;
/// A length that is not digits without leading zeros, nor -1 or ? where these are allowed.
pub const PROTO_RESP_LENGTH: i32 = -505;
/// An integer that is not digits with an optional sign and without leading zeros, or is beyond 64 bits.
pub const PROTO_RESP_INTEGER: i32 = -506;
/// A double that does not match the grammar.
pub const PROTO_RESP_DOUBLE: i32 = -507;
/// A boolean that is neither `t` nor `f`.
pub const PROTO_RESP_BOOLEAN: i32 = -508;
/// A null that is not `_` alone.
pub const PROTO_RESP_NULL: i32 = -509;
/// A big number that is not digits with an optional sign and without leading zeros.
pub const PROTO_RESP_BIG_NUMBER: i32 = -510;
/// A verbatim string without the three bytes of its encoding and a colon.
pub const PROTO_RESP_VERBATIM: i32 = -511;
/// Push data inside another value, or inside other push data.
pub const PROTO_RESP_NESTED_PUSH: i32 = -512;
/// Push data whose first element is not a string that names its kind.
pub const PROTO_RESP_PUSH_KIND: i32 = -513;
/// An attribute without an item after it.
pub const PROTO_RESP_DANGLING_ATTRIBUTE: i32 = -514;
/// The end of a streamed aggregate without one being open.
pub const PROTO_RESP_STRAY_END: i32 = -515;
/// A chunk of a streamed string without one being open.
pub const PROTO_RESP_STRAY_CHUNK: i32 = -516;
/// Other data in the place of a chunk of a streamed string.
pub const PROTO_RESP_MISSING_CHUNK: i32 = -517;
/// A streamed map that ends after a key.
pub const PROTO_RESP_ODD_MAP: i32 = -518;
/// More than `Limits::depth` aggregates inside each other.
pub const PROTO_RESP_TOO_DEEP: i32 = -519;
/// More than `Limits::items` elements.
pub const PROTO_RESP_TOO_MANY_ITEMS: i32 = -520;
/// A string longer than `Limits::bulk`.
pub const PROTO_RESP_BULK_TOO_LONG: i32 = -521;
/// A reply of more bytes than `Limits::reply`.
pub const PROTO_RESP_REPLY_TOO_LONG: i32 = -522;
/// A line longer than `Limits::line`.
pub const PROTO_RESP_LINE_TOO_LONG: i32 = -523;
/// Other data in the place of the array of a command.
pub const PROTO_RESP_NOT_A_COMMAND: i32 = -524;
/// An argument that is not a bulk string.
pub const PROTO_RESP_NOT_AN_ARGUMENT: i32 = -525;
/// A command without a name.
pub const PROTO_RESP_EMPTY_COMMAND: i32 = -526;
/// A command of more than `Limits::arguments`.
pub const PROTO_RESP_TOO_MANY_ARGUMENTS: i32 = -527;
/// A command of more bytes than `Limits::command`.
pub const PROTO_RESP_COMMAND_TOO_LONG: i32 = -528;
/// An inline command with an unclosed quote, or with text directly after a closing quote.
pub const PROTO_RESP_QUOTES: i32 = -529;
/// A line of HTTP in the place of an inline command.
pub const PROTO_RESP_HTTP: i32 = -530;
/// Other data in the place of the marker after an unsubscription, so that replies can no longer be matched to
/// commands.
pub const PROTO_RESP_MISORDERED: i32 = -531;
/// A reply without a command.
pub const PROTO_RESP_UNSOLICITED: i32 = -532;
/// A simple string or error with CR or LF in it.
pub const PROTO_RESP_MISUSE_LINE_BREAK: i32 = -600;
/// A big number that is not digits with an optional sign and without leading zeros.
pub const PROTO_RESP_MISUSE_BIG_NUMBER: i32 = -601;
/// A command without a name.
pub const PROTO_RESP_MISUSE_EMPTY_COMMAND: i32 = -602;
/// `Arguments` wrote a number of arguments other than their count.
pub const PROTO_RESP_MISUSE_COUNT: i32 = -603;
/// Push data inside another value, or without elements.
pub const PROTO_RESP_MISUSE_PUSH: i32 = -604;
/// Aggregates nested deeper than `MAX_DEPTH`, or with more elements than 2^28 - 1.
pub const PROTO_RESP_MISUSE_TOO_LARGE: i32 = -605;
/// The end of an aggregate that is not open, or that ends by itself because it has a length; or a string in parts was
/// continued in another way than it began.
pub const PROTO_RESP_MISUSE_UNBALANCED: i32 = -606;
/// An aggregate or a string in parts is incomplete, or an attribute has no item to describe.
pub const PROTO_RESP_MISUSE_UNFINISHED: i32 = -607;
/// RESP2 has no streaming and no attributes.
pub const PROTO_RESP_MISUSE_RESP3: i32 = -608;
/// No reply is due now.
pub const PROTO_RESP_MISUSE_NOT_DUE: i32 = -609;
/// As many commands as `Limits::outstanding` have no reply yet.
pub const PROTO_RESP_MISUSE_OUTSTANDING: i32 = -610;
/// The handshake is not over, or the connection is closing.
pub const PROTO_RESP_MISUSE_NOT_READY: i32 = -611;
/// A command that would make replies impossible to match: HELLO, RESET, MONITOR, SYNC, PSYNC and CLIENT REPLY; and
/// between MULTI and EXEC, every command that subscribes or unsubscribes.
pub const PROTO_RESP_MISUSE_UNANSWERABLE: i32 = -612;
