"""proto-http beside h11 (a Python package) and llhttp (inside Node's http).

Whether a message is taken or refused, and where bodies and the next message begin, must be the same; every difference must be
explained by STRICTER or TABLE, which say who is laxer and what the RFC says.
"""

import os
import re
import shutil

from . import by_program, http_messages

try:
    import h11
except ImportError:
    h11 = None

# Input that we refuse and another accepts, by the name of our error: never dangerous to the next server.
STRICTER = {
    "BareLf": "LF alone ends a line for a lax recipient (RFC 9112 section 2.2 allows it; section 11.2 says what for)",
    "BareCr": "CR alone is taken for white space or dropped (RFC 9112 section 2.2: invalid, or a space)",
    "LeadingLines": "any number of empty lines before a request (RFC 9112 section 2.2: at least one)",
    "Method": "white space before a method is skipped (RFC 9112 section 3: a token)",
    "Target": "the target's form or characters are not checked (RFC 9112 section 3.2)",
    "Version": "white space around the version is skipped (RFC 9112 section 3: single spaces)",
    "VersionUnsupported": "other major versions are read as 1 (RFC 9110 section 2.5)",
    "StatusLine": "a status line without its second space, or with control characters (RFC 9112 section 4)",
    "FieldName": "field names that are no tokens (RFC 9110 section 5.1)",
    "FieldValue": "control characters in values (RFC 9110 section 5.5: to be refused or replaced)",
    "Folding": "folded lines are joined (RFC 9112 section 5.2: a server may replace or refuse them)",
    "SpaceBeforeColon": "white space before a colon (RFC 9112 section 5.1: must be refused)",
    "Host": "the value of Host is not checked (RFC 9112 section 3.2: must be refused)",
    "HostMissing": "a minor version above 1, or an absolute target, does without Host (RFC 9112 section 3.2)",
    "HostRepeated": "several Host fields (RFC 9112 section 3.2: must be refused)",
    "ContentLength": "lists, folding or lengths beyond 64 bits (RFC 9110 section 8.6)",
    "ContentLengthRepeated": "the same length twice counts once (RFC 9110 section 8.6 allows it)",
    "LengthAndCoding": "the coding counts, the length is dropped (RFC 9112 section 6.3 allows it)",
    "TransferEncoding": "empty elements beside chunked (RFC 9110 section 5.6.1)",
    "CodingUnknown": "codings before chunked are left to the caller (RFC 9112 section 6.1)",
    "CodingInOldVersion": "a coding in HTTP/1.0 (RFC 9112 section 6.1: faulty framing)",
    "FramingForbidden": "framing in a response that has no body is dropped (RFC 9112 section 6.1)",
    "Expectation": "a list that begins with 100-continue (RFC 9110 section 10.1.1)",
    "ConnectWithBody": "a CONNECT with a body (RFC 9110 section 9.3.6: no defined semantics)",
    "ChunkSize": "more than 16 digits, or white space behind the size (RFC 9112 section 7.1)",
    "ChunkExtension": "extensions are skipped, not parsed (RFC 9112 section 7.1.1)",
    "ChunkEnd": "what stands behind chunk data is not all checked yet (RFC 9112 section 7.1)",
    "Trailer": "any field may be a trailer (RFC 9110 section 6.5.1)",
    "Unexpected": "bytes behind a response are dropped with the connection (RFC 9112 section 9.2)",
    "UnaskedSwitch": "a 101 that was not asked for is left to the caller (RFC 9110 section 7.8)",
    "Truncated": "the end of the connection is not told apart from a pause (RFC 9112 section 8)",
    # Our limits.
    **dict.fromkeys(
        ["TargetTooLong", "TooManyFields", "FieldsTooLarge", "BodyTooLarge", "ChunkLineTooLong"],
        "a limit of ours, or a lower one",
    ),
}

A_TAB = "a tab behind chunked makes another coding of it, whose body lasts until the end (RFC 9110 section 5.6.3: OWS)"
CODED_TAB = rb"(?i)^HTTP/1(.*\r\n)*Transfer-Encoding:.*\t\r\n"

# Another parser sees a body that we do not see: its fault.
FRAMED = [("llhttp", CODED_TAB, A_TAB)]

