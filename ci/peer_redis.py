#!/usr/bin/env python3
"""Lets other people's clients of Redis talk to the example `resp`, on every driver.

usage: peer_redis.py RESP

Clients: redis-cli (Debian's redis-tools), Python's `redis`, and sockets for what no client does. What is not installed is
named as SKIPPED.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import threading

from lib import DRIVERS, PATIENCE, Server, skipped

try:
    import redis
except ImportError:
    redis = None

BLOB = random.Random(5).randbytes(900_000)


def with_redis_cli(address):
    host, port = address

    def ask(*arguments, text=None, version=2):
        command = ["redis-cli", "-h", host, "-p", str(port), f"-{version}", *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, check=True)
        return done.stdout.rstrip("\n")

    for version in (2, 3):
        assert ask("PING", version=version) == "PONG"
        assert ask("ECHO", "a b\nc", version=version) == "a b\nc"
        assert ask("SET", "cli", "value", version=version) == "OK"
        assert ask("GET", "cli", version=version) == "value"
        assert ask("GET", "none", version=version) == ""
        assert "ERR unknown command" in ask("NONE", version=version)
        # Many commands from standard input, over one connection.
        many = "".join(f"SET k{i} v{i}\n" for i in range(100)) + "".join(f"GET k{i}\n" for i in range(100))
        assert ask(text=many, version=version).split("\n") == ["OK"] * 100 + [f"v{i}" for i in range(100)]
    # Raw commands in one pipeline, whose replies redis-cli counts.
    raw = "".join(f"*3\r\n$3\r\nSET\r\n$4\r\npipe\r\n$4\r\n{i:04}\r\n" for i in range(1000))
    assert "errors: 0, replies: 1000" in ask("--pipe", text=raw)
    assert ask("GET", "pipe") == "0999"


def with_python(address):
    host, port = address
    for version in (2, 3):
        with redis.Redis(host, port, protocol=version, socket_timeout=PATIENCE, client_name="peer") as client:
            assert client.ping() is True
            assert client.echo("hi") == b"hi"
            for value in (b"", b"\r\n\0\xff", BLOB):
                assert client.set("python", value) is True
                assert client.get("python") == value
            assert client.get("none") is None
            client.delete("count")
            with client.pipeline(transaction=False) as pipeline:
                for _ in range(1000):
                    pipeline.incr("count")
                assert pipeline.execute() == list(range(1, 1001))
            assert client.delete("count", "none") == 1
            try:
                client.execute_command("NONE")
                raise AssertionError("no error")
            except redis.ResponseError as error:
                assert "unknown command" in str(error)
            subscribe(client, version)


def subscribe(client, version):
    with client.pubsub() as pubsub:
        pubsub.subscribe("a", "b")
        for channel, count in ((b"a", 1), (b"b", 2)):
            message = pubsub.get_message(timeout=PATIENCE)
            assert (message["type"], message["channel"], message["data"]) == ("subscribe", channel, count), message
        assert client.publish("a", b"\r\n\0") == 1
        assert client.publish("nobody", "x") == 0
        message = pubsub.get_message(timeout=PATIENCE)
        assert (message["type"], message["channel"], message["data"]) == ("message", b"a", b"\r\n\0"), message
        pubsub.ping()
        # The client knows the reply to its own PING, and drops or returns it.
        pubsub.unsubscribe()
        kinds = []
        while kinds.count("unsubscribe") < 2:
            message = pubsub.get_message(timeout=PATIENCE)
            assert message is not None, (version, kinds)
            kinds.append(message["type"])
    assert client.publish("a", "x") == 0


def with_sockets(address):
    """Inline commands, incomplete commands, floods, and invalid RESP."""
    with socket.create_connection(address, PATIENCE) as peer:
        peer.sendall(b"PING\r\necho 'a b'\r\n*1\r\n$4\r\nPI")
        stream = peer.makefile("rb")
        assert [stream.readline() for _ in range(3)] == [b"+PONG\r\n", b"$3\r\n", b"a b\r\n"]
        peer.sendall(b"NG\r\n")
        peer.shutdown(socket.SHUT_WR)
        assert stream.read() == b"+PONG\r\n"
    # More replies than the sockets hold, read only after all commands were sent.
    with socket.create_connection(address, PATIENCE) as peer:
        count = 200_000
        sender = threading.Thread(target=peer.sendall, args=(b"*2\r\n$4\r\nECHO\r\n$16\r\n0123456789abcdef\r\n" * count,))
        sender.start()
        want, left = b"$16\r\n0123456789abcdef\r\n", count
        left *= len(want)
        while left:
            left -= len(peer.recv(1 << 16)) or sys.exit("closed too soon")
        sender.join()
    for garbage in (b"GET \"a\r\n", b"POST / HTTP/1.1\r\n\r\n", b"*1\r\n:1\r\n", b"*1\r\n$99999999999\r\n"):
        with socket.create_connection(address, PATIENCE) as peer:
            peer.sendall(garbage)
            assert peer.makefile("rb").read().startswith(b"-ERR "), garbage


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    for driver in DRIVERS:
        with Server(program, "--driver", driver, "--threads", "2") as server:
            address = server.endpoint
            with_sockets(address)
            done = ["sockets"]
            if shutil.which("redis-cli"):
                with_redis_cli(address)
                done.append("redis-cli")
            else:
                skipped("redis-cli", "not installed")
            if redis:
                with_python(address)
                done.append(f"Python's redis {redis.__version__}")
            else:
                skipped("Python's redis", "not installed")
            server.stop()
        print(f"{driver}: {', '.join(done)} are served")


if __name__ == "__main__":
    main()
