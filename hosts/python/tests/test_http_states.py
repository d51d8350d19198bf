"""Random calls on a connection of wirestate.http and on one of h11: what one accepts the other accepts, and their states agree."""

from __future__ import annotations

import os
import random
import unittest

import h11

from wirestate import http

SEED = int(os.environ.get("SEED", "1"))
CASES = int(os.environ.get("CASES", "1000"))

HEADS = {
    "SERVER": [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"llo",
    ],
    "CLIENT": [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil close",
    ],
}


def events(module):
    """The events that a program may try to send, by name."""
    length = [("Content-Length", "2")]
    return {
        "GET": module.Request(method="GET", target="/", headers=[("Host", "h")]),
        "HEAD": module.Request(method="HEAD", target="/", headers=[("Host", "h")]),
        "PUT": module.Request(method="PUT", target="/", headers=[("Host", "h"), *length]),
        "last": module.Request(method="GET", target="/", headers=[("Host", "h"), ("Connection", "close")]),
        "103": module.InformationalResponse(status_code=103, headers=[], reason="Early Hints"),
        "200": module.Response(status_code=200, headers=length, reason="OK"),
        "chunked": module.Response(status_code=200, headers=[], reason="OK"),
        "close": module.Response(status_code=200, headers=[*length, ("Connection", "close")], reason="OK"),
        "204": module.Response(status_code=204, headers=[], reason="No Content"),
        "hi": module.Data(data=b"hi"),
        "none": module.Data(data=b""),
        "end": module.EndOfMessage(),
        "closed": module.ConnectionClosed(),
    }


class Pair:
    """A connection of each library, used in the same way."""

    def __init__(self, role):
        self.both = [(module, module.Connection(getattr(module, role))) for module in (http, h11)]
        self.events = {module: events(module) for module in (http, h11)}

    def call(self, step):
        """The outcome and the states after it, for both."""
        return [self.one(module, conn, *step) for module, conn in self.both]

    def states(self):
        """The states of ours."""
        _, conn = self.both[0]
        return repr(conn.our_state), repr(conn.their_state)

    def one(self, module, conn, what, argument):
        try:
            if what == "receive":
                outcome = conn.receive_data(argument)
            elif what == "next":
                outcome = conn.next_event()
                outcome = repr(outcome) if outcome in (module.NEED_DATA, module.PAUSED) else type(outcome).__name__
            elif what == "send":
                outcome = conn.send(self.events[module][argument]) is None
            else:
                outcome = conn.start_next_cycle()
        except (module.LocalProtocolError, module.RemoteProtocolError) as error:
            return type(error).__name__
        return outcome, repr(conn.our_state), repr(conn.their_state), conn.they_are_waiting_for_100_continue


def steps(chance, role):
    """Calls; most are such that they may succeed."""
    sends = ["200", "chunked", "close", "204", "103"] if role == "SERVER" else ["GET", "HEAD", "PUT", "last"]
    sends += ["hi", "end", "end", "none"]
    rare = ["closed", "GET", "200"]
    for _ in range(chance.randint(5, 40)):
        what = chance.choice(["receive", "next", "next", "next", "send", "send", "cycle"])
        if what == "receive":
            yield what, chance.choice(HEADS[role])
        elif what == "send":
            yield what, chance.choice(sends if chance.random() < 0.95 else rare)
        else:
            yield what, None


def explained(role, step, before, ours, theirs):
    """Why the two differ; None if nothing explains it. `before` has our states before the step."""
    what, argument = step
    if role == "SERVER" and before[0] == "IDLE" and ours[2:3] == ("ERROR",):
        return "a response before a request is the last of the connection, so no request is read after it"
    if role == "CLIENT" and before[1] == "IDLE" and what == "next" and ours == "RemoteProtocolError":
        return "a response that nobody asked for is a violation"
    if ours[0] == "PAUSED" and ours[2] == "MUST_CLOSE" and theirs == "RemoteProtocolError":
        return "bytes behind the last message are not read, and no error"
    if role == "SERVER" and step == ("send", "hi") and theirs == "LocalProtocolError" and ours[1] == "SEND_BODY":
        return "content where the method or the status allows none is dropped"
    if what == "next" and ours == "RemoteProtocolError" and theirs[0] == "NEED_DATA":
        return "a head is judged before it has ended"
    if role == "CLIENT" and (ours[1:3], theirs[1:3]) == (("MUST_CLOSE", "SEND_BODY"), ("DONE", "SEND_BODY")):
        return "a response that ends with the connection is known to be the last before it ends"
    return None


class States(unittest.TestCase):
    def walk(self, role):
        chance, succeeded = random.Random(SEED), 0
        for _ in range(CASES * 4):
            pair, done = Pair(role), []
            for step in steps(chance, role):
                done.append(step)
                before = pair.states()
                ours, theirs = pair.call(step)
                if ours != theirs and explained(role, step, before, ours, theirs):
                    break
                self.assertEqual(ours, theirs, f"\n{role}\n" + "\n".join(map(str, done)))
                # After an error h11's state is ERROR; ours is what it was.
                if isinstance(ours, str):
                    break
                succeeded += 1
        self.assertGreater(succeeded, CASES * 4)

    def test_servers(self):
        self.walk("SERVER")

    def test_clients(self):
        self.walk("CLIENT")