# Another parser refuses or accepts differently: parser, pattern in the message, pattern in its outcome, reason. The
# first match counts.
TABLE = [
    ("h11", rb"", "error no re(quest|sponse) line received", "no empty line before a message (RFC 9112 section 2.2: at least one before a request)"),
    ("h11", rb"[ \t][;=]|[;=][ \t]", "error illegal chunk header", "no white space in extensions (RFC 9112 section 7.1.1: BWS)"),
    ("h11", rb"HTTP/1\.0\r\n", "close$", "connections of HTTP/1.0 are never kept (RFC 9112 section 9.3: may be)"),
    ("h11", rb"\r\Z", "error illegal request line", "a CR at the end is not waited upon (RFC 9112 section 2.2)"),
    ("h11", rb"(?m)^CONNECT", "", "what follows a refused CONNECT is read as a request (RFC 9110 section 9.3.6)"),
    ("h11", rb"(?i)Expect:", "error status 417|error .*[Ee]xpect", "an expectation is one value (RFC 9110 section 10.1.1: a list)"),
    ("h11", rb"HTTP/1\.\d (1\d\d|204|304)", "error (Only Transfer-Encoding: chunked|conflicting Content-Length|bad Content-Length)", "framing is looked at where there is no content (RFC 9112 section 6.3: rule 1, regardless of the fields)"),
    ("h11", rb"(?i)^HTTP/1(.*\r\n)*Content-Length:[ \t]*0\d", "error conflicting Content-Length", "5 and 05 are two lengths (RFC 9110 section 8.6: decimal numbers)"),
    ("h11", rb"(?i)^HTTP/1(.|\n)*chunked(.|\n)*\n(Content-Length|Transfer-Encoding)", "error (bad|conflicting) Content-Length|error (Only|multiple) Transfer-Encoding", "a trailer that frames is judged (RFC 9110 section 6.5.1: may be discarded)"),
    ("h11", rb"^HTTP/1", "error bytes behind$", "bytes behind the last response are left over (RFC 9112 section 9.6: ignored)"),
    ("llhttp", rb"(?<!\r\n\r\n)\Z", "error HPE_INVALID_(URL|HEADER_TOKEN|CONTENT_LENGTH|TRANSFER_ENCODING)$", "an unfinished head is judged early"),
    ("llhttp", rb" [a-zA-Z]+[0-9+.-][^ ]*://", "error HPE_INVALID_URL$", "schemes have letters alone (RFC 3986 section 3.1)"),
    ("llhttp", rb"(?i)Upgrade:", "more$", "what follows a refused Upgrade is not read (RFC 9110 section 7.8)"),
    ("llhttp", rb"", "error HPE_INVALID_METHOD$", "methods are those of a list (RFC 9110 section 9.1: any token)"),
    ("llhttp", rb"", "error HPE_CLOSED_CONNECTION$", "bytes behind the last message are a fault (RFC 9112 section 9.6: ignored)"),
    ("llhttp", rb"HTTP/1\.[2-9]", "error HPE_INVALID_VERSION$", "no minor version above 1 (RFC 9110 section 2.5: as the highest known)"),
    ("llhttp", CODED_TAB, "more$|close$", A_TAB),
    ("llhttp", rb"\t", "error HPE_INVALID_(TRANSFER_ENCODING|CONTENT_LENGTH)$", "a tab beside a value (RFC 9110 section 5.6.3: OWS)"),
    ("llhttp", rb"[ \t][;=]|[;=][ \t]", "error HPE_(INVALID_CHUNK_SIZE|STRICT)$", "no white space in extensions (RFC 9112 section 7.1.1: BWS)"),
    ("llhttp", rb"HTTP/1\.0\r\n(.*\r\n)*Connection:.*close", "", "keep-alive wins over close in HTTP/1.0 (RFC 9112 section 9.3: close wins)"),
    ("llhttp", rb"(?i)Expect:", "error expectation$", "an expectation is one value (RFC 9110 section 10.1.1: a list)"),
    ("llhttp", rb"^\s*HTTP/1(.*\r\n)*[ \t]", "error HPE_INVALID_HEADER_TOKEN$", "folds are refused (RFC 9112 section 5.2: to be replaced)"),
    ("llhttp", rb"^\s*HTTP/1", "error HPE_INVALID_(CONTENT_LENGTH|TRANSFER_ENCODING)$", "a length beside a coding (RFC 9112 section 6.3: counts for nothing)"),
    ("llhttp", rb"^\s*HTTP/1", "error HPE_UNEXPECTED_CONTENT_LENGTH$", "the same length twice (RFC 9110 section 8.6: may be taken)"),
    ("llhttp", rb"^\s*HTTP/1(.|\n)*[0-9a-fA-F][ \t]+\r\n", "error HPE_(INVALID_CHUNK_SIZE|STRICT)$", "white space behind a chunk size (leniency padded_chunk_size; RFC 9112 section 7.1)"),
    ("llhttp", rb"^HTTP/1", "switched$", "a refused CONNECT is left to the caller (RFC 9110 section 9.3.6)"),
]


