"""Connections of HTTP/2 to compare: frames that are mostly valid, with faults of every kind between them, each with its name."""

import struct

import hpack

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32


class Pieces(list):
    """The input in pieces; `labels` describes each piece."""

    def __init__(self, pieces, labels):
        super().__init__(pieces)
        self.labels = labels

    def hex(self):
        return " ".join(piece.hex() for piece in self)

    def __repr__(self):
        return "\n  ".join(f"{label}: {piece.hex()[:300]}" for label, piece in zip(self.labels, self))


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def word(value):
    return struct.pack(">I", value)


def setting(key, value):
    return struct.pack(">HI", key, value)


GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
POST = [(b":method", b"POST"), *GET[1:]]
USUAL = [
    (b"accept", b"*/*"),
    (b"user-agent", b"tester/1.0"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"x-id", b"12345"),
    (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"authorization", b"Basic dTpw"),
    (b"x-empty", b""),
]


def with_field(name, value):
    return lambda head: [*head, (name, value)]


def without(name):
    return lambda head: [field for field in head if field[0] != name]


def replaced(name, value):
    return lambda head: [(key, value if key == name else old) for key, old in head]


def pseudo(name, value, at=0):
    return lambda head: [*head[:at], (name, value), *head[at:]]


# Fields for both kinds of messages: valid and invalid ones.
FIELDS = {
    "valid": lambda head: head,
    "obs-text": with_field(b"x-a", b"caf\xc3\xa9\xff"),
    "tab inside": with_field(b"x-a", b"a\tb"),
    "token name": with_field(b"x!#$%&'*+-.^_`|~9", b"1"),
    "capital name": with_field(b"X-a", b"1"),
    "empty name": with_field(b"", b"1"),
    "space in name": with_field(b"x a", b"1"),
    "colon in name": with_field(b"x:a", b"1"),
    "control in name": with_field(b"x\x01", b"1"),
    "high octet in name": with_field(b"x\xe4", b"1"),
    "CR in value": with_field(b"x-a", b"a\rb"),
    "LF in value": with_field(b"x-a", b"a\nb: c"),
    "NUL in value": with_field(b"x-a", b"a\0b"),
    "control in value": with_field(b"x-a", b"a\x01b"),
    "DEL in value": with_field(b"x-a", b"a\x7fb"),
    "space before value": with_field(b"x-a", b" a"),
    "tab behind value": with_field(b"x-a", b"a\t"),
    "connection": with_field(b"connection", b"close"),
    "keep-alive": with_field(b"keep-alive", b"timeout=5"),
    "proxy-connection": with_field(b"proxy-connection", b"close"),
    "transfer-encoding": with_field(b"transfer-encoding", b"chunked"),
    "upgrade": with_field(b"upgrade", b"h2c"),
    "unknown pseudo": pseudo(b":other", b"1"),
}
REQUESTS = FIELDS | {
    "te gzip": with_field(b"te", b"gzip"),
    "te trailers": with_field(b"te", b"trailers"),
    "no method": without(b":method"),
    "no scheme": without(b":scheme"),
    "no path": without(b":path"),
    "no authority": without(b":authority"),
    "path twice": pseudo(b":path", b"/b"),
    "authority twice": pseudo(b":authority", b"a"),
    "late pseudo": lambda head: [*without(b":path")(head), (b"x-b", b"1"), (b":path", b"/")],
    "status in request": pseudo(b":status", b"200"),
    "empty path": replaced(b":path", b""),
    "path without slash": replaced(b":path", b"index"),
    "path with space": replaced(b":path", b"/a b"),
    "path with control": replaced(b":path", b"/a\x01"),
    "path with fragment": replaced(b":path", b"/a#b"),
    "path with high octet": replaced(b":path", b"/\xe4"),
    "asterisk": replaced(b":path", b"*"),
    "options asterisk": lambda head: replaced(b":path", b"*")(replaced(b":method", b"OPTIONS")(head)),
    "scheme with space": replaced(b":scheme", b"ht tp"),
    "empty scheme": replaced(b":scheme", b""),
    "https": replaced(b":scheme", b"https"),
    "userinfo": replaced(b":authority", b"u@a"),
    "authority with space": replaced(b":authority", b"a b"),
    "authority with port": replaced(b":authority", b"a.example:8080"),
    "authority of IPv6": replaced(b":authority", b"[::1]:80"),
    "empty authority": replaced(b":authority", b""),
    "host alone": lambda head: [*without(b":authority")(head), (b"host", b"a")],
    "host too": with_field(b"host", b"a"),
    "host differs": with_field(b"host", b"b"),
    "host twice": lambda head: [*head, (b"host", b"a"), (b"host", b"a")],
    "empty method": replaced(b":method", b""),
    "method with space": replaced(b":method", b"G T"),
    "method of small letters": replaced(b":method", b"patch"),
    "connect": lambda head: [(b":method", b"CONNECT"), (b":authority", b"a:443")],
    "connect with path": replaced(b":method", b"CONNECT"),
    "extended connect": lambda head: [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *head[1:]],
    "extended connect, unknown": lambda head: [(b":method", b"CONNECT"), (b":protocol", b"chat"), *head[1:]],
    "protocol without connect": pseudo(b":protocol", b"websocket"),
    "cookies": lambda head: [*head, (b"cookie", b"a=b"), (b"x-b", b"1"), (b"cookie", b"c=d")],
    "expect": with_field(b"expect", b"100-continue"),
    "expect other": with_field(b"expect", b"magic"),
    "priority": with_field(b"priority", b"u=1, i"),
}
LENGTHS = {
    "right length": b"5",
    "other length": b"7",
    "signed length": b"+5",
    "spaced length": b"5 ",
    "listed length": b"5, 5",
    "huge length": b"99999999999999999999999",
    "empty length": b"",
}
RESPONSES = FIELDS | {
    "no status": without(b":status"),
    "status twice": pseudo(b":status", b"200"),
    "long status": replaced(b":status", b"2000"),
    "short status": replaced(b":status", b"20"),
    "status of letters": replaced(b":status", b"abc"),
    "status 101": replaced(b":status", b"101"),
    "status 204": replaced(b":status", b"204"),
    "status 304": replaced(b":status", b"304"),
    "status 600": replaced(b":status", b"600"),
    "path in response": pseudo(b":path", b"/", 1),
    "late status": lambda head: [(b"x-b", b"1"), *head],
}

