#!/usr/bin/env python3
"""Puts haproxy in front of the testbed, with both versions of the PROXY protocol, on every driver.

usage: peer_haproxy.py TESTBED
"""

import base64
import contextlib
import os
import socket
import subprocess
import sys
import tempfile

from lib import DRIVERS, PATIENCE, Server
from lib.process import free_port, wait_for_port

CONFIG = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen version1
    bind 127.0.0.1:{v1}
    server testbed {address} send-proxy
listen version2
    bind 127.0.0.1:{v2}
    server testbed {address} send-proxy-v2 proxy-v2-options unique-id,crc32c
    unique-id-format %[uuid()]
listen plain
    bind 127.0.0.1:{plain}
    server testbed {address}
"""


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def read_to(stream, end):
    seen = b""
    while end not in seen:
        more = stream.recv(4096)
        assert more, f"the stream ended after {seen!r}"
        seen += more
    return seen


def says_who_is_there(port):
    with connect(port) as client:
        host, own = client.getsockname()
        client.sendall(b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.endswith(f"\r\n\r\n{host}:{own}".encode()), answer


def echoes_messages(port):
    key = base64.b64encode(os.urandom(16))
    with connect(port) as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n\x81\x85\0\0\0\0hello"
        )
        assert read_to(client, b"\x81\x05hello").startswith(b"HTTP/1.1 101 ")


def is_reset(stream):
    """Returns whether the peer closes the connection without sending a byte."""
    with contextlib.suppress(ConnectionError):
        return stream.recv(100) == b""
    return True


def check(testbed, driver):
    command = [testbed, "--driver", driver, "--proxy-protocol"]
    ports = {name: free_port() for name in ("v1", "v2", "plain")}
    with Server(*command, "10.0.0.0/8,127.0.0.1") as server, tempfile.NamedTemporaryFile("w") as config:
        config.write(CONFIG.format(address=server.address, **ports))
        config.flush()
        haproxy = subprocess.Popen(["haproxy", "-db", "-f", config.name], stderr=subprocess.DEVNULL)
        try:
            for port in ports.values():
                wait_for_port(port, haproxy)
            for version in ("v1", "v2"):
                for _ in range(20):
                    says_who_is_there(ports[version])
                echoes_messages(ports[version])
            with connect(ports["plain"]) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert is_reset(client), "a request without a header was answered"
        finally:
            haproxy.kill()
            haproxy.wait()
        server.stop()
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n"
    with Server(*command, "10.0.0.0/8") as server, socket.create_connection(server.endpoint) as client:
        # The reset may come before anything is sent.
        with contextlib.suppress(ConnectionError):
            client.sendall(header + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_reset(client), "a header from elsewhere was believed"
        server.stop()


def main():
    for driver in DRIVERS:
        check(sys.argv[1], driver)
        print(f"haproxy in front of {driver}: the right client, by both versions, WebSocket included")


if __name__ == "__main__":
    main()
