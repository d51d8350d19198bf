#!/usr/bin/env python3
"""Counts the user-space instructions that the testbed spends per request, with callgrind.

usage: instr.py TESTBED [--driver epoll|tokio]... [--check | --update]

Two runs with different numbers of requests; the difference leaves out the start. The counts do not depend on how fast
or busy the machine is, so they are what a change is held against: --check fails if one grew by more than 5 % over
docs/figures.json, --update writes that file, and figures.py the pages that quote it. A change that is worth its instructions updates it and says why.
Needs valgrind.
"""

import argparse
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import zlib

import figures
from lib import Server

CONNECTIONS = 64
ROUNDS = (10, 60)

GROWTH = 1.05

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
# As a program asks an API: a path, a query, five fields.
PATH = (
    b"GET /api/v1/items?page=2&size=50 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n"
    b"Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\r\n"
)
# The fields a browser sends, about 1 KB.
BROWSER = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n"
    b'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"\r\nsec-ch-ua-mobile: ?0\r\n'
    b'sec-ch-ua-platform: "Linux"\r\nDNT: 1\r\nUpgrade-Insecure-Requests: 1\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    b"Referer: http://127.0.0.1:8080/some/page/with/a/path?and=a&query=too\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
    b"Cookie: session=" + b"0123456789abcdef" * 15 + b"; theme=dark; consent=yes\r\n\r\n"
)
# Content in four chunks, with an extension and a trailer, as a streaming client sends it.
CHUNKED = (
    b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"100\r\n" + b"c" * 256 + b"\r\n") * 3
    + b"ff;last\r\n" + b"c" * 255 + b"\r\n0\r\nX-Checksum: 1\r\n\r\n"
)


def upgrade(path, extension=b""):
    return (
        b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + extension + b"\r\n"
    )


UPGRADE = upgrade(b"/ws")
# No context is kept, so that each message costs the same.
COMPRESSED = upgrade(
    b"/ws/deflate",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n",
)
KEY = b"\x01\x02\x03\x04"


def masked(first, payload):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([first]) + length + KEY + bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))


def deflated(payload):
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


# 1 KiB of text with a few characters of more than one byte.
TEXT = ("The quick brown fox jumps over the lazy dog; " * 30).encode()[:1012] + "\u00e4\u00f6\u00fc\u20ac\u6f22".encode()
# 1 KiB of JSON: names that come again and again, values that do not.
JSON = json.dumps(
    [
        {"id": n * 7919 % 104729, "name": f"item {n * 31 % 97}", "price": n * 613 % 9973 / 100, "in stock": n % 3 > 0}
        for n in range(20)
    ]
).encode()[:1024]

def read_exactly(peer, n):
    data = b""
    while len(data) < n:
        data += peer.recv(n - len(data)) or sys.exit("the testbed closed a connection")
    return data


class Plain:
    """A connection of HTTP/1.1 or WebSocket: an opening with an answer, then the same request again and again."""

    def __init__(self, peer, opening, request):
        self.peer, self.request, self.length = peer, request, None
        if opening:
            peer.sendall(opening)
            head = b""
            while b"\r\n\r\n" not in head:
                head += read_exactly(peer, 1)

    def ask(self):
        self.peer.sendall(self.request)

    def wait(self):
        if self.length is None:
            self.length = self.whole_answer()
        else:
            read_exactly(self.peer, self.length)

    def whole_answer(self):
        """Reads until nothing more comes, and returns how much that was."""
        self.peer.settimeout(2)
        total = 0
        try:
            while True:
                total += len(self.peer.recv(65536))
        except TimeoutError:
            self.peer.settimeout(None)
            return total


DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
ACK = END_STREAM = 1
END_HEADERS = 4
# RFC 7541 appendix A. The authority goes into the dynamic table, where it is the newest entry, 62.
AUTHORITY = b"\x41\x0e127.0.0.1:8080"
H2_GET = b"\x82\x86\x84" + AUTHORITY
H2_GET_AGAIN = b"\x82\x86\x84\xbe"
# RFC 8441 section 5.
H2_CONNECT = (
    b"\x02\x07CONNECT\x00\x09:protocol\x09websocket\x86\x04\x03/ws" + AUTHORITY + b"\x00\x15sec-websocket-version\x0213"
)


