"""How comet is operated: settings read again at SIGHUP, an end in two phases, and Unix sockets. `comet.py` runs this."""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import websockets

import lib

PATIENCE = 20
SECRET = "0123456789abcdef0123456789abcdef"


class Comet:
    """A comet whose settings are in a file that changes, and whose log is read."""

    def __init__(self, comet, driver, settings, *flags):
        self.home = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.home.name, "comet.toml")
        self.write(settings)
        self.lines = []
        command = [comet, "--driver", driver, "--config", self.file, *flags]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.address = self.process.stdout.readline().split()[-1].removeprefix("http://")
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()

    def write(self, settings):
        self.file.write_text(settings)

    def logs(self, text):
        """Waits for a line of the log."""
        until = time.monotonic() + PATIENCE
        while not any(text in line for line in list(self.lines)):
            assert time.monotonic() < until, f"no line says {text!r}: {''.join(self.lines)}"
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.02)

    def reload(self, settings, expected):
        self.lines.clear()
        self.write(settings)
        self.process.send_signal(signal.SIGHUP)
        self.logs(expected)

    def status(self, path, token=None):
        request = urllib.request.Request(f"http://{self.address}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def nodes(self, token):
        fields = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://{self.address}/api/nodes", headers=fields)
        return json.load(urllib.request.urlopen(request, timeout=PATIENCE))["nodes"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        lib.end(self.process)
        self.process.stdout.close()
        self.home.cleanup()


async def heard(client, kind):
    async with asyncio.timeout(PATIENCE):
        while True:
            message = json.loads(await client.recv())
            if message["type"] == kind:
                return message


def eventually(true, what):
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.02)


async def reloading(comet, driver, workers):
    """New rules end what they forbid; a wrong file changes nothing; what needs a restart is named."""
    listen = 'listen = ["127.0.0.1:0"]\n' + (f"prefork = {workers}\n" if workers else "")
    first = listen + 'api_token = "one"\n'
    second = listen + 'api_token = "two"\nthreads = 3\n[[channel]]\nname = "open"\n'
    with Comet(comet, driver, first) as server:
        url = f"ws://{server.address}/ws"
        async with contextlib.AsyncExitStack() as stack:
            # Enough for every process to have one.
            clients = [await stack.enter_async_context(websockets.connect(url)) for _ in range(8 if workers else 1)]
            for client in clients:
                for channel in ("news", "open"):
                    await client.send(json.dumps({"type": "subscribe", "channel": channel}))
                    await heard(client, "subscribed")
            for wrong in ("threads = 'many'", "listen = ['nowhere']", "[[channel]]\nname = 'x'\nsubscribe = 'token'", "=", "tls_cert = ['/a']"):
                await asyncio.to_thread(server.reload, wrong, "nothing has changed")
            assert server.status("/api/nodes", "one") == 200 and server.status("/events?channel=news") == 200
            await asyncio.to_thread(server.reload, second, "the settings were read again: api_token, channel")
            await asyncio.to_thread(server.logs, "threads has changed in the settings, and takes effect only when")
            for client in clients:
                gone = await heard(client, "unsubscribed")
                assert gone["channel"] == "news" and gone["code"] == "forbidden", gone
        for token, status in (("one", 401), ("two", 200)):
            for _ in range(8 if workers else 1):
                assert server.status("/api/nodes", token) == status
        if workers:
            # A process that is started now has the settings in force, although the file is wrong.
            server.write("nonsense")
            await asyncio.to_thread(eventually, lambda: len(server.nodes("two")) == workers, "a process does not report")
            nodes = server.nodes("two")
            for node in nodes:
                os.kill(node["pid"], signal.SIGKILL)
            await asyncio.to_thread(server.logs, "is restarted")
            for token, status in (("one", 401), ("two", 200)):
                for _ in range(8):
                    assert server.status("/api/nodes", token) == status
        # SIGHUP to all processes, as from a terminal, ends none.
        server.lines.clear()
        server.write(second)
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.logs, "the settings were read again")
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0, server.lines


def leaving(comet, driver, workers):
    """At first comet is only not ready; it accepts and serves until the delay is over, or a second signal arrives."""
    settings = 'listen = ["127.0.0.1:0"]\ndrain = "2s"\ndrain_delay = "{}"\n' + (f"prefork = {workers}\n" if workers else "")
    for delay, hurries in (("1s", False), ("1h", True)):
        with Comet(comet, driver, settings.format(delay)) as server:
            eventually(lambda: server.status("/readyz") == 200, "not ready")
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: server.status("/readyz") == 503, "still ready")
            assert server.status("/healthz") == 200 and server.status("/events?channel=%20") == 400
            if hurries:
                # Each process has noticed the first.
                for _ in range(workers or 1):
                    server.logs("leaving: not ready any more")
                time.sleep(0.1)
                server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0, server.lines
            took = time.monotonic() - begun
            assert took < 10 and (hurries or took >= 1), took


class Local(http.client.HTTPConnection):
    """A connection over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


def local(comet, driver, workers):
    """comet serves Unix sockets, replaces what a killed one has left, and removes its own."""
    with tempfile.TemporaryDirectory() as home:
        path, admin = pathlib.Path(home, "comet.sock"), pathlib.Path(home, "admin.sock")
        settings = f'listen = ["unix:{path}"]\nadmin_listen = "unix:{admin}"\nunix_mode = "660"\n'
        settings += 'max_per_address = 1\ntrusted_proxies = ["unix"]\n' + (f"prefork = {workers}\n" if workers else "")

        def status(socket, target, **fields):
            connection = Local(socket)
            connection.request("GET", target, headers=fields)
            answer = connection.getresponse()
            return answer.status, connection

        for kills in (True, False):
            with Comet(comet, driver, settings) as server:
                assert server.address == f"unix:{path}", server.address
                assert path.stat().st_mode & 0o777 == 0o660 and admin.stat().st_mode & 0o777 == 0o660
                assert status(admin, "/healthz")[0] == 200 and status(path, "/healthz")[0] == 404
                if not workers:
                    # The proxy's field tells clients apart.
                    one = status(path, "/events?channel=a", **{"X-Forwarded-For": "192.0.2.1"})
                    two = status(path, "/events?channel=a", **{"X-Forwarded-For": "192.0.2.2"})
                    again = status(path, "/events?channel=a", **{"X-Forwarded-For": "192.0.2.1"})
                    assert (one[0], two[0], again[0]) == (200, 200, 429), (one, two, again)
                    for _, connection in (one, two, again):
                        connection.close()
                # Nobody else may have the path.
                other = subprocess.run(
                    [comet, "--listen", f"unix:{path}"], stderr=subprocess.PIPE, text=True, timeout=PATIENCE
                )
                assert other.returncode == 2 and "another program listens there" in other.stderr, other
                if kills:
                    server.process.kill()
                    server.process.wait()
                    assert path.exists()
                    eventually(lambda: refuses(path), "the processes of a killed parent still serve")
                else:
                    server.process.send_signal(signal.SIGTERM)
                    assert server.process.wait(PATIENCE) == 0
        assert list(pathlib.Path(home).iterdir()) == [], "files are left"


def refuses(path):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
            return False
        except OSError:
            return True


def exercise(comet, driver):
    for workers in (0, 2):
        asyncio.run(reloading(comet, driver, workers))
        leaving(comet, driver, workers)
        local(comet, driver, workers)
    print(f"{driver}: SIGHUP, an end in two phases, Unix sockets; in one process and in two")
