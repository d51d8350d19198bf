"""proto-h2 beside Python's h2 and hpack, nghttp2 (its library, called from here) and the crate h2.

Each gets the same frames, one at a time, and what it takes and replies to each must be the same, up to the first difference, which must
be explained by TABLE: who, what the frame is, our verdict of it, theirs, and why, with the section. Behind a difference the two
connections are in different states, so nothing more is compared.
"""

import re

from . import by_program, http2_nghttp2, http2_python
from .http2_frames import Generator, blocks

# The example `h2_verdicts` of fuzz-bodies, which also decodes with the crate h2.
VERDICTS = None

# Malformed heads and trailers: labels, and the sections that forbid them. A stream error is correct (RFC 9113 section
# 8.1.1); ending the connection is allowed (section 5.4.1); accepting them is laxer than we are.
MALFORMED = {
    r"capital name|empty name|(space|colon|control|high octet) in name": "field names are checked (RFC 9113 section 8.2.1)",
    r"(CR|LF|NUL|control|DEL) in value|space before|tab behind": "field values are checked (RFC 9113 section 8.2.1, RFC 9110 section 5.5)",
    r": (connection|keep-alive|proxy-connection|transfer-encoding|upgrade|te gzip)\b": "no fields of the connection (RFC 9113 section 8.2.2)",
    r"unknown pseudo|path twice|authority twice|late |in request|in response|status twice|trailers: (.*pseudo|length|host)": "pseudo-header fields have their place (RFC 9113 section 8.3)",
    r"no (method|scheme|path|status)\b": "pseudo-header fields that must be there (RFC 9113 section 8.3.1)",
    r": (path w|empty path|asterisk)": "a path is checked (RFC 9113 section 8.3.1, RFC 9112 section 3.2)",
    r"(empty|with space|ht tp).*scheme|scheme with space|empty scheme": "a scheme is checked (RFC 3986 section 3.1)",
    r"userinfo|(empty|with space)? ?authority": "an authority is checked (RFC 9113 section 8.3.1)",
    r"host (differs|twice)": "Host and :authority are one (RFC 9113 section 8.3.1)",
    r"empty method|method with space": "a method is a token (RFC 9110 section 9.1)",
    r"connect with path|protocol without": "CONNECT has its own fields (RFC 9113 section 8.5, RFC 8441 section 4)",
    r"(signed|spaced|listed|huge|empty) length": "Content-Length is a decimal number (RFC 9110 section 8.6)",
    r"(right|other) length|data": "content is as long as announced (RFC 9113 section 8.1.1)",
    r"(long|short) status|status of|status (101|600)": "a status has three digits, and is not 101 (RFC 9113 sections 8.3.2 and 8.6)",
    r"informational, ended": "an informational response does not end a message (RFC 9113 section 8.1)",
    r"trailers: ": "trailers end a message (RFC 9113 section 8.1)",
}
# Peer, input, our verdict, the peer's verdict, and the reason: patterns, of which the first match counts. "-" stands
# for any peer.
TABLE = [
    *(("-", f"^(request|response|trailers|data|more data).*({label})", r"^R \d+ 1$", r"^G 1$", f"{why}; the connection ends there (section 5.4.1)") for label, why in MALFORMED.items()),
    *(("-", f"^(request|response|trailers).*({label})", r"^R \d+ 1$", r"^([QSIT] |E |-)", f"laxer there: {why}") for label, why in MALFORMED.items()),
    # Our answers before the reset.
    ("-", r"no authority", r"^R \d+ 0$", r"", "a request for no host gets 400 here (RFC 9110 section 7.2), and what its length is comes later"),
    ("-", r"extended connect, unknown", r"^R \d+ 0$", r"", "an unknown protocol of CONNECT gets 501 here (RFC 8441 section 5); theirs leave that to the caller"),
    ("-", r"expect other", r"^R \d+ 0$", r"", "an unknown expectation gets 417 here (RFC 9110 section 10.1.1)"),
    # The start of a connection.
    ("-", r"no settings first", r"^G 1$", r"", "SETTINGS come first, and theirs does not insist (RFC 9113 section 3.4)"),
    ("-", r"preface: broken", r"^G 1$", r"^(-|fails.*|G 1)$", "no GOAWAY for who speaks something else (RFC 9113 section 3.4: may be omitted)"),
    # Priorities.
    ("-", r"own dependency|prioritized", r"", r"^(R \d+ 1|G 1)$", "dependencies of RFC 7540 are judged there (RFC 9113 section 5.3.2: deprecated)"),
    ("-", r"^priority: 4 octets", r"^R \d+ 6$", r"^G [16]$", "a PRIORITY of another length ends the connection there (RFC 9113 sections 6.3 and 5.4.1)"),
    ("-", r"^priority update", r"^G \d$", r"^-$", "RFC 9218 is not known there (section 7.1)"),
    # Settings.
    ("-", r"settings: ack unasked", r"^-$", r"^G 1$", "an acknowledgement of nothing ends the connection there (RFC 9113 section 6.5.3 does not say)"),
    ("-", r"settings: no priorities 2", r"^G 1$", r"^A$", "the setting of RFC 9218 section 2.1 is not known there"),
    ("h2 (crate)", r"settings: push 1", r"^G 1$", r"^A$", "a server that offers push is not refused (RFC 9113 section 6.5.2)"),
    # Compression.
    ("-", r"three size updates", r"^G 9$", r"", "more than two changes of size are taken there (RFC 7541 section 4.2: at most two)"),
    ("-", r"^block (2.|3[0-9a-e]|3f([89a-f].)*[0-7].){3}", r"^error$", r"", "more than two changes of size are taken there (RFC 7541 section 4.2: at most two)"),
    # Errors that end the connection at the peer, and its words for them.
    ("-", r"", r"^G \d$", r"^G \d$", "another code for the same end (RFC 9113 section 7: codes tell reasons)"),
    ("-", r"^(data|more data|padding|headers on|block|window|trailers|response|request)", r"^R \d+ [135]$", r"^((Q|D|T|E|S) .*,)?G [135]$", "a stream error ends the connection there (RFC 9113 section 5.4.1)"),
    ("-", r"^(response|trailers|headers)", r"^(R \d+|G) 5$", r"^R \d+ [15]$", "a malformed block on a stream that is closed, or the connection (RFC 9113 sections 5.1 and 8.1.1)"),
    ("-", r"in parts|block begun", r"^-$", r"^(R \d+ \d|G 1)$", "a block is judged there before it is whole (RFC 9113 section 6.10)"),
    ("nghttp2", r"data", r"^R \d+ 1$", r"^D (\d+) .*,R \1 1$", "content is told there before its length is judged (RFC 9113 section 8.1.1)"),
    ("h2 (Python)", r"window update, reserved bit", r"^-$", r"^G 1$", "the reserved bit counts there (RFC 9113 section 6.9: ignored)"),
    ("h2 (crate)", r"^(response|trailers|headers|data|block)", r"^R \d+ [15]$", r"^(-|X \d+ [15])$", "no reset of what is over on both sides (RFC 9113 section 5.4.2)"),
    ("h2 (crate)", r"window update: 0", r"^-$", r"^G 1$", "an increment of 0 ends the connection there, on streams that are closed too (RFC 9113 section 6.9)"),
    ("-", r"settings: initial window", r"^G 3$", r"^A(,[RG] .*)?$", "a window that the new size moves too far ends its stream alone, or later (RFC 9113 section 6.9.2)"),
    ("-", r"settings: initial window", r"^A$", r"^(A,R \d+ 3|G 3)$", "a stream that was reset still has a window there (RFC 9113 section 6.9.2)"),
    ("h2 (crate)", r"^trailers", r"^T .*E \d+$", r"^[RX] \d+ 1$", "a 204 or 304 with a Content-Length waits for content there (RFC 9110 section 6.4.1: it has none)"),
    ("h2 (crate)", r"^request", r"^Q \d+ ", r"^Q \d+ \S+ \S+ - ", "behind a malformed block, which was not read to its end, an entry of the table is missing there (RFC 9113 section 4.3)"),
    ("nghttp2", r"status 204", r"^S ", r"^R \d+ 1$", "a 204 with a Content-Length is refused (RFC 9110 section 8.6: a server must not send it)"),
    ("nghttp2", r"trailers: length", r"^T .*", r"^R \d+ 1$", "a Content-Length in trailers is refused; here it is left out (RFC 9110 section 6.5.1)"),
    ("nghttp2", r"push promise", r"^G 1$", r"^R \d+ 8$", "a push before the acknowledgement of our settings is reset (RFC 9113 section 6.5.2)"),
    ("h2 (Python)", r"continuation alone", r"^G 1$", r"^R \d+ 5$", "a CONTINUATION on a stream that is closed is taken for a head (RFC 9113 section 6.10)"),
    ("h2 (Python)", r"headers on even", r"^G 1$", r"^Q ", "a server opens a stream with a request there (RFC 9113 section 5.1.1)"),
    ("h2 (Python)", r"reset of idle", r"^G 1$", r"^-$", "a reset of what was never opened is passed over (RFC 9113 section 6.4)"),
    ("-", r"push promise", r"^G 1$", r"^-$", "a push on a stream that is closed is passed over (RFC 9113 section 8.4)"),
    ("-", r"^(trailers|headers on|block)", r"^R \d+ 1$", r"^(T .*,)?E \d+$", "trailers in a tunnel, or behind too little content (RFC 9113 sections 8.5 and 8.1.1)"),
    ("-", r"^(data|more data|window)", r"^R \d+ 1$", r"^D \d+ \w+(,E \d+)?$", "content of a response that has none (RFC 9113 section 8.1.1)"),
    ("-", r"^(data|more data|padding|headers on|response|trailers|block)", r"^(R \d+ [15]|G [16])$", r"^-$", "frames behind the end of a stream are passed over (RFC 9113 section 5.1)"),
    ("-", r"^(request|response|headers|trailers|data|more data|window|block)", r"^-$", r"^(R \d+ 5|G [15])$", "frames on a stream that was reset are an error there (RFC 9113 section 5.1: to be ignored for a while)"),
    ("h2 (crate)", r"^window update", r"^R \d+ 3$", r"^-$", "the window of a stream that has sent all is not looked at (RFC 9113 section 6.9.1)"),
    ("-", r"trailers: length", r"^T .*", r"^T .*content-length=", "a Content-Length in trailers is left out here (RFC 9110 section 6.5.1)"),
    ("nghttp2", r"^reset", r"^-$", r"^X \d+ \d+$", "a reset of what is over is told (RFC 9113 section 5.1)"),
    ("-", r"trailers: host", r"^T .*", r"^T .*host=", "a Host in trailers is left out here (RFC 9110 section 6.5.1)"),
]


