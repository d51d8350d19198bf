#!/usr/bin/env python3
"""Lets the Python package `websockets` talk to the example `blocking_echo`, as its client and as its server, with and
without permessage-deflate.

usage: peer_websockets.py BLOCKING_ECHO
"""

import asyncio
import random
import sys

import websockets
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

from lib import PATIENCE, free_port, listening

LIMIT = 8 << 20


def messages():
    """Text and bytes of all relevant sizes, compressible and not; lists are sent in fragments."""
    numbers = random.Random(7)
    for size in (0, 1, 125, 126, 1000, 65535, 65536, 300_000, 3_000_000):
        yield numbers.randbytes(size)
        yield "".join(numbers.choices("abcde \u00fc\u6f22\U0001f600", k=size // 3))
    yield ["one ", "two \u20ac ", "", "three"]
    yield [b"\0" * 70_000, b"\1" * 10]


async def converse(connection):
    """Sends all messages and expects them back; then a Ping, and the closing handshake."""
    async with asyncio.timeout(PATIENCE):
        for message in messages():
            await connection.send(message)
            whole = message if not isinstance(message, list) else type(message[0])().join(message)
            answer = await connection.recv()
            assert answer == whole, f"{len(answer)} back of {len(whole)}"
        await (await connection.ping(b"are you there?"))
        await connection.close(4321, "enough")
        assert (connection.close_code, connection.close_reason) == (4321, ""), (connection.close_code, connection.close_reason)


PARAMETERS = [
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 10, "client_max_window_bits": 9},
]


async def their_client(port):
    extensions = [None, *([ClientPerMessageDeflateFactory(**parameters)] for parameters in PARAMETERS)]
    for extension in extensions:
        url = f"ws://127.0.0.1:{port}/"
        async with websockets.connect(url, compression=None, extensions=extension, max_size=LIMIT, proxy=None) as connection:
            assert len(connection.protocol.extensions) == (extension is not None)
            await converse(connection)


async def their_server(program):
    """The echo client asks for the number of conversations, then for one after the other."""
    failures = []
    conversations = 0

    async def talk(connection):
        nonlocal conversations
        path = connection.request.path
        try:
            if path == "/getCaseCount":
                await connection.send("2")
            elif path.startswith("/runCase"):
                await converse(connection)
                conversations += 1
        except Exception as failure:
            failures.append(failure)

    extensions = [None, *([ServerPerMessageDeflateFactory(**parameters)] for parameters in PARAMETERS[:2])]
    for extension in extensions:
        before = conversations
        server = websockets.serve(talk, "127.0.0.1", 0, compression=None, extensions=extension, max_size=LIMIT)
        async with server as listening:
            port = listening.sockets[0].getsockname()[1]
            command = [program, "autobahn", f"ws://127.0.0.1:{port}", "proto-ws"]
            client = await asyncio.create_subprocess_exec(*command)
            async with asyncio.timeout(PATIENCE):
                assert await client.wait() == 0
        assert not failures, failures
        assert conversations == before + 2


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = sys.argv[1]
    port = free_port()
    with listening([program, "serve", f"127.0.0.1:{port}"], port):
        asyncio.run(their_client(port))
    asyncio.run(their_server(program))
    print(f"websockets {websockets.__version__}: client and server, {len(PARAMETERS)} ways to compress and none")


if __name__ == "__main__":
    main()
