"""Decodes HTTP/2 frames and header blocks with nghttp2's library, by ctypes."""

import ctypes
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int32, c_size_t, c_ssize_t, c_uint8, c_uint32, c_void_p

from .http2_python import Taken, escaped, fields, message, request, response

try:
    LIBRARY = ctypes.CDLL("libnghttp2.so.14")
except OSError:
    LIBRARY = None

DATA, HEADERS, RST = 0, 1, 3
# Errors that must be answered with a reset of the stream.
TEMPORAL_FAILURE = -521


class Head(ctypes.Structure):
    _fields_ = [("length", c_size_t), ("stream", c_int32), ("kind", c_uint8), ("flags", c_uint8), ("reserved", c_uint8)]


class Reset(ctypes.Structure):
    _fields_ = [("head", Head), ("code", c_uint32)]


class Pair(ctypes.Structure):
    _fields_ = [
        ("name", POINTER(c_char)),
        ("value", POINTER(c_char)),
        ("name_length", c_size_t),
        ("value_length", c_size_t),
        ("flags", c_uint8),
    ]


class Setting(ctypes.Structure):
    _fields_ = [("key", c_int32), ("value", c_uint32)]


ON_HEAD = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Head), c_void_p)
ON_FIELD = ctypes.CFUNCTYPE(
    c_int, c_void_p, POINTER(Head), POINTER(c_char), c_size_t, POINTER(c_char), c_size_t, c_uint8, c_void_p
)
ON_DATA = ctypes.CFUNCTYPE(c_int, c_void_p, c_uint8, c_int32, POINTER(c_char), c_size_t, c_void_p)