def explain(who, stream, ours, theirs):
    """True where there is no difference to explain, why there is one, or None."""
    if theirs is None:
        return "header blocks cannot be handed to it"
    for label, our, their in zip(stream.labels, ours, theirs):
        if our == their:
            continue
        for peer, in_label, in_ours, in_theirs, why in TABLE:
            if peer in (who, "-") and re.search(in_label, label) and re.search(in_ours, our) and re.search(in_theirs, their):
                return why
        return None
    return True if len(ours) == len(theirs) else None


def crate(streams):
    connections = iter(by_program([VERDICTS, "h2"], [stream for stream in streams if stream[0] != "hpack"]))
    return [None if kind == "hpack" else next(connections) for kind, _ in streams]


def peers():
    """Names of the others; what reads streams, or None; what is missing then."""
    yield "h2 (crate)", crate, ""
    yield "h2 (Python)", http2_python.read, "the Python packages h2 and hpack are not installed"
    yield "nghttp2", http2_nghttp2.read, "its library is not there"


def streams(chance, count):
    """`count` connections, of servers and of clients, and header blocks."""
    for _ in range(count):
        kind = chance.choice(["server", "server", "answering", "client", "client", "hpack"])
        yield kind, blocks(chance) if kind == "hpack" else Generator(chance, kind).made()
