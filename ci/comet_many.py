"""A case of comet's rig: very many channels, and all connections to Redis cut once."""

import asyncio
import contextlib
import json
import time

import websockets

from comet_parts import Comet, Redis

# The number of channels that one client follows.
EACH = 100


async def many(program, driver, count):
    """Checks that all of `count` channels receive again after every connection to Redis was killed once."""
    redis = await asyncio.to_thread(Redis, False)
    server = None
    try:
        flags = ["--broker", f"redis://127.0.0.1:{redis.port}", "--max-requests", "1000000"]
        server = await asyncio.to_thread(Comet, program, driver, *flags)
        heard, subscribed, published = {}, set(), set()

        async def listen(socket):
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "publication":
                    heard.setdefault(message["data"], set()).add(message["channel"])
                elif message["type"] == "subscribed":
                    subscribed.add(message["id"])
                elif message["type"] == "published":
                    published.add(message["id"])

        async def everywhere(speaks, what, done):
            """Sends `what` for every channel that is not yet `done`, a thousand at a time."""
            async with asyncio.timeout(120):
                while len(done) < count:
                    wanted = [number for number in range(count) if number not in done][:1000]
                    for number in wanted:
                        await speaks(number).send(json.dumps({"id": number, "channel": f"many:{number}", **what}))
                    until = time.time() + 5
                    while not done.issuperset(wanted) and time.time() < until:
                        await asyncio.sleep(0.01)

        async with contextlib.AsyncExitStack() as stack:
            publisher, *readers = [
                await stack.enter_async_context(websockets.connect(server.url, max_size=None, ping_timeout=None))
                for _ in range(1 + -(-count // EACH))
            ]
            listening = [asyncio.create_task(listen(socket)) for socket in (publisher, *readers)]
            await everywhere(lambda number: readers[number // EACH], {"type": "subscribe"}, subscribed)
            for data in ("before", "after"):
                published.clear()
                await everywhere(lambda _: publisher, {"type": "publish", "data": data}, published)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(60):
                        while len(heard.get(data, ())) < count:
                            await asyncio.sleep(0.05)
                if data == "before":
                    for kind in ("normal", "pubsub"):
                        redis.ask("CLIENT", "KILL", "TYPE", kind)
            for task in listening:
                task.cancel()
        return [
            f"{driver}: {data}: {len(heard.get(data, ()))} of {count} channels received"
            for data in ("before", "after")
            if len(heard.get(data, ())) != count
        ]
    finally:
        for process in (server, redis):
            if process:
                process.kill()
