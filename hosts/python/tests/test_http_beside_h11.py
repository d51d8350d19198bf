"""wirestate.http and h11 on the same input: conversations that both must carry, and streams of all kinds."""

from __future__ import annotations

import os
import pathlib
import random
import sys
import unittest

import h11

from wirestate import http

from .http_conversations import converse, exchange

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "ci"))
from oracles import http as oracle  # noqa: E402

SEED = int(os.environ.get("SEED", "1"))
CASES = int(os.environ.get("CASES", "1000"))


def cuts(chance, stream):
    """The stream in pieces: whole, by the byte, or cut at random."""
    sizes = chance.choice([[len(stream)], [1], [1, 2, 3, 5, 20, 100]])
    at = 0
    while at < len(stream):
        size = max(1, chance.choice(sizes))
        yield stream[at : at + size]
        at += size


def serve(module, pieces):
    """The messages that a server sees, and how it ends."""
    conn = module.Connection(module.SERVER)
    seen, request, body = [], None, b""
    try:
        for piece in [*pieces, None]:
            if piece is not None:
                conn.receive_data(piece)
            while True:
                event = conn.next_event()
                if isinstance(event, module.Request):
                    request, body = event, b""
                elif isinstance(event, module.Data):
                    body += event.data
                elif isinstance(event, module.EndOfMessage):
                    method, target = request.method.decode("latin1"), request.target.decode("latin1")
                    seen.append(f"Q {method} {target} {body.hex()}")
                    conn.send(module.Response(status_code=403 if method == "CONNECT" else 200, headers=[]))
                    conn.send(module.EndOfMessage())
                    if conn.our_state is not module.DONE or conn.their_state is not module.DONE:
                        return [*seen, "close"]
                    conn.start_next_cycle()
                else:
                    break
    except module.RemoteProtocolError as error:
        return [*seen, f"error {getattr(error, 'kind', None) or error}"]
    return [*seen, "more"]


def call(module, kind, pieces):
    """The messages that a client sees, and how it ends."""
    _, method, *eof = kind.split(" ")
    conn = module.Connection(module.CLIENT)
    target = "h:1" if method == "CONNECT" else "/"
    conn.send(module.Request(method=method, target=target, headers=[("Host", "h")]))
    conn.send(module.EndOfMessage())
    seen, body, status = [], b"", None
    try:
        for piece in [*pieces, *([b""] if eof else []), None]:
            if piece is not None:
                conn.receive_data(piece)
            while True:
                event = conn.next_event()
                if isinstance(event, module.InformationalResponse):
                    if event.status_code != 101:
                        seen.append(f"I {event.status_code}")
                elif isinstance(event, module.Response):
                    status, body = event.status_code, b""
                elif isinstance(event, module.Data):
                    body += event.data
                elif isinstance(event, module.EndOfMessage):
                    seen.append(f"S {status} {body.hex()}")
                    return [*seen, "close"]
                elif event is module.NEED_DATA:
                    break
                else:
                    return [*seen, "switched" if conn.their_state is module.SWITCHED_PROTOCOL else "close"]
    except module.RemoteProtocolError as error:
        return [*seen, f"error {getattr(error, 'kind', None) or error}"]
    return [*seen, "more"]


class BesideH11(unittest.TestCase):
    def test_conversations_in_every_pairing(self):
        chance = random.Random(SEED)
        for number in range(CASES // 5):
            exchanges = [exchange(chance) for _ in range(chance.randint(1, 3))]
            expected = converse(h11, h11, exchanges, number)
            for client, server in ((http, http), (h11, http), (http, h11)):
                with self.subTest(number=number, client=client.__name__, server=server.__name__, exchanges=exchanges):
                    self.assertEqual(converse(client, server, exchanges, number), expected)

    def test_streams_of_all_kinds(self):
        chance, counts = random.Random(SEED), {}
        for kind, stream in oracle.streams(chance, CASES):
            whole, pieces = [stream] if stream else [], list(cuts(chance, stream))
            read = serve if kind == "request" else lambda module, pieces: call(module, kind, pieces)
            ours, theirs = read(http, whole), read(h11, whole)
            # However the bytes are cut, the messages are the same. An error may be found later, in a head that has ended.
            *messages, end = read(http, pieces)
            self.assertEqual(messages, ours[:-1], (kind, stream))
            ends = end.split(" ")[0], ours[-1].split(" ")[0]
            self.assertTrue(ends[0] == ends[1] or ends == ("more", "error"), (kind, stream, end, ours))
            why = oracle.explain("h11", stream, ours, theirs)
            counts[why is True] = counts.get(why is True, 0) + 1
            with self.subTest(kind=kind, stream=stream):
                self.assertTrue(why, f"ours: {ours}\ntheirs: {theirs}")
        self.assertGreater(counts[True], CASES // 3)
