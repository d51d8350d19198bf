/* libproto: network protocols as state machines. Generated from the sources by cbindgen: do not change it here. */

#ifndef PROTO_H
#define PROTO_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Define PROTO_NO_STD for a program that is linked with the archive without std: it has neither these functions nor a server. */
#define PROTO_RESP
#ifndef PROTO_NO_STD
#define PROTO_STD
#ifdef __linux__
#define PROTO_SERVER
#endif
#endif

/* The version that this header belongs to; `proto_version()` tells that of the library that is linked. */
#define PROTO_VERSION (PROTO_VERSION_MAJOR << 16 | PROTO_VERSION_MINOR << 8 | PROTO_VERSION_PATCH)


/*
 The major version of the library; it changes when a program must be changed.
 */
#define PROTO_VERSION_MAJOR 0

/*
 The minor version; before 1.0 it changes when a program must be compiled again.
 */
#define PROTO_VERSION_MINOR 1

/*
 The patch version.
 */
#define PROTO_VERSION_PATCH 0

/*
 Done. The same number as `PROTO_MORE`.
 */
#define PROTO_OK 0

/*
 No event yet: more bytes are needed, after those that were not used.
 */
#define PROTO_MORE 0

/*
 An event was written.
 */
#define PROTO_EVENT 1

/*
 A pointer is NULL that may not be, or NULL has a length, or a length is above half the address space, or a
 `proto_buffer` is longer than its capacity.
 */
#define PROTO_NULL -1

/*
 The output does not fit into the rest of the `proto_buffer`. Nothing was written.
 */
#define PROTO_NO_SPACE -3

/*
 Text that is not UTF-8.
 */
#define PROTO_NOT_UTF8 -4

/*
 A number that stands for none of the values that the parameter has.
 */
#define PROTO_ARGUMENT -5

/*
 No memory is left.
 */
#define PROTO_MEMORY -6

/*
 The operating system refused: `proto_server_errno` has its error.
 */
#define PROTO_IO -7

/*
 An address that is not of the form `127.0.0.1:8080` or `[::1]:8080`.
 */
#define PROTO_ADDRESS -8

/*
 The connection has ended meanwhile; its `PROTO_SERVER_CLOSED` follows or was read.
 */
#define PROTO_GONE -9

/*
 Too many answers wait for one `proto_server_poll`: call it first.
 */
#define PROTO_FULL -10

/*
 A fault that this version has no number for.
 */
#define PROTO_OTHER -11

/*
 A line that ends with LF alone.
 */
#define PROTO_HTTP_BARE_LF -100

/*
 A CR without an LF after it.
 */
#define PROTO_HTTP_BARE_CR -101

/*
 More empty lines before the start line than `Limits::leading_lines`.
 */
#define PROTO_HTTP_LEADING_LINES -102

/*
 A method that is no token.
 */
#define PROTO_HTTP_METHOD -103

/*
 A request target that fits none of the four forms, or has a byte no target may have.
 */
#define PROTO_HTTP_TARGET -104

/*
 A request line longer than `Limits::request_line`, while the target is read.
 */
#define PROTO_HTTP_TARGET_TOO_LONG -105

/*
 Other bytes in the place of `HTTP/1.1`.
 */
#define PROTO_HTTP_VERSION -106

/*
 A major version other than 1.
 */
#define PROTO_HTTP_VERSION_UNSUPPORTED -107

/*
 A status line without a three-digit status, or with a forbidden byte in its reason.
 */
#define PROTO_HTTP_STATUS_LINE -108

/*
 A field name that is no token, or is empty.
 */
#define PROTO_HTTP_FIELD_NAME -109

/*
 White space between a field name and its colon.
 */
#define PROTO_HTTP_SPACE_BEFORE_COLON -110

/*
 A field line that starts with white space.
 */
#define PROTO_HTTP_FOLDING -111

/*
 A control character in a field value.
 */
#define PROTO_HTTP_FIELD_VALUE -112

/*
 More field lines than `Limits::fields`.
 */
#define PROTO_HTTP_TOO_MANY_FIELDS -113

/*
 A field section longer than `Limits::fields_bytes`.
 */
#define PROTO_HTTP_FIELDS_TOO_LARGE -114

/*
 An HTTP/1.1 request without a Host field.
 */
#define PROTO_HTTP_HOST_MISSING -115

/*
 Several Host fields.
 */
#define PROTO_HTTP_HOST_REPEATED -116

/*
 A Host field (or the authority of a target) that is no host with an optional port.
 */
#define PROTO_HTTP_HOST -117

/*
 A Content-Length that is no plain decimal number.
 */
#define PROTO_HTTP_CONTENT_LENGTH -118

/*
 Several Content-Length fields.
 */
#define PROTO_HTTP_CONTENT_LENGTH_REPEATED -119

/*
 Content-Length and Transfer-Encoding in one message.
 */
#define PROTO_HTTP_LENGTH_AND_CODING -120

/*
 A Transfer-Encoding whose one final coding is not `chunked`.
 */
#define PROTO_HTTP_TRANSFER_ENCODING -121

/*
 An unknown transfer coding.
 */
#define PROTO_HTTP_CODING_UNKNOWN -122

/*
 A Transfer-Encoding in an HTTP/1.0 message.
 */
#define PROTO_HTTP_CODING_IN_OLD_VERSION -123

/*
 A Transfer-Encoding or a Content-Length in a response that has no body by its status.
 */
#define PROTO_HTTP_FRAMING_FORBIDDEN -124

/*
 An expectation other than `100-continue`.
 */
#define PROTO_HTTP_EXPECTATION -125

/*
 A CONNECT request with a body.
 */
#define PROTO_HTTP_CONNECT_WITH_BODY -126

/*
 A body longer than `Limits::body`.
 */
#define PROTO_HTTP_BODY_TOO_LARGE -127

/*
 A chunk size that is not 1 to 16 hexadecimal digits.
 */
#define PROTO_HTTP_CHUNK_SIZE -128

/*
 A chunk extension that breaks the grammar.
 */
#define PROTO_HTTP_CHUNK_EXTENSION -129

/*
 A chunk line, or all chunk extensions of a body, over the limit.
 */
#define PROTO_HTTP_CHUNK_LINE_TOO_LONG -130

/*
 Chunk data that is not followed by CRLF.
 */
#define PROTO_HTTP_CHUNK_END -131

/*
 A trailer field that may not stand in a trailer section.
 */
#define PROTO_HTTP_TRAILER -132

/*
 The connection ended inside a message.
 */
#define PROTO_HTTP_TRUNCATED -133

/*
 A response that switches protocols though the request did not ask for it.
 */
#define PROTO_HTTP_UNASKED_SWITCH -134

/*
 Bytes after the responses to all requests.
 */
#define PROTO_HTTP_UNEXPECTED -135

/*
 A method that is no token (RFC 9110 section 9.1).
 */
#define PROTO_HTTP_MISUSE_METHOD -200

/*
 A request target with a forbidden byte, or of the wrong form for its method (RFC 9112 section 3.2).
 */
#define PROTO_HTTP_MISUSE_TARGET -201

/*
 A status outside its place: 100 to 199 as a final response, 101 without an upgrade, or not three digits (RFC 9110
 section 15).
 */
#define PROTO_HTTP_MISUSE_STATUS -202

/*
 A reason phrase with CR, LF, NUL or another control character (RFC 9112 section 4).
 */
#define PROTO_HTTP_MISUSE_REASON -203

/*
 A field name that is no token (RFC 9110 section 5.1).
 */
#define PROTO_HTTP_MISUSE_FIELD_NAME -204

/*
 A field value with CR, LF, NUL or another control character, or white space at its ends (RFC 9110 section 5.5).
 */
#define PROTO_HTTP_MISUSE_FIELD_VALUE -205

/*
 A field the encoder writes itself: Content-Length, Transfer-Encoding (RFC 9112 section 6).
 */
#define PROTO_HTTP_MISUSE_FRAMING_FIELD -206

/*
 A field no trailer section may have (RFC 9110 section 6.5.1).
 */
#define PROTO_HTTP_MISUSE_TRAILER -207

/*
 The request needs exactly one valid Host field (RFC 9112 section 3.2).
 */
#define PROTO_HTTP_MISUSE_HOST -208

/*
 More body bytes than the announced length (RFC 9112 section 6.2).
 */
#define PROTO_HTTP_MISUSE_BODY_TOO_LONG -209

/*
 The body ended before its announced length (RFC 9112 section 6.2).
 */
#define PROTO_HTTP_MISUSE_BODY_TOO_SHORT -210

/*
 Trailers for a body that is not chunked (RFC 9112 section 6.5).
 */
#define PROTO_HTTP_MISUSE_TRAILERS_NEED_CHUNKS -211

/*
 A body for a message that cannot have one, or a response that does not fit a switch of protocols.
 */
#define PROTO_HTTP_MISUSE_NOT_ALLOWED -212

/*
 A switch of protocols that the request does not ask for: the request is of HTTP/1.0, has content, or has no
 `Connection: Upgrade` beside an `Upgrade` (RFC 9110 section 7.8); or a tunnel for another method than CONNECT. The
 client's fault, not the caller's.
 */
#define PROTO_HTTP_MISUSE_SWITCH_UNASKED -213

/*
 An upgrade or a tunnel on a server or client that was made without `switching`: nothing could take over the
 connection.
 */
#define PROTO_HTTP_MISUSE_CANNOT_SWITCH -214

/*
 The answer was an upgrade or a tunnel, and the handler named no protocol to take over.
 */
#define PROTO_HTTP_MISUSE_NO_SUCCESSOR -215

/*
 Not allowed now: for instance a response before the request, or a second one (RFC 9112 section 9.3).
 */
#define PROTO_HTTP_MISUSE_OUT_OF_TURN -216

/*
 A reserved bit is set, and no negotiated extension uses it (section 5.2).
 */
#define PROTO_WS_RESERVED_BIT -300

/*
 A reserved opcode (section 5.2).
 */
#define PROTO_WS_RESERVED_OPCODE -301

/*
 A client's frame without a mask (section 5.1).
 */
#define PROTO_WS_UNMASKED -302

/*
 A server's frame with a mask (section 5.1).
 */
#define PROTO_WS_MASKED -303

/*
 A length encoded in more bytes than needed (section 5.2).
 */
#define PROTO_WS_NON_MINIMAL_LENGTH -304

