"""Messages of HTTP/1.1: a generator that follows the grammar of RFC 9112 and the places where parsers are known to differ."""

import os
import re

from . import changed

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../proto-http/tests/vectors/http1.tsv")

TELLING = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b'"', b"0", b"9", b"-", b"+", b"a", b"\x80", b"\x0b", b"chunked"]

METHODS = ["GET"] * 4 + ["POST"] * 4 + ["HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PROPFIND", "get", "M-SEARCH"]
TARGETS = ["/"] * 4 + ["/a/b?c=d", "*", "http://h/", "http://h", "HTTP://h:80/x", "h:1", "/%41%zz", "/a?b#c", "//h/", "/\u00e9", "a", "/'<>\"", "http://u@h/", "/a|b^c", "?q"]
HOSTS = ["h"] * 12 + ["h:80", "[::1]", "[::1]:1", "1.2.3.4", "", "h:", "h:99999", "h, h", "u@h", "a_b", "h/", "\u00e9", "[::1", "%41"]
VERSIONS = ["HTTP/1.1"] * 12 + ["HTTP/1.0"] * 3 + ["HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "http/1.1", "HTTP/1.", "HTTP/01.1"]
CODINGS = ["chunked"] * 12 + ["Chunked", "gzip, chunked", "chunked, chunked", "chunked, gzip", "identity", "identity, chunked", "gzip", "", ",chunked", "chunked,", "xchunked", "chunked;q=1", '"chunked"', "chunked\t", "\x0bchunked", "chun ked"]
LENGTHS = ["{}"] * 14 + ["0{}", "+{}", "-{}", "{}, {}", "{},{}", "{} ", "0x{}", "{}.0", "", "{} {}", "{};", "\t{}", "18446744073709551616", "99999999999999999999999{}", "\u0663"]
OTHERS = [
    *("Connection: close", "Connection: keep-alive", "Connection: Close, x", "Connection: upgrade", "connection:close", "Connection: , close ,"),
    *("Connection: keep-alive, close", "Connection: TE", "Proxy-Connection: close", "Keep-Alive: timeout=5", "Connection: \"close\""),
    *("Upgrade: h2c", "Upgrade: websocket, h2c/1", "Expect: 100-continue", "Expect: 100-Continue", "Expect: x", "Expect: 100-continue, x"),
    *("TE: trailers", "Trailer: X", "Cookie: a=b; c=d", "X:", "X: ", "X:\ta\t", "X: a\r\n b", "X: a\r\n\tb", "X : a", "X\t: a", ": a", "X", "\u00e9: a"),
    *("X: \u00e9", "X: a\x0bb", "X: a\x7fb", "X-Y_Z!#$%&'*+.^`|~: a", "(X): a", "X: " + "a" * 300, " X: a", "Content-Type: text/plain", "Date: x"),
    *("Content-Length : 5", "Transfer-Encoding : chunked", "Transfer_Encoding: chunked", "Content-Encoding: gzip", "Host: other"),
]
STATUSES = [200] * 10 + [404, 500, 204, 204, 304, 304, 205, 206, 301, 401, 999, 599, 600, 100, 103, 101, 199, 99, 0, 1000]
REASONS = [" OK"] * 8 + [" ", "", " Not Found", " \u00e9", " a\tb", " a\x0bb", "  x", "\tOK"]


def unescape(text):
    simple = {"r": b"\r", "n": b"\n", "t": b"\t"}

    def one(match):
        return bytes([int(match[1][1:], 16)]) if match[1][0] == "x" else simple.get(match[1], match[1].encode())

    parts = re.split(r"(\\x..|\\.)", text)
    return b"".join(one(re.match(r"\\(.*)", part)) if part.startswith("\\") else part.encode() for part in parts)


def vectors():
    """The kind and the bytes of each vector of proto-http's tests."""
    with open(VECTORS, encoding="ascii") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]
    return [(kind, unescape(escaped)) for _, kind, _, escaped, _ in rows]


