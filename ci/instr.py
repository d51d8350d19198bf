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

# name: (opening, what one write holds, how many requests that is)
CASES = {
    "GET": (b"", GET, 1),
    "GET, 16 pipelined": (b"", GET * 16, 16),
    "GET, 1 KB of fields": (b"", BROWSER, 1),
    "POST of 1 KB in 4 chunks, echoed": (b"", CHUNKED, 1),
    "WebSocket echo, 20 bytes": (UPGRADE, masked(0x82, b"x" * 20), 1),
    "WebSocket echo, 16 in flight": (UPGRADE, masked(0x82, b"x" * 20) * 16, 16),
    "WebSocket echo, 1 KiB of text": (UPGRADE, masked(0x81, TEXT), 1),
    "WebSocket echo, 1 KiB of JSON, compressed": (COMPRESSED, masked(0xC1, deflated(JSON)), 1),
}


def read_exactly(peer, n):
    while n:
        n -= len(peer.recv(n)) or sys.exit("the testbed closed a connection")


def answer_length(address, opening, request):
    with socket.create_connection(address) as peer:
        if opening:
            read_head(peer, opening)
        peer.sendall(request)
        peer.settimeout(2)
        total = 0
        try:
            while True:
                total += len(peer.recv(65536))
        except TimeoutError:
            return total


def read_head(peer, opening):
    peer.sendall(opening)
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.recv(1)


def instructions(command, case, rounds):
    opening, request, _ = case
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "out")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command]
        with Server(*valgrind, stderr=subprocess.DEVNULL) as server:
            address = server.endpoint
            length = answer_length(address, opening, request)
            peers = [socket.create_connection(address) for _ in range(CONNECTIONS)]
            for peer in peers:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if opening:
                    read_head(peer, opening)
            for _ in range(rounds):
                for peer in peers:
                    peer.sendall(request)
                for peer in peers:
                    read_exactly(peer, length)
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
    return round((many - few) / ((ROUNDS[1] - ROUNDS[0]) * CONNECTIONS * case[2]))


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
