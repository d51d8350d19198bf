"""Clients of comet's rig, which record all that they receive, and the judge of these records."""

import asyncio
import contextlib
import json
import time

import websockets
import websockets.exceptions


class Subscriber:
    """Follows one channel, reconnects whenever it is disconnected, and resumes at its position."""

    def __init__(self, server, channel, name):
        self.server, self.channel, self.name = server, channel, name
        self.epoch = self.offset = None
        # (time, epoch, offset, data), in the order of arrival.
        self.got = []
        # (time, type, details): every message that reported a possible loss.
        self.told = []
        self.began = None
        self.faults = []
        self.closes = []
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            with contextlib.suppress(OSError, websockets.exceptions.WebSocketException, asyncio.TimeoutError, EOFError):
                await self.once()
            self.ready.clear()
            await asyncio.sleep(0.1)

    def lost(self, what, **details):
        self.told.append((time.time(), what, details))

    def take(self, offset, data, epoch=None):
        epoch = epoch or self.epoch
        if offset != self.offset + 1:
            self.faults.append(f"{self.name}: after {self.epoch}:{self.offset} came {epoch}:{offset}, in silence")
        self.epoch, self.offset = epoch, offset
        self.got.append((time.time(), epoch, offset, data))

    def starts(self):
        if self.began is None:
            self.began = time.time()
        self.ready.set()


class Socket(Subscriber):
    """Over WebSocket."""

    async def once(self):
        async with websockets.connect(self.server.url, open_timeout=5, ping_timeout=None, max_size=None) as self.socket:
            since = {} if self.epoch is None else {"epoch": self.epoch, "offset": self.offset}
            await self.socket.send(json.dumps({"type": "subscribe", "id": "s", "channel": self.channel, **since}))
            async for text in self.socket:
                message = json.loads(text)
                if message["type"] == "error":
                    return
                self.heard(message)
        self.closes.append(self.socket.close_code)

    def heard(self, message):
        kind = message["type"]
        if kind == "subscribed":
            publications = message["publications"]
            before = message["offset"] - len(publications)
            if self.epoch is None:
                self.offset = before
            elif not message["recovered"]:
                self.lost("unrecovered", since=(self.epoch, self.offset), at=message["offset"])
                self.offset = before
            self.epoch = message["epoch"]
            for publication in publications:
                self.take(publication["offset"], publication["data"])
            if self.offset != message["offset"]:
                self.faults.append(f"{self.name}: subscribed at {message['offset']}, with publications up to {self.offset}")
            self.starts()
        elif kind == "publication":
            self.take(message["offset"], message["data"])
        elif kind == "missed":
            if message["from"] != self.offset + 1:
                self.faults.append(f"{self.name}: at {self.offset} it was told that it missed {message}")
            self.lost("missed", **message)
            self.offset = message["to"]
        elif kind == "reset":
            if not message.get("recovered"):
                self.lost("reset", **message)
            elif message["offset"] != self.offset:
                self.faults.append(f"{self.name}: at {self.offset} the epoch changed at {message}")
            self.epoch, self.offset = message["epoch"], message["offset"]


class Events(Subscriber):
    """Over server-sent events."""

    async def once(self):
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        try:
            last = "" if self.epoch is None else f"Last-Event-ID: {self.epoch}:{self.offset}\r\n"
            writer.write(f"GET /events?channel={self.channel} HTTP/1.1\r\nHost: rig\r\n{last}\r\n".encode())
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                return
            text = b""
            while True:
                size = int(await reader.readline() or b"0", 16)
                text += (await reader.readexactly(size + 2))[:-2]
                if size == 0:
                    return
                *events, text = text.split(b"\n\n")
                for event in events:
                    self.heard(dict(line.decode().split(": ", 1) for line in event.split(b"\n") if b": " in line[1:]))
        except ValueError as error:
            raise EOFError from error
        finally:
            writer.transport.abort()

    def heard(self, event):
        kind, data = event.get("event"), json.loads(event.get("data", "null"))
        epoch, offset = (event["id"].split(":") + [None])[:2] if "id" in event else (None, None)
        if kind == "missed":
            self.lost("missed", **data)
            self.offset = data["to"]
        elif kind == "reset":
            self.lost("reset", **data)
            self.epoch, self.offset = data["epoch"], data["offset"]
        elif data is not None:
            if self.epoch is None:
                self.epoch, self.offset = epoch, int(offset) - 1
            self.take(data["offset"], data["data"], epoch)
        elif offset is not None:
            self.epoch, self.offset = epoch, int(offset)
        if self.epoch is not None:
            self.starts()


