"""Conversations between a client and a server, by h11 and by wirestate.http in every pairing, over a wire that splits at random."""

from __future__ import annotations

import random
from types import ModuleType

FIELDS = [("X", "1"), ("x", ""), ("Accept", "a, b"), ("Cookie", "a=b; c=d"), ("X-Long", "y" * 300), ("X-Bytes", b"\xe9\xff")]
PIECES = [b"", b"a", b"hello", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 5000]


def exchange(chance: random.Random) -> dict:
    """An exchange that both libraries must carry."""
    method = chance.choice(["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"])
    target = "*" if method == "OPTIONS" and chance.random() < 0.3 else chance.choice(["/", "/a/b?c=d", "http://h/x"])
    asked = message(chance, has_body=method in ("POST", "PUT"))
    status = chance.choice([200, 200, 200, 201, 304, 204, 404, 500, 999])
    answered = message(chance, has_body=method != "HEAD" and status not in (204, 304))
    asked["expects"] = asked["framing"] is not None and chance.random() < 0.2
    answered["informational"] = chance.sample([102, 103, 199], chance.choice([0, 0, 0, 1, 2]))
    answered["close"] = chance.random() < 0.1
    return {"method": method, "target": target, "status": status, "asked": asked, "answered": answered}


def message(chance: random.Random, has_body: bool) -> dict:
    pieces = [chance.choice(PIECES) for _ in range(chance.randint(0, 4))] if has_body else []
    framing = chance.choice(["length", "chunked"]) if has_body else None
    trailers = [("X-Trailer", "t")] if framing == "chunked" and chance.random() < 0.3 else []
    return {"fields": chance.sample(FIELDS, chance.randint(0, 4)), "pieces": pieces, "framing": framing, "trailers": trailers}


def framing(message: dict) -> list:
    if message["framing"] == "length":
        return [("Content-Length", str(sum(map(len, message["pieces"]))))]
    if message["framing"] == "chunked":
        return [("Transfer-Encoding", "chunked")]
    return []


class Side:
    """One side: a connection, and what it has received."""

    def __init__(self, module: ModuleType, role: str) -> None:
        self.module = module
        self.conn = module.Connection(getattr(module, role))
        self.events: list = []

    def state(self) -> tuple[str, str]:
        return repr(self.conn.our_state), repr(self.conn.their_state)

    def send(self, other: Side, event: object, chance: random.Random) -> None:
        """Sends an event over the wire, in pieces."""
        data = self.conn.send(event)
        while data:
            size = min(len(data), chance.choice([1, 2, 3, 7, 50, 1000, 10000]))
            other.conn.receive_data(data[:size])
            other.read()
            data = data[size:]
        other.read()

    def read(self) -> None:
        """Takes every event that there is."""
        module = self.module
        while (event := self.conn.next_event()) not in (module.NEED_DATA, module.PAUSED):
            said = shown(event)
            if said[0] == "Data" and self.events and self.events[-1][0] == "Data":
                said = ("Data", self.events.pop()[1] + said[1])
            self.events.append(said)
            if said[0] == "ConnectionClosed":
                return


def shown(event: object) -> tuple:
    """An event without what the libraries are free to choose: the order and the case of fields."""
    name = type(event).__name__
    if name == "Data":
        return name, bytes(event.data)
    if name == "ConnectionClosed":
        return (name,)
    fields = sorted((bytes(key), bytes(value)) for key, value in event.headers)
    if name == "Request":
        return name, bytes(event.method), bytes(event.target), bytes(event.http_version), fields
    if name == "EndOfMessage":
        return name, fields
    # The reasons of informational responses are those of the registry.
    reason = b"" if name == "InformationalResponse" else bytes(event.reason)
    return name, event.status_code, reason, bytes(event.http_version), fields


def converse(client: ModuleType, server: ModuleType, exchanges: list[dict], seed: int) -> list:
    """What both sides see of some exchanges on one connection."""
    chance = random.Random(seed)
    ours, theirs, trace = Side(client, "CLIENT"), Side(server, "SERVER"), []

    def note(what: str) -> None:
        trace.append((what, ours.state(), theirs.state(), *[tuple(side.events) for side in (ours, theirs)]))
        ours.events.clear()
        theirs.events.clear()

    for one in exchanges:
        asked, answered = one["asked"], one["answered"]
        fields = [("Host", "h"), *asked["fields"], *framing(asked)]
        if asked["expects"]:
            fields.append(("Expect", "100-continue"))
        request = client.Request(method=one["method"], target=one["target"], headers=fields)
        ours.send(theirs, request, chance)
        note("request")
        if asked["expects"]:
            trace.append(("waits", theirs.conn.they_are_waiting_for_100_continue))
            theirs.send(ours, server.InformationalResponse(status_code=100, headers=[], reason="Continue"), chance)
            trace.append(("waits", theirs.conn.they_are_waiting_for_100_continue))
        body(ours, theirs, asked, chance)
        note("asked")
        for status in answered["informational"]:
            theirs.send(ours, server.InformationalResponse(status_code=status, headers=[], reason="x"), chance)
        fields = [*answered["fields"], *framing(answered), *([("Connection", "close")] if answered["close"] else [])]
        theirs.send(ours, server.Response(status_code=one["status"], headers=fields, reason="because"), chance)
        note("response")
        body(theirs, ours, answered, chance)
        note("answered")
        if answered["close"]:
            break
        ours.conn.start_next_cycle()
        theirs.conn.start_next_cycle()
        note("next")
    theirs.conn.send(server.ConnectionClosed())
    ours.conn.receive_data(b"")
    ours.read()
    note("closed")
    return trace


def body(sender: Side, receiver: Side, message: dict, chance: random.Random) -> None:
    for piece in message["pieces"]:
        sender.send(receiver, sender.module.Data(data=piece), chance)
    sender.send(receiver, sender.module.EndOfMessage(headers=message["trailers"]), chance)