/*
 A 64-bit length with its highest bit set (section 5.2).
 */
#define PROTO_WS_LENGTH_OVERFLOW -305

/*
 A control frame of more than 125 bytes (section 5.5).
 */
#define PROTO_WS_CONTROL_TOO_LONG -306

/*
 A control frame without FIN (section 5.5).
 */
#define PROTO_WS_FRAGMENTED_CONTROL -307

/*
 A continuation frame without a message to continue (section 5.4).
 */
#define PROTO_WS_NOTHING_TO_CONTINUE -308

/*
 A text or binary frame before the current message has ended (section 5.4).
 */
#define PROTO_WS_MESSAGE_UNFINISHED -309

/*
 A Close frame with a payload of one byte (section 5.5.1).
 */
#define PROTO_WS_CLOSE_TOO_SHORT -310

/*
 A code that may not be sent (section 7.4).
 */
#define PROTO_WS_CLOSE_CODE -311

/*
 Text, or the reason of a Close frame, that is not UTF-8 (section 8.1).
 */
#define PROTO_WS_UTF8 -312

/*
 A frame longer than `Limits::frame`.
 */
#define PROTO_WS_FRAME_TOO_LONG -313

/*
 A message longer than `Limits::message`, compressed or inflated.
 */
#define PROTO_WS_MESSAGE_TOO_LONG -314

/*
 A message of more than `Limits::fragments` frames.
 */
#define PROTO_WS_TOO_MANY_FRAGMENTS -315

/*
 A message with more than `Limits::empty_fragments` frames without payload.
 */
#define PROTO_WS_TOO_MANY_EMPTY_FRAGMENTS -316

/*
 More control frames than `Limits::control_frames` allows.
 */
#define PROTO_WS_TOO_MANY_CONTROL_FRAMES -317

/*
 A compressed message that is not a deflate stream (RFC 7692 section 7.2.2).
 */
#define PROTO_WS_DEFLATE -318

/*
 A message that inflates by more than `Limits::inflate_ratio`.
 */
#define PROTO_WS_INFLATE_RATIO -319

/*
 A message was not complete within its time limit.
 */
#define PROTO_WS_MESSAGE_TIMEOUT -320

/*
 No Pong arrived within its time limit.
 */
#define PROTO_WS_PONG_TIMEOUT -321

/*
 No Close frame, or no end of the stream after it, arrived within its time limit.
 */
#define PROTO_WS_CLOSE_TIMEOUT -322

/*
 A Close frame has been sent or the connection has failed: no frame may follow (RFC 6455 section 5.5.1).
 */
#define PROTO_WS_MISUSE_CLOSED -400

/*
 The payload is too long: a control frame may have 125 bytes, the reason of a Close frame 123 (section 5.5).
 */
#define PROTO_WS_MISUSE_CONTROL_TOO_LONG -401

/*
 This code may not be sent (section 7.4).
 */
#define PROTO_WS_MISUSE_CLOSE_CODE -402

/*
 A message sent in parts has not ended (section 5.4).
 */
#define PROTO_WS_MISUSE_MESSAGE_UNFINISHED -403

/*
 A part of a message differs in kind from the previous part.
 */
#define PROTO_WS_MISUSE_KIND_CHANGED -404

/*
 The method is not GET (405).
 */
#define PROTO_WS_REJECT_METHOD -450

/*
 No `Upgrade: websocket`: a plain HTTP request (426).
 */
#define PROTO_WS_REJECT_NOT_WEB_SOCKET -451

/*
 No `Connection: Upgrade` (400).
 */
#define PROTO_WS_REJECT_CONNECTION -452

/*
 A version other than 13 (426, which names 13).
 */
#define PROTO_WS_REJECT_VERSION -453

/*
 No key, or a key that is not 16 bytes in base64 (400).
 */
#define PROTO_WS_REJECT_KEY -454

/*
 No Host field (400).
 */
#define PROTO_WS_REJECT_HOST -455

/*
 A field that may occur only once is repeated (400).
 */
#define PROTO_WS_REJECT_DUPLICATE -456

/*
 A field that does not match its grammar (400).
 */
#define PROTO_WS_REJECT_MALFORMED -457

/*
 More subprotocols or extensions than any client needs (400).
 */
#define PROTO_WS_REJECT_TOO_MANY_OFFERS -458

/*
 The page's origin may not connect (403).
 */
#define PROTO_WS_REJECT_ORIGIN -459

/*
 A status other than 101.
 */
#define PROTO_WS_REFUSED_STATUS -470

/*
 A field contains invalid characters or breaks its grammar.
 */
#define PROTO_WS_REFUSED_MALFORMED -471

/*
 No `Upgrade: websocket`.
 */
#define PROTO_WS_REFUSED_UPGRADE -472

/*
 No `Connection: Upgrade`.
 */
#define PROTO_WS_REFUSED_CONNECTION -473

/*
 `Sec-WebSocket-Accept` is missing or wrong: the response does not answer this request.
 */
#define PROTO_WS_REFUSED_ACCEPT -474

/*
 A subprotocol that was not offered.
 */
#define PROTO_WS_REFUSED_PROTOCOL -475

/*
 An extension that was not offered, or with invalid parameters.
 */
#define PROTO_WS_REFUSED_EXTENSION -476

/*
 A field that may occur only once is repeated.
 */
#define PROTO_WS_REFUSED_DUPLICATE -477

/*
 The host is empty or has a character that no host may have.
 */
#define PROTO_WS_REQUEST_HOST -490

/*
 The target is not a path of visible ASCII characters that begins with a slash.
 */
#define PROTO_WS_REQUEST_TARGET -491

/*
 A subprotocol is not a token.
 */
#define PROTO_WS_REQUEST_PROTOCOL -492

/*
 A field given by the caller is not a valid field, or is one that the handshake sends itself.
 */
#define PROTO_WS_REQUEST_FIELD -493

/*
 An item that begins with a byte of an unknown type.
 */
#define PROTO_RESP_UNKNOWN_TYPE -500

/*
 A RESP3 type on a connection in RESP2.
 */
#define PROTO_RESP_RESP3_TYPE -501

/*
 A line that ends with LF alone, or contains LF.
 */
#define PROTO_RESP_BARE_LF -502

/*
 A CR without an LF after it.
 */
#define PROTO_RESP_BARE_CR -503

/*
 A bulk string without a CRLF after it.
 */
#define PROTO_RESP_BULK_END -504

/*
 A length that is not digits without leading zeros, nor -1 or ? where these are allowed.
 */
#define PROTO_RESP_LENGTH -505

/*
 An integer that is not digits with an optional sign and without leading zeros, or is beyond 64 bits.
 */
#define PROTO_RESP_INTEGER -506

/*
 A double that does not match the grammar.
 */
#define PROTO_RESP_DOUBLE -507

/*
 A boolean that is neither `t` nor `f`.
 */
#define PROTO_RESP_BOOLEAN -508

/*
 A null that is not `_` alone.
 */
#define PROTO_RESP_NULL -509

/*
 A big number that is not digits with an optional sign and without leading zeros.
 */
#define PROTO_RESP_BIG_NUMBER -510

/*
 A verbatim string without the three bytes of its encoding and a colon.
 */
#define PROTO_RESP_VERBATIM -511

/*
 Push data inside another value, or inside other push data.
 */
#define PROTO_RESP_NESTED_PUSH -512

/*
 Push data whose first element is not a string that names its kind.
 */
#define PROTO_RESP_PUSH_KIND -513

/*
 An attribute without an item after it.
 */
#define PROTO_RESP_DANGLING_ATTRIBUTE -514

/*
 The end of a streamed aggregate without one being open.
 */
#define PROTO_RESP_STRAY_END -515

/*
 A chunk of a streamed string without one being open.
 */
#define PROTO_RESP_STRAY_CHUNK -516

/*
 Other data in the place of a chunk of a streamed string.
 */
#define PROTO_RESP_MISSING_CHUNK -517

/*
 A streamed map that ends after a key.
 */
#define PROTO_RESP_ODD_MAP -518

/*
 More than `Limits::depth` aggregates inside each other.
 */
#define PROTO_RESP_TOO_DEEP -519

/*
 More than `Limits::items` elements.
 */
#define PROTO_RESP_TOO_MANY_ITEMS -520

/*
 A string longer than `Limits::bulk`.
 */
#define PROTO_RESP_BULK_TOO_LONG -521

/*
 A reply of more bytes than `Limits::reply`.
 */
#define PROTO_RESP_REPLY_TOO_LONG -522

/*
 A line longer than `Limits::line`.
 */
#define PROTO_RESP_LINE_TOO_LONG -523

/*
 Other data in the place of the array of a command.
 */
#define PROTO_RESP_NOT_A_COMMAND -524

/*
 An argument that is not a bulk string.
 */
#define PROTO_RESP_NOT_AN_ARGUMENT -525

/*
 A command without a name.
 */
#define PROTO_RESP_EMPTY_COMMAND -526

/*
 A command of more than `Limits::arguments`.
 */
#define PROTO_RESP_TOO_MANY_ARGUMENTS -527

/*
 A command of more bytes than `Limits::command`.
 */
#define PROTO_RESP_COMMAND_TOO_LONG -528

/*
 An inline command with an unclosed quote, or with text directly after a closing quote.
 */
#define PROTO_RESP_QUOTES -529

/*
 A line of HTTP in the place of an inline command.
 */
#define PROTO_RESP_HTTP -530

/*
 Other data in the place of the marker after an unsubscription, so that replies can no longer be matched to
 commands.
 */
#define PROTO_RESP_MISORDERED -531

/*
 A reply without a command.
 */
#define PROTO_RESP_UNSOLICITED -532

/*
 A simple string or error with CR or LF in it.
 */
#define PROTO_RESP_MISUSE_LINE_BREAK -600

/*
 A big number that is not digits with an optional sign and without leading zeros.
 */
#define PROTO_RESP_MISUSE_BIG_NUMBER -601

/*
 A command without a name.
 */
#define PROTO_RESP_MISUSE_EMPTY_COMMAND -602

/*
 `Arguments` wrote a number of arguments other than their count.
 */
#define PROTO_RESP_MISUSE_COUNT -603

/*
 Push data inside another value, or without elements.
 */
#define PROTO_RESP_MISUSE_PUSH -604

/*
 Aggregates nested deeper than `MAX_DEPTH`, or with more elements than 2^28 - 1.
 */
