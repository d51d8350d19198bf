#!/usr/bin/env python3
"""Puts servers under many connections, good ones and bad ones, and accounts for every descriptor and for the memory.

usage: scale.py CASE... [--testbed TESTBED] [--load LOAD] [--seconds S] [--driver epoll|tokio]

  churn   10,000 connections at once that come and go at random: exchanges over HTTP and WebSocket, half-closes and
          resets at any point (`load --churn`)
  abuse   1,000 clients that mean harm in every way, some of them killed, beside honest ones
  attacks 1,000 clients that all mean the same harm, beside honest ones: one attack after the other (`load --abuse`)
  hold    connections held by several processes (not for a small machine: see --connections)

Exit status 1 when an answer is wrong, an honest client is not served, a descriptor leaks, memory passes its bound, or
the server does not end with 0. Needs Linux, and for `hold` gigabytes of memory.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

import lib

MIB = 1 << 20
# Growth of a server's memory permitted while connections churn, and per connection: heaps keep the memory of the
# busiest moment.
CHURN_BOUND = 8 * MIB
CHURN_EACH = 1024
# Average memory of a server permitted per abusive connection: the high-water mark of output.
ABUSE_BOUND = 64 * 1024
# Permitted p99 of honest clients' exchanges, with attackers and server on the same cores.
HONEST_P99 = 1.0
# Time for the server to remove connections whose clients have disconnected.
PATIENCE = 20

faults = []


def fault(text):
    print(f"FAULT: {text}", flush=True)
    faults.append(text)


# The server


class Server(lib.Server):
    def __init__(self, options, driver, *flags):
        super().__init__(options.testbed, "--driver", driver, *flags)
        asyncio.run(fetch(self.endpoint))

    def processes(self):
        """Returns the ids of the workers, or of the one process."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            workers = children.read().split()
        if not workers:
            # Workers are children of the threads that wait for them.
            for task in os.listdir(f"/proc/{self.process.pid}/task"):
                with open(f"/proc/{self.process.pid}/task/{task}/children") as children:
                    workers += children.read().split()
        return workers or [str(self.process.pid)]

    def descriptors(self):
        return sum(descriptors(pid) for pid in self.processes())

    def memory(self):
        return sum(status(pid, "VmRSS") for pid in self.processes())

    def settled(self, base, patience=PATIENCE):
        """Waits until the descriptors are back to what they were."""
        end = time.monotonic() + patience
        while (now := self.descriptors()) != base and time.monotonic() < end:
            time.sleep(0.1)
        if now != base:
            fault(f"descriptors leak: {now - base}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return fault("the server does not stop")
        if code != 0:
            fault(f"the server ended with {code}")


def descriptors(pid):
    path = f"/proc/{pid}/fd"
    # Since Linux 6.2, the size of the directory is the number of descriptors; reading a directory of 20,000 is slow.
    return os.stat(path).st_size or len(os.listdir(path))


def status(pid, field):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def machine(field):
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


class Watch:
    """Records the peak memory of a server."""

    def __init__(self, server):
        self.server, self.base, self.most = server, server.memory(), 0

    def look(self):
        self.most = max(self.most, self.server.memory() - self.base)


# Well-behaved clients


async def connect(address, source=True):
    # Many source addresses, because a single one has too few ports for all that are in TIME_WAIT.
    local = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}" if source else "127.0.0.1"
    return await asyncio.open_connection(*address, local_addr=(local, 0))


GET = b"GET / HTTP/1.1\r\nHost: scale\r\n\r\n"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: scale\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def post(length):
    return b"POST /echo HTTP/1.1\r\nHost: scale\r\nContent-Length: %d\r\n\r\n" % length


def check(holds, what):
    if not holds:
        raise AssertionError(what)


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    check(head.startswith(b"HTTP/1.1 200 "), head)
    length = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
    return await reader.readexactly(length)


async def fetch(address):
    reader, writer = await connect(address)
    writer.write(GET)
    check(await answer(reader) == b"Hello, World!", "a wrong greeting")
    writer.close()


def frame(first, payload):
    """Returns a client's frame, masked with zeros."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack(">H", length)
    return bytes([first]) + size + bytes(4) + payload


async def shake_hands(reader, writer):
    writer.write(HANDSHAKE)
    head = await reader.readuntil(b"\r\n\r\n")
    check(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head)


def reset(writer):
    """Closes with RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


# Churning connections


