"""uvicorn on wirestate.uvicorn.WebSocketProtocol: what clients see, good and bad."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
import unittest

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from .app import SEEN, app, starlette
from .serving import HTTP, LOGS, WS, Serving, everything, response, until

UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = b"\0\0\0\0"


def frame(first, payload=b"", masked=True):
    head = bytes([first, len(payload) | (0x80 if masked else 0)])
    return head + (MASK if masked else b"") + payload


def close_code(received):
    """The code of the Close frame at the end of what a server sent."""
    at = received.rfind(b"\x88")
    return struct.unpack(">H", received[at + 2 : at + 4])[0]


class WebSocket(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.serving = Serving(app, ws_max_size=2_000_000).__enter__()
        cls.url = f"ws://127.0.0.1:{cls.serving.port}"

    @classmethod
    def tearDownClass(cls):
        cls.serving.__exit__()

    def setUp(self):
        SEEN.clear()
        LOGS.lines.clear()

    def test_echo(self):
        for compression in ("deflate", None):
            with connect(f"{self.url}/echo?a=b", compression=compression, subprotocols=["a", "b"], max_size=None) as conn:
                self.assertEqual((conn.subprotocol, conn.response.headers["x"]), ("a", "y"))
                for message in ("", "hello", "\u20ac" * 1000, b"", b"\0\xff", os.urandom(1_500_000), "x" * 1_000_000):
                    conn.send(message)
                    self.assertEqual(conn.recv(), message)
                conn.send(["in ", "three ", "frames"])
                self.assertEqual(conn.recv(), "in three frames")
                self.assertTrue(conn.ping().wait(5))
            until(lambda: "closed" in SEEN)
            self.assertEqual(SEEN.pop("closed"), (1000, ""))
        scope = SEEN["scope"]
        self.assertEqual((scope["path"], scope["query_string"], scope["scheme"]), ("/echo", b"a=b", "ws"))
        self.assertEqual(dict(scope["headers"])[b"host"], b"127.0.0.1:%d" % self.serving.port)

    def test_many_messages_at_once(self):
        with connect(f"{self.url}/echo") as conn:
            for number in range(300):
                conn.send(str(number))
            self.assertEqual([conn.recv() for _ in range(300)], [str(number) for number in range(300)])

    def test_a_frame_behind_the_request(self):
        with self.serving.connect() as stream:
            stream.sendall(UPGRADE + frame(0x81, b"early"))
            received = b""
            while b"\x81\x05early" not in received:
                received += (data := stream.recv(1000))
                self.assertTrue(data)

    def test_what_applications_answer(self):
        for path, status, body in (("/refuse", 403, b""), ("/reject", 401, b"who?"), ("/fail", 500, b"Internal Server Error")):
            with self.assertRaises(InvalidStatus) as caught:
                connect(self.url + path)
            self.assertEqual((caught.exception.response.status_code, caught.exception.response.body), (status, body))
        for path, code, reason in (("/close", 4001, "because"), ("/fail-late", 1011, "")):
            with connect(self.url + path) as conn, self.assertRaises(ConnectionClosed) as caught:
                conn.recv()
            self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (code, reason))

    def test_a_client_that_leaves(self):
        with self.serving.connect() as stream:
            stream.sendall(UPGRADE)
            stream.recv(1000)
        until(lambda: "closed" in SEEN)
        self.assertEqual(SEEN["closed"][0], 1006)
        with connect(f"{self.url}/echo") as conn:
            conn.close(4000, "own")
        until(lambda: SEEN["closed"] == (4000, "own"))

    def test_bad_handshakes(self):
        for status, change in (
            (400, (b"dGhlIHNhbXBsZSBub25jZQ==", b"short")),
            (400, (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"")),
            (426, (b"Version: 13", b"Version: 8")),
            (405, (b"GET /echo", b"POST /echo")),
            (400, (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Extensions: a b")),
        ):
            received = self.serving.ask(UPGRADE.replace(*change) + frame(0x81, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
            self.assertTrue(received.startswith(b"HTTP/1.1 %d " % status), received)
            self.assertEqual(received.count(b"HTTP/1.1 "), 1)
        self.assertNotIn("scope", SEEN)

    def test_bad_frames(self):
        """Each gets a Close frame with the code of its section."""
        for code, data in (
            (1002, frame(0x81, b"a", masked=False)),
            (1002, frame(0xF1, b"a")),
            (1002, frame(0x83)),
            (1002, frame(0x80)),
            (1002, frame(0x01) + frame(0x01)),
            (1002, frame(0x09)),
            (1002, b"\x89\xfe\0\x7e" + MASK),
            (1002, b"\x81\xfe\0\x05" + MASK),
            (1002, frame(0x88, b"\x03")),
            (1002, frame(0x88, b"\x03\xee")),
            (1007, frame(0x81, b"\xc3")),
            (1007, frame(0x81, b"\xed\xa0\x80")),
            (1007, frame(0x88, b"\x03\xe8\xff")),
            (1008, frame(0x89) * 300),
            (1008, frame(0x01) * 1 + frame(0x00) * 30),
            (1009, b"\x82\xff\0\0\0\0\0\x80\0\0" + MASK),
            (1009, b"\x82\xff\x7f" + b"\xff" * 7 + MASK),
        ):
            with self.subTest(data=data[:20]):
                received = self.serving.ask(UPGRADE + data + frame(0x81, b"late") * 100)
                self.assertTrue(received.startswith(b"HTTP/1.1 101 "))
                self.assertEqual(close_code(received), code)
                self.assertNotIn(b"late", received)

    def test_an_application_that_does_not_read(self):
        """The client is held up, and not the server's memory filled."""
        with self.serving.connect() as stream:
            stream.sendall(UPGRADE.replace(b"/echo", b"/idle"))
            stream.recv(1000)
            stream.settimeout(0.5)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 100_000_000:
                    sent += stream.send(b"\x82\xfe\xff\xff" + MASK + b"x" * 65535)
            self.assertLess(sent, 20_000_000)
        self.serving.call(SEEN["release"].set)

    def test_a_client_that_does_not_read(self):
        """The application is held up."""
        with socket.socket() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.connect(("127.0.0.1", self.serving.port))
            stream.sendall(UPGRADE)
            stream.settimeout(0.5)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 100_000_000:
                    sent += stream.send(b"\x82\xfe\xff\xff" + MASK + b"x" * 65535)
            self.assertLess(sent, 20_000_000)


