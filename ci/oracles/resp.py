"""proto-resp beside hiredis (a Python package) and redis-protocol (a crate)."""

import re
import struct

from . import by_program, changed

try:
    import hiredis
except ImportError:
    hiredis = None

# The example `frame_verdicts` of fuzz-bodies, which also decodes with redis-protocol.
VERDICTS = None

TELLING = [b"\r", b"\n", b"\r\n", b"\0", b"0", b"1", b"9", b"-", b"+", b"*", b"$", b"?", b"\x80", b"\xff", b":", b"%", b"~", b"_", b",", b"("]

# Peer, our end, the peer's end, the stream, and the reason: patterns, of which the first match counts. "-" stands for
# any peer.
TABLE = [
    ("-", r"error (BareLf|BareCr|BulkEnd)", r"", rb"", "line ends are not checked (RESP protocol description: CRLF)"),
    ("-", r"error (Length|Integer|Double|BigNumber|Boolean|Null)", r"", rb"", "numbers with spaces, signs, leading zeros or nothing at all (Integers, Doubles)"),
    ("-", r"error (Resp3Type)", r"", rb"", "types of RESP3 in RESP2 (RESP versions)"),
    ("-", r"error (Verbatim|PushKind|NestedPush|DanglingAttribute|OddMap|StrayEnd|StrayChunk|MissingChunk|UnknownType)", r"", rb"", "the grammar of RESP3 is not checked in full (Verbatim strings, Pushes, Attributes)"),
    ("-", r"error (TooDeep|TooManyItems|BulkTooLong|ReplyTooLong|LineTooLong)", r"", rb"", "a limit of ours"),
    ("hiredis", r"", r"error .*reply type byte", rb"[!|?.;]", "no bulk errors, attributes or streams (Bulk errors, Attributes, Streamed strings)"),
    ("hiredis", r"", r"error .*", rb"[,(#_=%~>!|?]", "it judges types of RESP3 by its own rules: their keys must be hashable, their text of ASCII (Maps, Big numbers)"),
    ("hiredis", r"", r"", rb"\|", "attributes are values of their own there (Attributes)"),
    ("hiredis", r"more", r"error", rb"", "a length or number is judged before it is whole (Bulk strings)"),
    ("redis-protocol", r"", r"error .*(MapRes|Expected complete frame)", rb"[$*]-1\r", "the nulls of RESP2 are not taken in RESP3 (Nulls)"),
    ("redis-protocol", r"", r"error .*([Uu]tf-?8)", rb"(?s)-[^\r\n]*[\x80-\xff]", "an error is text of UTF-8 there (Simple errors)"),
    ("redis-protocol", r"", r"error .*(attribute|MapRes at \[124,|Expected complete frame)", rb"\|", "attributes are taken in few places (Attributes)"),
    ("redis-protocol", r"", r"error .*(to_verbatimstring_format|parse_utf8)", rb"=", "a verbatim string is txt or mkd (Verbatim strings)"),
    ("redis-protocol", r"", r"error .*(Invalid hash key|MapRes at)", rb"[%~]", "keys and elements are no aggregates there (Maps: keys may be of any type)"),
    ("redis-protocol", r"", r"error .*(Expected complete frame|MapRes at)", rb"[*~%$]\?\r", "streams are taken in few places (Streamed aggregated data types)"),
    ("redis-protocol", r"", r"more", rb"", "a value is judged when it has come whole (RESP protocol description)"),
]

# Different representations of the same value: peer, a pattern in the stream, and the reason.
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


def value(chance, resp3, depth=0):
    text = chance.choice([b"", b"a", b"OK", b"hello world", b"\xc3\xa9", b"\xff\x00", b"a\r\nb"])
    line = chance.choice([b"", b"OK", b"QUEUED", b"hello world"])
    number = chance.choice([0, 1, -1, 42, 9223372036854775807, -9223372036854775808])
    kinds = ["$", "+", ":", "-", "*"] * 3 + ["nil", "nilarray"]
    if resp3:
        # Items that end one of the other decoders are rare here, so that it also sees the rest of a stream.
        kinds = kinds[:-2] * 2 + ["_", "#", ",", "(", "=", "%", "~", ">"] * 4 + ["nil", "nilarray", "!", "!", "|", "|"]
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


def generated(chance):
    resp3 = chance.random() < 0.6
    return f"resp {3 if resp3 else 2}", b"".join(value(chance, resp3) for _ in range(chance.randint(1, 4)))


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


def explain(who, stream, ours, theirs):
    """True where there is no difference to explain, why there is one, or None."""
    *our_values, our_end = ours
    *their_values, their_end = theirs
    taken_out = any(value.startswith(">") for value in our_values)
    inside = any(re.search(r"[\[,]>", value) for value in their_values)
    for our, their in zip(our_values, their_values):
        if our != their and taken_out and inside:
            return "a push inside a reply is an element there; here it is told before the reply (leniency nested_push: what Redis 7.0 does in EXEC)"
        if our != their:
            # The same value in two representations; nothing else explains a different value.
            rows = [why for peer, pattern, why in ALIKE if peer == who and re.search(pattern, stream)]
            return rows[0] if rows else None
    if len(our_values) == len(their_values) and our_end.split(" ")[0] == their_end.split(" ")[0]:
        return True
    pushes = our_values[len(their_values) :]
    if who == "hiredis" and pushes and all(push.startswith(">") for push in pushes):
        return "a push between the elements of another value is one of them there (Pushes: may appear before or after any value)"
    # The decoder that continues must be the one that the other's end explains.
    for peer, our_pattern, their_pattern, in_stream, why in TABLE:
        fits = peer in (who, "-") and re.match(our_pattern, our_end) and re.match(their_pattern, their_end)
        if fits and re.search(in_stream, stream):
            return why
    return None


def peers():
    """Names of the others; what reads streams, or None; what is missing then."""
    yield "hiredis", hiredis and (lambda streams: [by_hiredis(*stream) for stream in streams]), "the Python package is not installed"
    yield "redis-protocol", lambda streams: by_program([VERDICTS, "redis-protocol"], streams), ""


def streams(chance, count):
    """`count` streams of replies, two in three of them with one to three changes."""
    spare = b""
    for _ in range(count):
        kind, stream = generated(chance)
        for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
            stream = changed(chance, stream, TELLING, spare)
        yield kind, stream
        spare = stream[:200]