def churn(options, driver):
    """Keeps a number of connections open, each for seconds on average; every other one ends with a reset."""
    count = options.connections or 10_000
    stay = max(5, options.seconds / 6)
    server = Server(options, driver)
    time.sleep(0.5)
    base, watch, most = server.descriptors(), Watch(server), 0
    command = [options.load, "--target", server.address, "--connections", str(count), "--churn", str(stay), "--sources", "64"]
    load = subprocess.Popen([*command, "--seconds", str(options.seconds), "--json"], stdout=subprocess.PIPE, text=True)
    try:
        while load.poll() is None:
            watch.look()
            most = max(most, server.descriptors() - base)
            time.sleep(0.1)
        outcome = load.stdout.read()
        if load.returncode not in (0, 1):
            return fault("load gave up")
        report = json.loads(outcome)
    finally:
        load.kill()
        load.wait()
    server.settled(base)
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["visits"].items())
    bound = CHURN_BOUND + count * CHURN_EACH
    print(
        f"churn on {driver}: {sum(report['visits'].values())} connections as they should ({kinds}), {report['errors']} "
        f"not; {report['answers']} answers; {report['open']} at once on average, {most} at most"
    )
    print(f"churn on {driver}: grew by {watch.most / MIB:.1f} MiB at most, bound {bound / MIB:.0f} MiB", flush=True)
    if report["errors"]:
        fault(f"churn: {report['first_error']}")
    if report["open"] < 0.7 * count:
        fault("too few at once")
    if watch.most > bound:
        fault("too much memory")
    server.stop()


# Malicious clients


async def trickle(reader, writer, head):
    """Sends a valid start, then a byte each second, until the server disconnects."""
    writer.write(head)
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        if head:
            writer.write(b"x")
        await asyncio.wait([ended], timeout=1)


async def silent(reader, writer):
    await trickle(reader, writer, b"")


async def slow_head(reader, writer):
    await trickle(reader, writer, b"GET / HTTP/1.1\r\nHost: scale\r\nX-Slow: ")


async def slow_body(reader, writer):
    await trickle(reader, writer, post(MIB))


async def push(writer, piece):
    """Writes as fast as the server reads, and reads nothing."""
    writer.transport.pause_reading()
    writer.transport.set_write_buffer_limits(high=len(piece))
    while not writer.transport.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)


async def unread_answers(reader, writer):
    await push(writer, GET * 100)


async def unread_echoes(reader, writer):
    await shake_hands(reader, writer)
    await push(writer, frame(0x82, bytes(60_000)))


async def pings(reader, writer):
    await shake_hands(reader, writer)
    await push(writer, frame(0x89, bytes(125)) * 100)


async def fragments(reader, writer):
    await shake_hands(reader, writer)
    writer.write(frame(0x02, b"x"))
    await push(writer, frame(0x00, b"") * 1000)


async def storm(reader, writer):
    """Connects and disconnects."""
    await asyncio.sleep(random.uniform(0, 0.2))
    reset(writer)


ATTACKS = {
    kind.__name__: (kind, count)
    for kind, count in (
        (silent, 200),
        (slow_head, 200),
        (slow_body, 150),
        (unread_answers, 100),
        (unread_echoes, 50),
        (pings, 100),
        (fragments, 100),
        (storm, 50),
    )
}
# This many more clients are in processes that are killed every second.
KILLED = 50


def attack(address, names, count):
    """Runs a process of attackers until it is killed: attackers that are disconnected reconnect."""
    os.nice(10)

    async def again(kind):
        while True:
            writer = None
            try:
                reader, writer = await connect(address)
                await kind(reader, writer)
            except (OSError, AssertionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)
            finally:
                if writer is not None:
                    writer.transport.abort()

    async def all_of_them():
        kinds = [ATTACKS[name][0] for name in names]
        await asyncio.gather(*(again(kinds[index % len(kinds)]) for index in range(count)))

    asyncio.run(all_of_them())


def attackers(server, names, count):
    command = [sys.executable, __file__, "attack", server.address, ",".join(names), str(count)]
    return subprocess.Popen(command)


