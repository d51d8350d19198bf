"""A back end that comet tells and asks, with comet in several processes. Part of comet_api.py.

The signatures are checked as docs/comet-backend.md says.
"""

import asyncio
import contextlib
import hmac
import http.server
import json
import tempfile
import threading
import time

import websockets

import lib
from comet_nodes import PATIENCE, API_TOKEN

SECRET = "fedcba9876543210fedcba9876543210"
CLIENTS = 40
RULES = """
[[channel]]
name = "room"
subscribe = "proxy"
publish = "proxy"
[[channel]]
name = "own"
"""


def is_from_comet(field, body, secret, now):
    time, signature = field.removeprefix("t=").split(",v1=")
    expected = hmac.new(secret, time.encode() + b"." + body, "sha256").hexdigest()
    return hmac.compare_digest(signature, expected) and abs(now - int(time)) < 300


class Operator(http.server.BaseHTTPRequestHandler):
    """Lets in clients with the cookie of a user, whoever is not bob in the room, and checks what they publish."""

    protocol_version = "HTTP/1.1"
    batches, forged, refused = [], [], 3

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_from_comet(self.headers["Comet-Signature"], body, SECRET.encode(), time.time()):
            self.forged.append(body)
        asked = json.loads(body)
        status, answer = 200, {}
        if self.path == "/events":
            # In vain at first: comet must repeat.
            if type(self).refused > 0:
                type(self).refused -= 1
                status = 503
            else:
                self.batches.append(asked)
        elif self.path == "/connect":
            name = asked["headers"].get("cookie", "").removeprefix("user=")
            answer = {"allow": bool(name), "user": name, "channels": ["own"], "reason": "no cookie"}
        elif self.path == "/subscribe":
            answer = {"allow": asked["user"] != "bob", "reason": "not bob"}
        else:
            answer = {"allow": True, "data": {"checked": asked["data"]}}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def handle(self):
        # A process of comet that ends resets its idle connections.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_):
        pass


async def hear(client, kind):
    async with asyncio.timeout(PATIENCE):
        while True:
            message = json.loads(await client.recv())
            if message["type"] == kind:
                return message


async def ask(client, kind, answer, **fields):
    await client.send(json.dumps({"type": kind, "id": 1, **fields}))
    return await hear(client, answer)


async def converse(url):
    """Clients that are let in, and some that are not."""
    async with contextlib.AsyncExitStack() as stack:

        async def come(name):
            client = await stack.enter_async_context(websockets.connect(url, additional_headers={"Cookie": f"user={name}"}))
            assert (await hear(client, "welcome"))["user"] == name
            assert (await hear(client, "subscribed"))["channel"] == "own"
            return client

        clients = await asyncio.gather(*(come(f"u{number}") for number in range(CLIENTS)))
        for client in clients:
            await ask(client, "subscribe", "subscribed", channel="room")
        bob = await come("bob")
        assert (await ask(bob, "subscribe", "error", channel="room"))["reason"] == "not bob"
        await clients[0].send(json.dumps({"type": "publish", "id": 2, "channel": "room", "data": "hello"}))
        for client in clients:
            publication = await hear(client, "publication")
            assert (publication["data"], publication["user"]) == ({"checked": "hello"}, "u0"), publication
        stranger = await stack.enter_async_context(websockets.connect(url))
        await stranger.wait_closed()
        assert (stranger.close_code, stranger.close_reason) == (3507, "no cookie")


def judge(batches):
    """Each process has told its own events without gaps, and together they tell what has happened."""
    counts, told = {}, {}
    for batch in batches:
        assert batch["lost"] == 0, batch
        of_process = told.setdefault((batch["node"], batch["start"]), [])
        of_process += [event["number"] for event in batch["events"]]
        for event in batch["events"]:
            key = event["event"] + (f" {event['occupied']}" if "occupied" in event else "")
            counts[key] = counts.get(key, 0) + 1
    for numbers in told.values():
        assert numbers == list(range(1, len(numbers) + 1)), numbers
    people = CLIENTS + 1
    subscriptions = CLIENTS + people
    expected = {"start": 2, "connect": people, "disconnect": people, "subscribe": subscriptions, "unsubscribe": subscriptions, "publish": 1}
    assert expected.items() <= counts.items(), counts
    assert counts["presence True"] == counts["presence False"] >= 2, counts


async def backend(comet, driver):
    Operator.batches, Operator.forged, Operator.refused = [], [], 3
    operator = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Operator)
    threading.Thread(target=operator.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{operator.server_port}"
    urls = [("--webhook", "events"), ("--connect-proxy", "connect"), ("--subscribe-proxy", "subscribe"), ("--publish-proxy", "publish")]
    flags = [word for flag, path in urls for word in (flag, f"{there}/{path}")]
    environment = {"COMET_API_TOKEN": API_TOKEN, "COMET_BACKEND_SECRET": SECRET, "COMET_LOG_LEVEL": "error"}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as rules:
        rules.write(RULES)
        rules.flush()
        server = lib.Server(comet, "--driver", driver, "--config", rules.name, "--prefork", "2", *flags, **environment)
        try:
            await converse(f"ws://{server.address}/ws")
            # What is not told yet is told at the end.
            await asyncio.to_thread(server.stop)
        finally:
            server.process.kill()
            operator.shutdown()
    assert Operator.forged == []
    judge(Operator.batches)
    events = sum(len(batch["events"]) for batch in Operator.batches)
    print(f"{driver}: a back end was told {events} events in {len(Operator.batches)} batches, and asked about {CLIENTS + 2} clients")