#define PROTO_RESP_MISUSE_TOO_LARGE -605

/*
 The end of an aggregate that is not open, or that ends by itself because it has a length; or a string in parts was
 continued in another way than it began.
 */
#define PROTO_RESP_MISUSE_UNBALANCED -606

/*
 An aggregate or a string in parts is incomplete, or an attribute has no item to describe.
 */
#define PROTO_RESP_MISUSE_UNFINISHED -607

/*
 RESP2 has no streaming and no attributes.
 */
#define PROTO_RESP_MISUSE_RESP3 -608

/*
 No reply is due now.
 */
#define PROTO_RESP_MISUSE_NOT_DUE -609

/*
 As many commands as `Limits::outstanding` have no reply yet.
 */
#define PROTO_RESP_MISUSE_OUTSTANDING -610

/*
 The handshake is not over, or the connection is closing.
 */
#define PROTO_RESP_MISUSE_NOT_READY -611

/*
 A command that would make replies impossible to match: HELLO, RESET, MONITOR, SYNC, PSYNC and CLIENT REPLY; and
 between MULTI and EXEC, every command that subscribes or unsubscribes.
 */
#define PROTO_RESP_MISUSE_UNANSWERABLE -612

/*
 Permits a status line without a space behind the status.
 */
#define PROTO_HTTP_LENIENT_BARE_STATUS 1

/*
 Permits empty lines before a status line and behind a response.
 */
#define PROTO_HTTP_LENIENT_LINES_BEFORE_STATUS 2

/*
 Permits several equal Content-Length fields.
 */
#define PROTO_HTTP_LENIENT_REPEATED_CONTENT_LENGTH 4

/*
 Permits a Content-Length beside chunked coding, and ignores it.
 */
#define PROTO_HTTP_LENIENT_LENGTH_BESIDE_CHUNKED 8

/*
 Permits body framing in a response that has no content by its status.
 */
#define PROTO_HTTP_LENIENT_FRAMING_WITHOUT_CONTENT 16

/*
 Permits white space behind a chunk size.
 */
#define PROTO_HTTP_LENIENT_PADDED_CHUNK_SIZE 32

/*
 Permits trailer fields that may not be any, and drops them.
 */
#define PROTO_HTTP_LENIENT_UNUSABLE_TRAILERS 64

/*
 The party that caused an error, as `proto_error_fault` tells.
 */
typedef enum proto_fault {
    /*
     No error has this number.
     */
    PROTO_FAULT_NONE = 0,
    /*
     The peer broke the protocol or exceeded a limit: the connection is to be closed.
     */
    PROTO_FAULT_PEER = 1,
    /*
     The program called a function wrongly, or the system refused: nothing was written, and the state is unchanged.
     */
    PROTO_FAULT_PROGRAM = 2,
} proto_fault;

/*
 What an event of a connection is.
 */
typedef enum proto_http_event_kind {
    /*
     The head of a request, or of a final response. A request whose body is empty is complete; a response has an end in any
     case.
     */
    PROTO_HTTP_HEAD = 0,
    /*
     Content, in `data`.
     */
    PROTO_HTTP_DATA = 1,
    /*
     The end of a body, with its `trailers`.
     */
    PROTO_HTTP_END = 2,
    /*
     Servers: the request is complete and its answer is not. Nothing more is read until it is.
     */
    PROTO_HTTP_PAUSED = 3,
    /*
     The connection is over.
     */
    PROTO_HTTP_CLOSED = 4,
    /*
     Clients: the head of an informational response (1xx); the final one follows.
     */
    PROTO_HTTP_INFORMATIONAL = 5,
    /*
     Clients: the server has switched; the rest of the input belongs to the other protocol.
     */
    PROTO_HTTP_SWITCHED = 6,
} proto_http_event_kind;

/*
 How the body of a message is delimited (RFC 9112 section 6.3).
 */
typedef enum proto_http_body_kind {
    /*
     There is no body.
     */
    PROTO_HTTP_BODY_EMPTY = 0,
    /*
     `content_length` bytes follow.
     */
    PROTO_HTTP_BODY_LENGTH = 1,
    /*
     Chunks follow.
     */
    PROTO_HTTP_BODY_CHUNKED = 2,
    /*
     The body ends with the connection. Responses only.
     */
    PROTO_HTTP_BODY_UNTIL_CLOSE = 3,
} proto_http_body_kind;

#if defined(PROTO_SERVER)
/*
 What an event of a server is.
 */
typedef enum proto_server_event_kind {
#if defined(PROTO_SERVER)
    /*
     A whole request: `head`, and its content in `data`. Answer it by `proto_server_respond`, `proto_server_start` or
     `proto_server_upgrade`, now or later; the connection's next request waits for that.
     */
    PROTO_SERVER_REQUEST = 0,
#endif
#if defined(PROTO_SERVER)
    /*
     The connection has become a WebSocket.
     */
    PROTO_SERVER_OPENED = 1,
#endif
#if defined(PROTO_SERVER)
    /*
     A whole message of a WebSocket, in `data`.
     */
    PROTO_SERVER_MESSAGE = 2,
#endif
#if defined(PROTO_SERVER)
    /*
     A WebSocket has closed, with `code` and a reason in `data`; or a request was not answered before its client went away, or
     before its time was over: then `code` is 0. No event with this id follows.
     */
    PROTO_SERVER_CLOSED = 3,
#endif
} proto_server_event_kind;
#endif

/*
 What an event of WebSocket is.
 */
typedef enum proto_ws_event_kind {
    /*
     A whole message, in `data`.
     */
    PROTO_WS_MESSAGE = 0,
    /*
     A part of a message that is not complete in the input. Parts of text end between characters; a part may be empty.
     */
    PROTO_WS_PART = 1,
    /*
     A Ping, whose payload is in `data`. A `proto_ws_decoder` leaves the answer to the program, a `proto_ws` has answered.
     */
    PROTO_WS_PING = 2,
    /*
     A Pong.
     */
    PROTO_WS_PONG = 3,
    /*
     A Close frame: `code`, and the reason in `data`. No event follows.
     */
    PROTO_WS_CLOSE = 4,
} proto_ws_event_kind;

#if defined(PROTO_STD)
/*
 The progress of the closing handshake.
 */
typedef enum proto_ws_state {
#if defined(PROTO_STD)
    /*
     Messages go both ways.
     */
    PROTO_WS_OPEN = 0,
#endif
#if defined(PROTO_STD)
    /*
     A Close frame was sent; messages may still arrive.
     */
    PROTO_WS_CLOSING = 1,
#endif
#if defined(PROTO_STD)
    /*
     Both Close frames have passed: end the stream when the output was sent. A client waits for the server to end it.
     */
    PROTO_WS_CLOSED = 2,
#endif
#if defined(PROTO_STD)
    /*
     The peer broke the protocol, or the stream ended early: send the output, then end the stream.
     */
    PROTO_WS_FAILED = 3,
#endif
} proto_ws_state;
#endif

/*
 This side of a WebSocket connection.
 */
typedef enum proto_ws_role {
    /*
     Takes masked frames, sends unmasked ones.
     */
    PROTO_WS_SERVER = 0,
    /*
     Takes unmasked frames, sends masked ones.
     */
    PROTO_WS_CLIENT = 1,
} proto_ws_role;

#if defined(PROTO_RESP)
/*
 What an item of a RESP stream is.
 */
typedef enum proto_resp_kind {
#if defined(PROTO_RESP)
    /*
     `+`, in `data`.
     */
    PROTO_RESP_KIND_SIMPLE = 0,
#endif
#if defined(PROTO_RESP)
    /*
     `-`, in `data`; the first word is a code such as `ERR`.
     */
    PROTO_RESP_KIND_ERROR = 1,
#endif
#if defined(PROTO_RESP)
    /*
     `:`, in `integer`.
     */
    PROTO_RESP_KIND_INTEGER = 2,
#endif
#if defined(PROTO_RESP)
    /*
     `,`, in `number`. RESP3.
     */
    PROTO_RESP_KIND_DOUBLE = 3,
#endif
#if defined(PROTO_RESP)
    /*
     `#`: `integer` is 1 or 0. RESP3.
     */
    PROTO_RESP_KIND_BOOLEAN = 4,
#endif
#if defined(PROTO_RESP)
    /*
     `(`: digits, in `data`. RESP3.
     */
    PROTO_RESP_KIND_BIG_NUMBER = 5,
#endif
#if defined(PROTO_RESP)
    /*
     Null; `form` says which.
     */
    PROTO_RESP_KIND_NULL = 6,
#endif
#if defined(PROTO_RESP)
    /*
     A whole string, in `data`; `form` says which.
     */
    PROTO_RESP_KIND_BULK = 7,
#endif
#if defined(PROTO_RESP)
    /*
     The next bytes of a string that is not complete in the input; `integer` bytes follow them, -1 if that is unknown.
     */
    PROTO_RESP_KIND_PART = 8,
#endif
#if defined(PROTO_RESP)
    /*
     An aggregate begins; `form` says which. `integer` is the number of its elements or pairs, -1 if it is streamed.
     */
    PROTO_RESP_KIND_BEGIN = 9,
#endif
#if defined(PROTO_RESP)
    /*
     An aggregate has ended. `integer` is 1 if the stream says so by `.`, else 0.
     */
    PROTO_RESP_KIND_END = 10,
#endif
} proto_resp_kind;
#endif

#if defined(PROTO_RESP)
/*
 The form of an item: the byte that it begins with.
 */
typedef enum proto_resp_form {
#if defined(PROTO_RESP)
    /*
     No form.
     */
    PROTO_RESP_FORM_NONE = 0,
#endif
#if defined(PROTO_RESP)
    /*
     `$`: a string, or a null string of RESP2.
     */
    PROTO_RESP_FORM_STRING = 36,
#endif
#if defined(PROTO_RESP)
    /*
     `!`: an error with any bytes in it. RESP3.
     */
    PROTO_RESP_FORM_ERROR = 33,
#endif
#if defined(PROTO_RESP)
    /*
     `=`: text in an `encoding`. RESP3.
     */
    PROTO_RESP_FORM_VERBATIM = 61,
#endif
#if defined(PROTO_RESP)
    /*
     `_`: the null of RESP3.
     */
    PROTO_RESP_FORM_NULL = 95,
#endif
#if defined(PROTO_RESP)
    /*
     `*`: an array, or a null array of RESP2.
     */
    PROTO_RESP_FORM_ARRAY = 42,
#endif
#if defined(PROTO_RESP)
    /*
     `%`: pairs. RESP3.
     */
    PROTO_RESP_FORM_MAP = 37,
#endif
#if defined(PROTO_RESP)
    /*
     `~`: elements in no order. RESP3.
     */
    PROTO_RESP_FORM_SET = 126,
#endif
#if defined(PROTO_RESP)
    /*
     `>`: out-of-band data. RESP3.
     */
    PROTO_RESP_FORM_PUSH = 62,
#endif
#if defined(PROTO_RESP)
    /*
     `|`: pairs that describe the next item. RESP3.
     */
    PROTO_RESP_FORM_ATTRIBUTE = 124,
#endif
} proto_resp_form;
#endif

