"""The speed of this package beside h11, httptools and wsproto, in one run; and of uvicorn on each.

usage: speed.py [--rounds N]

Prints tables in Markdown. Each figure is the best of N rounds (40), in which all take turns.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import time

import h11
import httptools
import wsproto
import wsproto.events

from wirestate import http, ws

SMALL = b"GET /search?q=x HTTP/1.1\r\nHost: example.org\r\n\r\n"
LARGE = (
    b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\nHost: www.example.org\r\n"
    b"User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3\r\n"
    b"Accept: image/png,image/*;q=0.8,*/*;q=0.5\r\nAccept-Language: ja,en-us;q=0.7,en;q=0.3\r\n"
    b"Accept-Encoding: gzip,deflate\r\nAccept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\nKeep-Alive: 115\r\n"
    b"Connection: keep-alive\r\nCookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; "
    b"__utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; __utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|"
    b"utmcsr=reader.example.com|utmcct=/reader/view/|utmcmd=referral\r\n\r\n"
)


def exchanges(module, request, count):
    """Whole exchanges on one connection: a request, its fields, and an answer of 13 bytes."""
    conn = module.Connection(module.SERVER)
    headers = [("Content-Type", "text/plain"), ("Content-Length", "13")]
    for _ in range(count):
        conn.receive_data(request)
        event = conn.next_event()
        fields = list(event.headers)
        conn.next_event()
        sent = conn.send(module.Response(status_code=200, headers=headers, reason=b"OK"))
        sent += conn.send(module.Data(b"Hello, World!")) + conn.send(module.EndOfMessage())
        conn.start_next_cycle()
    assert fields and sent.endswith(b"Hello, World!")


def requests(module, request, count):
    """Requests and their fields alone, on new connections."""
    for _ in range(count):
        conn = module.Connection(module.SERVER)
        conn.receive_data(request)
        event = conn.next_event()
        fields = list(event.headers)
    assert fields and event.method == b"GET"


class Collecting:
    """What httptools calls: it has no list of fields."""

    def __init__(self):
        self.fields = []

    def on_url(self, url):
        self.url = url

    def on_header(self, name, value):
        self.fields.append((name.lower(), value))


def httptools_requests(request, count):
    for _ in range(count):
        collecting = Collecting()
        parser = httptools.HttpRequestParser(collecting)
        parser.feed_data(request)
        method = parser.get_method()
    assert collecting.fields and method == b"GET"


def opened(module):
    """A server's connection after the handshake."""
    theirs = module.WSConnection(module.ConnectionType.SERVER)
    request = (
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    theirs.receive_data(request)
    list(theirs.events())
    theirs.send((ws if module is ws else wsproto.events).AcceptConnection())
    return theirs


def echoes(module, size, count):
    """Messages that a server receives and sends back."""
    client = ws.WSConnection(ws.CLIENT)
    server = ws.WSConnection(ws.SERVER)
    server.receive_data(client.send(ws.Request(host="h", target="/")))
    list(server.events())
    client.receive_data(server.send(ws.AcceptConnection()))
    frame = client.send(ws.TextMessage("x" * size))
    conn = opened(module)
    message = (ws if module is ws else wsproto.events).TextMessage
    for _ in range(count):
        conn.receive_data(frame)
        for event in conn.events():
            sent = conn.send(message(data=event.data))
    assert len(sent) > size


def nanoseconds(run, count):
    begin = time.process_time()
    run(count)
    return (time.process_time() - begin) * 1e9 / count


def table(title, names, rows, rounds):
    """Measures `rows`: a label and, for each name, what to run and how often."""
    print(f"\n| {title} | {' | '.join(names)} |\n|--|{'--:|' * len(names)}")
    for label, runs in rows:
        best = [float("inf")] * len(runs)
        for _ in range(rounds):
            for at, run in enumerate(runs):
                if run:
                    best[at] = min(best[at], nanoseconds(*run))
        cells = ["" if run is None else f"{nanos:,.0f}" for run, nanos in zip(runs, best, strict=True)]
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


def spent(process):
    """Seconds of CPU time that a process has used."""
    words = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Uvicorn:
    """A uvicorn in a process of its own."""

    def __init__(self, protocol):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = [sys.executable, "-m", "uvicorn", "speed:hello", "--http", protocol, "--ws", "none", "--no-access-log"]
        home = pathlib.Path(__file__).parent
        options = ["--port", str(port), "--loop", "asyncio", "--lifespan", "off", "--log-level", "warning"]
        self.process = subprocess.Popen([*words, *options], cwd=home)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.streams = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(16)]
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def microseconds(self, request, count):
        """CPU time for each request: 16 connections, one request at a time on each."""
        before = spent(self.process)
        for _ in range(count // len(self.streams)):
            for stream in self.streams:
                stream.sendall(request)
            for stream in self.streams:
                received = b""
                while not received.endswith(b"Hello, World!"):
                    received += stream.recv(65536)
        return (spent(self.process) - before) * 1e6 / count


async def hello(scope, receive, send):
    """The application."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"Hello, World!"})


def uvicorns(rounds):
    servers = {}
    try:
        for name in ("wirestate.uvicorn:HttpProtocol", "h11", "httptools"):
            servers[name] = Uvicorn(name)
        print("\n| microseconds of CPU time a request, uvicorn on | wirestate.http | h11 | httptools |\n|--|--:|--:|--:|")
        for label, request in (("1 field", SMALL), ("9 fields", LARGE)):
            best = dict.fromkeys(servers, float("inf"))
            for _ in range(rounds):
                for name, server in servers.items():
                    best[name] = min(best[name], server.microseconds(request, 2000))
            print(f"| {label} | {' | '.join(f'{micros:.0f}' for micros in best.values())} |", flush=True)
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.wait(20)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    rows = []
    for label, request in (("1 field", SMALL), ("9 fields", LARGE)):
        title = f"{len(request)} bytes, {label}"
        parsed = [lambda count, module=module, request=request: requests(module, request, count) for module in (http, h11)]
        theirs = lambda count, request=request: httptools_requests(request, count)  # noqa: E731
        rows.append((f"a request, {title}", [(parsed[0], 5000), (parsed[1], 500), (theirs, 5000)]))
    for label, request in (("1 field", SMALL), ("9 fields", LARGE)):
        title = f"{len(request)} bytes, {label}"
        whole = [lambda count, module=module, request=request: exchanges(module, request, count) for module in (http, h11)]
        rows.append((f"an exchange, {title}", [(whole[0], 5000), (whole[1], 500), None]))
    table("nanoseconds", ["wirestate.http", "h11", "httptools"], rows, rounds)
    rows = []
    for size, counts in ((13, (5000, 500)), (1000, (5000, 500)), (60_000, (500, 20))):
        echoed = [lambda count, module=module, size=size: echoes(module, size, count) for module in (ws, wsproto)]
        rows.append((f"an echo of {size:,} bytes of text", list(zip(echoed, counts, strict=True))))
    table("nanoseconds", ["wirestate.ws", "wsproto"], rows, rounds)
    uvicorns(rounds)


if __name__ == "__main__":
    main()
