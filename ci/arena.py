#!/usr/bin/env python3
"""Checks that the example `arena` answers as HttpArena's documentation asks, on every driver.

usage: arena.py ARENA

The checks follow the ideas of HttpArena's own validation: inputs are random, so that an answer cannot be a constant. HTTP/2 is asked by curl.
"""

import base64
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

from lib import DRIVERS, PATIENCE, ROOT, Server, command, free_port

PAIR = ROOT / "fuzz/bodies/src/tls"
FILES = {
    "app.js": ("text/javascript", b"let a = 1;\n" * 3000),
    "reset.css": ("text/css", b"a { color: red }\n" * 500),
    "manifest.json": ("application/json", b'{"a": 1}'),
    "hero.webp": ("image/webp", random.randbytes(45_000)),
}


def data(folder):
    items = [
        {
            "id": at,
            "name": f"item {at}",
            "category": random.choice(["tools", "books"]),
            "price": random.randrange(1000),
            "quantity": random.randrange(100),
            "active": at % 2 == 0,
            "tags": ["new", "\u00e9\"\\"][: at % 3],
            "rating": {"score": at % 50, "count": at * 7},
        }
        for at in range(50)
    ]
    (folder / "dataset.json").write_text(json.dumps(items))
    (folder / "static").mkdir()
    for name, (_, content) in FILES.items():
        (folder / "static" / name).write_bytes(content)
    (folder / "static/app.js.gz").write_bytes(gzip.compress(FILES["app.js"][1]))
    return items


def ask(connect, method, target, body=None, **fields):
    connection = connect()
    connection.request(method, target, body, fields)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def sums(connect, endpoint):
    for _ in range(3):
        a, b, more = (random.randrange(-500, 1000) for _ in range(3))
        query = f"/baseline11?a={a}&b={b}"
        status, fields, content = ask(connect, "GET", query)
        assert (status, content, fields["content-type"]) == (200, str(a + b).encode(), "text/plain"), content
        for body in (str(more).encode(), iter([str(more).encode()])):
            _, _, content = ask(connect, "POST", query, body)
            assert content == str(a + b + more).encode(), content
    # In pieces, with pauses: in the path, behind the line, in the body.
    whole = b"POST /baseline11?a=13&b=42 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n20"
    for cuts in ((8,), (38, 47), (-2,), (-1,)):
        with socket.create_connection(endpoint, timeout=PATIENCE) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            at = 0
            for cut in (*(cut % len(whole) for cut in cuts), len(whole)):
                stream.sendall(whole[at:cut])
                time.sleep(0.02)
                at = cut
            answer = b"".join(iter(lambda: stream.recv(4096), b""))
            assert answer.endswith(b"\r\n\r\n75"), answer