#if defined(PROTO_SERVER)
/*
 A server in the program's own thread: `proto_server_poll` lets it work, `proto_server_next` takes what has happened. One thread
 uses it. Linux. From the heap: `proto_server_new` and `proto_server_free`.
 */
typedef struct proto_server proto_server;
#endif

#if defined(PROTO_STD)
/*
 Many timers, each a deadline in ticks and a number of the program's. The program says how long a tick is and what time it is.
 From the heap: `proto_wheel_new` and `proto_wheel_free`.
 */
typedef struct proto_wheel proto_wheel;
#endif

#if defined(PROTO_STD)
/*
 A WebSocket connection after its opening handshake. It holds messages that are not complete, and the output that waits:
 `proto_ws_output`. From the heap: `proto_ws_new` and `proto_ws_free`.
 */
typedef struct proto_ws proto_ws;
#endif

/*
 The client's side of an HTTP/1.1 connection. Holds no bytes and owns no memory. `proto_http_client_init` begins it.
 */
typedef struct proto_http_client {
    /*
     Not for programs.
     */
    uint64_t opaque[8];
} proto_http_client;

/*
 Bytes that belong to somebody else. `data` may be NULL if `length` is 0. Not ended by a zero byte.
 */
typedef struct proto_bytes {
    /*
     The first byte.
     */
    const uint8_t *data;
    /*
     Their number.
     */
    size_t length;
} proto_bytes;

/*
 A field to send, or one that was received: a name and a value, neither ended by a zero byte.
 */
typedef struct proto_field {
    /*
     The name.
     */
    struct proto_bytes name;
    /*
     The value.
     */
    struct proto_bytes value;
} proto_field;

/*
 Memory that the encoders append to, and that the program has provided: `capacity` bytes at `data`, of which the first
 `length` are used. An encoder that needs more room returns `PROTO_NO_SPACE` and has written nothing; sending and shifting
 what is there, then calling again, is right.
 */
typedef struct proto_buffer {
    /*
     The memory.
     */
    uint8_t *data;
    /*
     Its size.
     */
    size_t capacity;
    /*
     The bytes in use. Set it to 0 before the first use.
     */
    size_t length;
} proto_buffer;

/*
 The rules by which HTTP is read. Fill it by `proto_http_rules_requests` or `proto_http_rules_responses`, then change what
 should differ. Where a function takes NULL, the rules are those of its role.
 */
typedef struct proto_http_rules {
    /*
     Bytes of a request line or status line without its CRLF. 8 KiB.
     */
    size_t request_line;
    /*
     Field lines in a head. 100.
     */
    size_t fields;
    /*
     Bytes of a field section. 64 KiB.
     */
    size_t fields_bytes;
    /*
     Bytes of content in one message; `UINT64_MAX` is unlimited. 1 MiB for requests, unlimited for responses.
     */
    uint64_t body;
    /*
     Bytes of one chunk-size line with its extensions. 1 KiB.
     */
    size_t chunk_line;
    /*
     Bytes of all chunk extensions of a body. 16 KiB.
     */
    size_t chunk_extensions;
    /*
     Field lines in a trailer section. 32.
     */
    size_t trailers;
    /*
     Bytes of a trailer section. 8 KiB.
     */
    size_t trailers_bytes;
    /*
     Empty lines skipped before a start line. 2.
     */
    size_t leading_lines;
    /*
     The violations that are tolerated: `PROTO_HTTP_LENIENT_` numbers, joined by `|`. None for requests, all for responses.
     */
    uint32_t leniency;
} proto_http_rules;

/*
 Checked field lines, as they lie in the input: valid as long as these bytes stay there. Read them with
 `proto_http_field_find` and `proto_http_field_list`.
 */
typedef struct proto_http_fields {
    /*
     Not for programs.
     */
    size_t opaque[3];
} proto_http_fields;

/*
 The head of a request or a response. All bytes lie in the input, so the head is valid as long as they stay there.
 */
typedef struct proto_http_head {
    /*
     Requests: the method, case-sensitive.
     */
    struct proto_bytes method;
    /*
     Requests: the target as sent, visible ASCII.
     */
    struct proto_bytes target;
    /*
     Responses: the reason phrase, perhaps empty.
     */
    struct proto_bytes reason;
    /*
     The fields.
     */
    struct proto_http_fields fields;
    /*
     The length of the content, for `PROTO_HTTP_BODY_LENGTH`.
     */
    uint64_t content_length;
    /*
     How the body is delimited. In a response to HEAD or CONNECT it does not show what follows: `proto_http_client_next` knows.
     */
    enum proto_http_body_kind body;
    /*
     Responses: the status, 100 to 999; 0 in a request.
     */
    uint16_t status;
    /*
     10 for HTTP/1.0, 11 for HTTP/1.1 and later minor versions.
     */
    uint8_t version;
    /*
     Whether the peer keeps the connection after this exchange.
     */
    bool keep_alive;
    /*
     Requests: whether the client waits for `100 Continue`.
     */
    bool expects_continue;
    /*
     Requests: whether the client asks to switch to a protocol of its `Upgrade` field.
     */
    bool wants_upgrade;
} proto_http_head;

/*
 An event of a connection. All bytes lie in the input, so they are valid as long as they stay there.
 */
typedef struct proto_http_event {
    /*
     What it is. The other members are written only as the kind says.
     */
    enum proto_http_event_kind kind;
    /*
     For `PROTO_HTTP_HEAD` and `PROTO_HTTP_INFORMATIONAL`.
     */
    struct proto_http_head head;
    /*
     For `PROTO_HTTP_DATA`; never empty.
     */
    struct proto_bytes data;
    /*
     For `PROTO_HTTP_END`.
     */
    struct proto_http_fields trailers;
} proto_http_event;

/*
 Reads a body behind a head that was read by other means. `proto_http_body_init` begins it.
 */
typedef struct proto_http_body {
    /*
     Not for programs.
     */
    uint64_t opaque[4];
} proto_http_body;

/*
 The server's side of an HTTP/1.1 connection. Holds no bytes and owns no memory: put it where you like, copy it, forget it.
 `proto_http_server_init` begins it. One exchange is under way at a time; pipelined requests wait in the input.
 */
typedef struct proto_http_server {
    /*
     Not for programs.
     */
    uint64_t opaque[7];
} proto_http_server;

#if defined(PROTO_RESP)
/*
 Limits on a RESP peer, and what is tolerated. Fill it by `proto_resp_rules_strict` or `proto_resp_rules_replies`.
 */
typedef struct proto_resp_rules {
    /*
     Bytes of one string. 16 MiB.
     */
    uint64_t bulk;
    /*
     Bytes of one reply. 64 MiB.
     */
    uint64_t reply;
    /*
     Elements of one reply, on all levels. 1,048,576.
     */
    uint32_t items;
    /*
     Bytes of a line. 16 KiB.
     */
    uint32_t line;
    /*
     Bytes of one command. 1 MiB.
     */
    uint32_t command;
    /*
     Arguments of one command, its name among them. 65,536.
     */
    uint32_t arguments;
    /*
     Aggregates inside each other. 32, at most 128.
     */
    uint8_t depth;
    /*
     Whether push data may stand inside a reply, as Redis 7.0 sends it.
     */
    bool nested_push;
    /*
     Whether doubles that are not numbers may be written as old servers write them.
     */
    bool any_nan;
} proto_resp_rules;
#endif

#if defined(PROTO_RESP)
/*
 Decodes replies and pushes. Owns no memory. `proto_resp_decoder_init` begins it.
 */
typedef struct proto_resp_decoder {
    /*
     Not for programs.
     */
    uint64_t opaque[77];
} proto_resp_decoder;
#endif

#if defined(PROTO_RESP)
/*
 An item, or a part of one. `data` lies in the input.
 */
typedef struct proto_resp_event {
    /*
     What it is: a `proto_resp_kind`.
     */
    uint32_t kind;
    /*
     Its form: a `proto_resp_form`.
     */
    uint32_t form;
    /*
     As the kind says.
     */
    struct proto_bytes data;
    /*
     As the kind says.
     */
    int64_t integer;
    /*
     As the kind says.
     */
    double number;
    /*
     Of a verbatim string, such as `txt`.
     */
    uint8_t encoding[3];
} proto_resp_event;
#endif

#if defined(PROTO_RESP)
/*
 Encodes events, and checks that they make whole replies. Owns no memory. `proto_resp_encoder_init` begins it.
 */
typedef struct proto_resp_encoder {
    /*
     Not for programs.
     */
    uint64_t opaque[69];
} proto_resp_encoder;
#endif

#if defined(PROTO_RESP)
/*
 Decodes the commands that a server receives. Owns no memory. `proto_resp_commands_init` begins it.
 */
typedef struct proto_resp_commands {
    /*
     Not for programs.
     */
    uint64_t opaque[2];
} proto_resp_commands;
#endif

#if defined(PROTO_SERVER)
/*
 The settings of a server. Fill it by `proto_server_config_default`.
 */
typedef struct proto_server_config {
    /*
     Connections at once; further ones wait in the kernel. 1,000,000.
     */
    size_t connections;
    /*
     Bytes of a request's content; more gets 413. 1 MiB. Each connection may hold that much.
     */
    uint64_t body;
    /*
     Bytes of a WebSocket message. 1 MiB. Each connection may hold that much.
     */
    uint64_t message;
    /*
     Milliseconds between two requests. 60,000. 0 is no limit.
     */
    uint64_t idle;
    /*
     Milliseconds that a request may wait for its answer. 60,000. 0 is no limit.
     */
    uint64_t answer;
    /*
     Bytes of output that may wait for a client that does not read; more resets it. 16 MiB.
     */
    size_t output;
} proto_server_config;
#endif