# Header blocks that cannot be decoded, appended to a valid one.
BLOCKS = {
    "index 0": b"\x80",
    "index past the end": b"\xff\xff\x03",
    "name index past the end": b"\x7f\xff\x03\x01a",
    "late size update": b"\x20",
    "cut integer": b"\x7f\x80",
    "integer without end": b"\x7f\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01a",
    "string past the end": b"\x40\x01a\x05b",
    "long padding": b"\x40\x01a\x82\x1f\xff",
    "padding of zeros": b"\x40\x01a\x81\x18",
    "EOS": b"\x40\x01a\x84\xff\xff\xff\xff",
}
FRONTS = {
    "size update": b"\x3f\xe1\x1f",
    "size update to 0 and back": b"\x20\x3f\xe1\x1f",
    "large size update": b"\x3f\xe2\x1f",
    "three size updates": b"\x20\x20\x20",
}


class Generator:
    """One connection."""

    def __init__(self, chance, who):
        self.chance, self.who = chance, who
        self.encoder = hpack.Encoder()
        self.pieces, self.labels = [], []
        self.next = 1
        # Streams whose content may follow, streams that have ended, and streams that were reset.
        self.open, self.ended, self.reset = [], [], []
        if who == "client":
            self.next = 7
            self.open, self.awaited = [], [1, 3, 5]

    def add(self, label, piece):
        self.pieces.append(piece)
        self.labels.append(label)

    def encode(self, fields):
        return self.encoder.encode(fields, huffman=self.chance.random() < 0.7)

    def headers(self, label, stream, block, end, cut=None):
        """A header block, in one frame or several, with padding or a priority of RFC 7540."""
        chance = self.chance
        flags, payload = (END_STREAM if end else 0), block
        pieces = []
        if cut or chance.random() < 0.1:
            at = chance.randrange(len(block) + 1)
            pieces = [block[at:]]
            if chance.random() < 0.3:
                at = chance.randrange(len(pieces[0]) + 1)
                pieces = [pieces[0][:at], pieces[0][at:]]
            payload = block[: len(block) - sum(map(len, pieces))]
            label += ", in parts"
        else:
            flags |= END_HEADERS
        if chance.random() < 0.08:
            # Weight 16, depending on no stream.
            flags, payload = flags | PRIORITIZED, b"\0\0\0\0\x0f" + payload
            label += ", prioritized"
        if chance.random() < 0.08:
            count = chance.choice([0, 1, 9])
            flags, payload = flags | PADDED, bytes([count]) + payload + bytes(count)
            label += ", padded"
        self.add(label, frame(HEADERS, flags, stream, payload))
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            self.add(f"{label}, part {number + 2}", frame(CONTINUATION, END_HEADERS if last else 0, stream, piece))

    def head(self, label, shapes, head):
        usual = self.chance.sample(USUAL, self.chance.randrange(4))
        return self.encode(shapes[label]([*head, *usual]))

    def message(self):
        """A head that opens a stream, or answers one; it is faulty every fourth time."""
        chance = self.chance
        if self.who == "client":
            return self.response()
        label = chance.choice(list(REQUESTS)) if chance.random() < 0.4 else "valid"
        stream, self.next = self.next, self.next + chance.choice([2, 2, 2, 4])
        content = chance.random() < 0.4 or "connect" in label
        block = self.head(label, REQUESTS, POST if content else GET)
        if content and chance.random() < 0.4 and "connect" not in label:
            length = chance.choice(list(LENGTHS))
            label += f", {length}"
            block += self.encode([(b"content-length", LENGTHS[length])])
        self.headers(f"request: {label}", stream, block, not content)
        (self.open if content else self.ended).append(stream)
        if content and chance.random() < 0.6 and "connect" not in label:
            self.data(stream, b"hello", chance.random() < 0.7)
        return None

    def response(self):
        chance = self.chance
        if not self.awaited:
            return
        stream = chance.choice(self.awaited)
        label = chance.choice(list(RESPONSES)) if chance.random() < 0.4 else "valid"
        if chance.random() < 0.15:
            end = chance.random() < 0.1
            kind = "informational, ended" if end else "informational"
            block = self.head("valid", RESPONSES, [(b":status", chance.choice([b"100", b"103", b"199"]))])
            self.headers(f"response: {kind}", stream, block, end)
            return
        self.awaited.remove(stream)
        end = chance.random() < 0.4
        block = self.head(label, RESPONSES, [(b":status", chance.choice([b"200", b"404", b"500"]))])
        if chance.random() < 0.4:
            length = chance.choice(list(LENGTHS))
            label += f", {length}"
            block += self.encode([(b"content-length", LENGTHS[length])])
        kind = " to HEAD" if stream == 3 else ""
        self.headers(f"response{kind}: {label}", stream, block, end)
        (self.ended if end else self.open).append(stream)
        if not end and chance.random() < 0.5:
            self.data(stream, b"hello", chance.random() < 0.7)

    def data(self, stream, content, end, label="data"):
        flags, payload = (END_STREAM if end else 0), content
        if self.chance.random() < 0.15:
            count = self.chance.choice([0, 1, 200])
            flags, payload = flags | PADDED, bytes([count]) + payload + bytes(count)
            label += ", padded"
        self.add(label, frame(DATA, flags, stream, payload))
        if end and stream in self.open:
            self.open.remove(stream)
            self.ended.append(stream)

    def trailers(self):
        chance = self.chance
        if not self.open:
            return
        stream = chance.choice(self.open)
        shapes = FIELDS | {
            "pseudo": pseudo(b":path", b"/"),
            "length": with_field(b"content-length", b"5"),
            "host": with_field(b"host", b"b"),
            "without end": lambda head: head,
        }
        label = chance.choice(list(shapes)) if chance.random() < 0.4 else "valid"
        end = label != "without end"
        self.headers(f"trailers: {label}", stream, self.encode(shapes[label]([(b"x-trailer", b"1")])), end)
        if end:
            self.open.remove(stream)
            self.ended.append(stream)

    def some(self, streams, other):
        return self.chance.choice(streams) if streams else other

    def control(self):
        """A valid frame of no message."""
        chance = self.chance
        stream = self.some(self.open + self.ended, 1)
        label, piece = chance.choice([
            ("ping", frame(PING, 0, 0, bytes(chance.randrange(256) for _ in range(8)))),
            ("ping ack", frame(PING, ACK, 0, bytes(8))),
            ("settings", frame(SETTINGS, 0, 0, setting(chance.choice([1, 3, 6]), chance.choice([0, 100, 4096, 65536])))),
            ("settings: initial window", frame(SETTINGS, 0, 0, setting(4, chance.choice([0, 1, 65_535, 2**31 - 1])))),
            ("settings: frame", frame(SETTINGS, 0, 0, setting(5, chance.choice([2**14, 2**24 - 1])))),
            ("settings: unknown", frame(SETTINGS, 0, 0, setting(0xfa00, 7) + setting(0, 1))),
            ("settings: empty", frame(SETTINGS, 0, 0)),
            ("window update", frame(WINDOW, 0, chance.choice([0, stream]), word(chance.choice([1, 1000])))),
            ("window update, reserved bit", frame(WINDOW, 0, 0, word(2**31 + 5))),
            ("priority", frame(PRIORITY, 0, chance.choice([stream, self.next + 20]), word(0) + b"\x05")),
            ("unknown frame", frame(0x42, 0xff, chance.choice([0, stream, 99]), b"anything")),
            ("unused flags", frame(PING, 0xfe, 0, b"flagged!")),
        ])  # fmt: skip
        self.add(label, piece)

    def reset_one(self):
        if not self.open:
            return
        stream = self.chance.choice(self.open)
        self.open.remove(stream)
        self.reset.append(stream)
        self.add("reset", frame(RST, 0, stream, word(self.chance.choice([0, 2, 5, 8, 99]))))

    def fault(self):
        """A frame that breaks a rule of its type or of its stream."""
        chance = self.chance
        opened, ended, reset = self.some(self.open, 1), self.some(self.ended, 1), self.some(self.reset, 1)
        idle = self.next + 50
        block = lambda fields: self.encode(fields)
        faults = [
            ("data on 0", lambda: frame(DATA, 0, 0, b"a")),
            ("data on idle", lambda: frame(DATA, 0, idle, b"a")),
            ("data on ended", lambda: frame(DATA, 0, ended, b"a")),
            ("data on reset", lambda: frame(DATA, 0, reset, b"a")),
            ("padding too long", lambda: frame(DATA, PADDED, opened, b"\x05abcd")),
            ("padding without length", lambda: frame(DATA, PADDED, opened)),
            ("headers on 0", lambda: frame(HEADERS, END_HEADERS | END_STREAM, 0, block(GET))),
            ("headers on even", lambda: frame(HEADERS, END_HEADERS | END_STREAM, self.next + 1, block(GET))),
            ("headers on ended", lambda: frame(HEADERS, END_HEADERS | END_STREAM, ended, block([(b"x-late", b"1")]))),
            ("headers on reset", lambda: frame(HEADERS, END_HEADERS | END_STREAM, reset, block([(b"x-late", b"1")]))),
            ("headers: padding too long", lambda: frame(HEADERS, PADDED | END_HEADERS, self.next, b"\x7f" + block(GET))),
            ("headers: cut priority", lambda: frame(HEADERS, PRIORITIZED | END_HEADERS, self.next, b"\0\0")),
            ("headers: own dependency", lambda: frame(HEADERS, PRIORITIZED | END_HEADERS | END_STREAM, self.next, word(self.next) + b"\x05" + block(GET))),
            ("priority: 4 octets", lambda: frame(PRIORITY, 0, chance.choice([opened, idle]), word(0))),
            ("priority on 0", lambda: frame(PRIORITY, 0, 0, word(0) + b"\x05")),
            ("priority: own dependency", lambda: frame(PRIORITY, 0, opened, word(opened) + b"\x05")),
            ("reset of idle", lambda: frame(RST, 0, idle, word(8))),
            ("reset of 0", lambda: frame(RST, 0, 0, word(8))),
            ("reset: 3 octets", lambda: frame(RST, 0, opened, b"\0\0\0")),
            ("reset of ended", lambda: frame(RST, 0, ended, word(8))),
            ("settings on a stream", lambda: frame(SETTINGS, 0, opened, b"")),
            ("settings: 5 octets", lambda: frame(SETTINGS, 0, 0, b"\0\1\0\0\0")),
            ("settings: ack with payload", lambda: frame(SETTINGS, ACK, 0, setting(1, 1))),
            ("settings: push 2", lambda: frame(SETTINGS, 0, 0, setting(2, 2))),
            ("settings: push 1", lambda: frame(SETTINGS, 0, 0, setting(2, 1))),
            ("settings: small frame", lambda: frame(SETTINGS, 0, 0, setting(5, 16_383))),
            ("settings: large frame", lambda: frame(SETTINGS, 0, 0, setting(5, 2**24))),
            ("settings: large window", lambda: frame(SETTINGS, 0, 0, setting(4, 2**31))),
            ("settings: connect protocol 2", lambda: frame(SETTINGS, 0, 0, setting(8, 2))),
            ("settings: no priorities 2", lambda: frame(SETTINGS, 0, 0, setting(9, 2))),
            ("settings: ack unasked", lambda: frame(SETTINGS, ACK, 0)),
            ("push promise", lambda: frame(PUSH, END_HEADERS, opened, word(2) + block(GET))),
            ("push promise of odd", lambda: frame(PUSH, END_HEADERS, opened, word(3) + block(GET))),
            ("ping on a stream", lambda: frame(PING, 0, opened, bytes(8))),
            ("ping: 7 octets", lambda: frame(PING, 0, 0, bytes(7))),
            ("goaway on a stream", lambda: frame(GOAWAY, 0, opened, word(0) + word(0))),
            ("goaway: 7 octets", lambda: frame(GOAWAY, 0, 0, bytes(7))),
            ("window update: 0", lambda: frame(WINDOW, 0, opened, word(0))),
            ("window update: 0 on 0", lambda: frame(WINDOW, 0, 0, word(0))),
            ("window update: 0 on ended", lambda: frame(WINDOW, 0, ended, word(0))),
            ("window update: 3 octets", lambda: frame(WINDOW, 0, 0, bytes(3))),
            ("window update: overflow", lambda: frame(WINDOW, 0, opened, word(2**31 - 1))),
            ("window update: overflow on 0", lambda: frame(WINDOW, 0, 0, word(2**31 - 1))),
            ("window update of idle", lambda: frame(WINDOW, 0, idle, word(1))),
            ("continuation alone", lambda: frame(CONTINUATION, END_HEADERS, opened, block(GET))),
            ("frame too large", lambda: frame(chance.choice([DATA, HEADERS, PING, 0x42]), 0, opened, bytes(16_385))),
            ("priority update on a stream", lambda: frame(PRIORITY_UPDATE, 0, opened, word(opened) + b"u=1")),
            ("priority update of 0", lambda: frame(PRIORITY_UPDATE, 0, 0, word(0) + b"u=1")),
            ("priority update: 3 octets", lambda: frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0")),
            ("priority update", lambda: frame(PRIORITY_UPDATE, 0, 0, word(opened) + b"u=1")),
        ]  # fmt: skip
        choice = chance.randrange(len(faults) + 14)
        if choice < len(faults):
            label, make = faults[choice]
            self.add(label, make())
        elif choice < len(faults) + 6:
            label = chance.choice(list(BLOCKS))
            self.add(f"block: {label}", frame(HEADERS, END_HEADERS | END_STREAM, self.opening(), block(GET) + BLOCKS[label]))
        elif choice < len(faults) + 9:
            label = chance.choice(list(FRONTS))
            if "to 0" in label:
                self.encoder = hpack.Encoder()
            piece = frame(HEADERS, END_HEADERS | END_STREAM, self.opening(), FRONTS[label] + self.encode(self.first()))
            self.add(f"block: {label}", piece)
        elif choice < len(faults) + 11:
            stream = self.opening()
            encoded = block(self.first())
            self.add("block begun", frame(HEADERS, END_STREAM, stream, encoded[:2]))
            between = chance.choice([frame(PING, 0, 0, bytes(8)), frame(CONTINUATION, END_HEADERS, stream + 2, encoded[2:]), frame(0x42, 0, 0)])
            self.add("between parts", between)
        elif self.open:
            # A whole window, and one octet more.
            stream = self.open[-1]
            for number in range(5):
                self.add(f"window, part {number}", frame(DATA, 0, stream, b"w" * (16_384 if number < 4 else 1)))

    def first(self):
        return [(b":status", b"200")] if self.who == "client" else GET

    def opening(self):
        """A stream that a head may stand on now."""
        if self.who == "client":
            return self.some(self.awaited, 1)
        stream, self.next = self.next, self.next + 2
        return stream

    def made(self):
        chance = self.chance
        begin = frame(SETTINGS, 0, 0, chance.choice([b"", setting(2, 0), setting(3, 100) + setting(4, 65_535)]))
        front = b"" if self.who == "client" else PREFACE
        if chance.random() < 0.02:
            begin = chance.choice([frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0), frame(HEADERS, 5, 1, self.encode(GET))])
            self.add("no settings first", front + begin)
        elif chance.random() < 0.01 and front:
            self.add("preface: broken", chance.choice([front[:-1] + b"x" + begin, b"GET / HTTP/1.1\r\n\r\n" + begin]))
        else:
            self.add("begin", front + begin)
        if chance.random() < 0.9:
            self.add("settings ack", frame(SETTINGS, ACK, 0))
        faults = chance.choice([0, 1, 1, 2, 3])
        for _ in range(chance.randint(2, 14)):
            what = chance.random()
            if what < 0.4:
                self.message()
            elif what < 0.55 and self.open:
                self.data(chance.choice(self.open), chance.choice([b"", b"x", b"hello"]), chance.random() < 0.3, "more data")
            elif what < 0.63:
                self.trailers()
            elif what < 0.68:
                self.reset_one()
            elif what < 0.85 or not faults:
                self.control()
            else:
                faults -= 1
                self.fault()
        return Pieces(self.pieces, self.labels)


