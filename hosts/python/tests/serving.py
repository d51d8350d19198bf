"""A uvicorn on this package's protocols, in a thread, and sockets to talk to it."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time

import uvicorn

HTTP, WS = "wirestate.uvicorn:HttpProtocol", "wirestate.uvicorn:WebSocketProtocol"


class Serving:
    """A running server."""

    def __init__(self, app, **options):
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        options = {"http": HTTP, "ws": WS, "lifespan": "off", "log_config": None, "timeout_graceful_shutdown": 5, **options}
        self.server = uvicorn.Server(uvicorn.Config(app, **options))
        self.thread = threading.Thread(target=self.server.run, args=([listener],), daemon=True)

    def __enter__(self):
        self.thread.start()
        until(lambda: self.server.started)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        # Nothing went wrong outside of the applications.
        assert not FAULTS.lines, FAULTS.lines

    @contextlib.contextmanager
    def connect(self):
        """A socket whose reads end after 10 seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as stream:
            yield stream

    def call(self, function):
        """Calls a function in the server's thread."""
        self.server.servers[0].get_loop().call_soon_threadsafe(function)

    def ask(self, data):
        """Sends bytes; returns all that comes until the server closes."""
        with self.connect() as stream:
            stream.sendall(data)
            return everything(stream)


def everything(stream):
    """All bytes up to the end."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := stream.recv(65536):
            received += data
    return received


def response(stream, received=b""):
    """One response with a Content-Length, and the bytes behind it."""
    while b"\r\n\r\n" not in received:
        received += (data := stream.recv(65536))
        assert data, received
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", 0))
    while len(body) < length:
        body += (data := stream.recv(65536))
        assert data, received
    return int(head.split(b" ")[1]), fields, body[:length], body[length:]


def until(holds, seconds=20.0):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


class Logs(logging.Handler):
    """What uvicorn logs, for the tests."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


LOGS, FAULTS = Logs(), Logs()
logging.getLogger("asyncio").addHandler(FAULTS)
logging.getLogger("asyncio").setLevel(logging.ERROR)
logging.getLogger("uvicorn").addHandler(LOGS)
logging.getLogger("uvicorn").propagate = False
logging.getLogger("uvicorn").setLevel(logging.INFO)