#if defined(PROTO_SERVER)
/*
 An event of a server. Its bytes are valid until the next `proto_server_next` or `proto_server_poll`.
 */
typedef struct proto_server_event {
    /*
     What it is.
     */
    enum proto_server_event_kind kind;
    /*
     Messages: whether it is text.
     */
    bool text;
    /*
     Closed: the code of WebSocket, 1006 if the client went away, else 0.
     */
    uint16_t code;
    /*
     The connection.
     */
    uint64_t id;
    /*
     Requests: the head.
     */
    struct proto_http_head head;
    /*
     Requests: the content. Messages: the payload. Closed: the reason.
     */
    struct proto_bytes data;
} proto_server_event;
#endif

#if defined(PROTO_STD)
/*
 How a server treats an opening handshake. All zero: only pages of the request's own host, no subprotocol.
 */
typedef struct proto_ws_upgrade_options {
    /*
     Whether pages of any site may connect, with their visitors' cookies. For servers that do not authenticate by cookies.
     */
    bool any_origin;
    /*
     Origins that may connect, such as `https://example.com`, in place of the own host.
     */
    const struct proto_bytes *origins;
    /*
     Their number; 0 for the own host.
     */
    size_t origin_count;
    /*
     The subprotocols of the server; the first that the client offers is chosen.
     */
    const struct proto_bytes *protocols;
    /*
     Their number.
     */
    size_t protocol_count;
} proto_ws_upgrade_options;
#endif

#if defined(PROTO_STD)
/*
 A timer that is due.
 */
typedef struct proto_timer {
    /*
     Its key, which is stale now.
     */
    uint64_t key;
    /*
     Its deadline.
     */
    uint64_t deadline;
    /*
     The number that the program gave it, such as the address of a connection.
     */
    uint64_t value;
} proto_timer;
#endif

/*
 Limits on a WebSocket peer. Fill it by `proto_ws_limits_default`.
 */
typedef struct proto_ws_limits {
    /*
     Bytes of one frame. 1 MiB.
     */
    uint64_t frame;
    /*
     Bytes of one message. 1 MiB.
     */
    uint64_t message;
    /*
     Frames of one message. 16,384.
     */
    uint32_t fragments;
    /*
     Frames without payload in one message. 16.
     */
    uint32_t empty_fragments;
    /*
     Pings and unasked Pongs before `proto_ws_refill`. 256. Only a `proto_ws` enforces it.
     */
    uint32_t control_frames;
} proto_ws_limits;

#if defined(PROTO_STD)
/*
 The settings of a connection. Fill it by `proto_ws_config_default`.
 */
typedef struct proto_ws_config {
    /*
     Limits on the peer.
     */
    struct proto_ws_limits limits;
    /*
     Whether messages that are not complete in the input come in parts, in place of being assembled. False.
     */
    bool parts;
    /*
     Longer messages are sent in frames of this size, so that Pings can pass between them. 0, the default: one frame each.
     */
    size_t fragment;
} proto_ws_config;
#endif

/*
 An event of WebSocket. `data` lies in the input, or in the state: it is valid until the next call with either.
 */
typedef struct proto_ws_event {
    /*
     What it is.
     */
    enum proto_ws_event_kind kind;
    /*
     Messages and parts: whether it is text, which was checked to be UTF-8.
     */
    bool text;
    /*
     Parts: whether it is the last of its message.
     */
    bool last;
    /*
     Close: the code, 1005 if the frame had none (RFC 6455 section 7.4).
     */
    uint16_t code;
    /*
     The payload.
     */
    struct proto_bytes data;
} proto_ws_event;

/*
 Decodes frames into messages and parts, without allocating: a reader of frames, a packet-capture tool, a small machine. It
 answers nothing; `proto_ws` is the whole connection. `proto_ws_decoder_init` begins it. Owns no memory.
 */
typedef struct proto_ws_decoder {
    /*
     Not for programs.
     */
    uint64_t opaque[11];
} proto_ws_decoder;

/*
 The header of a frame (RFC 6455 section 5.2).
 */
typedef struct proto_ws_header {
    /*
     Bytes of payload, at most 2^63 - 1.
     */
    uint64_t length;
    /*
     0 continuation, 1 text, 2 binary, 8 Close, 9 Ping, 10 Pong.
     */
    uint8_t opcode;
    /*
     The reserved bits, in their place in the first byte: a part of 0x70.
     */
    uint8_t rsv;
    /*
     Whether it is the last frame of its message.
     */
    bool fin;
    /*
     Whether the payload is masked.
     */
    bool masked;
    /*
     The masking key.
     */
    uint8_t key[4];
} proto_ws_header;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the library that is linked: major << 16 | minor << 8 | patch. Equal to `PROTO_VERSION` of the header that
 belongs to this library.
 */
uint32_t proto_version(void);

/*
 The version of the library that is linked, as text such as `0.1.0`.
 */
const char *proto_version_text(void);

/*
 The name of an error, such as `PROTO_HTTP_BARE_LF`; `PROTO_OK` for 0 and above, `PROTO_OTHER` for an unknown number.
 Never NULL.
 */
const char *proto_error_name(int32_t error);

/*
 The section that an error violates, such as `RFC 9112 section 2.2`; for RESP, a heading of the specification or the name of
 a limit. Empty where there is none. Never NULL.
 */
const char *proto_error_section(int32_t error);

/*
 Who caused an error: a `proto_fault`.
 */
enum proto_fault proto_error_fault(int32_t error);

/*
 The HTTP status with which a server answers an error of the peer, such as 400; 500 for all other errors.
 */
uint16_t proto_error_status(int32_t error);

/*
 The code of the Close frame that reports an error of a WebSocket peer (RFC 6455 section 7.4.1), such as 1002; 1011 for all
 other errors.
 */
uint16_t proto_error_close_code(int32_t error);

/*
 Begins a connection, before its first request.

 The caller promises: `client` is NULL or may be written.
 */
int32_t proto_http_client_init(struct proto_http_client *client);

/*
 Appends the head of a request. With a body, a `proto_http_body_kind`, content follows by `proto_http_client_data` and ends by
 `proto_http_client_finish`. `list` must have exactly one Host.

 The caller promises: `client` was begun; the texts point to as many bytes, `list` to `count` fields; `out` owns its memory.
 */
int32_t proto_http_client_request(struct proto_http_client *client,
                                  const uint8_t *method,
                                  size_t method_length,
                                  const uint8_t *target,
                                  size_t target_length,
                                  const struct proto_field *list,
                                  size_t count,
                                  uint32_t body,
                                  uint64_t content_length,
                                  struct proto_buffer *out);

/*
 Appends a GET, HEAD or OPTIONS before the earlier responses have arrived. Up to 33 may be under way; responses come in order.

 The caller promises: As for `proto_http_client_request`.
 */
int32_t proto_http_client_pipeline(struct proto_http_client *client,
                                   const uint8_t *method,
                                   size_t method_length,
                                   const uint8_t *target,
                                   size_t target_length,
                                   const struct proto_field *list,
                                   size_t count,
                                   struct proto_buffer *out);

/*
 Appends content of a request.

 The caller promises: `client` was begun; `data` points to `length` bytes; `out` owns its memory.
 */
int32_t proto_http_client_data(struct proto_http_client *client,
                               const uint8_t *data,
                               size_t length,
                               struct proto_buffer *out);

/*
 Ends a request that has content, with `count` trailers if it goes in chunks.

 The caller promises: As for `proto_http_client_request`.
 */
int32_t proto_http_client_finish(struct proto_http_client *client,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);

/*
 Takes the next event off `data`, as `proto_http_server_next` does. `data` is not const because folded fields are unfolded in
 place (RFC 9112 section 5.2). After a violation, close the connection.

 `rules` may be NULL: those of responses.

 The caller promises: `client` was begun; `data` points to `length` bytes that may be written; `used` and `event` may be written.
 */
int32_t proto_http_client_next(struct proto_http_client *client,
                               const struct proto_http_rules *rules,
                               uint8_t *data,
                               size_t length,
                               size_t *used,
                               struct proto_http_event *event);

/*
 The server has half-closed: no bytes follow. Call `proto_http_client_next` as before.

 The caller promises: `client` is NULL or was begun.
 */
void proto_http_client_eof(struct proto_http_client *client);

/*
 Whether no exchange is under way, so that a request may be sent. False for NULL.

 The caller promises: `client` is NULL or was begun.
 */
bool proto_http_client_is_idle(const struct proto_http_client *client);

/*
 Whether the connection must be closed: the last exchange is complete. False for NULL.

 The caller promises: `client` is NULL or was begun.
 */
bool proto_http_client_must_close(const struct proto_http_client *client);

/*
 Reads the head of a request at the start of `data`. `PROTO_EVENT`: `head` was written, and it takes `used` bytes.
 `PROTO_MORE`: nothing is wrong so far, but the head is not complete. A violation: `used` is the offset of the byte that is
 wrong. Keeps no state: a server of many small reads uses `proto_http_server`, which reads no byte twice.

 `rules` may be NULL: those of requests. `used` may be NULL.

 The caller promises: `data` points to `length` bytes; the other pointers may be written.
 */
int32_t proto_http_request_parse(const uint8_t *data,
                                 size_t length,
                                 const struct proto_http_rules *rules,
                                 struct proto_http_head *head,
                                 size_t *used);

/*
 Reads the head of a response, as `proto_http_request_parse` does that of a request. `rules` may be NULL: those of responses.
 Folded fields are a violation here; `proto_http_client_next` reads them.

 The caller promises: `data` points to `length` bytes; the other pointers may be written.
 */
int32_t proto_http_response_parse(const uint8_t *data,
                                  size_t length,
                                  const struct proto_http_rules *rules,
                                  struct proto_http_head *head,
                                  size_t *used);

/*
 Writes the path of a request to `path` and its query, without the `?`, to `query`; both lie in the target. The path of `*` is
 `*`, that of CONNECT empty. An absent query has `data` NULL. Nothing is decoded.

 The caller promises: `head` is NULL or a head that this library has written and whose input is still there; `path` and `query` are NULL or may be
 written.
 */
int32_t proto_http_path(const struct proto_http_head *head,
                        struct proto_bytes *path,
                        struct proto_bytes *query);

