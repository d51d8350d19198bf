#!/usr/bin/env python3
"""Compares proto-ws with wsproto (Python) and tungstenite, and proto-resp with hiredis (Python) and redis-protocol.

usage: differential_frames.py VERDICTS [--cases N] [--seed S]

VERDICTS is the example of fuzz-bodies of that name. N streams a protocol follow from S: well-formed ones that a generator makes, most
of them with one to three small changes. What two take must be the same, in the same order; who stops earlier, or goes on, must be
explained by a row of TABLE, the list of disagreements that are deliberate, each with its section. 2,000 streams take seconds;
--cases 100000 is the long run. What is not installed is named as SKIPPED.
"""

import argparse
import collections
import random
import re
import struct
import subprocess
import sys

from lib import skipped

try:
    from wsproto import frame_protocol
except ImportError:
    frame_protocol = None
try:
    import hiredis
except ImportError:
    hiredis = None

# Who, our end, theirs, the stream, and why: patterns, the first row that fits counts. "-" stands for whoever it is, "=" as well, but only
# where both have taken the same.
TABLE = [
    # WebSocket: where we stop and another goes on.
    ("tungstenite", r"error (NonMinimalLength|ControlTooLong)", r"", rb"", "lengths beyond their shortest form (RFC 6455 section 5.2: the minimal number of bytes must be used)"),
    ("tungstenite", r"error Utf8", r"more|error|close", rb"", "text is judged when it is whole (RFC 6455 section 8.1: fail the connection)"),
    ("wsproto", r"error Utf8", r"more|error|close", rb"", "text is judged when it has come (RFC 6455 section 8.1)"),
    ("-", r"error (FrameTooLong|MessageTooLong|EmptyFragments|TooManyEmptyFragments|Fragments|TooManyFragments)", r"", rb"", "a limit of ours (RFC 6455 section 10.4)"),
    ("=", r"error \w+", r"more", rb"", "a header is judged when its frame has come (RFC 6455 section 5.2: whole or not)"),
    ("=", r"error \w+", r"error", rb"", "what is wrong first in one frame is found in another order (RFC 6455 section 7.1.7)"),
    ("-", r"error CloseCode|error CloseTooShort", r"close", rb"", "codes that may not be sent (RFC 6455 section 7.4)"),
    ("tungstenite", r"close", r"error|more|close", rb"", "a Close frame with a code it does not know, or what follows (RFC 6455 section 7.4.2: 3000 to 4999 may be used)"),
    ("wsproto", r"close", r"error", rb"", "codes 1012 to 1014 of the registry of IANA (RFC 6455 section 11.7)"),
    ("wsproto", r"more", r"error", rb"", "a header is judged before it is whole (RFC 6455 section 5.2)"),
    ("tungstenite", r"more", r"error", rb"", "a header is judged before its masking key has come (RFC 6455 section 5.2)"),
]

RESP_TABLE = [
    ("-", r"error (BareLf|BareCr|BulkEnd)", r"", rb"", "line ends are not checked (RESP protocol description: CRLF)"),
    ("-", r"error (Length|Integer|Double|BigNumber|Boolean|Null)", r"", rb"", "numbers with spaces, signs, leading zeros or nothing at all (Integers, Doubles)"),
    ("-", r"error (Resp3Type)", r"", rb"", "types of RESP3 in RESP2 (RESP versions)"),
    ("-", r"error (Verbatim|PushKind|NestedPush|DanglingAttribute|OddMap|StrayEnd|StrayChunk|MissingChunk|UnknownType)", r"", rb"", "the grammar of RESP3 is not checked in full (Verbatim strings, Pushes, Attributes)"),
    ("-", r"error (TooDeep|TooManyItems|BulkTooLong|ReplyTooLong|LineTooLong)", r"", rb"", "a limit of ours"),
    ("hiredis", r"", r"error .*reply type byte", rb"[!|?.;]", "no bulk errors, attributes or streams (Bulk errors, Attributes, Streamed strings)"),
    ("hiredis", r"", r"error .*", rb"[,(#_=%~>!|?]", "it judges types of RESP3 by its own rules: their keys must be hashable, their text of ASCII (Maps, Big numbers)"),
    ("hiredis", r"", r"", rb"\|", "attributes are values of their own there (Attributes)"),
    ("hiredis", r"more", r"error", rb"", "a length or number is judged before it is whole (Bulk strings)"),
    ("redis-protocol", r"", r"error .*", rb"", "it takes less: no text beyond UTF-8 in errors, no attributes in places, no streams but at the top, no signs (Simple errors, Attributes)"),
    ("redis-protocol", r"", r"more", rb"", "a value is judged when it has come whole (RESP protocol description)"),
]

