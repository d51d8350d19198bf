#!/usr/bin/env python3
"""comet's API where clients are connected to several processes: each call, at one of them, must hold for all.

usage: comet_api.py COMET

On both drivers, with the channels in the parent process and in Redis. Needs the package `websockets`, and for Redis
redis-server; without one its part is skipped, and said so.
"""

import asyncio
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import websockets

import lib
from comet_backend import backend
from comet_nodes import PATIENCE, API_TOKEN, Redis

SECRET = "0123456789abcdef0123456789abcdef"
RULES = """
[[channel]]
name = "*"
presence = true
join_leave = true
"""


class Server(lib.Server):
    """A running comet."""

    def __init__(self, comet, rules, driver, *flags, stderr=None):
        environment = {"COMET_API_TOKEN": API_TOKEN, "COMET_SECRET": SECRET}
        super().__init__(comet, "--driver", driver, "--config", rules, *flags, stderr=stderr, **environment)

    async def ask(self, path, body=None):
        fields = ["-H", f"Authorization: Bearer {API_TOKEN}", *(["-d", json.dumps(body)] if body is not None else [])]
        command = ["curl", "-sS", "--max-time", "10", *fields, f"http://{self.address}{path}"]
        asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        return json.loads(asked.stdout)


class Client:
    """A client, and what it heard."""

    def __init__(self, server, token):
        self.heard, self.code, self.server = [], None, server
        self.task = asyncio.create_task(self.run(f"ws://{server.address}/ws?token={token}"))

    async def run(self, url):
        async with websockets.connect(url) as socket:
            await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": "room"}))
            with contextlib.suppress(websockets.ConnectionClosed):
                async for message in socket:
                    self.heard.append(json.loads(message))
            self.code = socket.close_code

    def of(self, kind):
        return [message for message in self.heard if message["type"] == kind]


async def until(condition, what):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)
    return what


def token(comet, user):
    made = subprocess.run(
        [comet, "token", "--secret", SECRET, "--user", user, "--info", json.dumps({"name": user.title()})],
        capture_output=True, check=True, text=True,
    )
    return made.stdout.strip()


async def exercise(comet, servers, name):
    users = {user: await asyncio.to_thread(token, comet, user) for user in ("ann", "bob")}
    clients = {user: [Client(servers[index % len(servers)], users[user]) for index in range(8)] for user in users}
    everyone = clients["ann"] + clients["bob"]
    await until(lambda: all(client.of("subscribed") for client in everyone), "subscribed")
    workers = {(client.of("welcome")[0]["node"]) for client in everyone}
    assert len(workers) > 1, f"all clients came to one process: {workers}"
    # Everyone hears of those who came after it, wherever they are.
    await until(lambda: all(len({m["client"] for m in client.of("join")}) >= 1 for client in everyone), "joins")
    late = Client(servers[-1], users["ann"])
    await until(lambda: late.of("welcome"), "welcome")
    its_name = late.of("welcome")[0]["client"]
    comes = lambda kind: all(its_name in [m["client"] for m in client.of(kind)] for client in everyone)
    await until(lambda: comes("join"), "the join")
    there = await servers[0].ask("/api/presence?channel=room")
    assert there["total"] == 17 and there["users"] == 2, there
    assert {client["info"]["name"] for client in there["clients"]} == {"Ann", "Bob"}
    # A key counts on every process.
    first = await servers[0].ask("/api/publish", {"channel": "room", "data": 1, "key": "once"})
    for server in servers * 3:
        batch = [{"publish": {"channel": "room", "data": 1, "key": "once"}}, {"nothing": {}}]
        replies = (await server.ask("/api/batch", {"commands": batch}))["replies"]
        assert replies[0] == {"publish": first} and replies[1]["error"]["code"] == "bad-request", replies
    await until(lambda: all(client.of("publication") for client in everyone), "the publication")
    # By name, from another process; by user, everywhere.
    assert await servers[0].ask("/api/disconnect", {"client": its_name}) == {}
    await until(lambda: late.code == 3503, "the end of one client")
    await until(lambda: comes("leave"), "the leave")
    assert await servers[-1].ask("/api/unsubscribe", {"user": "bob", "channel": "room", "reason": "enough"}) == {}
    await until(lambda: all(client.of("unsubscribed") for client in clients["bob"]), "the end of subscriptions")
    assert await servers[-1].ask("/api/disconnect", {"user": "ann", "code": 4444, "reason": "gone"}) == {}
    await until(lambda: all(client.code == 4444 for client in clients["ann"]), "the end of a user")
    await asyncio.sleep(0.2)
    assert all(client.code is None for client in clients["bob"]), "another user was disconnected"
    there = await servers[0].ask("/api/presence?channel=room")
    assert there["total"] == 0, there
    assert all(len(client.of("publication")) == 1 for client in everyone)
    for client in everyone:
        client.task.cancel()
    print(f"api, {name}: batches, keys, presence, events and orders held on {len(workers)} processes")