def by_h11(streams):
    verdicts = (h11_serve(stream) if kind == "request" else h11_call(kind, stream) for kind, stream in streams)
    return [verdict.split("\t") for verdict in verdicts]


def h11_serve(message):
    connection = h11.Connection(h11.SERVER)
    outcome, body = [], b""
    if message:
        connection.receive_data(message)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                method, target = request.method.decode("latin1"), request.target.decode("latin1")
                outcome.append(f"Q {method} {target} {body.hex()}")
                connection.send(h11.Response(status_code=403 if method == "CONNECT" else 200, headers=[]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return "\t".join([*outcome, "close"])
                connection.start_next_cycle()
            else:
                return "\t".join([*outcome, "more" if event is h11.NEED_DATA else "close"])
    except h11.RemoteProtocolError as error:
        return "\t".join([*outcome, f"error {error}"])


def h11_call(kind, message):
    _, method, *eof = kind.split(" ")
    connection = h11.Connection(h11.CLIENT)
    target = "h:1" if method == "CONNECT" else "/"
    connection.send(h11.Request(method=method, target=target, headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    outcome, body, status = [], b"", None
    if message:
        connection.receive_data(message)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                outcome.append(f"I {event.status_code}")
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                outcome.append(f"S {status} {body.hex()}")
                if connection.trailing_data[0]:
                    outcome.append("error bytes behind")
                    return "\t".join(outcome)
            elif event is h11.NEED_DATA and eof:
                eof = None
                connection.receive_data(b"")
            elif event is h11.PAUSED and connection.their_state is h11.SWITCHED_PROTOCOL:
                return "\t".join([*outcome, "switched"])
            else:
                return "\t".join([*outcome, "more" if event is h11.NEED_DATA else "close"])
    except h11.RemoteProtocolError as error:
        return "\t".join([*outcome, f"error {error}"])


def explain(who, stream, ours, theirs):
    """True where there is no difference to explain, why there is one, or None."""
    *our_messages, our_end = ours
    *their_messages, their_end = theirs
    # The name of an error, and the fate of a connection after its last message, do not count as differences.
    if our_messages == their_messages and re.match("error|switched|", our_end)[0] == re.match("error|switched|", their_end)[0]:
        return True
    # Messages that both accept must be equal, including the body; only FRAMED explains another framing.
    if any(our != their for our, their in zip(our_messages, their_messages)):
        rows = (why for peer, in_stream, why in FRAMED if peer == who and re.search(in_stream, stream))
        return next(rows, None)
    kind = our_end.removeprefix("error ")
    if kind in STRICTER and len(our_messages) <= len(their_messages):
        return f"{kind}: {STRICTER[kind]}"
    for peer, in_stream, in_theirs, why in TABLE:
        if peer == who and re.search(in_stream, stream) and re.search(in_theirs, "\t".join(theirs)):
            return why
    return None


def peers():
    """Names of the others; what reads streams, or None; what is missing then."""
    node = ["node", os.path.join(os.path.dirname(os.path.abspath(__file__)), "llhttp.mjs")]
    yield "h11", h11 and by_h11, "the Python package is not installed"
    yield "llhttp", shutil.which("node") and (lambda streams: by_program(node, streams)), "Node is not installed"


def streams(chance, count):
    return http_messages.streams(chance, count)
