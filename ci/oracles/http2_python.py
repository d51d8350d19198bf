"""Decodes HTTP/2 frames and header blocks with Python's h2 and hpack."""

from .http2_frames import setting

try:
    import h2.config
    import h2.connection
    import h2.events as events
    import h2.exceptions
    import h2.settings
    import hpack
except ImportError:
    h2 = None


def escaped(text):
    """As the example h2_verdicts writes texts."""
    shown = "".join(chr(byte) if 0x21 <= byte <= 0x7E and byte not in b"%&," else f"%{byte:02X}" for byte in text)
    return shown or "-"


def fields(pairs):
    shown = (f"{escaped(name)}={escaped(value)}" for name, value in sorted(pairs, key=lambda pair: pair[0]))
    return "&".join(shown) or "-"


def message(pairs):
    """A head or trailers: pseudo-header fields, and the others with cookies joined and without Host."""
    first = {name: value for name, value in pairs if name.startswith(b":")}
    rest = [(name, value) for name, value in pairs if not name.startswith(b":") and name != b"cookie"]
    cookies = [value for name, value in pairs if name == b"cookie"]
    if cookies:
        rest.append((b"cookie", b"; ".join(cookies)))
    return first, rest


def request(pairs):
    first, rest = message(pairs)
    host = [value for name, value in rest if name == b"host"]
    authority = first.get(b":authority") or (host[0] if host else b"")
    rest = [field for field in rest if field[0] != b"host"]
    method = first.get(b":method", b"").decode("latin1")
    return f"{method} {escaped(first.get(b':path', b''))} {escaped(authority)} {fields(rest)}"


def response(pairs):
    first, rest = message(pairs)
    return f"{first.get(b':status', b'').decode('latin1')} {fields(rest)}"


class Taken:
    """What was taken of one piece. Content of one stream that follows itself is joined."""

    def __init__(self):
        self.tokens, self.content = [], None

    def push(self, token):
        if self.content:
            stream, content = self.content
            self.content = None
            self.tokens.append(f"D {stream} {escaped(content)}")
        if token:
            self.tokens.append(token)

    def data(self, stream, content):
        if not content:
            return
        if self.content and self.content[0] == stream:
            self.content = (stream, self.content[1] + content)
        else:
            self.push(None)
            self.content = (stream, content)

    def replied(self, out):
        """Adds what was replied. Gives whether the connection has ended."""
        self.push(None)
        over = False
        out = out.removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while len(out) >= 9:
            length, kind, flags, stream = int.from_bytes(out[:3]), out[3], out[4], int.from_bytes(out[5:9])
            payload, out = out[9 : 9 + length], out[9 + length :]
            if kind == 3:
                self.push(f"R {stream} {int.from_bytes(payload)}")
            elif kind == 4 and flags & 1:
                self.push("A")
            elif kind == 6 and flags & 1:
                self.push(f"P {escaped(payload)}")
            elif kind == 7:
                self.push(f"G {int.from_bytes(payload[4:8])}")
                over = True
        return over

    def line(self):
        return ",".join(self.tokens) or "-"


def connection(who, pieces):
    client = who == "client"
    config = h2.config.H2Configuration(client_side=client, header_encoding=None)
    peer = h2.connection.H2Connection(config)
    if not client:
        peer.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65536,
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
    else:
        # A client that accepts no pushes.
        off = {h2.settings.SettingCodes.ENABLE_PUSH: 0}
        peer.local_settings = h2.settings.Settings(client=True, initial_values=off)
    peer.initiate_connection()
    if client:
        for stream, method in [(1, "GET"), (3, "HEAD"), (5, "POST")]:
            head = [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "a")]
            peer.send_headers(stream, head, end_stream=stream != 5)
    peer.data_to_send()
    said = []
    for piece in pieces:
        taken, failed = Taken(), False
        try:
            for event in peer.receive_data(piece):
                take(peer, who, event, taken)
        except h2.exceptions.ProtocolError:
            failed = True
        except (ValueError, UnicodeDecodeError, KeyError) as error:
            # A bug of the package.
            taken.push(f"raises {type(error).__name__}")
            failed = True
        over = taken.replied(peer.data_to_send()) or failed
        said.append(taken.line())
        if over:
            break
    return said


def take(peer, who, event, taken):
    stream = getattr(event, "stream_id", None)
    match event:
        case events.RequestReceived():
            taken.push(f"Q {stream} {request(event.headers)}")
        case events.ResponseReceived():
            taken.push(f"S {stream} {response(event.headers)}")
        case events.InformationalResponseReceived():
            taken.push(f"I {stream} {response(event.headers)}")
        case events.DataReceived():
            taken.data(stream, event.data)
            if event.flow_controlled_length:
                try:
                    peer.acknowledge_received_data(event.flow_controlled_length, stream)
                except h2.exceptions.ProtocolError:
                    pass
        case events.TrailersReceived():
            taken.push(f"T {stream} {fields(message(event.headers)[1])}")
        case events.StreamEnded():
            taken.push(f"E {stream}")
            if who == "answering":
                try:
                    peer.send_headers(stream, [(":status", "200")], end_stream=True)
                except h2.exceptions.ProtocolError:
                    pass
        case events.StreamReset() if event.remote_reset:
            taken.push(f"X {stream} {int(event.error_code)}")


def hpack_blocks(pieces):
    decoder, said = hpack.Decoder(), []
    for piece in pieces:
        try:
            decoded = decoder.decode(piece, raw=True)
        except hpack.HPACKError:
            return [*said, "error"]
        except (IndexError, ValueError, UnicodeDecodeError) as error:
            return [*said, f"raises {type(error).__name__}"]
        shown = (f"{'' if field.indexable else '!'}{escaped(field[0])}={escaped(field[1])}" for field in decoded)
        said.append("&".join(shown) or "-")
    return said


def all_of(streams):
    return [hpack_blocks(pieces) if kind == "hpack" else connection(kind, pieces) for kind, pieces in streams]


read = all_of if h2 else None