class Publisher:
    """Publishes numbers, through the API of one server or over WebSocket, and records the result of each."""

    def __init__(self, server, channel, name, pause):
        self.server, self.channel, self.name, self.pause = server, channel, name, pause
        # By number: (time sent, time answered, epoch, offset).
        self.taken = {}
        self.refused = {}
        self.unknown = {}
        self.number = 0
        self.going = True
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while self.going:
            self.number += 1
            await self.publish(f"{self.name}-{self.number}")
            await asyncio.sleep(self.pause)

    async def publish(self, data):
        sent = time.time()
        try:
            body = {"channel": self.channel, "data": data}
            status, content = await self.server.request("/api/publish", body, patience=15)
            self.note(data, sent, status, json.loads(content))
        except (OSError, TimeoutError, ValueError, IndexError):
            self.unknown[data] = sent

    def note(self, data, sent, status, answer):
        if status == 200:
            self.taken[data] = (sent, time.time(), answer["epoch"], answer["offset"])
        elif answer.get("code") == "unavailable":
            self.refused[data] = sent
        else:
            self.unknown[data] = sent

    async def end(self):
        self.going = False
        await self.task


class SocketPublisher(Publisher):
    """Publishes over WebSocket, with ids of every kind."""

    async def run(self):
        while self.going:
            with contextlib.suppress(OSError, websockets.exceptions.WebSocketException, asyncio.TimeoutError):
                async with websockets.connect(self.server.url, open_timeout=5) as socket:
                    while self.going:
                        self.number += 1
                        data = f"{self.name}-{self.number}"
                        sent = time.time()
                        self.unknown[data] = sent
                        await socket.send(json.dumps({"type": "publish", "id": data, "channel": self.channel, "data": data}))
                        async with asyncio.timeout(15):
                            while (answer := json.loads(await socket.recv())).get("id") != data:
                                pass
                        del self.unknown[data]
                        self.note(data, sent, 200 if answer["type"] == "published" else 0, answer)
                        await asyncio.sleep(self.pause)
            await asyncio.sleep(0.1)


def judge(subscribers, publishers):
    """Returns the problems in the clients' records."""
    faults = [fault for subscriber in subscribers for fault in subscriber.faults]
    for client in (*subscribers, *publishers):
        if client.task.done() and not client.task.cancelled() and client.task.exception():
            faults.append(f"{client.name} broke: {client.task.exception()!r}")
    places = {}

    def place(epoch, offset, data, client):
        known = places.setdefault((client.channel, epoch, offset), data)
        if known != data:
            faults.append(f"{epoch}:{offset} of {client.channel} is {known} and, says {client.name}, {data}")

    for publisher in publishers:
        for data, (_, _, epoch, offset) in publisher.taken.items():
            place(epoch, offset, data, publisher)
    for subscriber in subscribers:
        for _, epoch, offset, data in subscriber.got:
            place(epoch, offset, data, subscriber)
        losses = [at for at, _, _ in subscriber.told]
        seen = {}
        for at, _, _, data in subscriber.got:
            # After a loss, the remaining publications are sent from the beginning.
            if data in seen and not any(seen[data] <= loss <= at for loss in losses):
                faults.append(f"{subscriber.name} got {data} twice")
            seen[data] = at
        last = losses[-1] if losses else 0
        for publisher in publishers:
            if publisher.channel != subscriber.channel:
                continue
            for data in publisher.refused:
                if data in seen:
                    faults.append(f"{subscriber.name} got {data}, which was refused")
            for data, (sent, _, epoch, offset) in publisher.taken.items():
                late = subscriber.began is None or sent < subscriber.began
                if data not in seen and not late and last < sent:
                    faults.append(f"{subscriber.name} never got {data} at {epoch}:{offset}, and was told nothing")
    return faults
