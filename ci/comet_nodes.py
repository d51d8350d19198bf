#!/usr/bin/env python3
"""Breaks comet in parts: clients that come back must get every publication once, whatever was killed and started again.

usage: comet_nodes.py COMET [CASE...]

`workers`: one server of several processes, one of which is killed. `redis`: two servers on one Redis; one server is killed
and started again, then Redis. `amnesia`: Redis forgets everything, which clients are told. `handover`: a server is replaced
while it serves, which refuses nobody. `orphaned`: a successor is killed, at any moment, and the next must serve. `encrypted`:
Redis over TLS, with certificates both ways; `refused`: what cannot be a broker. On every driver. Needs the
package `websockets`, and for Redis redis-server; without one its cases are skipped, and said so.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import websockets

import lib
import peer_tls

PATIENCE = 20
CLIENTS = 30
# The number of successors that are killed.
ORPHANS = 10
API_TOKEN = "let-me-in"
CHANNEL = "news"
RULES = """
[[channel]]
name = "*"
history = 10000
history_bytes = 100000000
presence = true
"""


class Server(lib.Server):
    """comet, which may be killed and started again at the same address."""

    def __init__(self, comet, driver, *flags):
        self.rules = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.rules.write(RULES)
        self.rules.flush()
        super().__init__(comet, "--driver", driver, "--config", self.rules.name, *flags, COMET_API_TOKEN=API_TOKEN)

    @property
    def url(self):
        return f"ws://{self.address}/ws"

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data)
        request.add_header("Authorization", f"Bearer {API_TOKEN}")
        return json.load(urllib.request.urlopen(request, timeout=PATIENCE))

    def nodes(self):
        return {node["worker"]: node for node in self.ask("/api/nodes")["nodes"]}


class Client:
    """Subscribes, reconnects and resumes whenever it is disconnected, and records what it got."""

    def __init__(self, url):
        self.url = url
        self.epoch = self.offset = None
        self.first = None
        self.data = []
        self.losses = 0
        self.resets = 0
        self.worker = None
        self.closed = []
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            try:
                async with websockets.connect(self.url, open_timeout=PATIENCE) as self.socket:
                    await self.listen(self.socket)
                # An orderly end raises no exception.
                self.closed.append(self.socket.close_code)
                self.ready.clear()
            except (OSError, websockets.exceptions.WebSocketException, asyncio.TimeoutError) as error:
                if isinstance(error, websockets.exceptions.ConnectionClosed):
                    self.closed.append(error.rcvd.code if error.rcvd else 1006)
                self.ready.clear()
                await asyncio.sleep(0.05)

    async def listen(self, socket):
        since = {} if self.epoch is None else {"epoch": self.epoch, "offset": self.offset}
        await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": CHANNEL, **since}))
        async for text in socket:
            message = json.loads(text)
            kind = message["type"]
            if kind == "welcome":
                self.worker = message["worker"]
            elif kind == "subscribed":
                if self.epoch is None:
                    self.first = message["offset"]
                    self.offset = self.first
                elif not message["recovered"]:
                    self.losses += 1
                    self.offset = message["offset"]
                self.epoch = message["epoch"]
                for publication in message["publications"]:
                    self.take(publication)
                assert self.offset == message["offset"], (self.offset, message["offset"])
                self.ready.set()
            elif kind == "publication":
                self.take(message)
            elif kind == "reset":
                if message.get("recovered"):
                    # Another life of the broker that continues from the previous one.
                    assert message["offset"] == self.offset, (self.offset, message)
                else:
                    self.resets += 1
                self.epoch, self.offset = message["epoch"], message["offset"]
            elif kind == "error":
                assert message["code"] == "unavailable", message
                return
            else:
                raise AssertionError(message)

    def take(self, publication):
        assert publication["offset"] == self.offset + 1, f"after {self.offset} came {publication['offset']}"
        self.offset += 1
        self.data.append(publication["data"])


class Publisher:
    """Publishes numbers through several servers until it is told to end, and records which were accepted."""

    def __init__(self, servers):
        self.servers = servers
        self.going = True
        self.taken = {}
        self.refused = 0
        # A publisher that outlives a failed case must not keep the program running.
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        while self.going:
            number += 1
            try:
                answer = self.servers[number % len(self.servers)].ask(
                    "/api/publish", {"channel": CHANNEL, "data": number}
                )
                self.taken[number] = (answer["epoch"], answer["offset"])
            except (OSError, urllib.error.URLError):
                # It is unknown whether this was published, so it is not repeated.
                self.refused += 1
            time.sleep(0.005)

    async def end(self):
        self.going = False
        await asyncio.to_thread(self.thread.join)


async def settled(clients, publisher, reference):
    """Checks that every client has everything that the reference has, from its own start on."""
    await publisher.end()
    async with asyncio.timeout(PATIENCE):
        last = max(offset for _, offset in publisher.taken.values())
        while any(client.offset is None or client.offset < last for client in clients):
            for client in clients:
                if client.task.done():
                    client.task.result()
            await asyncio.sleep(0.05)
    history = reference.ask(f"/api/history?channel={CHANNEL}&limit=1000")
    kept = {publication["offset"]: publication["data"] for publication in history["publications"]}
    for client in clients:
        got = dict(zip(range(client.first + 1, client.offset + 1), client.data))
        assert client.losses == client.resets == 0, (client.losses, client.resets)
        for offset, data in kept.items():
            if offset > client.first:
                assert got[offset] == data, (offset, data, got[offset])
        # Every acknowledged publication arrived once, at the acknowledged position.
        for number, (epoch, offset) in publisher.taken.items():
            if offset > client.first:
                assert got[offset] == number, (number, epoch, offset, got.get(offset))
        assert len(set(client.data)) == len(client.data), "something came twice"


def end(clients):
    for client in clients:
        client.task.cancel()


async def workers(comet, driver):
    server = Server(comet, driver, "--prefork", "3")
    try:
        clients = [Client(server.url) for _ in range(CLIENTS)]
        await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), PATIENCE)
        publisher = Publisher([server])
        await asyncio.sleep(1)
        nodes = await asyncio.to_thread(server.nodes)
        assert len(nodes) == 3, nodes
        metrics = urllib.request.urlopen(f"http://{server.address}/metrics").read().decode()
        assert all(f'comet_connections{{worker="{worker}"}}' in metrics for worker in range(3))
        victim = max(nodes.values(), key=lambda node: sum(client.worker == node["worker"] for client in clients))
        # The length differs from what a worker reports about itself: only its own connections are lost.
        its, others = [], []
        for client in clients:
            (its if client.worker == victim["worker"] else others).append(client)
        assert its and others, (len(its), len(others))
        os.kill(victim["pid"], signal.SIGKILL)
        await asyncio.sleep(0.3)
        await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), PATIENCE)
        await asyncio.sleep(1)
        await settled(clients, publisher, server)
        assert all(client.closed == [1006] for client in its) and not any(client.closed for client in others)
        restarted = (await asyncio.to_thread(server.nodes))[victim["worker"]]
        assert restarted["pid"] != victim["pid"]
        presence = server.ask(f"/api/presence?channel={CHANNEL}")
        assert presence["total"] == CLIENTS, presence
        await asyncio.to_thread(server.stop)
        async with asyncio.timeout(PATIENCE):
            while not all(client.closed[-1:] == [1001] for client in clients):
                await asyncio.sleep(0.05)
        print(
            f"workers on {driver}: one of 3 was killed and restarted; its {len(its)} clients resumed, the other {len(others)} "
            f"noticed nothing; each got all of {len(publisher.taken)} publications once"
        )
        end(clients)
    finally:
        server.process.kill()


class Redis:
    def __init__(self, keeps=True):
        self.home = tempfile.TemporaryDirectory()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.keeps = keeps
        self.start()

    def start(self):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.home.name, "--save", ""]
        command += ["--appendonly", "yes" if self.keeps else "no", "--appendfsync", "always"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError("redis-server does not come up")

    def kill(self):
        self.process.kill()
        self.process.wait()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


async def redis(comet, driver):
    broker = Redis()
    other = {"epoll": "tokio", "tokio": "epoll"}[driver]
    servers = [Server(comet, name, "--broker", broker.url) for name in (driver, other)]
    try:
        clients = [Client(servers[number % 2].url) for number in range(CLIENTS)]
        await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), PATIENCE)
        publisher = Publisher(servers)
        await asyncio.sleep(1)
        servers[0].kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(servers[0].start)
        await asyncio.sleep(1)
        broker.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(PATIENCE):
            before = len(publisher.taken)
            while len(publisher.taken) < before + 100:
                await asyncio.sleep(0.05)
        await settled(clients, publisher, servers[1])
        print(
            f"redis on {driver} and {other}: a server, then Redis was killed and restarted; each of {CLIENTS} clients got all of "
            f"{len(publisher.taken)} publications once; {publisher.refused} were refused meanwhile"
        )
        end(clients)
        for server in servers:
            await asyncio.to_thread(server.stop)
    finally:
        for process in (*servers, broker):
            process.process.kill()


async def amnesia(comet, driver):
    broker = Redis(keeps=False)
    server = Server(comet, driver, "--broker", broker.url)
    try:
        clients = [Client(server.url) for _ in range(5)]
        await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), PATIENCE)
        await asyncio.to_thread(server.ask, "/api/publish", {"channel": CHANNEL, "data": "before"})
        # Redis answers the publisher before it tells the subscribers. If it dies in between, they lose the publication, and are told.
        async with asyncio.timeout(PATIENCE):
            while not all(client.data == ["before"] for client in clients):
                await asyncio.sleep(0.01)
        broker.kill()
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(PATIENCE):
            while not all(client.resets for client in clients):
                await asyncio.sleep(0.05)
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(urllib.error.URLError):
                    await asyncio.to_thread(server.ask, "/api/publish", {"channel": CHANNEL, "data": "after"})
                    break
        async with asyncio.timeout(PATIENCE):
            while not all(client.data == ["before", "after"] for client in clients):
                await asyncio.sleep(0.05)
        print(f"amnesia on {driver}: Redis forgot everything; every client was told, and went on")
        end(clients)
        await asyncio.to_thread(server.stop)
    finally:
        server.process.kill()
        broker.process.kill()


async def handover(comet, driver):
    broker = Redis()
    with tempfile.TemporaryDirectory() as home:
        flags = ["--broker", broker.url, "--handover", f"{home}/handover"]
        server = Server(comet, driver, *flags)
        try:
            clients = [Client(server.url) for _ in range(CLIENTS)]
            await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), PATIENCE)
            publisher = Publisher([server])
            generations = 0
            for prefork in (["--prefork", "2"], [], ["--prefork", "3"]):
                await asyncio.sleep(0.7)
                old, clean = server.process, server.command
                server.command = [*clean, *prefork]
                await asyncio.to_thread(server.start)
                server.command = clean
                assert await asyncio.to_thread(old.wait, PATIENCE) == 0
                generations += 1
                async with asyncio.timeout(PATIENCE):
                    # A client that reconnects while another process of the old server still accepts may be disconnected
                    # twice.
                    while not all(len(client.closed) >= generations and client.ready.is_set() for client in clients):
                        await asyncio.sleep(0.05)
            await settled(clients, publisher, server)
            assert publisher.refused == 0, publisher.refused
            assert all(set(client.closed) == {1001} for client in clients)
            print(
                f"handover on {driver}: a server was replaced {generations} times; none of {len(publisher.taken)} requests was "
                f"refused, and each of {CLIENTS} clients got every publication once"
            )
            end(clients)
            await asyncio.to_thread(server.stop)
        finally:
            server.process.kill()
            broker.process.kill()


async def orphaned(comet, driver):
    """A successor is killed at some moment of the handover. The next one to start must serve, while the first still drains."""
    chance, taken = random.Random(1), 0
    for moment in range(ORPHANS):
        with tempfile.TemporaryDirectory() as home:
            server = Server(comet, driver, "--handover", f"{home}/handover", "--drain", "20s")
            first = server.process
            try:
                # An incomplete request, which keeps the first server from ending.
                with socket.create_connection(server.endpoint, PATIENCE) as unfinished:
                    unfinished.sendall(b"POST /api/publish HTTP/1.1\r\nHost: rig\r\n")
                    await asyncio.sleep(0.05)
                    command = [*server.command, "--listen", server.address]
                    if moment % 2:
                        # Kill the successor at a random moment of its start.
                        server.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=server.environment)
                        await asyncio.sleep(chance.random() * 0.04)
                    else:
                        # Kill the successor just after it has taken over.
                        await asyncio.to_thread(server.start)
                        await asyncio.sleep(chance.random() * 0.1)
                    server.process.kill()
                    server.process.wait()
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(server.start)
                    await asyncio.to_thread(server.nodes)
                    taken += first.poll() is None
            finally:
                for process in (first, server.process):
                    process.kill()
                    process.wait()
    print(f"orphaned on {driver}: {ORPHANS} successors were killed; the next served every time, {taken} times beside the first")


async def encrypted(comet, driver):
    """Redis over TLS with certificates on both sides: the connection is cut and made anew, and an untrusted side gets a clear error."""
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        (authority, _), (stranger, _) = peer_tls.make(home, "authority"), peer_tls.make(home, "stranger")
        certificate, key = peer_tls.make(home, "localhost", "DNS:localhost", by="authority")
        port = lib.free_port()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", str(port), "--dir", home, "--save", ""]
        command += ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authority, "--tls-auth-clients", "yes"]
        broker = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"rediss://localhost:{port}?ca={authority}&cert={certificate}&key={key}"
        servers = []
        try:
            lib.wait_for_port(port, broker)
            servers.append(Server(comet, driver, "--broker", url))
            clients = [Client(servers[0].url) for _ in range(CLIENTS)]
            await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), PATIENCE)
            publisher = Publisher(servers)
            await asyncio.sleep(0.5)
            cli = ["redis-cli", "-p", str(port), "--tls", "--cacert", authority, "--cert", certificate, "--key", key]
            for kind in ("normal", "pubsub"):
                subprocess.run([*cli, "-h", "localhost", "client", "kill", "type", kind], check=True, stdout=subprocess.DEVNULL)
            await asyncio.sleep(1)
            await settled(clients, publisher, servers[0])
            end(clients)
            # A wrong authority, a client without a certificate, and a wrong name are all refused.
            for bad in (f"rediss://localhost:{port}?ca={stranger}", f"rediss://127.0.0.1:{port}?ca={authority}&cert={certificate}&key={key}"):
                command = [comet, "--driver", driver, "--listen", "127.0.0.1:0", "--broker", bad]
                lonely = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                said = await asyncio.to_thread(lonely.stderr.readline)
                lonely.kill()
                assert "TLS: " in said and "certificate" in said, said
        finally:
            for server in servers:
                server.process.kill()
            broker.kill()
            broker.wait()
    print(f"encrypted on {driver}: {len(publisher.taken)} publications over TLS, links cut meanwhile; strangers were refused in words")


async def refused(comet, driver):
    """A server that can never be a broker is refused when comet starts, with a clear error."""
    for flags, word in ((["--cluster-enabled", "yes"], "Redis Cluster"), (["--sentinel"], "Redis Sentinel")):
        with tempfile.TemporaryDirectory() as home:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            settings = pathlib.Path(home, "settings.conf")
            settings.write_text(f"port {port}\nbind 127.0.0.1\ndir {home}\n")
            broker = subprocess.Popen(["redis-server", settings, *flags], stdout=subprocess.DEVNULL)
            try:
                async with asyncio.timeout(PATIENCE):
                    while True:
                        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                            break
                        await asyncio.sleep(0.02)
                command = [comet, "--driver", driver, "--listen", "127.0.0.1:0", "--broker", f"redis://127.0.0.1:{port}"]
                said = await asyncio.to_thread(
                    subprocess.run, command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
                )
                assert said.returncode == 2 and word in said.stderr, said
            finally:
                broker.kill()
                broker.wait()
    print(f"refused on {driver}: Redis Cluster and Redis Sentinel, with exit status 2")


def main():
    cases = {"workers": workers, "redis": redis, "amnesia": amnesia, "handover": handover}
    cases |= {"orphaned": orphaned, "encrypted": encrypted, "refused": refused}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comet", type=pathlib.Path)
    parser.add_argument("cases", nargs="*", choices=[*cases, []], metavar="CASE")
    options = parser.parse_args()
    for case in options.cases or cases:
        if case not in ("workers", "orphaned") and not shutil.which("redis-server"):
            print(f"SKIPPED {case}: there is no redis-server here")
            continue
        for driver in ("epoll", "tokio"):
            asyncio.run(cases[case](options.comet.resolve(), driver))


if __name__ == "__main__":
    sys.exit(main())