def honest(options, server, mode):
    command = [options.load, "--target", server.address, "--mode", mode, "--connections", "16"]
    command += ["--rate", "500", "--seconds", str(options.seconds), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def abuse(options, driver):
    # Short enough that disconnected attackers reconnect several times.
    server = Server(options, driver, "--header-timeout", str(max(1, round(options.seconds / 6))))
    time.sleep(0.5)
    base, watch = server.descriptors(), Watch(server)
    groups = [attackers(server, [name], count) for name, (_, count) in ATTACKS.items()]
    killed = attackers(server, list(ATTACKS), KILLED)
    clients, kills = {}, 0
    try:
        time.sleep(1)
        clients = {mode: honest(options, server, mode) for mode in ("http", "ws")}
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            again = time.monotonic() + 1
            while time.monotonic() < again:
                watch.look()
                time.sleep(0.1)
            killed.kill()
            killed.wait()
            kills += 1
            killed = attackers(server, list(ATTACKS), KILLED)
        there = server.descriptors() - base
        if any(group.poll() is not None for group in groups):
            fault("attackers gave up")
        for mode, client in clients.items():
            report = json.loads(client.communicate(timeout=PATIENCE)[0])
            p50, p99 = report["p50"] / 1e6, report["p99"] / 1e6
            print(
                f"abuse on {driver}: honest {mode}: {report['answers']} answers, p50 {p50 * 1000:.2f} ms, "
                f"p99 {p99 * 1000:.1f} ms, max {report['max'] / 1000:.1f} ms, {report['errors']} errors"
            )
            if report["errors"] or not report["answers"]:
                fault(f"honest {mode} clients are not served: {report['first_error']}")
            if p99 > HONEST_P99:
                fault(f"the slowest 1 % of honest {mode} clients wait for {p99:.2f} s")
    finally:
        for process in (*groups, killed, *clients.values()):
            process.kill()
            process.wait()
    count = KILLED + sum(count for _, count in ATTACKS.values())
    if there < count / 2:
        fault(f"only {there} attackers were there")
    server.settled(base)
    asyncio.run(fetch(server.endpoint))
    bound = count * ABUSE_BOUND
    print(
        f"abuse on {driver}: {count} attackers, {kills} processes of them killed, {there} connections at the end; "
        f"grew by {watch.most / MIB:.1f} MiB at most, {watch.most / count / 1024:.1f} KiB each, "
        f"bound {bound / MIB:.0f} MiB; {(server.memory() - watch.base) / MIB:.1f} MiB stay",
        flush=True,
    )
    if watch.most > bound:
        fault("too much memory")
    server.stop()


# Number of concurrent attackers. Attackers that send at full speed input that a server must process use up a processor;
# that case tests whether others get their turn.
ONE_KIND = {
    "H07": 1000,
    "H12": 1000,
    "H13": 1000,
    "H14": 100,
    "H16": 1000,
    "W03": 100,
    "W04": 1000,
    "W05": 1000,
    "W06": 100,
    "W09": 1000,
    "W15": 10,
}


def attacks(options, driver):
    """Runs one kind of attack after the other, each on its own server."""
    for name, count in ONE_KIND.items():
        # Short enough that all idle attackers are disconnected.
        server = Server(options, driver, "--header-timeout", str(max(1, round(options.seconds / 6))))
        time.sleep(0.5)
        base, count = server.descriptors(), min(count, options.connections or count)
        command = [options.load, "--target", server.address, "--abuse", name, "--connections", str(count), "--json"]
        command += ["--seconds", str(options.seconds), "--pid", str(server.process.pid)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=options.seconds + PATIENCE)
        if not ended.stdout:
            fault(f"{name} on {driver}: load ended with {ended.returncode}")
        else:
            report = json.loads(ended.stdout)
            honest, told = report["honest"], ", ".join(f"{code} x {n}" for code, n in report["told"].items())
            print(
                f"{name} on {driver}: {count} attackers, {report['closings']} times closed, after "
                f"{report['longest']:.2f} s at most (told {told or 'nothing'}); grew by "
                f"{report['server_growth'] / 1024:.1f} KiB each; honest: {honest['answers']} answers, "
                f"p50 {honest['p50'] / 1000:.2f} ms, p99 {honest['p99'] / 1000:.1f} ms, {honest['errors']} errors",
                flush=True,
            )
            if not report["withstood"]:
                fault(f"{name} on {driver}: not withstood: {report}")
            if honest["p99"] / 1e6 > HONEST_P99:
                fault(f"{name} on {driver}: the slowest 1 % of honest clients wait for {honest['p99'] / 1e6:.2f} s")
        server.settled(base)
        server.stop()


# Many concurrent connections


# Connections per process, which may have 20,000 descriptors. Clients bind them to several addresses, each of which has
# about 28,000 ports. The kernel tries every second port first; once those are taken, finding another is slow.
PER_PROCESS = 18_000
SOURCES = 128
# Minimum rates of opening and closing connections, per second.
OPENED = 5_000
# Memory of a pair of connections, including both processes and the kernel's part of both ends; and the reserve.
PER_PAIR = 10 * 1024
RESERVE = 3 << 30


def lacking(total, processes):
    """Returns what this machine lacks, if anything."""

    def setting(name):
        try:
            with open(f"/proc/sys/{name}") as value:
                return [int(word) for word in value.read().split()]
        except FileNotFoundError:
            return None

    first, last = setting("net/ipv4/ip_local_port_range")
    used, _, most = setting("fs/file-nr")
    needs = {
        "bytes of memory (MemAvailable)": (machine("MemAvailable"), total * PER_PAIR + RESERVE),
        "descriptors (fs.file-max)": (most - used, 2 * total + 100 * processes),
        # Free ports of an address are found by trying.
        "ports (net.ipv4.ip_local_port_range)": ((last - first) // 2 * SOURCES, total),
        "watches of a user (fs.epoll.max_user_watches)": (setting("fs/epoll/max_user_watches")[0], 2 * total),
        "processes (kernel.pid_max)": (setting("kernel/pid_max")[0], 10 * processes),
        "descriptors of a process (ulimit -n)": (
            resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            min(total, PER_PROCESS) + 1000,
        ),
    }
    # If connection tracking is off, there is no table, or an empty one.
    tracked = setting("net/netfilter/nf_conntrack_count")
    if tracked and tracked[0]:
        room = setting("net/netfilter/nf_conntrack_max")[0] - tracked[0]
        needs["tracked connections (net.netfilter.nf_conntrack_max)"] = (room, total)
    return [f"{there:,} {name}, {need:,} needed" for name, (there, need) in needs.items() if there < need]


def hold(options, driver):
    """Holds a number of connections after one exchange each, in processes of 18,000 on average."""
    total = options.connections or 200_000
    workers = -(-total // PER_PROCESS)
    if lacks := lacking(total, 2 * workers):
        return fault(f"hold on {driver}: this machine has {'; '.join(lacks)}")
    patience = 30 + total / OPENED
    # Clients hold their connections once they have opened them: the first process must wait for the last.
    hold_for = patience + options.seconds
    timeout = str(round(2 * hold_for + 60))
    server = Server(options, driver, "--prefork", str(workers), "--header-timeout", timeout, "--idle-timeout", timeout)
    time.sleep(1 + workers / 20)
    base, memory = server.descriptors(), server.memory()
    slabs, available = machine("SUnreclaim"), machine("MemAvailable")
    start = time.monotonic()
    clients, left, accepted, last, said = [], total, None, 0, 0
    while left > 0:
        part = min(left, PER_PROCESS)
        command = [options.load, "--target", server.address, "--connections", str(part - 100), "--json"]
        command += ["--sources", str(SOURCES), "--idle", str(hold_for)]
        clients.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        left -= part
    try:
        while accepted is None and time.monotonic() - start < patience:
            last = server.descriptors() - base
            if last >= total:
                accepted = time.monotonic() - start
            if machine("MemAvailable") < RESERVE:
                fault("the machine runs out of memory")
                break
            if any(client.poll() is not None for client in clients):
                fault("a client has ended")
                break
            if last // 100_000 > said:
                said = last // 100_000
                print(
                    f"hold on {driver}: {last} after {time.monotonic() - start:.1f} s, "
                    f"{machine('MemAvailable') >> 20} MiB available",
                    flush=True,
                )
            time.sleep(0.05)
        if accepted is None:
            fault(f"only {last} of {total} connections were there at once")
        else:
            # Until the last exchange is complete.
            time.sleep(5)
            grown, theirs = server.memory() - memory, sum(status(client.pid, "VmRSS") for client in clients)
            kernel, taken = machine("SUnreclaim") - slabs, available - machine("MemAvailable")
            shares = sorted(descriptors(pid) for pid in server.processes())
            print(
                f"hold on {driver}: {last} connections in {workers} processes after {accepted:.1f} s "
                f"({last / accepted:.0f} a second); shares {shares[0]} to {shares[-1]}; bytes of memory each: "
                f"{grown / last:.0f} the server, {theirs / last:.0f} the clients, {kernel / last:.0f} the kernel's "
                f"slabs for both ends, {taken / last:.0f} less available on the machine in all",
                flush=True,
            )
            # New connections are served as before.
            begun = time.monotonic()
            for _ in range(100):
                asyncio.run(fetch(server.endpoint))
            each = (time.monotonic() - begun) / 100
            print(f"hold on {driver}: one more client is served in {each * 1000:.1f} ms", flush=True)
            for client in clients:
                report = json.loads(client.communicate(timeout=hold_for + patience)[0])
                if report["errors"] or report["lost"]:
                    fault(f"a client lost connections: {report}")
    finally:
        for client in clients:
            client.kill()
            client.wait()
    server.settled(base, patience)
    server.stop()


def main():
    if sys.argv[1:2] == ["attack"]:
        host, port = sys.argv[2].rsplit(":", 1)
        return attack((host, int(port)), sys.argv[3].split(","), int(sys.argv[4]))
    cases = {"churn": churn, "abuse": abuse, "attacks": attacks, "hold": hold}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", choices=cases, metavar="CASE")
    parser.add_argument("--testbed", default="target/release/testbed")
    parser.add_argument("--load", default="target/release/load")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--driver", choices=("epoll", "tokio"), help="both if not given")
    parser.add_argument("--connections", type=int, help="how many at once; 10,000 for churn and 200,000 for hold if not given; for attacks, the most")
    options = parser.parse_args()
    for case in options.cases:
        for driver in [options.driver] if options.driver else ["epoll", "tokio"]:
            cases[case](options, driver)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
