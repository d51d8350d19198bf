"""wirestate.ws and wsproto on the same input: handshakes and conversations in every pairing, and streams of frames of all kinds."""

from __future__ import annotations

import os
import pathlib
import random
import sys
import unittest

import wsproto
import wsproto.events
import wsproto.extensions
import wsproto.utilities

from wirestate import ws

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "ci"))
from oracles import websocket as oracle  # noqa: E402

from .test_http_beside_h11 import CASES, SEED, cuts  # noqa: E402


class Theirs:
    """wsproto's names where wirestate.ws has them."""

    WSConnection, ConnectionType = wsproto.WSConnection, wsproto.ConnectionType
    PerMessageDeflate = wsproto.extensions.PerMessageDeflate
    LocalProtocolError = wsproto.utilities.LocalProtocolError
    RemoteProtocolError = wsproto.utilities.RemoteProtocolError


for name in wsproto.events.__dict__:
    if name[0].isupper() and hasattr(ws, name):
        setattr(Theirs, name, getattr(wsproto.events, name))


def opened(client, server, extensions=False, subprotocols=()):
    """A client and a server after the opening handshake."""
    ours, theirs = client.WSConnection(client.ConnectionType.CLIENT), server.WSConnection(server.ConnectionType.SERVER)
    offer = [client.PerMessageDeflate()] if extensions else []
    request = client.Request(host="h", target="/x", extensions=offer, subprotocols=list(subprotocols))
    theirs.receive_data(ours.send(request))
    [asked] = theirs.events()
    assert (asked.host, asked.target, list(asked.subprotocols)) == ("h", "/x", list(subprotocols)), asked
    grants = [server.PerMessageDeflate()] if extensions else []
    chosen = asked.subprotocols[-1] if asked.subprotocols else None
    ours.receive_data(theirs.send(server.AcceptConnection(subprotocol=chosen, extensions=grants)))
    [accepted] = ours.events()
    assert (accepted.subprotocol, len(accepted.extensions)) == (chosen, len(grants)), accepted
    return ours, theirs


def seen(module, events):
    """What a program sees: messages whole, however they came."""
    said, part = [], None
    for event in events:
        if isinstance(event, module.Message):
            part = event.data if part is None else part + event.data
            if event.message_finished:
                said.append(("T" if isinstance(part, str) else "B", part if isinstance(part, str) else bytes(part)))
                part = None
        elif isinstance(event, module.CloseConnection):
            said.append(("C", int(event.code), event.reason or ""))
        else:
            said.append((type(event).__name__, bytes(event.payload)))
    return said


TEXTS = ["", "a", "hello", "\u00e9", "\u20ac uro", "\U0001f600", "x" * 126, "\U0001f600" * 20_000]


def converse(client, server, seed):
    """What both sides see of a conversation. Pings and Close frames are answered."""
    # What is said does not depend on the bytes that it takes.
    chance, cutting = random.Random(seed), random.Random(seed)
    extensions = chance.random() < 0.5
    sides = list(zip((client, server), opened(client, server, extensions, chance.choice([(), ("a", "b")])), strict=True))
    trace = []

    def deliver(sender, receiver, data):
        module, conn = sides[receiver]
        events = []
        for piece in cuts(cutting, data) if len(data) < 1000 else [data]:
            conn.receive_data(piece)
            for event in conn.events():
                events.append(event)
                if isinstance(event, module.Ping):
                    deliver(receiver, sender, conn.send(event.response()))
                elif isinstance(event, module.CloseConnection) and conn.state.name == "REMOTE_CLOSING":
                    deliver(receiver, sender, conn.send(event.response()))
        trace.append((receiver, seen(module, events)))

    for _ in range(chance.randint(1, 8)):
        sender = chance.randrange(2)
        module, conn = sides[sender]
        kind = chance.choice(["text", "bytes", "parts", "ping", "pong"])
        text = chance.choice(TEXTS)
        if kind == "text":
            data = conn.send(module.TextMessage(data=text))
        elif kind == "bytes":
            data = conn.send(module.BytesMessage(data=text.encode()))
        elif kind == "parts":
            parts = [chance.choice(TEXTS[:7]) for _ in range(3)]
            flags = [False, False, True]
            data = b"".join(
                conn.send(module.Message(data=part, message_finished=last)) for part, last in zip(parts, flags, strict=True)
            )
        else:
            event = (module.Ping if kind == "ping" else module.Pong)(payload=text.encode()[:125])
            data = conn.send(event)
        deliver(sender, 1 - sender, data)
    sender = chance.randrange(2)
    module, conn = sides[sender]
    code, reason = chance.choice([(1000, ""), (1001, "bye"), (1011, "\u20ac"), (4000, "x" * 123)])
    deliver(sender, 1 - sender, conn.send(module.CloseConnection(code=code, reason=reason)))
    trace.append([conn.state.name for _, conn in sides])
    return trace