def blocks(chance):
    """Header blocks of one direction, as Python's encoder or by hand; every third has a change."""
    from . import changed

    encoder, pieces = hpack.Encoder(), []
    names = [b":path", b"cookie", b"date", b"x-a", b"accept-encoding", b"authorization", b"content-type", b"X-B", b""]
    for _ in range(chance.randint(1, 6)):
        fields = []
        for _ in range(chance.randrange(6)):
            value = bytes(chance.choice(b"abc 0123/;=-\xc3\xa4~\0") for _ in range(chance.choice([0, 1, 5, 30, 300])))
            field = (chance.choice(names), chance.choice([value, b"gzip, deflate", b"/"]))
            fields.append(hpack.NeverIndexedHeaderTuple(*field) if chance.random() < 0.2 else field)
        if chance.random() < 0.2:
            encoder.header_table_size = chance.choice([0, 60, 100, 1000, 4096])
        block = encoder.encode(fields, huffman=chance.random() < 0.7)
        if chance.random() < 0.3:
            telling = [*BLOCKS.values(), *FRONTS.values(), b"\x82", b"\xbe", b"\xbf", b"\x00\x01a\x01b", b"\x7e\x01c"]
            block = changed(chance, block, telling, pieces[-1] if pieces else b"")
        pieces.append(block)
    return Pieces(pieces, [f"block {piece.hex()}" for piece in pieces])