async def administered(comet, rules, driver):
    """Metrics, health and the API at a listener of their own, in several processes; the log as JSON."""
    flags = ["--prefork", "2", "--admin-listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "info"]
    with tempfile.TemporaryFile("w+") as log:
        server = Server(comet, rules, driver, *flags, stderr=log)
        try:
            public, line = server.address, server.process.stdout.readline()
            assert line.startswith("administration on http://127.0.0.1:"), line
            client = Client(server, await asyncio.to_thread(token, comet, "ann"))
            await until(lambda: client.of("subscribed"), "subscribed")
            status = lambda address, path: subprocess.run(
                ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}{path}"], capture_output=True, text=True
            ).stdout
            admin = line.split("http://")[1].strip()
            await asyncio.sleep(2)
            for path in ("/metrics", "/healthz", "/readyz"):
                assert (status(public, path), status(admin, path)) == ("404", "200"), path
            assert (status(public, "/"), status(admin, "/")) == ("200", "404")
            # Every worker answers for all: their sum counts the one client, whichever is asked.
            for _ in range(10):
                metrics = subprocess.run(["curl", "-sS", f"http://{admin}/metrics"], capture_output=True, text=True).stdout
                values = [line.split() for line in metrics.splitlines() if line.startswith("comet_subscriptions{")]
                assert len(values) == 2 and sum(int(value) for _, value in values) >= 1, values
            server.address = admin
            assert await server.ask("/api/disconnect", {"user": "ann"}) == {}
            await until(lambda: client.code == 3503, "the end of the client")
            server.address = public
            await asyncio.to_thread(server.stop)
        finally:
            server.process.kill()
        log.seek(0)
        lines = [json.loads(line) for line in log]
        named = [line for line in lines if line.get("user") == "ann"]
        assert named and all({"timestamp", "level", "target", "message"} <= line.keys() for line in lines), lines
    print(f"admin, {driver}: administration apart from clients, on 2 workers; {len(lines)} lines of the log are JSON")


async def run(comet, driver):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as rules:
        rules.write(RULES)
        rules.flush()
        await administered(comet, rules.name, driver)
        server = Server(comet, rules.name, driver, "--prefork", "3")
        try:
            await exercise(comet, [server], f"{driver}, 3 workers")
            await asyncio.to_thread(server.stop)
        finally:
            server.process.kill()
        if not shutil.which("redis-server"):
            return print("SKIPPED api on Redis: there is no redis-server here")
        broker, servers = Redis(), []
        try:
            servers += [Server(comet, rules.name, name, "--broker", broker.url) for name in ("epoll", "tokio")]
            await exercise(comet, servers, "both drivers, Redis")
            for server in servers:
                await asyncio.to_thread(server.stop)
        finally:
            for process in (*servers, broker):
                process.process.kill()


def main():
    comet = pathlib.Path(sys.argv[1]).resolve()
    for driver in ("epoll", "tokio"):
        asyncio.run(run(comet, driver))
        asyncio.run(backend(comet, driver))


if __name__ == "__main__":
    sys.exit(main())