/*
 Finds the first field with this name, ignoring case, and writes its value. Returns false, with an empty value, if there is none.

 The caller promises: `fields` is NULL or was written by this library, and its input is still there; `name` points to `name_length` bytes; `value`
 is NULL or may be written.
 */
bool proto_http_field_find(const struct proto_http_fields *fields,
                           const uint8_t *name,
                           size_t name_length,
                           struct proto_bytes *value);

/*
 Whether the comma-separated list in the fields with this name has the token, both ignoring case, as `Connection` does.

 The caller promises: `fields` is NULL or was written by this library, and its input is still there; the names point to as many bytes.
 */
bool proto_http_field_has_token(const struct proto_http_fields *fields,
                                const uint8_t *name,
                                size_t name_length,
                                const uint8_t *token,
                                size_t token_length);

/*
 Writes up to `capacity` fields, in order, and returns how many there are. With 0 for `capacity` it only counts.

 The caller promises: `fields` is NULL or was written by this library, and its input is still there; `list` has room for `capacity` fields.
 */
size_t proto_http_field_list(const struct proto_http_fields *fields,
                             struct proto_field *list,
                             size_t capacity);

/*
 Writes a time, in seconds since 1970 without leap seconds, as a Date field shows it, to 29 bytes at `date`: no zero byte
 follows.

 The caller promises: `date` is NULL or has room for 29 bytes.
 */
void proto_http_date(uint64_t unix_seconds,
                     uint8_t *date);

/*
 Begins a body of `kind`, a `proto_http_body_kind`; `content_length` is for `PROTO_HTTP_BODY_LENGTH`.

 The caller promises: `body` is NULL or may be written.
 */
int32_t proto_http_body_init(struct proto_http_body *body, uint32_t kind, uint64_t content_length);

/*
 Takes the next piece off `data`. `PROTO_EVENT`: `piece` has content, or is empty when the body has ended; then `trailers` was
 written. `PROTO_MORE`: call again with the bytes behind `used` and newer ones. A violation: the connection is to be closed.

 `rules` may be NULL: those of requests. `trailers` may be NULL.

 The caller promises: `body` was begun; `data` points to `length` bytes; the other pointers may be written.
 */
int32_t proto_http_body_next(struct proto_http_body *body,
                             const struct proto_http_rules *rules,
                             const uint8_t *data,
                             size_t length,
                             size_t *used,
                             struct proto_bytes *piece,
                             struct proto_http_fields *trailers);

/*
 The connection has ended. `PROTO_OK` if the body was complete, else `PROTO_HTTP_TRUNCATED`.

 The caller promises: `body` is NULL or was begun.
 */
int32_t proto_http_body_eof(struct proto_http_body *body);

/*
 Writes the default rules for requests: finite limits, nothing lenient.

 The caller promises: `rules` is NULL or may be written.
 */
void proto_http_rules_requests(struct proto_http_rules *rules);

/*
 Writes the default rules for responses: content of any length, and the mistakes that common servers make.

 The caller promises: `rules` is NULL or may be written.
 */
void proto_http_rules_responses(struct proto_http_rules *rules);

/*
 Begins a connection, before its first request.

 The caller promises: `server` is NULL or may be written.
 */
int32_t proto_http_server_init(struct proto_http_server *server);

/*
 Takes the next event off `data`, which are all bytes not used so far. Sets `used` to the bytes that it took, with `PROTO_MORE`
 too: they may go as soon as the event was handled. `PROTO_EVENT`, `PROTO_MORE`, or a violation: answer with
 `proto_error_status` if `proto_http_server_can_respond`, then close.

 `rules` may be NULL: those of requests.

 The caller promises: `server` was begun; `data` points to `length` bytes; `used` and `event` may be written.
 */
int32_t proto_http_server_next(struct proto_http_server *server,
                               const struct proto_http_rules *rules,
                               const uint8_t *data,
                               size_t length,
                               size_t *used,
                               struct proto_http_event *event);

/*
 The client has half-closed: no bytes follow. Call `proto_http_server_next` as before.

 The caller promises: `server` is NULL or was begun.
 */
void proto_http_server_eof(struct proto_http_server *server);

/*
 Appends a whole response. Its length is announced; the content is left out where the method or the status allows none.
 `date` may be NULL; else it points to 29 bytes of `proto_http_date`. `list` may be NULL if `count` is 0. Content-Length and
 Transfer-Encoding are the library's: in `list` they are `PROTO_HTTP_MISUSE_FRAMING_FIELD`.

 The caller promises: `server` was begun; `list` points to `count` fields, `body` to `body_length` bytes; `out` owns its memory.
 */
int32_t proto_http_server_respond(struct proto_http_server *server,
                                  uint16_t code,
                                  const struct proto_field *list,
                                  size_t count,
                                  const uint8_t *body,
                                  size_t body_length,
                                  const uint8_t *date_field,
                                  struct proto_buffer *out);

/*
 Appends the head of a response whose content follows by `proto_http_server_data` and ends by `proto_http_server_finish`.
 `content_length` of `UINT64_MAX` is unknown: the content goes in chunks, or for HTTP/1.0 up to the close.

 The caller promises: As for `proto_http_server_respond`.
 */
int32_t proto_http_server_start(struct proto_http_server *server,
                                uint16_t code,
                                const struct proto_field *list,
                                size_t count,
                                uint64_t content_length,
                                const uint8_t *date_field,
                                struct proto_buffer *out);

/*
 Appends content of a started response.

 The caller promises: `server` was begun; `data` points to `length` bytes; `out` owns its memory.
 */
int32_t proto_http_server_data(struct proto_http_server *server,
                               const uint8_t *data,
                               size_t length,
                               struct proto_buffer *out);

/*
 Ends a started response, with `count` trailers, which go only where the content goes in chunks.

 The caller promises: As for `proto_http_server_respond`.
 */
int32_t proto_http_server_finish(struct proto_http_server *server,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);

/*
 Appends an informational response: any status of 1xx but 101, such as the 100 that a client expects.

 The caller promises: As for `proto_http_server_respond`.
 */
int32_t proto_http_server_inform(struct proto_http_server *server,
                                 uint16_t code,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);

/*
 Appends the response that hands the connection to another protocol: 101 with an `Upgrade` field, or 2xx to a CONNECT. For
 WebSocket, `proto_ws_upgrade` does the whole handshake.

 The caller promises: As for `proto_http_server_respond`.
 */
int32_t proto_http_server_switch(struct proto_http_server *server,
                                 uint16_t code,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);

/*
 Makes the current exchange the last: its answer, if not begun, says so.

 The caller promises: `server` is NULL or was begun.
 */
void proto_http_server_close_after(struct proto_http_server *server);

/*
 The request took too long: no event follows, and an answer, if still due, is the last.

 The caller promises: `server` is NULL or was begun.
 */
void proto_http_server_give_up(struct proto_http_server *server);

/*
 Whether a response is due and not begun. False for NULL.

 The caller promises: `server` is NULL or was begun.
 */
bool proto_http_server_can_respond(const struct proto_http_server *server);

/*
 Whether the response is complete and the connection must be closed after it. False for NULL.

 The caller promises: `server` is NULL or was begun.
 */
bool proto_http_server_must_close(const struct proto_http_server *server);

/*
 Whether no exchange is under way. False for NULL.

 The caller promises: `server` is NULL or was begun.
 */
bool proto_http_server_is_idle(const struct proto_http_server *server);

/*
 Whether the client waits for `100 Continue`. False for NULL.

 The caller promises: `server` is NULL or was begun.
 */
bool proto_http_server_expects_continue(const struct proto_http_server *server);

#if defined(PROTO_RESP)
/*
 Writes the default rules: finite limits, nothing lenient.

 The caller promises: `rules` is NULL or may be written.
 */
void proto_resp_rules_strict(struct proto_resp_rules *rules);
#endif

#if defined(PROTO_RESP)
/*
 Writes the rules for a client: finite limits, and the mistakes of old servers.

 The caller promises: `rules` is NULL or may be written.
 */
void proto_resp_rules_replies(struct proto_resp_rules *rules);
#endif

#if defined(PROTO_RESP)
/*
 Begins a decoder for a peer that speaks version 2 or 3. `rules` may be NULL: those of `proto_resp_rules_replies`.

 The caller promises: `decoder` is NULL or may be written; `rules` is NULL or points to rules.
 */
int32_t proto_resp_decoder_init(struct proto_resp_decoder *decoder, uint32_t of, const struct proto_resp_rules *rules);
#endif

#if defined(PROTO_RESP)
/*
 Changes the version, as HELLO has negotiated it; the reply to HELLO is in the new one.

 The caller promises: `decoder` is NULL or was begun.
 */
int32_t proto_resp_decoder_set_version(struct proto_resp_decoder *decoder, uint32_t of);
#endif

#if defined(PROTO_RESP)
/*
 Takes the next event off `data`. Sets `used` to the bytes that it took, with `PROTO_MORE` too. `PROTO_EVENT`, `PROTO_MORE`, or a violation, which every
 later call repeats: close the connection.

 The caller promises: `decoder` was begun; `data` points to `length` bytes; `used` and `event` may be written.
 */
int32_t proto_resp_decoder_next(struct proto_resp_decoder *decoder,
                                const uint8_t *data,
                                size_t length,
                                size_t *used,
                                struct proto_resp_event *event);
#endif

#if defined(PROTO_RESP)
/*
 Whether no reply is under way: the last event has ended a reply or a push, or there was none. False for NULL.

 The caller promises: `decoder` is NULL or was begun.
 */
bool proto_resp_decoder_is_between(const struct proto_resp_decoder *decoder);
#endif

#if defined(PROTO_RESP)
/*
 Begins an encoder for a peer that speaks version 2 or 3. For version 2 it turns maps into arrays, nulls into null strings and so on.

 The caller promises: `encoder` is NULL or may be written.
 */
int32_t proto_resp_encoder_init(struct proto_resp_encoder *encoder,
                                uint32_t of);
#endif

#if defined(PROTO_RESP)
/*
 Appends an event. Aggregates with a length end by themselves.

 The caller promises: `encoder` was begun; `event` points to an event whose data is there; `out` owns its memory.
 */
int32_t proto_resp_encoder_write(struct proto_resp_encoder *encoder,
                                 const struct proto_resp_event *event,
                                 struct proto_buffer *out);
#endif

