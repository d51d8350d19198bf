#!/usr/bin/env python3
"""Breaks comet and its Redis in every way there is, and judges what the clients were told meanwhile, in the spirit of Jepsen.

usage: comet_faults.py COMET [--seed N] [--long] [--many N] [FAULT...]

Publishers over the API and WebSocket, subscribers over WebSocket and server-sent events that resume by position, on two
servers, one on each driver. Every delivery is written down. The judge: nothing is lost in silence, nothing comes twice, there
is one order for all, what was acknowledged is delivered or its loss is told, what was refused never comes, who is there is
known, nobody's rights outlive the token, and /readyz tells the truth. Without --long one fault of each kind, a minute and a
half; with it all of them, and mixtures of three that the seed chooses. A run of one seed does the same at about the same time.
--many does one thing alone: N channels on each driver, whose connections to Redis are all killed once; every channel must
receive again.

Needs redis-server and the package `websockets`; without the first, what needs it is skipped, and said so. The environment
variable REDIS_SERVER names another server, such as valkey-server.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import websockets
import websockets.exceptions

from comet_judge import Events, Publisher, Socket, SocketPublisher, judge
from comet_many import many
from comet_parts import REDIS_SERVER, RULES, Comet, Proxy, Redis, token

PATIENCE = 30


class World:
    """Two servers on one Redis behind a proxy, and their clients."""

    def __init__(self, program, seed):
        self.program, self.random = program, random.Random(seed)
        self.seed = seed
        self.servers, self.subscribers, self.publishers = [], [], []
        self.redis = self.replica = None
        self.proxies = []
        self.ready = []
        self.faults = []
        self.home = tempfile.TemporaryDirectory()

    async def start(self, *, keeps=True, prefork=None):
        if prefork:
            for driver in ("epoll", "tokio"):
                flags = ["--prefork", str(prefork), "--max-message", "4194304"]
                self.servers.append(await asyncio.to_thread(Comet, self.program, driver, *flags))
        else:
            self.redis = await asyncio.to_thread(Redis, keeps)
            for driver in ("epoll", "tokio"):
                proxy = await Proxy(self.redis.port, self.random.random()).start()
                self.proxies.append(proxy)
                flags = ["--broker", f"redis://127.0.0.1:{proxy.port}/1", "--handover", f"{self.home.name}/{driver}"]
                self.servers.append(await asyncio.to_thread(Comet, self.program, driver, *flags))
        for index, server in enumerate(self.servers):
            for kind in (Socket, Socket, Events):
                for channel in ("one", "two"):
                    # Without Redis, each server has its own channels in memory.
                    channel = f"{channel}-{index}" if prefork else channel
                    name = f"{kind.__name__}-{len(self.subscribers)}"
                    self.subscribers.append(kind(server, channel, name))
            for kind, channel in ((Publisher, "one"), (SocketPublisher, "two"), (SocketPublisher, "one")):
                channel = f"{channel}-{index}" if prefork else channel
                name = f"{kind.__name__}-{len(self.publishers)}"
                self.publishers.append(kind(server, channel, name, 0.01))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(subscriber.ready.wait() for subscriber in self.subscribers))
        self.watcher = asyncio.create_task(self.watch())

    async def watch(self):
        """Records whether each server reports to be ready, and how many publications it accepts."""
        while True:
            for server in self.servers:
                try:
                    status, _ = await server.request("/readyz", patience=2)
                except (OSError, TimeoutError, ValueError, IndexError):
                    status = 0
                taken = sum(len(publisher.taken) for publisher in self.publishers if publisher.server is server)
                self.ready.append((time.time(), server, status, taken))
            await asyncio.sleep(0.25)

    async def end(self, settle=PATIENCE):
        """After all faults: waits until every client has everything, and judges."""
        before = [len(publisher.taken) for publisher in self.publishers]
        async with asyncio.timeout(settle):
            while any(len(publisher.taken) < count + 5 for publisher, count in zip(self.publishers, before)):
                await asyncio.sleep(0.05)
        await asyncio.gather(*(publisher.end() for publisher in self.publishers))
        faults = self.faults
        try:
            async with asyncio.timeout(settle):
                while not all(self.has_last(subscriber) for subscriber in self.subscribers):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            late = [subscriber.name for subscriber in self.subscribers if not self.has_last(subscriber)]
            faults.append(f"after {settle} s these have not caught up: {late}")
        faults += judge(self.subscribers, self.publishers)
        faults += await self.judge_presence()
        faults += self.judge_readiness()
        return faults

    def has_last(self, subscriber):
        last = [
            taken[1:]
            for publisher in self.publishers
            for taken in publisher.taken.values()
            if publisher.channel == subscriber.channel
        ]
        _, epoch, offset = max(last)
        return subscriber.epoch is not None and int(subscriber.epoch, 16) >= int(epoch, 16) and subscriber.offset >= offset

    async def judge_presence(self):
        """Presence lists exactly the present clients, at the latest when a dead server has expired."""
        faults, until = [], time.time() + 25
        for server in self.servers:
            for channel in {subscriber.channel for subscriber in self.subscribers}:
                others = [subscriber for subscriber in self.subscribers if subscriber.channel == channel]
                expected = sum(isinstance(subscriber, Socket) for subscriber in others)
                if server not in {subscriber.server for subscriber in others} and self.redis is None:
                    continue
                total = None
                while time.time() < until and total != expected:
                    status, content = await server.request(f"/api/presence?channel={channel}")
                    total = json.loads(content)["total"] if status == 200 else None
                    await asyncio.sleep(0.1)
                if total != expected:
                    faults.append(f"{server.driver}: {total} are said to be in {channel}, not {expected}")
        return faults

    def judge_readiness(self):
        """No server reports for long to be ready while it accepts no publications."""
        faults = []
        for server in self.servers:
            since = None
            looks = [(at, status, taken) for at, whose, status, taken in self.ready if whose is server]
            for (_, _, before), (at, status, taken) in zip(looks, looks[1:]):
                if status != 200 or taken > before:
                    since = None
                elif since is None:
                    since = at
                elif at - since > 7 and at < self.publishers_ended():
                    faults.append(f"{server.driver}: says it is ready, and takes nothing for {at - since:.1f} s")
                    break
        return faults

    def publishers_ended(self):
        return max(taken[1] for publisher in self.publishers for taken in publisher.taken.values())

    def close(self):
        for subscriber in self.subscribers:
            subscriber.task.cancel()
        for publisher in self.publishers:
            publisher.task.cancel()
        if hasattr(self, "watcher"):
            self.watcher.cancel()
        for process in (*self.servers, self.redis, self.replica):
            if process:
                process.kill()
        for proxy in self.proxies:
            proxy.server.close()

    async def is_not_ready(self):
        """While publishing is impossible, every server reports not to be ready."""
        for server in self.servers:
            status, _ = await server.request("/readyz")
            if status != 503:
                self.faults.append(f"{server.driver}: says {status} to /readyz, and can publish nothing")

    def everywhere(self, mode):
        for proxy in self.proxies:
            proxy.mode = mode

    def somewhere(self):
        return self.random.choice(self.proxies)


# Faults: each begins, lasts a while, and ends. They run in worlds with a Redis.


async def redis_killed(world):
    world.redis.kill()
    await asyncio.sleep(world.random.random())
    await asyncio.to_thread(world.redis.start)


async def redis_forgets(world):
    world.redis.kill()
    world.redis.restore(b"")
    pathlib.Path(world.redis.home.name, "dump.rdb").unlink()
    await asyncio.to_thread(world.redis.start, False)


async def redis_rolled_back(world):
    """Redis restarts from a dump that is older than its acknowledgements."""
    dump = await asyncio.to_thread(world.redis.dump)
    await asyncio.sleep(1)
    world.redis.kill()
    world.redis.restore(dump)
    await asyncio.to_thread(world.redis.start, False)


async def replica_promoted(world):
    """A replica that lags replaces its master."""
    link = await Proxy(world.redis.port, world.seed).start()
    world.proxies.append(link)
    world.replica = await asyncio.to_thread(Redis, False, link.port)
    await asyncio.sleep(1.5)
    link.mode = "hold"
    await asyncio.sleep(1)
    world.redis.kill()
    link.drop()
    await asyncio.to_thread(world.replica.ask, "REPLICAOF", "NO", "ONE")
    # It is the Redis of the rig from now on, so later faults apply to it.
    world.redis, world.replica = world.replica, world.redis
    world.redis.master = None
    for proxy in world.proxies[:2]:
        proxy.to = world.redis.port
        proxy.drop()


async def demoted(world):
    """The master becomes a replica without a master, which refuses writes, and then a master again."""
    world.redis.ask("REPLICAOF", "127.0.0.1", 1)
    await asyncio.sleep(3)
    await world.is_not_ready()
    world.redis.ask("REPLICAOF", "NO", "ONE")


async def clients_killed(world):
    for _ in range(5):
        for kind in ("normal", "pubsub"):
            world.redis.ask("CLIENT", "KILL", "TYPE", kind)
        await asyncio.sleep(0.3)


async def clients_paused(world):
    world.redis.ask("CLIENT", "PAUSE", 3000, world.random.choice(["ALL", "WRITE"]))
    await asyncio.sleep(3)


async def redis_sleeps(world):
    await asyncio.to_thread(world.redis.ask, "DEBUG", "SLEEP", 2)


async def redis_frozen(world):
    world.redis.freeze()
    await asyncio.sleep(2)
    world.redis.thaw()


async def flushed(world):
    world.redis.ask("FLUSHALL")


async def out_of_memory(world):
    world.redis.ask("CONFIG", "SET", "maxmemory", 1)
    await asyncio.sleep(3)
    await world.is_not_ready()
    world.redis.ask("CONFIG", "SET", "maxmemory", 0)


async def evicting(world):
    world.redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    world.redis.ask("CONFIG", "SET", "maxmemory", 1)
    await asyncio.sleep(0.5)
    world.redis.ask("CONFIG", "SET", "maxmemory", 0)


async def scripts_flushed(world):
    world.redis.ask("SCRIPT", "FLUSH")


async def slow(world):
    world.everywhere("delay")
    await asyncio.sleep(3)
    world.everywhere("pass")


async def swallowed(world):
    """A connection stays open and passes nothing on."""
    proxy = world.somewhere()
    proxy.mode = "swallow"
    await asyncio.sleep(16)
    proxy.mode = "pass"


async def cut(world):
    world.everywhere("cut")
    await asyncio.sleep(2)
    world.everywhere("pass")


async def half_closed(world):
    world.everywhere("half-close")
    await asyncio.sleep(1)
    world.everywhere("pass")


async def dropped(world):
    for _ in range(4):
        world.somewhere().drop()
        await asyncio.sleep(world.random.random())


async def refused(world):
    world.everywhere("refuse")
    world.somewhere().drop()
    await asyncio.sleep(2)
    world.everywhere("pass")


async def server_killed(world):
    server = world.random.choice(world.servers)
    server.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.start)


async def server_frozen(world):
    server = world.random.choice(world.servers)
    server.freeze()
    await asyncio.sleep(3)
    server.thaw()


async def server_drained(world):
    server = world.random.choice(world.servers)
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0
    await asyncio.to_thread(server.start)


async def handed_over(world):
    server = world.random.choice(world.servers)
    old = server.process
    await asyncio.to_thread(server.start)
    assert await asyncio.to_thread(old.wait, PATIENCE) == 0


async def clients_drained(world):
    server = world.random.choice(world.servers)
    await server.ask("/api/drain", {"seconds": 1})
    await asyncio.sleep(1.2)


async def reloaded(world):
    """Servers keep less of each history, and then as much as before, while they serve."""
    for rules in (RULES.replace("history = 500", "history = 5"), RULES):
        for server in world.servers:
            server.change_rules(rules)
        await asyncio.sleep(1)


async def rolled_back_with_a_server(world):
    """Redis is rolled back and a server killed: its clients still know their positions."""
    dump = await asyncio.to_thread(world.redis.dump)
    await asyncio.sleep(0.7)
    server = world.random.choice(world.servers)
    server.kill()
    world.redis.kill()
    world.redis.restore(dump)
    await asyncio.to_thread(world.redis.start, False)
    await asyncio.to_thread(server.start)


KINDS = [
    [redis_killed, redis_forgets],
    [redis_rolled_back],
    [replica_promoted],
    [demoted, out_of_memory, evicting],
    [clients_killed, dropped, refused, scripts_flushed],
    [clients_paused, redis_sleeps, redis_frozen, slow],
    [flushed],
    [swallowed],
    [cut, half_closed],
    [server_killed, server_frozen],
    [server_drained, handed_over, clients_drained, reloaded],
    [rolled_back_with_a_server],
]
FAULTS = {fault.__name__: fault for kind in KINDS for fault in kind}


async def with_redis(program, seed, faults):
    world = World(program, seed)
    try:
        await world.start()
        await asyncio.sleep(1)
        for fault in faults:
            await fault(world)
            await asyncio.sleep(world.random.random())
        return world, await world.end()
    finally:
        world.close()


async def with_workers(program, seed, kind, pause):
    """Workers of servers without Redis are killed or stopped, and must be replaced. Long publications pass."""
    world = World(program, seed)
    try:
        await world.start(prefork=2)
        await asyncio.sleep(1)
        for server in world.servers:
            nodes = (await server.ask("/api/nodes"))["nodes"]
            os.kill(world.random.choice(nodes)["pid"], kind)
            await asyncio.sleep(0.5)
        await asyncio.sleep(pause)
        for publisher in world.publishers:
            if type(publisher) is Publisher:
                data = f"{publisher.name}-long-" + "x" * 1_500_000
                await publisher.publish(data)
                assert data in publisher.taken, "a long publication was not taken"
        return world, await world.end()
    finally:
        world.close()


async def rights(program):
    """After its token expires, no client gets a publication, by WebSocket or events, and waiting clients are disconnected."""
    faults = []
    for driver in ("epoll", "tokio"):
        server = await asyncio.to_thread(Comet, program, driver)
        try:
            good = token(program, seconds=3)
            ends = time.time() + 3
            going = True

            async def publish():
                while going:
                    await server.request("/api/publish", {"channel": "secret:1", "data": time.time()})
                    await asyncio.sleep(0.02)

            async def listen(channel):
                async with websockets.connect(f"{server.url}?token={good}") as socket:
                    await socket.send(json.dumps({"type": "subscribe", "channel": channel}))
                    last = heard = 0
                    try:
                        async for text in socket:
                            heard += json.loads(text)["type"] == "publication"
                            last = time.time()
                    except websockets.exceptions.ConnectionClosed:
                        pass
                    return socket.close_code, last, time.time(), heard

            async def read():
                reader, writer = await asyncio.open_connection(server.host, server.port)
                writer.write(f"GET /events?channel=secret:1&token={good} HTTP/1.1\r\nHost: rig\r\n\r\n".encode())
                last = heard = 0
                while data := await reader.read(65536):
                    heard += data.count(b"data: ")
                    last = time.time() if b"data: " in data else last
                    if data.endswith(b"0\r\n\r\n"):
                        break
                writer.close()
                return 1008, last, time.time(), heard

            publishing = asyncio.create_task(publish())
            listening = (listen("secret:1"), listen("secret:2"), read())
            outcomes = await asyncio.gather(*(asyncio.wait_for(one, PATIENCE) for one in listening), return_exceptions=True)
            going = False
            await publishing
            for what, outcome in zip(("busy", "idle", "events"), outcomes):
                if isinstance(outcome, TimeoutError):
                    faults.append(f"{driver}: {what}: goes on for {PATIENCE} s")
                    continue
                code, last, closed, heard = outcome
                if what != "idle" and heard < 20:
                    faults.append(f"{driver}: {what}: heard only {heard}")
                if code != 1008 or last > ends + 0.2 or not ends - 1.2 < closed < ends + 0.5:
                    faults.append(f"{driver}: {what}: {code}, last {last - ends:.2f} s, closed {closed - ends:.2f} s after the end")
        finally:
            server.kill()
    return faults


def report(name, faults, world=None):
    if world:
        taken = sum(len(publisher.taken) for publisher in world.publishers)
        unsaid = sum(len(publisher.refused) + len(publisher.unknown) for publisher in world.publishers)
        told = sum(len(subscriber.told) for subscriber in world.subscribers)
        name = f"{name}: {taken} acknowledged, {unsaid} refused or unknown, {told} losses told"
    print(f"{name}: {'well' if not faults else f'{len(faults)} FAULTS'}", flush=True)
    for fault in faults[:10]:
        print(f"    {fault[:300]}", flush=True)
    if faults and world:
        for server in world.servers:
            for line in server.said().splitlines()[-15:]:
                print(f"    {server.driver}: {line}", flush=True)
    return not faults


async def main(options):
    program, well = str(options.comet.resolve()), True
    if options.many:
        for driver in ("epoll", "tokio"):
            try:
                faults = await many(program, driver, options.many)
            except (TimeoutError, AssertionError) as error:
                faults = [f"it does not get well: {error!r}"]
            well &= report(f"{options.many} channels on {driver}", faults)
        return well
    if not options.faults:
        well &= report("rights", await rights(program))
        # A stopped worker is detected after 20 s.
        workers = [("killed", signal.SIGKILL, 0)] + [("stopped", signal.SIGSTOP, 22)] * options.long
        for name, kind, pause in workers:
            world, faults = await with_workers(program, options.seed, kind, pause)
            well &= report(f"workers {name}", faults, world)
    if not shutil.which(REDIS_SERVER):
        print(f"SKIPPED the faults of Redis: there is no {REDIS_SERVER} here")
        return well
    chance = random.Random(options.seed)
    if options.faults:
        plans = [[FAULTS[name]] for name in options.faults]
    elif options.long:
        plans = [[fault] for fault in FAULTS.values()]
        plans += [chance.sample(list(FAULTS.values()), 3) for _ in range(10)]
    else:
        plans = [[chance.choice(kind)] for kind in KINDS]
    for plan in plans:
        name = ", ".join(fault.__name__ for fault in plan)
        try:
            world, faults = await with_redis(program, options.seed, plan)
        except (TimeoutError, AssertionError) as error:
            world, faults = None, [f"it does not get well: {error!r}"]
        well &= report(f"{name} (seed {options.seed})", faults, world)
    return well


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comet", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--many", type=int, default=0, metavar="N")
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], metavar="FAULT")
    sys.exit(0 if asyncio.run(main(parser.parse_intermixed_args())) else 1)