def chunks(chance):
    """A chunked body, mostly right."""
    said = ""
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        data = chance.choice(["a", "hello", "x" * 16, "\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"])
        size = chance.choice(["{:x}"] * 8 + ["{:X}", "0{:x}", "00000000{:x}", "{:x} ", " {:x}", "+{:x}", "0x{:x}", "{:016x}", "{:017x}", "{:x}\t"])
        said += size.format(len(data)) + extension(chance) + line_end(chance) + data + line_end(chance)
    said += chance.choice(["0"] * 8 + ["00", "0 ", "0000000000000000", "-0"]) + extension(chance) + line_end(chance)
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        said += chance.choice(["X: y", "X:", "Host: h", "Content-Length: 3", "Transfer-Encoding: chunked", "X y", " X: y", "X: a\r\n b", "X : y"]) + line_end(chance)
    return said + line_end(chance)


def extension(chance):
    if chance.random() < 0.8:
        return ""
    return chance.choice([";", ";a", ";a=b", ' ; a = "b"', ';a="\\"\\\\"', ";a=b;c", ';a="b', ";a=\n", ";a=b c", "; =b", ";\u00e9", ";a\tb", ";a=\r"])


def line_end(chance):
    return "\r\n" if chance.random() < 0.985 else chance.choice(["\n", "\r", "\r\r\n", "\n\r", ""])


def framed(chance):
    """Fields that say where the body ends, and the body."""
    body = chance.choice(["a", "hello", "0\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ""])
    length = "Content-Length: " + chance.choice(LENGTHS).format(*[len(body)] * 2)
    coding = "Transfer-Encoding: " + chance.choice(CODINGS)
    match chance.randrange(16):
        case 0 | 1 | 2 | 3:
            return [], ""
        case 4 | 5 | 6 | 7 | 8:
            return [length], body
        case 9 | 10 | 11 | 12:
            return [coding], chunks(chance)
        case 13:
            return [length, coding], chance.choice([body, chunks(chance)])
        case 14:
            return [length, "Content-Length: " + chance.choice(LENGTHS).format(*[len(body)] * 2)], body
        case _:
            return [coding, "transfer-encoding: " + chance.choice(CODINGS)], chunks(chance)


def head(chance, first, fields):
    fields = fields + [chance.choice(OTHERS) for _ in range(chance.choice([0, 0, 1, 1, 2]))]
    if chance.random() < 0.3:
        chance.shuffle(fields)
    return first + line_end(chance) + "".join(field + line_end(chance) for field in fields) + line_end(chance)


def request(chance):
    method, target, version = chance.choice(METHODS), chance.choice(TARGETS), chance.choice(VERSIONS)
    gap = chance.choice([" "] * 30 + ["  ", "\t", ""])
    fields, body = framed(chance)
    if chance.random() < 0.93:
        fields.insert(0, "Host: " + chance.choice(HOSTS))
    empty = "\r\n" * chance.choice([0] * 12 + [1, 2])
    return empty + head(chance, f"{method}{gap}{target} {version}", fields) + body


def response(chance, status):
    fields, body = framed(chance)
    if status < 200 and chance.random() < 0.9:
        fields, body = [], ""
    return head(chance, f"{chance.choice(VERSIONS)} {status}{chance.choice(REASONS)}", fields) + body


def generated(chance):
    """A connection's worth of messages that were not changed yet: its kind, as in the vectors, and its bytes."""
    if chance.random() < 0.6:
        return "request", "".join(request(chance) for _ in range(chance.choice([1, 1, 2, 3]))).encode()
    interim = [chance.choice([100, 102, 103]) for _ in range(chance.choice([0, 0, 0, 1, 2]))]
    said = "".join(response(chance, status) for status in [*interim, chance.choice(STATUSES)])
    said += chance.choice([""] * 9 + ["x", "\r\n", "HTTP/1.1 200 OK\r\n\r\n"])
    kind = "response " + chance.choice(["GET"] * 8 + ["HEAD", "HEAD", "POST", "CONNECT"]) + chance.choice(["", " eof"])
    return kind, said.encode()


def streams(chance, count):
    """The vectors, then `count` streams: a third of them vectors, the others generated; most with one to three changes."""
    known = vectors()
    yield from known
    short = [vector for vector in known if len(vector[1]) < 500]
    for _ in range(count):
        vector = chance.random() < 0.33
        kind, stream = chance.choice(short) if vector else generated(chance)
        for _ in range(chance.choice([1, 2, 3] if vector else [0, 0, 0, 0, 1, 2])):
            stream = changed(chance, stream, TELLING, chance.choice(short)[1])
        yield kind, stream