def read(module, kind, pieces):
    """The frames that arrive at one side, in the form of ci/oracles, and how they end."""
    at = 1 if kind == "ws server" else 0
    conn = opened(module, module)[at]
    events, end = [], "more"
    try:
        for piece in pieces:
            if end != "more":
                break
            conn.receive_data(piece)
            for event in conn.events():
                if isinstance(event, module.CloseConnection):
                    failed = event.violation if module is ws else conn.state.name == "OPEN" and event.reason
                    end = f"error {failed}" if failed else f"close {int(event.code)} {(event.reason or '').encode().hex()}"
                    break
                events.append(event)
    except (UnicodeDecodeError, Theirs.RemoteProtocolError) as error:
        end = f"error {error}"
    said = []
    for one in seen(module, events):
        letter = {"Ping": "P", "Pong": "O"}.get(one[0], one[0])
        said.append(f"{letter} {(one[1].encode() if isinstance(one[1], str) else one[1]).hex()}")
    if end.startswith("close "):
        said.append("C " + end.removeprefix("close "))
        end = "close"
    return [*said, end]


HANDSHAKE = {
    "Host": "h",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class BesideWsproto(unittest.TestCase):
    def test_conversations_in_every_pairing(self):
        for number in range(CASES // 5):
            seed = SEED * 100_000 + number
            expected = converse(Theirs, Theirs, seed)
            for client, server in ((ws, ws), (Theirs, ws), (ws, Theirs)):
                with self.subTest(seed=seed, client=client.__name__, server=server.__name__):
                    self.assertEqual(converse(client, server, seed), expected)

    def test_streams_of_all_kinds(self):
        chance, same = random.Random(SEED), 0
        for kind, stream in oracle.streams(chance, CASES):
            whole, pieces = [stream] if stream else [], list(cuts(chance, stream))
            ours, theirs = read(ws, kind, whole), read(Theirs, kind, whole)
            self.assertEqual(read(ws, kind, pieces), ours, (kind, stream))
            why = oracle.explain("wsproto", stream, ours, theirs)
            same += why is True
            with self.subTest(kind=kind, stream=stream):
                self.assertTrue(why, f"ours: {ours}\ntheirs: {theirs}")
        self.assertGreater(same, CASES // 3)

    def test_handshakes(self):
        """Which requests a server takes. Where the two differ, the RFC is named."""
        stricter = "RFC 6455 section 4.2.1"
        cases = [
            ({}, None),
            ({"Upgrade": "WebSocket"}, None),
            ({"Upgrade": None}, None),
            ({"Upgrade": "h2c"}, None),
            ({"Connection": None}, None),
            ({"Connection": "keep-alive, upgrade"}, None),
            ({"Connection": "close"}, None),
            ({"Sec-WebSocket-Version": "8"}, None),
            ({"Sec-WebSocket-Version": None}, None),
            ({"Sec-WebSocket-Key": None}, None),
            ({"Sec-WebSocket-Key": "short"}, stricter),
            ({"Sec-WebSocket-Protocol": "a, b"}, None),
            ({"Host": None}, None),
        ]
        for changes, section in cases:
            fields = {name: value for name, value in {**HANDSHAKE, **changes}.items() if value is not None}
            head = "GET /x HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
            taken = []
            for module in (ws, Theirs):
                conn = module.WSConnection(module.ConnectionType.SERVER)
                try:
                    conn.receive_data(head.encode())
                    taken.append([type(event).__name__ for event in conn.events()])
                except module.RemoteProtocolError as error:
                    taken.append(type(error.event_hint).__name__)
                    self.assertIn(b"HTTP/1.1 4", conn.send(error.event_hint))
            with self.subTest(changes=changes):
                if section:
                    self.assertEqual(taken, ["RejectConnection", ["Request"]])
                else:
                    self.assertEqual(taken[0], taken[1])

    def test_refusals_with_content(self):
        for client, server in ((ws, ws), (ws, Theirs), (Theirs, ws)):
            ours = client.WSConnection(client.ConnectionType.CLIENT)
            theirs = server.WSConnection(server.ConnectionType.SERVER)
            theirs.receive_data(ours.send(client.Request(host="h", target="/")))
            list(theirs.events())
            headers = [(b"content-length", b"2"), (b"x", b"y")]
            data = theirs.send(server.RejectConnection(status_code=403, headers=headers, has_body=True))
            data += theirs.send(server.RejectData(data=b"n", body_finished=False))
            ours.receive_data(data)
            ours.receive_data(theirs.send(server.RejectData(data=b"o")))
            refused, *rest = ours.events()
            self.assertEqual((refused.status_code, refused.has_body), (403, True))
            self.assertIn((b"x", b"y"), list(refused.headers))
            self.assertEqual(b"".join(bytes(part.data) for part in rest), b"no")
            self.assertTrue(rest[-1].body_finished)
            self.assertEqual((ours.state.name, theirs.state.name), ("CLOSED", "CLOSED"))
