#!/usr/bin/env python3
"""Talks to the testbed with curl and bare sockets, on every driver.

usage: curl.py TESTBED
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile

from lib import DRIVERS, PATIENCE, Server

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def curl(*arguments):
    command = ["curl", "-sS", "--max-time", str(PATIENCE), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def expect(what, wanted, *arguments):
    """`wanted` is all that curl writes: the body, where that is not dropped, and what -w asks for."""
    seen = curl(*arguments).decode()
    assert seen == wanted, f"{what}: expected {wanted!r}, saw {seen!r}"


def with_curl(url, work):
    drop = ["-o", work / "dropped"]
    expect("GET", "Hello, World!200 13", "-w", "%{http_code} %header{content-length}", f"{url}/")
    date = curl(*drop, "-w", "%header{date}", f"{url}/")
    assert len(date) == 29, date
    expect("HEAD", "200 13 0", "-I", *drop, "-w", "%{http_code} %header{content-length} %{size_download}", f"{url}/")
    for status in (204, 304, 404):
        expect(status, f"{status} 0", *drop, "-w", "%{http_code} %{size_download}", f"{url}/{status}")
    expect("DELETE", "405 GET, HEAD", "-X", "DELETE", *drop, "-w", "%{http_code} %header{allow}", f"{url}/")
    expect("/ws", "426 13", *drop, "-w", "%{http_code} %header{sec-websocket-version}", f"{url}/ws")

    body = work / "body"
    body.write_bytes(os.urandom(10 << 20))
    for sent, came in (("Content-Type: a/b", b"content-type: a/b"), ("Transfer-Encoding: chunked", b"transfer-encoding: chunked")):
        head = work / "head"
        echoed = curl("--data-binary", f"@{body}", "-H", sent, "-D", head, f"{url}/echo")
        assert echoed == body.read_bytes(), f"{sent}: another body came back"
        assert any(line.lower().startswith(came) for line in head.read_bytes().split(b"\r\n")), head.read_bytes()

    # Two requests, one connection.
    expect("keep-alive", "10", *drop, *drop, "-w", "%{num_connects}", f"{url}/", f"{url}/")


def exchange(endpoint, pieces):
    with socket.create_connection(endpoint, PATIENCE) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sendall(piece)
        peer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65536), b""))


def with_sockets(endpoint):
    both = exchange(endpoint, [GET + GET])
    assert both.count(b"HTTP/1.1 200 OK\r\n") == 2 and both.count(b"Hello, World!") == 2, both
    # A head near the limit, byte by byte.
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 500) for n in range(31))
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
    assert 15 * 1024 < len(head) <= 16 * 1024, len(head)
    assert exchange(endpoint, (head[at : at + 1] for at in range(len(head)))).endswith(b"Hello, World!")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for driver in DRIVERS:
        with Server(sys.argv[1], "--driver", driver, "--threads", "2") as server, tempfile.TemporaryDirectory() as work:
            with_curl(f"http://{server.address}", pathlib.Path(work))
            with_sockets(server.endpoint)
            server.stop()
        print(f"{driver}: curl and bare sockets agree; SIGTERM exits 0", flush=True)


if __name__ == "__main__":
    main()