class Options(unittest.TestCase):
    def test_a_stop_tells_the_clients(self):
        with Serving(app) as serving, connect(f"ws://127.0.0.1:{serving.port}/echo") as conn:
            serving.server.should_exit = True
            with self.assertRaises(ConnectionClosed) as caught:
                conn.recv()
            self.assertEqual(caught.exception.rcvd.code, 1012)

    def test_a_client_that_answers_no_ping(self):
        with Serving(app, ws_ping_interval=0.1, ws_ping_timeout=1) as serving:
            with connect(f"ws://127.0.0.1:{serving.port}/echo") as conn:
                time.sleep(1)
                conn.send("still here")
                self.assertEqual(conn.recv(), "still here")
            received = serving.ask(UPGRADE)
            self.assertIn(b"\x89\x04", received)
            self.assertEqual(close_code(received), 1011)
            # Pongs that answer no Ping do not count.
            with serving.connect() as stream:
                stream.sendall(UPGRADE)
                end, received = time.monotonic() + 10, b""
                while b"\x88" not in received and time.monotonic() < end:
                    stream.sendall(frame(0x8A, b"junk"))
                    stream.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        received += stream.recv(1000)
                self.assertEqual(close_code(received), 1011)

    def test_no_compression(self):
        with Serving(app, ws_per_message_deflate=False) as serving:
            with connect(f"ws://127.0.0.1:{serving.port}/echo") as conn:
                self.assertEqual(conn.protocol.extensions, [])

    def test_no_websockets(self):
        """An Upgrade is ignored where uvicorn has no WebSocket."""
        with Serving(app, ws="none") as serving, serving.connect() as stream:
            stream.sendall(UPGRADE)
            self.assertEqual(response(stream)[0], 200)

    def test_starlette(self):
        with Serving(starlette()) as serving, connect(f"ws://127.0.0.1:{serving.port}/chat") as conn:
            conn.send("hi")
            self.assertEqual(conn.recv(), '{"said":"hi"}')

    def test_beside_the_protocols_of_uvicorn(self):
        """Each of the two works with another one of the other kind."""
        for options in ({"http": "h11"}, {"http": "httptools"}, {"ws": "websockets-sansio"}, {"ws": "wsproto"}):
            with self.subTest(options=options), Serving(app, **options) as serving:
                with connect(f"ws://127.0.0.1:{serving.port}/echo") as conn:
                    conn.send("hi")
                    self.assertEqual(conn.recv(), "hi")

    def test_the_command(self):
        """As a user starts it."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = [sys.executable, "-m", "uvicorn", "tests.app:app", "--port", str(port), "--http", HTTP, "--ws", WS]
        home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with subprocess.Popen(words, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                for line in process.stderr:
                    if "running on" in line:
                        break
                with connect(f"ws://127.0.0.1:{port}/echo") as conn:
                    conn.send("hi")
                    self.assertEqual(conn.recv(), "hi")
                with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
                    stream.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    self.assertTrue(everything(stream).endswith(b"hello"))
            finally:
                process.terminate()
                process.communicate(timeout=20)
        self.assertIn(process.returncode, (0, -15))