def pipelined(endpoint):
    request = b"GET /pipeline HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(endpoint, timeout=PATIENCE) as stream:
        stream.sendall(request * 15 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 16 and answer.count(b"\r\n\r\nok") == 16, answer


def jsons(connect, items):
    for count, factor in ((12, 3), (22, random.randrange(100)), (50, 1), (0, 5), (99, 2)):
        target = f"/json/{count}?m={factor}"
        _, plain, content = ask(connect, "GET", target)
        expected = [item | {"total": item["price"] * item["quantity"] * factor} for item in items[:count]]
        assert json.loads(content) == {"items": expected, "count": len(expected)}, target
        assert plain["content-type"] == "application/json" and "content-encoding" not in plain, plain
        _, packed, content = ask(connect, "GET", target, **{"Accept-Encoding": "gzip, br"})
        assert packed["content-encoding"] == "gzip", packed
        assert json.loads(gzip.decompress(content))["items"] == expected
    _, refused, _ = ask(connect, "GET", "/json/3?m=1", **{"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused
    assert ask(connect, "GET", "/json/x")[0] == 404


def uploads(connect):
    for size in (17, 512_000, 20_971_520):
        status, _, content = ask(connect, "POST", "/upload", random.randbytes(size))
        assert (status, content) == (200, str(size).encode()), (status, content)
    # Too much is refused by its head.
    connection = connect()
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", str(26 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def static(connect):
    for name, (media_type, content) in FILES.items():
        status, fields, got = ask(connect, "GET", f"/static/{name}")
        assert (status, got, fields["content-type"].split(";")[0]) == (200, content, media_type), (name, fields)
    _, fields, got = ask(connect, "GET", "/static/app.js", **{"Accept-Encoding": "gzip"})
    assert fields["content-encoding"] == "gzip" and gzip.decompress(got) == FILES["app.js"][1], fields
    for missing in ("/static/nothing.txt", "/static/../dataset.json", "/static", "/dataset.json"):
        assert ask(connect, "GET", missing)[0] in (400, 404), missing


def websocket(endpoint):
    """An echo, sixteen at once, a ping, a close."""
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())

    def frame(opcode, payload):
        mask = os.urandom(4)
        return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    with socket.create_connection(endpoint, timeout=PATIENCE) as stream:
        stream.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + key
            + b"\r\n\r\n"
        )
        reader = stream.makefile("rb")
        head = b"".join(iter(reader.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 101 ") and accept in head, head
        texts = [os.urandom(8).hex().encode() for _ in range(16)]
        stream.sendall(b"".join(frame(1, text) for text in texts) + frame(2, b"\0\xff") + frame(9, b"p") + frame(8, struct.pack(">H", 1000)))
        for opcode, payload in [(1, text) for text in texts] + [(2, b"\0\xff"), (10, b"p"), (8, struct.pack(">H", 1000))]:
            assert reader.read(2 + len(payload)) == bytes([0x80 | opcode, len(payload)]) + payload


def by_http2(secure, clear):
    def curl(*words):
        done = subprocess.run(["curl", "-sk", "--max-time", "20", "-w", "\n%{http_version} %{http_code}", *words], capture_output=True, text=True)
        return done.stdout.rsplit("\n", 1)

    a, b = random.randrange(1000), random.randrange(1000)
    for way in (["--http2", f"https://127.0.0.1:{secure}"], ["--http2-prior-knowledge", f"http://127.0.0.1:{clear}"]):
        *flags, origin = way
        assert curl(*flags, f"{origin}/baseline2?a={a}&b={b}") == [str(a + b), "2 200"]
        content, told = curl(*flags, f"{origin}/json/7?m=3")
        assert told == "2 200" and json.loads(content)["count"] == 7, told
        assert curl(*flags, f"{origin}/static/app.js") == [FILES["app.js"][1].decode(), "2 200"]
        assert curl(*flags, f"{origin}/static/nothing.txt")[-1] == "2 404"
    # The port of HTTP/2 in the clear does not answer HTTP/1.1.
    assert not curl("--http1.1", f"http://127.0.0.1:{clear}/baseline2?a=1&b=1")[-1].endswith("200")


def main(arena):
    trusting = ssl._create_unverified_context()
    for driver in DRIVERS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            items = data(folder)
            tls, secure, clear = free_port(), free_port(), free_port()
            ports = [f"--listen-tls=127.0.0.1:{tls}", f"--listen-h2=127.0.0.1:{secure}", f"--listen-h2c=127.0.0.1:{clear}"]
            pair = ["--tls-cert", PAIR / "cert.pem", "--tls-key", PAIR / "key.pem"]
            with Server(arena, "--driver", driver, "--data", folder, *ports, *pair) as server:
                plain = lambda: http.client.HTTPConnection(*server.endpoint, timeout=PATIENCE)
                sealed = lambda: http.client.HTTPSConnection("127.0.0.1", tls, timeout=PATIENCE, context=trusting)
                sums(plain, server.endpoint)
                pipelined(server.endpoint)
                jsons(plain, items)
                jsons(sealed, items)
                uploads(plain)
                static(plain)
                websocket(server.endpoint)
                if command("curl", "curl"):
                    by_http2(secure, clear)
                else:
                    print("SKIPPED HTTP/2: curl is not installed")
                server.stop()
        print(f"ok: arena on {driver}")


if __name__ == "__main__":
    main(*sys.argv[1:])
