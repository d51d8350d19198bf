#!/usr/bin/env python3
"""Uses comet through clients of Centrifugo, unchanged: centrifuge-js, and centrifuge-python.

usage: comet_centrifugo.py COMET

On both drivers, with the channels in memory, in the parent of several processes, and in Redis if there is redis-server. Needs
the Python package `centrifuge-python`, and with NODE_PATH the Node packages `centrifuge` and `ws`.
"""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler
from centrifuge.exceptions import ReplyError

import lib
from comet_nodes import Redis

PATIENCE = 10
API_TOKEN = "let-me-in"
SECRET = "0123456789abcdef0123456789abcdef"
RULES = """
[[channel]]
name = "room*"
publish = "anyone"
presence = true
join_leave = true
[[channel]]
name = "private"
subscribe = "token"
[[channel]]
name = "few"
history = 3
[[channel]]
name = "state"
latest = true
[[channel]]
name = "score"
delta = true
[[channel]]
name = "quiet"
[[channel]]
name = "news"
"""


def token(seconds=3600, **claims):
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    claims["exp"] = time.time() + seconds
    signed = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


class Server(lib.Server):
    def __init__(self, comet, rules, driver, *flags):
        super().__init__(comet, "--driver", driver, "--config", rules, *flags, COMET_API_TOKEN=API_TOKEN, COMET_SECRET=SECRET)

    def ask(self, path, body=None):
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {API_TOKEN}"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (path, answer.status, text)
        return json.loads(text)


def javascript(server):
    tokens = {
        "ann": token(sub="ann", info={"name": "Ann"}),
        "bob": token(sub="bob"),
        "short": token(4, sub="short"),
        "long": token(sub="short"),
        "ended": token(-1, sub="short"),
        "served": token(sub="served", channels=["news"]),
    }
    command = ["node", pathlib.Path(__file__).with_name("comet_centrifugo.mjs"), server.address, API_TOKEN, json.dumps(tokens)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return len(json.loads(ran.stdout))


class Heard(ClientEventHandler, SubscriptionEventHandler):
    """Keeps what happened."""

    def __init__(self):
        self.events = []

    async def next(self, name, count=1):
        async with asyncio.timeout(PATIENCE):
            while len(self.of(name)) < count:
                await asyncio.sleep(0.01)
        return self.of(name)[count - 1]

    def of(self, name):
        return [context for known, context in self.events if known == name]


def keep(name):
    async def handler(self, context):
        self.events.append((name, context))

    return handler


for event in ("connected", "connecting", "disconnected", "subscribed", "unsubscribed", "subscribing", "publication", "join", "leave"):
    setattr(Heard, f"on_{event}", keep(event))


async def code(awaitable):
    try:
        await awaitable
    except ReplyError as error:
        return error.code


async def python(server):
    url = f"ws://{server.address}/connection/websocket"
    heard, in_room = Heard(), Heard()
    ann = Client(url, token=token(sub="ann", info={"name": "Ann"}), events=heard, min_reconnect_delay=0.02)
    await ann.connect()
    name = (await heard.next("connected")).client
    room = ann.new_subscription("room:python", events=in_room)
    await room.subscribe()
    await in_room.next("subscribed")
    assert (await in_room.next("join")).info.client == name
    await room.publish({"text": "hello"})
    publication = (await in_room.next("publication")).pub
    assert publication.data == {"text": "hello"} and publication.offset == 1 and publication.info.user == "ann", publication
    presence = await room.presence()
    assert presence.clients[name].conn_info == {"name": "Ann"}, presence
    stats = await room.presence_stats()
    assert (stats.num_clients, stats.num_users) == (1, 1), stats
    history = await room.history(limit=10)
    assert [one.data for one in history.publications] == [{"text": "hello"}], history
    refused, quiet = Heard(), ann.new_subscription("quiet")
    await ann.new_subscription("private", events=refused).subscribe()
    assert (await refused.next("unsubscribed")).code == 103
    await quiet.subscribe()
    await quiet.ready()
    assert await code(ann.rpc("x", {})) == 104
    assert await code(quiet.presence_stats()) == 108
    # The connection is lost.
    await ann._conn.close()
    await heard.next("connected", 2)
    back = await in_room.next("subscribed", 2)
    assert back.was_recovering and back.recovered, back
    server.ask("/api/publish", {"channel": "room:python", "data": 2})
    assert (await in_room.next("publication", 2)).pub.offset == 2
    server.ask("/api/unsubscribe", {"user": "ann", "channel": "room:python"})
    assert (await in_room.next("unsubscribed")).code == 2000
    server.ask("/api/disconnect", {"user": "ann", "code": 4500, "reason": "gone"})
    assert (await heard.next("disconnected")).code == 4500


def events(server):
    """A stream of events, as uni_sse has it."""
    host, port = server.address.rsplit(":", 1)
    connect = {"token": token(sub="eve"), "subs": {"news": {}}}
    for method in ("GET", "POST"):
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        query = urllib.parse.quote(json.dumps(connect))
        path = "/connection/uni_sse" + (f"?cf_connect={query}" if method == "GET" else "")
        connection.request(method, path, json.dumps(connect) if method == "POST" else None)
        stream = connection.getresponse()
        assert stream.status == 200 and stream.headers["Content-Type"] == "text/event-stream"

        def push():
            while True:
                line = stream.readline()
                assert line, "the stream has ended"
                if line.startswith(b"data: "):
                    return json.loads(line[6:])

        assert push()["connect"]["client"]
        assert push()["subscribe"]["recoverable"]
        server.ask("/api/publish", {"channel": "news", "data": method})
        assert push()["pub"]["data"] == method
        server.ask("/api/disconnect", {"user": "eve", "code": 4500, "reason": "gone"})
        assert push() == {"disconnect": {"code": 4500, "reason": "gone"}}
        assert stream.read().strip() == b"", "more after the end"


def exercise(server, name):
    checks = javascript(server)
    asyncio.run(python(server))
    events(server)
    print(f"centrifugo, {name}: centrifuge-js passed {checks} checks; centrifuge-python and event streams passed")


def main():
    comet = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as rules:
        rules.write(RULES)
        rules.flush()
        for driver, flags in (("epoll", []), ("tokio", ["--prefork", "2"])):
            server = Server(comet, rules.name, driver, *flags)
            try:
                exercise(server, " ".join([driver, *flags]))
                server.stop()
            finally:
                server.process.kill()
        if not shutil.which("redis-server"):
            return print("SKIPPED centrifugo on Redis: there is no redis-server here")
        for driver in ("epoll", "tokio"):
            broker, server = Redis(), None
            try:
                server = Server(comet, rules.name, driver, "--broker", broker.url)
                exercise(server, f"{driver}, Redis")
                server.stop()
            finally:
                for process in filter(None, (server, broker)):
                    process.process.kill()


if __name__ == "__main__":
    sys.exit(main())
