"""The parts of comet's rig: servers, Redis, and a proxy between them that simulates network faults."""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import tempfile
import time

# The program that the rig calls Redis: redis-server or valkey-server.
REDIS_SERVER = os.environ.get("REDIS_SERVER", "redis-server")
API_TOKEN = "let-me-in"
SECRET = "0123456789abcdef0123456789abcdef"
RULES = """
[[channel]]
name = "secret:*"
subscribe = "token"
publish = "nobody"

[[channel]]
name = "*"
publish = "anyone"
history = 500
history_bytes = 4000000
presence = true
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Process:
    """A process that can be frozen."""

    process = None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class Redis(Process):
    """A Redis of the rig; `keeps` says whether it persists every write."""

    def __init__(self, keeps=True, master=None):
        self.home = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.keeps = keeps
        self.master = master
        self.start()

    def start(self, keeps=None):
        keeps = self.keeps if keeps is None else keeps
        command = [REDIS_SERVER, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.home.name]
        command += ["--save", "", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]
        command += ["--appendonly", "yes" if keeps else "no", "--appendfsync", "always"]
        if self.master:
            command += ["--replicaof", "127.0.0.1", str(self.master)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            with contextlib.suppress(OSError, AssertionError):
                if self.ask("PING") == b"+PONG":
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server does not come up")

    def ask(self, *words, patience=10):
        """Returns the first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), patience) as connection:
            parts = [str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            answer = b""
            while b"\r\n" not in answer:
                more = connection.recv(4096)
                assert more, f"{words}: no answer"
                answer += more
            return answer.split(b"\r\n")[0]

    def dump(self):
        assert self.ask("SAVE") == b"+OK"
        return pathlib.Path(self.home.name, "dump.rdb").read_bytes()

    def restore(self, dump):
        """Replaces the persisted data by an older dump."""
        subprocess.run(["rm", "-rf", f"{self.home.name}/appendonlydir"], check=True)
        pathlib.Path(self.home.name, "dump.rdb").write_bytes(dump)


class Proxy:
    """Passes connections on to a port, and disturbs them."""

    def __init__(self, to, seed):
        self.to = to
        self.random = random.Random(seed)
        self.mode = "pass"
        self.pairs = set()
        self.port = None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        if self.mode == "refuse":
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, there[1])
        self.pairs.add(pair)
        budget = [self.random.randrange(200, 20000)]
        # Cancelled with the program, when nothing waits for this task any more.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self.pump(reader, there[1], budget), self.pump(there[0], writer, budget))
        for end in pair:
            end.transport.abort()
        self.pairs.discard(pair)

    async def pump(self, reader, writer, budget):
        with contextlib.suppress(OSError):
            while data := await reader.read(self.random.randrange(1, 65536)):
                while self.mode == "hold":
                    await asyncio.sleep(0.05)
                if self.mode == "swallow":
                    continue
                if self.mode == "delay":
                    await asyncio.sleep(self.random.random() * 0.2)
                if self.mode == "cut":
                    budget[0] -= len(data)
                    if budget[0] < 0:
                        # Cut in the middle of a message.
                        writer.write(data[: len(data) // 2])
                        await asyncio.sleep(0.01)
                        writer.transport.abort()
                        return
                if self.mode == "half-close":
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

    def drop(self):
        for pair in list(self.pairs):
            for end in pair:
                end.transport.abort()


class Comet(Process):
    """comet, which may be killed and started again at the same address."""

    def __init__(self, program, driver, *flags):
        self.rules = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.rules.write(RULES)
        self.rules.flush()
        self.log = tempfile.TemporaryFile("w+")
        self.command = [program, "--driver", driver, "--config", self.rules.name, "--drain", "2s", *flags]
        self.driver = driver
        self.address = "127.0.0.1:0"
        self.start()

    def start(self):
        environment = os.environ | {"COMET_API_TOKEN": API_TOKEN, "COMET_SECRET": SECRET}
        command = [*self.command, "--listen", self.address]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)
        self.address = self.process.stdout.readline().strip().removeprefix("listening on http://")
        assert self.address, "comet does not come up: " + self.said()
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)
        self.url = f"ws://{self.address}/ws"

    def change_rules(self, rules):
        """Makes comet read other rules while it serves."""
        self.rules.seek(0)
        self.rules.truncate()
        self.rules.write(rules)
        self.rules.flush()
        self.process.send_signal(signal.SIGHUP)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    async def request(self, path, body=None, patience=20, fields=""):
        """Returns the status and the content of an answer."""
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                content = b"" if body is None else json.dumps(body).encode()
                method = "GET" if body is None else "POST"
                head = f"{method} {path} HTTP/1.1\r\nHost: rig\r\nConnection: close\r\nAuthorization: Bearer {API_TOKEN}\r\n"
                writer.write(f"{head}{fields}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                answer = await reader.read()
                head, _, content = answer.partition(b"\r\n\r\n")
                if not head:
                    raise ConnectionResetError("no answer")
                return int(head.split()[1]), content
            finally:
                writer.transport.abort()

    async def ask(self, path, body=None):
        status, content = await self.request(path, body)
        assert status == 200, (status, content)
        return json.loads(content)


def token(program, *, seconds, user="rig", subscribe="secret:*"):
    command = [program, "token", "--secret", SECRET, "--user", user, "--subscribe", subscribe, "--valid", f"{seconds}s"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