#if defined(PROTO_RESP)
/*
 Whether the output consists of whole replies. False for NULL.

 The caller promises: `encoder` is NULL or was begun.
 */
bool proto_resp_encoder_is_between(const struct proto_resp_encoder *encoder);
#endif

#if defined(PROTO_RESP)
/*
 Appends a command: an array of `count` strings, the first of which is its name.

 The caller promises: `list` points to `count` strings, which are there; `out` owns its memory.
 */
int32_t proto_resp_command_write(const struct proto_bytes *list, size_t count, struct proto_buffer *out);
#endif

#if defined(PROTO_RESP)
/*
 Begins a decoder of commands.

 The caller promises: `commands` is NULL or may be written.
 */
int32_t proto_resp_commands_init(struct proto_resp_commands *commands);
#endif

#if defined(PROTO_RESP)
/*
 Takes the next command off `data`: writes up to `capacity` of its arguments, the name first, to `list`, and their number to
 `count`; the arguments beyond `capacity` are not shown. The bytes lie in the input. An incomplete command stays in the input and is
 not read twice. `PROTO_EVENT`, `PROTO_MORE`, or a violation: close the connection.

 `rules` may be NULL: those of `proto_resp_rules_strict`.

 The caller promises: `commands` was begun; `data` points to `length` bytes; `list` has room for `capacity` strings; `used` and `count` may be written.
 */
int32_t proto_resp_commands_next(struct proto_resp_commands *commands,
                                 const struct proto_resp_rules *rules,
                                 const uint8_t *data,
                                 size_t length,
                                 size_t *used,
                                 struct proto_bytes *list,
                                 size_t capacity,
                                 size_t *count);
#endif

#if defined(PROTO_SERVER)
/*
 Writes the default settings.

 The caller promises: `config` is NULL or may be written.
 */
void proto_server_config_default(struct proto_server_config *config);
#endif

#if defined(PROTO_SERVER)
/*
 Makes a server. `config` may be NULL. NULL if the system has no descriptors left.

 The caller promises: `config` is NULL or points to settings.
 */
struct proto_server *proto_server_new(const struct proto_server_config *config);
#endif

#if defined(PROTO_SERVER)
/*
 Closes all connections at once and frees the server. NULL is ignored. To let answers go out first, call `proto_server_stop`
 before, and poll until `proto_server_is_idle`.

 The caller promises: `server` is NULL or from `proto_server_new`, and is not used again.
 */
void proto_server_free(struct proto_server *server);
#endif

#if defined(PROTO_SERVER)
/*
 Listens on an address such as `127.0.0.1:8080` or `[::]:80`; port 0 takes a free one. Returns the port, or `PROTO_ADDRESS`, or
 `PROTO_IO`.

 The caller promises: `server` is from `proto_server_new`; `address` points to `length` bytes.
 */
int32_t proto_server_listen(struct proto_server *server,
                            const uint8_t *address,
                            size_t length);
#endif

#if defined(PROTO_SERVER)
/*
 The descriptor to wait for in an event loop of the program's own; readable when `proto_server_poll` has something to do. -1 for
 NULL.

 The caller promises: `server` is NULL or from `proto_server_new`.
 */
int32_t proto_server_fd(const struct proto_server *server);
#endif

#if defined(PROTO_SERVER)
/*
 Lets the server work: waits for at most `timeout` milliseconds (-1: as long as nothing happens), reads, answers, writes. Returns how
 many events wait for `proto_server_next`: take all of them before the next call, which works only then. `PROTO_IO` if the kernel
 refuses to wait.

 The caller promises: `server` is from `proto_server_new`.
 */
int32_t proto_server_poll(struct proto_server *server,
                          int32_t timeout);
#endif

#if defined(PROTO_SERVER)
/*
 Takes the next event. `PROTO_EVENT`, or `PROTO_MORE` if none is left: poll.

 The caller promises: `server` is from `proto_server_new`; `event` may be written.
 */
int32_t proto_server_next(struct proto_server *server, struct proto_server_event *event);
#endif

#if defined(PROTO_SERVER)
/*
 Answers a request with a whole response. `list` and `body` are copied. Values of fields must be UTF-8.

 The caller promises: `server` is from `proto_server_new`; `list` points to `count` fields, `body` to `length` bytes.
 */
int32_t proto_server_respond(struct proto_server *server,
                             uint64_t id,
                             uint16_t status,
                             const struct proto_field *list,
                             size_t count,
                             const uint8_t *body,
                             size_t length);
#endif

#if defined(PROTO_SERVER)
/*
 Begins the response to a request, whose content follows by `proto_server_write` and ends by `proto_server_finish`.
 `content_length` of `UINT64_MAX` is unknown.

 The caller promises: As for `proto_server_respond`.
 */
int32_t proto_server_start(struct proto_server *server,
                           uint64_t id,
                           uint16_t status,
                           const struct proto_field *list,
                           size_t count,
                           uint64_t content_length);
#endif

#if defined(PROTO_SERVER)
/*
 Sends content of a response that was begun. It is copied; what a slow client does not take waits here, up to
 `proto_server_config.output`.

 The caller promises: `server` is from `proto_server_new`; `data` points to `length` bytes.
 */
int32_t proto_server_write(struct proto_server *server, uint64_t id, const uint8_t *data, size_t length);
#endif

#if defined(PROTO_SERVER)
/*
 Ends a response that was begun.

 The caller promises: `server` is NULL or from `proto_server_new`.
 */
int32_t proto_server_finish(struct proto_server *server, uint64_t id);
#endif

#if defined(PROTO_SERVER)
/*
 Answers a request for WebSocket: the connection becomes one, and `PROTO_SERVER_OPENED` follows. Where the handshake is at fault,
 the client gets the response that says so, and this returns `PROTO_WS_REJECT_`. `options` may be NULL.

 The caller promises: `server` is from `proto_server_new`; `options` is NULL or points to options whose lists are there.
 */
int32_t proto_server_upgrade(struct proto_server *server,
                             uint64_t id,
                             const struct proto_ws_upgrade_options *options);
#endif

#if defined(PROTO_SERVER)
/*
 Sends a message on a WebSocket. Text must be UTF-8.

 The caller promises: `server` is from `proto_server_new`; `data` points to `length` bytes.
 */
int32_t proto_server_send(struct proto_server *server, uint64_t id, bool is_text, const uint8_t *data, size_t length);
#endif

#if defined(PROTO_SERVER)
/*
 Closes a connection. A WebSocket gets a Close frame with `code` and `reason`, and `PROTO_SERVER_CLOSED` follows; a request that
 is not answered, or a response that is not complete, is broken off.

 The caller promises: `server` is from `proto_server_new`; `reason` points to `length` bytes.
 */
int32_t proto_server_close(struct proto_server *server,
                           uint64_t id,
                           uint16_t code,
                           const uint8_t *reason,
                           size_t length);
#endif

#if defined(PROTO_SERVER)
/*
 Writes the client's address, such as `127.0.0.1:40000`, to `out`. `PROTO_GONE` if the connection has ended.

 The caller promises: `server` is from `proto_server_new`; `out` owns its memory.
 */
int32_t proto_server_remote(const struct proto_server *server, uint64_t id, struct proto_buffer *out);
#endif

#if defined(PROTO_SERVER)
/*
 Stops: closes the listeners and idle connections, lets answers go out for up to `drain` milliseconds, then resets what is left.
 Poll until `proto_server_is_idle`.

 The caller promises: `server` is NULL or from `proto_server_new`.
 */
void proto_server_stop(struct proto_server *server,
                       uint64_t drain);
#endif

#if defined(PROTO_SERVER)
/*
 Whether the server has no listener, no connection and no event. True for NULL.

 The caller promises: `server` is NULL or from `proto_server_new`.
 */
bool proto_server_is_idle(const struct proto_server *server);
#endif

#if defined(PROTO_SERVER)
/*
 The error number of the system behind the last `PROTO_IO`; 0 if there was none.

 The caller promises: `server` is NULL or from `proto_server_new`.
 */
int32_t proto_server_errno(const struct proto_server *server);
#endif

#if defined(PROTO_STD)
/*
 Makes a wheel whose time is `now`.
 */
struct proto_wheel *proto_wheel_new(uint64_t now);
#endif

#if defined(PROTO_STD)
/*
 Frees a wheel. NULL is ignored.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`, and is not used again.
 */
void proto_wheel_free(struct proto_wheel *wheel);
#endif

#if defined(PROTO_STD)
/*
 Sets a timer and writes its key, never 0, to `key`. Round deadlines up to ticks: a timer never fires early. `PROTO_MEMORY` if
 there is no room for another.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`; `key` is NULL or may be written.
 */
int32_t proto_wheel_insert(struct proto_wheel *wheel,
                           uint64_t deadline,
                           uint64_t value,
                           uint64_t *key);
#endif

#if defined(PROTO_STD)
/*
 Gives a timer another deadline, earlier or later. False if the key is stale.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`.
 */
bool proto_wheel_reset(struct proto_wheel *wheel, uint64_t key, uint64_t deadline);
#endif

#if defined(PROTO_STD)
/*
 Unsets a timer. False if the key is stale.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`.
 */
bool proto_wheel_cancel(struct proto_wheel *wheel, uint64_t key);
#endif

#if defined(PROTO_STD)
/*
 Sets the time, and takes timers that are due: it looks at `capacity` timers at most, so that a call never takes long. Returns how
 many it has written to `due`. Then `proto_wheel_next_wake` is `now` if more are to be looked at, else later.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`; `due` has room for `capacity` timers.
 */
size_t proto_wheel_poll(struct proto_wheel *wheel,
                        uint64_t now,
                        struct proto_timer *due,
                        size_t capacity);
#endif

#if defined(PROTO_STD)
/*
 Writes the tick at which to poll next, for the timeout of `poll` or `epoll_wait`. False if no timer is set.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`; `tick` is NULL or may be written.
 */
bool proto_wheel_next_wake(const struct proto_wheel *wheel, uint64_t *tick);
#endif

#if defined(PROTO_STD)
/*
 The number of timers that are set, due ones among them. 0 for NULL.

 The caller promises: `wheel` is NULL or from `proto_wheel_new`.
 */
size_t proto_wheel_length(const struct proto_wheel *wheel);
#endif

#if defined(PROTO_STD)
/*
 Writes the default settings.

 The caller promises: `config` is NULL or may be written.
 */
