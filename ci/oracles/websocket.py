"""proto-ws beside wsproto (a Python package) and tungstenite (a crate)."""

import re
import struct

from . import by_program, changed

try:
    from wsproto import frame_protocol
except ImportError:
    frame_protocol = None

# The example `frame_verdicts` of fuzz-bodies, which also decodes with tungstenite.
VERDICTS = None

TELLING = [b"\r", b"\n", b"\0", b"\x01", b"\x02", b"\x7e", b"\x7f", b"\x80", b"\x81", b"\x82", b"\x88", b"\x89", b"\xff", b"\xc3"]

# Who, our end, theirs, and why: patterns, the first row that fits counts. "-" stands for whoever it is, "=" as well, but only
# where both have taken the same.
TABLE = [
    ("tungstenite", r"error (NonMinimalLength|ControlTooLong)", r"", "lengths beyond their shortest form (RFC 6455 section 5.2: the minimal number of bytes must be used)"),
    ("tungstenite", r"error Utf8", r"more|error|close", "text is judged when it is whole (RFC 6455 section 8.1: fail the connection)"),
    ("wsproto", r"error Utf8", r"more|error|close", "text is judged when it has come (RFC 6455 section 8.1)"),
    ("-", r"error (FrameTooLong|MessageTooLong|EmptyFragments|TooManyEmptyFragments|Fragments|TooManyFragments)", r"", "a limit of ours (RFC 6455 section 10.4)"),
    ("=", r"error \w+", r"more", "a header is judged when its frame has come (RFC 6455 section 5.2: whole or not)"),
    ("=", r"error \w+", r"error", "what is wrong first in one frame is found in another order (RFC 6455 section 7.1.7)"),
    ("-", r"error CloseCode|error CloseTooShort", r"close", "codes that may not be sent (RFC 6455 section 7.4)"),
    ("tungstenite", r"close", r"error|more|close", "a Close frame with a code it does not know, or what follows (RFC 6455 section 7.4.2: 3000 to 4999 may be used)"),
    ("wsproto", r"close", r"error", "codes 1012 to 1014 of the registry of IANA (RFC 6455 section 11.7)"),
    ("wsproto", r"more", r"error", "a header is judged before it is whole (RFC 6455 section 5.2)"),
    ("tungstenite", r"more", r"error", "a header is judged before its masking key has come (RFC 6455 section 5.2)"),
]

KEY = b"\x11\x22\x33\x44"


def frame(chance, server, first, payload):
    mask = 0x80 if server else 0
    size = len(payload)
    if size < 126 and chance.random() > 0.02:
        head = bytes([first, mask | size])
    elif size < 65536 and chance.random() > 0.02:
        head = bytes([first, mask | 126]) + struct.pack(">H", size)
    else:
        head = bytes([first, mask | 127]) + struct.pack(">Q", size)
    if server:
        return head + KEY + bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))
    return head + payload


TEXTS = ["", "a", "hello", "\u00e9", "\u20ac uro", "\U0001f600", "x" * 125, "y" * 126, "z" * 300]


def generated(chance):
    server = chance.random() < 0.5
    stream = b""
    for _ in range(chance.randint(1, 5)):
        kind = chance.choice([1, 1, 2, 2, 9, 10, 8])
        payload = chance.choice(TEXTS).encode()
        if kind == 8:
            code = chance.choice([1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999, 999, 1005, 1006, 1015, 2999, 5000])
            payload = chance.choice([b"", struct.pack(">H", code), struct.pack(">H", code) + payload[:100], b"\x03"])
        if kind > 7:
            stream += frame(chance, server, 0x80 | kind, payload[:125])
            continue
        pieces = chance.choice([1, 1, 2, 3])
        for at in range(pieces):
            part = payload[at * len(payload) // pieces : (at + 1) * len(payload) // pieces]
            stream += frame(chance, server, (0x80 if at + 1 == pieces else 0) | (kind if at == 0 else 0), part)
            if at + 1 < pieces and chance.random() < 0.3:
                stream += frame(chance, server, 0x89, b"between")
    return f"ws {'server' if server else 'client'}", stream


def by_wsproto(kind, stream):
    reader = frame_protocol.FrameProtocol(client=kind == "ws client", extensions=[])
    reader.receive_bytes(stream)
    said, parts, opcode = [], b"", None
    names = {frame_protocol.Opcode.PING: "P", frame_protocol.Opcode.PONG: "O"}
    try:
        for got in reader.received_frames():
            if got.opcode == frame_protocol.Opcode.CLOSE:
                code, reason = got.payload
                said.append(f"C {int(code)} {(reason or '').encode().hex()}")
                return [*said, "close"]
            if got.opcode in names:
                said.append(f"{names[got.opcode]} {bytes(got.payload).hex()}")
                continue
            opcode = got.opcode
            parts += got.payload.encode() if isinstance(got.payload, str) else bytes(got.payload)
            if got.message_finished:
                said.append(f"{'T' if opcode == frame_protocol.Opcode.TEXT else 'B'} {parts.hex()}")
                parts = b""
    except (frame_protocol.ParseFailed, UnicodeDecodeError) as error:
        return [*said, f"error {error}"]
    return [*said, "more"]


def explain(who, stream, ours, theirs):
    """True where there is no difference to explain, why there is one, or None."""
    *our_values, our_end = ours
    *their_values, their_end = theirs
    for our, their in zip(our_values, their_values):
        if our != their:
            if who == "tungstenite" and our.startswith("C 1014 ") and their.startswith("C 1002 "):
                return "1014 is not known there, and told as a fault (RFC 6455 section 7.4.2, the registry of IANA)"
            return None
    alike = len(our_values) == len(their_values)
    if alike and our_end.split(" ")[0] == their_end.split(" ")[0]:
        return True
    # The decoder that continues must be the one that the other's end explains.
    for peer, our_pattern, their_pattern, why in TABLE:
        if (peer in (who, "-") or peer == "=" and alike) and re.match(our_pattern, our_end) and re.match(their_pattern, their_end):
            return why
    return None


def peers():
    """Names of the others; what reads streams, or None; what is missing then."""
    wsproto = frame_protocol and (lambda streams: [by_wsproto(*stream) for stream in streams])
    yield "wsproto", wsproto, "the Python package is not installed"
    yield "tungstenite", lambda streams: by_program([VERDICTS, "tungstenite"], streams), ""


def streams(chance, count):
    """`count` streams of frames, two in three of them with one to three changes."""
    spare = b""
    for _ in range(count):
        kind, stream = generated(chance)
        for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
            stream = changed(chance, stream, TELLING, spare)
        yield kind, stream
        spare = stream[:200]