class Streams:
    """A connection of HTTP/2. `message` is what is sent in the tunnel of one stream; without one, each request is a GET."""

    def __init__(self, peer, count, message=b""):
        self.peer, self.count, self.message, self.stream, self.length = peer, count, message, 1, None
        # The largest windows, so that no WINDOW_UPDATE is due.
        window = struct.pack(">I", 2**31 - 1 - 65535)
        settings = struct.pack(">HI", 4, 2**31 - 1)
        peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0, settings))
        peer.sendall(self.frame(WINDOW_UPDATE, 0, 0, window) + self.frame(SETTINGS, ACK, 0, b""))
        while self.read()[:2] != (SETTINGS, ACK):
            pass
        if message:
            peer.sendall(self.frame(HEADERS, END_HEADERS, 1, H2_CONNECT))
            while self.read()[0] != HEADERS:
                pass
        else:
            peer.sendall(self.frame(HEADERS, END_HEADERS | END_STREAM, 1, H2_GET))
            self.until_ended(1)

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def read(self):
        header = read_exactly(self.peer, 9)
        return header[3], header[4], read_exactly(self.peer, int.from_bytes(header[:3], "big"))

    def until_ended(self, streams):
        while streams:
            _, flags, _ = self.read_of(DATA)
            streams -= flags & END_STREAM

    def read_of(self, kind):
        while True:
            frame = self.read()
            if frame[0] == kind:
                return frame

    def ask(self):
        if self.message:
            return self.peer.sendall(self.frame(DATA, 0, 1, self.message))
        requests = b""
        for _ in range(self.count):
            self.stream += 2
            requests += self.frame(HEADERS, END_HEADERS | END_STREAM, self.stream, H2_GET_AGAIN)
        self.peer.sendall(requests)

    def wait(self):
        if not self.message:
            return self.until_ended(self.count)
        # An answer has no mask, but is as long otherwise.
        missing = len(self.message) - len(KEY) * self.count
        while missing:
            missing -= len(self.read_of(DATA)[2])


def plain(request, count=1, opening=b""):
    return count, lambda peer: Plain(peer, opening, request)


def streams(count=1, message=b""):
    return count, lambda peer: Streams(peer, count, message)


SHORT = masked(0x82, b"x" * 20)
# name: (requests in one write, a client of a connected socket)
CASES = {
    "GET": plain(GET),
    "GET, 16 pipelined": plain(GET * 16, 16),
    "GET of a path and a query, 5 fields": plain(PATH),
    "GET, 1 KB of fields": plain(BROWSER),
    "POST of 1 KB in 4 chunks, echoed": plain(CHUNKED),
    "WebSocket echo, 20 bytes": plain(SHORT, opening=UPGRADE),
    "WebSocket echo, 16 in flight": plain(SHORT * 16, 16, UPGRADE),
    "WebSocket echo, 1 KiB of text": plain(masked(0x81, TEXT), opening=UPGRADE),
    "WebSocket echo, 1 KiB of JSON, compressed": plain(masked(0xC1, deflated(JSON)), opening=COMPRESSED),
    "HTTP/2 GET": streams(),
    "HTTP/2 GET, 16 in flight": streams(16),
    "WebSocket echo in a stream, 20 bytes": streams(message=SHORT),
    "WebSocket echo in a stream, 16 in flight": streams(16, SHORT * 16),
}


def instructions(command, case, rounds):
    _, client = case
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "out")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command]
        with Server(*valgrind, stderr=subprocess.DEVNULL) as server:
            peers = [socket.create_connection(server.endpoint) for _ in range(CONNECTIONS)]
            for peer in peers:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients = [client(peer) for peer in peers]
            # The first finds out how long an answer is.
            clients[0].ask()
            clients[0].wait()
            for each in clients:
                each.length = clients[0].length
            for _ in range(rounds):
                for each in clients:
                    each.ask()
                for each in clients:
                    each.wait()
            for peer in peers:
                # A reset: closing costs the same in both runs.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
            server.stop()
        with open(out) as profile:
            return int(re.search(r"^(?:summary|totals): (\d+)", profile.read(), re.M)[1])


def measure(testbed, driver, case):
    command = [os.path.abspath(testbed), "--driver", driver]
    few, many = (instructions(command, case, rounds) for rounds in ROUNDS)
    return round((many - few) / ((ROUNDS[1] - ROUNDS[0]) * CONNECTIONS * case[0]))


def measure_within(testbed, driver, case, limit):
    """The count, or the least of three where one is above the limit: how many requests a server finds at once, and so
    shares the cost of a turn among, does depend on how busy the machine is."""
    count = measure(testbed, driver, case)
    for _ in range(2):
        if count > limit:
            count = min(count, measure(testbed, driver, case))
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("testbed")
    parser.add_argument("--driver", action="append", choices=["epoll", "tokio"])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail if a count grew")
    what.add_argument("--update", action="store_true", help="write the counts to docs/figures.json")
    options = parser.parse_args()
    drivers = options.driver or ["epoll", "tokio"]
    known = figures.read()
    baseline = known["instructions"]
    grown = []
    print("| | " + " | ".join(drivers) + " |\n|--|" + "--:|" * len(drivers))
    for name, case in CASES.items():
        before = baseline.setdefault(name, {})
        limits = {driver: before.get(driver, 0) * GROWTH if options.check else float("inf") for driver in drivers}
        row = {driver: measure_within(options.testbed, driver, case, limits[driver]) for driver in drivers}
        print(f"| {name} | " + " | ".join(f"{count:,}" for count in row.values()) + " |", flush=True)
        if options.check:
            for driver, count in row.items():
                if driver not in before:
                    grown.append(f"{name}, {driver}: not in the baseline")
                elif count > limits[driver]:
                    grown.append(f"{name}, {driver}: {count:,} instructions, {before[driver]:,} before")
        before.update(row)
    if options.update:
        figures.write(known)
        figures.hold(correct=True)
    if grown:
        sys.exit("\n".join(grown))


if __name__ == "__main__":
    main()