void proto_ws_config_default(struct proto_ws_config *config);
#endif

#if defined(PROTO_STD)
/*
 Fills `length` bytes with what no peer can predict. The program provides it.
 */
extern void proto_random(uint8_t *bytes, size_t length);
#endif

#if defined(PROTO_STD)
/*
 Makes a connection for `at`, a `proto_ws_role`. `config` may be NULL. Returns NULL for another role. Aborts the process if no
 memory is left, as all functions of a `proto_ws` do.

 The caller promises: `config` is NULL or points to settings.
 */
struct proto_ws *proto_ws_new(uint32_t at,
                              const struct proto_ws_config *config);
#endif

#if defined(PROTO_STD)
/*
 Frees a connection. NULL is ignored.

 The caller promises: `ws` is NULL or from `proto_ws_new`, and is not used again.
 */
void proto_ws_free(struct proto_ws *ws);
#endif

#if defined(PROTO_STD)
/*
 Takes the next event off `data`, which is unmasked in place. Sets `used` to the bytes that it took, with `PROTO_MORE` too; at most 130 are left over.
 Pings are answered and Close frames echoed by themselves: whatever this returns, output may wait. `PROTO_EVENT`, `PROTO_MORE`,
 or a violation: the Close frame that reports it is in the output; send it, then end the stream.

 The caller promises: `ws` is from `proto_ws_new`; `data` points to `length` bytes that may be written; `used` and `event` may be written.
 */
int32_t proto_ws_next(struct proto_ws *ws,
                      uint8_t *data,
                      size_t length,
                      size_t *used,
                      struct proto_ws_event *event);
#endif

#if defined(PROTO_STD)
/*
 The bytes that wait to be sent; valid until the next call with `ws`. Empty for NULL.

 The caller promises: `ws` is NULL or from `proto_ws_new`.
 */
struct proto_bytes proto_ws_output(const struct proto_ws *ws);
#endif

#if defined(PROTO_STD)
/*
 Removes the first `count` bytes of the output, which were sent.

 The caller promises: `ws` is NULL or from `proto_ws_new`.
 */
void proto_ws_sent(struct proto_ws *ws, size_t count);
#endif

#if defined(PROTO_STD)
/*
 Sends a message, of text or bytes. Text must be UTF-8.

 The caller promises: `ws` is from `proto_ws_new`; `data` points to `length` bytes.
 */
int32_t proto_ws_message(struct proto_ws *ws, bool is_text, const uint8_t *data, size_t length);
#endif

#if defined(PROTO_STD)
/*
 Sends the next part of a message as a frame, the `last` one with FIN. Parts of text end between characters.

 The caller promises: As for `proto_ws_message`.
 */
int32_t proto_ws_part(struct proto_ws *ws, bool is_text, bool last, const uint8_t *data, size_t length);
#endif

#if defined(PROTO_STD)
/*
 Sends a Ping of at most 125 bytes.

 The caller promises: As for `proto_ws_message`.
 */
int32_t proto_ws_ping(struct proto_ws *ws, const uint8_t *data, size_t length);
#endif

#if defined(PROTO_STD)
/*
 Sends a Pong that nobody asked for, of at most 125 bytes.

 The caller promises: As for `proto_ws_message`.
 */
int32_t proto_ws_pong(struct proto_ws *ws, const uint8_t *data, size_t length);
#endif

#if defined(PROTO_STD)
/*
 Begins the closing handshake with a code that may be sent (RFC 6455 section 7.4) and a reason of at most 123 bytes of UTF-8. A
 code of 1005 sends a frame without a code.

 The caller promises: As for `proto_ws_message`.
 */
int32_t proto_ws_close(struct proto_ws *ws,
                       uint16_t code,
                       const uint8_t *reason,
                       size_t length);
#endif

#if defined(PROTO_STD)
/*
 The stream has ended. Returns whether the closing handshake was complete; else the peer went away (1006). False for NULL.

 The caller promises: `ws` is NULL or from `proto_ws_new`.
 */
bool proto_ws_eof(struct proto_ws *ws);
#endif

#if defined(PROTO_STD)
/*
 Lets the peer send `frames` more control frames, up to the limit. The owner of the clock calls it, some times a second.

 The caller promises: `ws` is NULL or from `proto_ws_new`.
 */
void proto_ws_refill(struct proto_ws *ws, uint32_t frames);
#endif

#if defined(PROTO_STD)
/*
 The progress of the closing handshake: a `proto_ws_state`. Failed for NULL.

 The caller promises: `ws` is NULL or from `proto_ws_new`.
 */
enum proto_ws_state proto_ws_get_state(const struct proto_ws *ws);
#endif

/*
 Writes the default limits.

 The caller promises: `limits` is NULL or may be written.
 */
void proto_ws_limits_default(struct proto_ws_limits *limits);

/*
 Begins a decoder of the frames that arrive at `role`, a `proto_ws_role`. `limits` may be NULL.

 The caller promises: `decoder` is NULL or may be written; `limits` is NULL or points to limits.
 */
int32_t proto_ws_decoder_init(struct proto_ws_decoder *decoder, uint32_t at, const struct proto_ws_limits *limits);

/*
 Takes the next event off `data`, which is unmasked in place. Sets `used` to the bytes that it took, with `PROTO_MORE` too; at most 130 are left
 over. `PROTO_EVENT`, `PROTO_MORE`, or a violation, which every later call repeats: send a Close frame with
 `proto_error_close_code`.

 The caller promises: `decoder` was begun; `data` points to `length` bytes that may be written; `used` and `event` may be written.
 */
int32_t proto_ws_decoder_next(struct proto_ws_decoder *decoder,
                              uint8_t *data,
                              size_t length,
                              size_t *used,
                              struct proto_ws_event *event);

/*
 Reads a header. `PROTO_EVENT`: `header` was written, and it takes `used` bytes. `PROTO_MORE`: it is not complete. A violation:
 a reserved opcode, or a length that is not in its shortest form. Checks no roles and limits.

 The caller promises: `data` points to `length` bytes; `header` and `used` may be written.
 */
int32_t proto_ws_header_read(const uint8_t *data,
                             size_t length,
                             struct proto_ws_header *header,
                             size_t *used);

/*
 Appends a frame: the header, with `payload_length` in place of its length, and the payload, masked if the header says so. With
 `payload` NULL only the header, with its own length; the payload is then sent by other means.

 The caller promises: `header` is NULL or points to a header; `payload` is NULL or points to as many bytes; `out` owns its memory.
 */
int32_t proto_ws_frame_write(const struct proto_ws_header *header,
                             const uint8_t *payload,
                             size_t payload_length,
                             struct proto_buffer *out);

/*
 Masks or unmasks a payload in place with the 4 bytes at `key`. `offset` is the place of its first byte in the frame's payload,
 for payloads that come in pieces.

 The caller promises: `key` points to 4 bytes, `payload` to `length` bytes that may be written.
 */
int32_t proto_ws_mask(const uint8_t *key,
                      uint64_t offset,
                      uint8_t *payload,
                      size_t length);

#if defined(PROTO_STD)
/*
 Answers a request for WebSocket on an HTTP connection: the 101, after which the input belongs to a `proto_ws`, or, with an error
 `PROTO_WS_REJECT_`, the response that refuses it, after which the connection is one of HTTP as before. `protocol`, which may be
 NULL, gets the subprotocol that was chosen, in the request's bytes; empty if none was. `options` may be NULL.

 The caller promises: `server` was begun; `head` is that of its current request, whose input is still there; `options` is NULL or points to options;
 `out` owns its memory.
 */
int32_t proto_ws_upgrade(struct proto_http_server *server,
                         const struct proto_http_head *head,
                         const struct proto_ws_upgrade_options *options,
                         struct proto_bytes *protocol,
                         struct proto_buffer *out);
#endif

#if defined(PROTO_STD)
/*
 Writes the 28 bytes of the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key, for programs that write the 101 themselves.
 `PROTO_WS_REJECT_KEY` if it is no key.

 The caller promises: `key` points to `length` bytes, `accept` to room for 28.
 */
int32_t proto_ws_accept(const uint8_t *key,
                        size_t length,
                        uint8_t *accept);
#endif

#if defined(PROTO_STD)
/*
 Appends a client's request. `nonce` is 16 random bytes, used once; `proto_ws_verify` needs them again. `list` holds further
 fields, such as `Origin` or `Cookie`.

 The caller promises: The texts point to as many bytes, `nonce` to 16, the lists to as many members; `out` owns its memory.
 */
int32_t proto_ws_request(const uint8_t *host,
                         size_t host_length,
                         const uint8_t *target,
                         size_t target_length,
                         const uint8_t *nonce,
                         const struct proto_bytes *protocols,
                         size_t protocol_count,
                         const struct proto_field *list,
                         size_t count,
                         struct proto_buffer *out);
#endif

#if defined(PROTO_STD)
/*
 Checks the server's answer to `proto_ws_request`, read by `proto_http_response_parse`: `PROTO_OK` if the connection is open,
 else `PROTO_WS_REFUSED_`: drop the connection. Skip informational responses other than 101 before. `protocol`, which may be NULL,
 gets the one of `protocols` that the server has chosen.

 The caller promises: `head` was written by this library, and its input is still there; `nonce` points to 16 bytes, `protocols` to as many texts.
 */
int32_t proto_ws_verify(const struct proto_http_head *head,
                        const uint8_t *nonce,
                        const struct proto_bytes *protocols,
                        size_t protocol_count,
                        struct proto_bytes *protocol);
#endif

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PROTO_H */

/* The states have the size that the library was built with. */
#ifdef __cplusplus
#define PROTO_ASSERT_SIZE(type, words) static_assert(sizeof(type) == 8 * (words), #type)
#else
#define PROTO_ASSERT_SIZE(type, words) _Static_assert(sizeof(type) == 8 * (words), #type)
#endif
PROTO_ASSERT_SIZE(proto_http_server, 7);
PROTO_ASSERT_SIZE(proto_http_client, 8);
PROTO_ASSERT_SIZE(proto_http_body, 4);
PROTO_ASSERT_SIZE(proto_ws_decoder, 11);
PROTO_ASSERT_SIZE(proto_resp_decoder, 77);
PROTO_ASSERT_SIZE(proto_resp_encoder, 69);
PROTO_ASSERT_SIZE(proto_resp_commands, 2);
#undef PROTO_ASSERT_SIZE