# What looks different in one and the same value: who, a pattern in the stream, and why.
ALIKE = [
    ("hiredis", rb"~", "a set is a list there, in the order of the wire (Sets)"),
    ("hiredis", rb"%", "the last of equal keys counts, and 1, 1.0 and true are equal (Maps: keys may repeat)"),
    ("hiredis", rb"(?s)-[^\r\n]*[\x80-\xff]", "bytes of an error that are no UTF-8 are replaced there (Simple errors)"),
    ("hiredis", rb"\|", "attributes are not known (Attributes)"),
    ("redis-protocol", rb"[%~|]", "equal keys and elements count once; attributes are joined (Maps, Sets)"),
    ("redis-protocol", rb"HELLO|\?", "HELLO and streams are frames of their own there (Streamed aggregated data types)"),
    ("redis-protocol", rb",", "a double is read by Rust's own rules (Doubles)"),
    ("redis-protocol", rb"[=(]", "verbatim strings and big numbers by its own rules (Verbatim strings, Big numbers)"),
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


def websocket(chance):
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


def value(chance, resp3, depth=0):
    text = chance.choice([b"", b"a", b"OK", b"hello world", b"\xc3\xa9", b"\xff\x00", b"a\r\nb"])
    line = chance.choice([b"", b"OK", b"QUEUED", b"hello world"])
    number = chance.choice([0, 1, -1, 42, 9223372036854775807, -9223372036854775808])
    kinds = ["$", "+", ":", "-", "*", "nil", "nilarray"]
    if resp3:
        kinds += ["_", "#", ",", "(", "=", "%", "~", ">", "!", "|"]
    kind = chance.choice(kinds if depth < 3 else [kind for kind in kinds if kind not in "*%~>|"])
    inner = lambda: value(chance, resp3, depth + 1)
    match kind:
        case "$":
            return b"$%d\r\n%s\r\n" % (len(text), text)
        case "+":
            return b"+%s\r\n" % line
        case "-":
            return b"-ERR %s\r\n" % line
        case ":":
            return b":%d\r\n" % number
        case "nil":
            return b"$-1\r\n"
        case "nilarray":
            return b"*-1\r\n"
        case "*":
            count = chance.randint(0, 4)
            return b"*%d\r\n" % count + b"".join(inner() for _ in range(count))
        case "_":
            return b"_\r\n"
        case "#":
            return chance.choice([b"#t\r\n", b"#f\r\n"])
        case ",":
            return b",%s\r\n" % chance.choice([b"1.5", b"-0.25", b"10", b"1e3", b"inf", b"-inf", b"nan", b"-nan"])
        case "(":
            return b"(%d\r\n" % (number * 10**20)
        case "=":
            return b"=%d\r\ntxt:%s\r\n" % (len(text) + 4, text)
        case "!":
            return b"!%d\r\n%s\r\n" % (len(text), text)
        case "%":
            count = chance.randint(0, 3)
            pairs = (b":%d\r\n" % at + inner() for at in range(count))
            return b"%%%d\r\n" % count + b"".join(pairs)
        case "~":
            count = chance.randint(0, 4)
            return b"~%d\r\n" % count + b"".join(b":%d\r\n" % at for at in range(count))
        case ">":
            pushed = b">%d\r\n+message\r\n" % (depth + 2) + b"".join(inner() for _ in range(depth + 1))
            return pushed if depth == 0 else b":7\r\n"
        case _:
            return b"|1\r\n+ttl\r\n:3\r\n" + inner()


def resp(chance):
    resp3 = chance.random() < 0.6
    return f"resp {3 if resp3 else 2}", b"".join(value(chance, resp3) for _ in range(chance.randint(1, 4)))


TELLING = [b"\r", b"\n", b"\r\n", b"\0", b"0", b"1", b"9", b"-", b"+", b"*", b"$", b"?", b"\x80", b"\xff", b"\x7e", b"\x7f", b":", b"%"]


def mutated(chance, stream):
    stream = bytearray(stream)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
        at = chance.randrange(len(stream) + 1)
        match chance.randrange(5):
            case 0:
                stream[at : at + 1] = chance.choice(TELLING)
            case 1:
                stream[at:at] = chance.choice(TELLING)
            case 2:
                del stream[at : at + chance.choice([1, 1, 2, 5])]
            case 3 if at < len(stream):
                stream[at] ^= 1 << chance.randrange(8)
            case _:
                del stream[at:]
    return bytes(stream)


def by_program(command, streams):
    lines = "".join(f"{kind}\t{stream.hex()}\n" for kind, stream in streams)
    done = subprocess.run(command, input=lines, text=True, stdout=subprocess.PIPE, check=True, timeout=3600)
    outcomes = done.stdout.splitlines()
    assert len(outcomes) == len(streams), f"{command} says {len(outcomes)} outcomes of {len(streams)}"
    return outcomes


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


def shown(got):
    match got:
        case None:
            return "n"
        case bool():
            return f"b{str(got).lower()}"
        case int():
            return f"i{got}"
        case float():
            return "dnan" if got != got else "d" + struct.pack(">d", got).hex()
        case bytes():
            return f"s{got.hex()}"
        case str():
            return f"s{got.encode().hex()}"
        case hiredis.PushNotification():
            return ">[" + ",".join(map(shown, got)) + "]"
        case list() | tuple() | set() | frozenset():
            return "[" + ",".join(map(shown, got)) + "]"
        case dict():
            return "{" + ",".join(sorted(f"{shown(key)}={shown(item)}" for key, item in got.items())) + "}"
        case Exception():
            return "e" + str(got).encode("utf-8", "surrogateescape").hex()
    return repr(got)


def by_hiredis(kind, stream):
    reader = hiredis.Reader(replyError=lambda text: Exception(text), errors="surrogateescape", notEnoughData=...)
    reader.feed(stream)
    said = []
    try:
        while (got := reader.gets()) is not ...:
            said.append(shown(got))
    except Exception as error:
        return [*said, f"error {error}".replace("\n", " ").replace("\t", " ")]
    return [*said, "more"]


def explain(table, who, stream, ours, theirs):
    *our_values, our_end = ours
    *their_values, their_end = theirs
    for our, their in zip(our_values, their_values):
        if our != their:
            if who == "tungstenite" and our.startswith("C 1014 ") and their.startswith("C 1002 "):
                return "1014 is not known there, and told as a fault (RFC 6455 section 7.4.2, the registry of IANA)"
            # The same value, shown in two ways; nothing else explains another one.
            rows = [why for peer, pattern, why in ALIKE if peer == who and re.search(pattern, stream)]
            return rows[0] if rows and table is RESP_TABLE else None
    if len(our_values) == len(their_values) and our_end.split(" ")[0] == their_end.split(" ")[0]:
        return True
    # Who goes on must be the one that the other's end explains.
    for peer, our_pattern, their_pattern, in_stream, why in table:
        if (peer in (who, "-") or peer == "=" and len(our_values) == len(their_values)) and re.match(our_pattern, our_end) and re.match(their_pattern, their_end) and re.search(in_stream, stream):
            return why
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verdicts")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    unexplained = 0
    for generate, table, peers in [
        (websocket, TABLE, [("wsproto", frame_protocol and by_wsproto), ("tungstenite", None)]),
        (resp, RESP_TABLE, [("hiredis", hiredis and by_hiredis), ("redis-protocol", None)]),
    ]:
        chance = random.Random(options.seed)
        streams = [(kind, mutated(chance, stream)) for kind, stream in (generate(chance) for _ in range(options.cases))]
        ours = [line.split("\t") for line in by_program([options.verdicts, "ours"], streams)]
        for who, read in peers:
            if who in ("tungstenite", "redis-protocol"):
                theirs = [line.split("\t") for line in by_program([options.verdicts, who], streams)]
            elif read:
                theirs = [read(kind, stream) for kind, stream in streams]
            else:
                skipped(who, "the Python package is not installed")
                continue
            reasons = collections.Counter()
            for (kind, stream), our, their in zip(streams, ours, theirs):
                why = explain(table, who, stream, our, their)
                reasons[why] += 1
                if not why:
                    unexplained += 1
                    if unexplained <= 20:
                        print(f"{who}: {kind}\n  {stream!r}\n  ours:   {our}\n  theirs: {their}")
            print(f"{who}: {len(streams)} streams, {len(streams) - reasons[True]} differences")
            for why, count in reasons.most_common():
                if why is not True:
                    print(f"  {count:5} {why}")
    if unexplained:
        sys.exit(f"{unexplained} differences are not explained; --seed {options.seed}")


if __name__ == "__main__":
    main()