class Peer:
    """Callbacks for all connections; one at a time."""

    def __init__(self):
        self.callbacks = c_void_p()
        LIBRARY.nghttp2_session_callbacks_new(byref(self.callbacks))
        self.kept = []
        self.set("begin_headers", ON_HEAD, lambda session, head, _: self.begin(head.contents.stream))
        self.set("frame_recv", ON_HEAD, lambda session, head, _: self.frame(session, head))
        self.set("header", ON_FIELD, self.field)
        self.set("invalid_header", ON_FIELD, lambda *_: TEMPORAL_FAILURE)
        self.set("data_chunk_recv", ON_DATA, self.data)

    def set(self, name, kind, call):
        call = kind(call)
        self.kept.append(call)
        getattr(LIBRARY, f"nghttp2_session_callbacks_set_on_{name}_callback")(self.callbacks, call)

    def begin(self, stream):
        self.fields[stream] = []
        return 0

    def field(self, session, head, name, name_length, value, value_length, flags, _):
        pairs = self.fields.setdefault(head.contents.stream, [])
        pairs.append((ctypes.string_at(name, name_length), ctypes.string_at(value, value_length)))
        return 0

    def data(self, session, flags, stream, data, length, _):
        self.taken.data(stream, ctypes.string_at(data, length))
        return 0

    def frame(self, session, head):
        stream, kind = head.contents.stream, head.contents.kind
        if kind == HEADERS:
            pairs = self.fields.pop(stream, [])
            if stream in self.headed:
                if pairs:
                    self.taken.push(f"T {stream} {fields(message(pairs)[1])}")
            elif self.who != "client":
                self.headed.add(stream)
                self.taken.push(f"Q {stream} {request(pairs)}")
            else:
                status = dict(pairs).get(b":status", b"")
                informational = status.startswith(b"1")
                self.taken.push(f"{'I' if informational else 'S'} {stream} {response(pairs)}")
                if not informational:
                    self.headed.add(stream)
        if kind in (DATA, HEADERS) and head.contents.flags & 1:
            self.taken.push(f"E {stream}")
            if self.who == "answering":
                status = pair(b":status", b"200")
                LIBRARY.nghttp2_submit_response(c_void_p(session), stream, byref(status), c_size_t(1), None)
        if kind == RST and stream not in self.told:
            code = ctypes.cast(head, POINTER(Reset)).contents.code
            self.taken.push(f"X {stream} {code}")
        return 0

    def sent(self, session):
        sent, data = b"", c_void_p()
        while (length := LIBRARY.nghttp2_session_mem_send(session, byref(data))) > 0:
            sent += ctypes.string_at(data.value, length)
        return sent

    def connection(self, who, pieces):
        self.who, self.fields, self.headed, self.told, self.taken = who, {}, set(), set(), Taken()
        session, client = c_void_p(), who == "client"
        new = LIBRARY.nghttp2_session_client_new if client else LIBRARY.nghttp2_session_server_new
        new(byref(session), self.callbacks, None)
        own = [Setting(2, 0)] if client else [Setting(3, 100), Setting(6, 65536), Setting(8, 1)]
        LIBRARY.nghttp2_submit_settings(session, c_uint8(0), (Setting * len(own))(*own), c_size_t(len(own)))
        if client:
            for method in (b"GET", b"HEAD", b"POST"):
                head = [(b":method", method), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
                pairs = (Pair * 4)(*(pair(*field) for field in head))
                if method == b"POST":
                    LIBRARY.nghttp2_submit_headers(session, c_uint8(0), c_int32(-1), None, pairs, c_size_t(4), None)
                else:
                    LIBRARY.nghttp2_submit_request(session, None, pairs, c_size_t(4), None, None)
        self.sent(session)
        said = []
        for piece in pieces:
            self.taken = Taken()
            result = LIBRARY.nghttp2_session_mem_recv(session, piece, c_size_t(len(piece)))
            over = self.taken.replied(self.sent(session))
            # Callbacks also report frames on streams that nghttp2 itself has reset.
            self.told |= {int(token.split(" ")[1]) for token in self.taken.tokens if token.startswith("R ")}
            if result < 0 and not over:
                self.taken.push(f"fails {result}")
            said.append(self.taken.line())
            if over or result < 0:
                break
        LIBRARY.nghttp2_session_del(session)
        return said


def pair(name, value):
    of = lambda text: ctypes.cast(c_char_p(text), POINTER(c_char))
    return Pair(of(name), of(value), len(name), len(value), 0)


def blocks(pieces):
    inflater, said = c_void_p(), []
    LIBRARY.nghttp2_hd_inflate_new(byref(inflater))
    for piece in pieces:
        shown, rest, failed = [], piece, False
        while True:
            field, flags = Pair(), c_int(0)
            used = LIBRARY.nghttp2_hd_inflate_hd2(inflater, byref(field), byref(flags), rest, c_size_t(len(rest)), c_int(1))
            if used < 0:
                failed = True
                break
            rest = rest[used:]
            if flags.value & 2:
                name = ctypes.string_at(field.name, field.name_length)
                value = ctypes.string_at(field.value, field.value_length)
                shown.append(f"{'!' if field.flags & 1 else ''}{escaped(name)}={escaped(value)}")
            if flags.value & 1:
                LIBRARY.nghttp2_hd_inflate_end_headers(inflater)
                break
            if not flags.value & 2 and not rest:
                break
        if failed:
            said.append("error")
            break
        said.append("&".join(shown) or "-")
    LIBRARY.nghttp2_hd_inflate_del(inflater)
    return said


def read(streams):
    peer = Peer()
    try:
        return [blocks(pieces) if kind == "hpack" else peer.connection(kind, pieces) for kind, pieces in streams]
    finally:
        LIBRARY.nghttp2_session_callbacks_del(peer.callbacks)


if LIBRARY:
    LIBRARY.nghttp2_session_mem_recv.restype = c_ssize_t
    LIBRARY.nghttp2_session_mem_send.restype = c_ssize_t
    LIBRARY.nghttp2_hd_inflate_hd2.restype = c_ssize_t
else:
    read = None
