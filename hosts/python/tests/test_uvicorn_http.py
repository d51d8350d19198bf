"""uvicorn on wirestate.uvicorn.HttpProtocol: what clients see, good and bad."""

from __future__ import annotations

import contextlib
import json
import time
import unittest
import urllib.request
from unittest import mock

from .app import SEEN, app, starlette
from .serving import LOGS, Serving, everything, response, until

GET = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.serving = Serving(app, timeout_keep_alive=2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.serving.__exit__()

    def setUp(self):
        SEEN.clear()
        LOGS.lines.clear()

    def test_requests_on_one_connection(self):
        with self.serving.connect() as stream:
            for number in range(5):
                stream.sendall(GET % b"/%d" % number)
                status, fields, body, rest = response(stream)
                self.assertEqual((status, body, rest), (200, b"hello", b""))
                self.assertEqual(fields[b"x-path"], b"/%d" % number)
        self.assertEqual(SEEN["scope"]["headers"], [(b"host", b"h")])

    def test_pipelined_requests_are_answered_in_order(self):
        with self.serving.connect() as stream:
            posts = [b"POST /echo?%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" % number for number in range(50)]
            stream.sendall(b"".join(posts) + LAST)
            received = everything(stream)
        for number in range(50):
            at = received.find(b"POST %d abc" % number)
            self.assertGreaterEqual(at, 0)
            received = received[at:]
        self.assertTrue(received.endswith(b"hello"))

    def test_chunked_both_ways(self):
        sent = self.serving.ask(
            b"POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Trailer: t\r\n\r\n"
        )
        head, _, body = sent.partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertIn(b"Connection: close", head)
        self.assertTrue(body.endswith(b"0\r\n\r\n"))
        self.assertEqual(b"".join(body.split(b"\r\n")[1:-3:2]), b"abcdefg")

    def test_http_1_0(self):
        sent = self.serving.ask(b"GET /stream HTTP/1.0\r\n\r\n")
        self.assertNotIn(b"chunked", sent)
        sent = self.serving.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        self.assertEqual((sent.count(b"HTTP/1.1 200 OK"), sent.count(b"Connection: keep-alive")), (2, 1))

    def test_100_continue(self):
        head = b"POST %s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        with self.serving.connect() as stream:
            stream.sendall(head % b"/echo")
            self.assertEqual(stream.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.sendall(b"hello")
            self.assertEqual(response(stream)[2], b"POST  hello")
            # The application does not ask for the body: no 100, and the connection ends.
            stream.sendall(head % b"/")
            status, fields, body, _ = response(stream)
            self.assertEqual((status, fields[b"connection"]), (200, b"close"))
            self.assertEqual(everything(stream), b"")

    def test_head(self):
        with self.serving.connect() as stream:
            stream.sendall(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + LAST)
            received = everything(stream)
        self.assertEqual(received.count(b"hello"), 1)
        self.assertEqual(received.count(b"Content-Length: 5"), 2)

    def test_a_large_body(self):
        """More than the buffers hold, there and back."""
        body = bytes(range(256)) * 20_000
        with self.serving.connect() as stream:
            request = urllib.request.Request(f"http://127.0.0.1:{self.serving.port}/echo", data=body, method="PUT")
            with urllib.request.urlopen(request, timeout=20) as got:
                self.assertEqual(got.read(), b"PUT  " + body)
            self.assertTrue(stream)

    def test_targets(self):
        for target, path, query in (
            (b"http://other/a/b?c", "/a/b", b"c"),
            (b"http://other", "/", b""),
            (b"http://other?q", "/", b"q"),
            (b"/%41%20%E2%82%AC?%41", "/A \u20ac", b"%41"),
            (b"//x/y", "//x/y", b""),
        ):
            self.serving.ask(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            scope = SEEN.pop("scope")
            self.assertEqual((scope["path"], scope["query_string"]), (path, query))

    def test_an_upgrade_that_is_not_known(self):
        # An Upgrade is ignored in a request with a body (RFC 9110 section 7.8).
        for name, extra in ((b"h2c", b""), (b"h2c", b"Content-Length: 2\r\n"), (b"websocket", b"Content-Length: 2\r\n")):
            with self.serving.connect() as stream:
                head = b"GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: " + name + b"\r\nConnection: upgrade\r\n" + extra
                stream.sendall(head + b"\r\n" + (b"ab" if extra else b"") + LAST)
                self.assertEqual(everything(stream).count(b"HTTP/1.1 200 OK"), 2)

    def test_bad_requests(self):
        """Each is answered by its status and nothing else: no byte behind it is read as a request."""
        cases = [
            (400, b"GET / HTTP/1.1\nHost: h\n\n"),
            (400, b"GET / HTTP/1.1\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
            (400, b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, b"GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100 + b"\r\n\r\n"),
            (505, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
            (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (417, b"POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 1\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            (501, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            (400, b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            (400, b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n"),
            (400, b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
            (400, b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n"),
            (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n"),
            (431, b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
            (431, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
        ]
        for status, request in cases:
            with self.subTest(request=request[:80]):
                received = self.serving.ask(request + LAST)
                self.assertTrue(received.startswith(b"HTTP/1.1 %d " % status), received[:100])
                self.assertEqual(received.count(b"HTTP/1.1 "), 1)
                self.assertIn(b"connection: close", received.lower())
                self.assertIn(b"(RFC ", received)

    def test_an_answer_arrives_although_the_client_still_sends(self):
        """RFC 9112 section 9.6: a reset would take the answer away."""
        with self.serving.connect() as stream:
            stream.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
            for _ in range(20):
                time.sleep(0.01)
                stream.sendall(b"x" * 50_000)
            self.assertTrue(everything(stream).startswith(b"HTTP/1.1 400 "))

    def test_a_body_that_nobody_reads(self):
        """A small one is skipped; a large one ends the connection."""
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        received = self.serving.ask(head % 50_000 + b"x" * 50_000 + LAST)
        self.assertEqual(received.count(b"HTTP/1.1 200 OK"), 2)
        with self.serving.connect() as stream:
            stream.sendall(head % 1_000_000)
            self.assertEqual(response(stream)[0], 200)
            begin = time.monotonic()
            stream.sendall(b"x" * 700_000)
            self.assertEqual(everything(stream), b"")
            # Long before the idle time.
            self.assertLess(time.monotonic() - begin, 1.9)

    def test_an_application_that_does_not_read(self):
        """The client is held up, and not the server's memory filled."""
        with self.serving.connect() as stream:
            stream.sendall(b"POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
            stream.settimeout(0.5)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 90_000_000:
                    sent += stream.send(b"x" * 65536)
            self.assertLess(sent, 20_000_000)
        self.serving.call(SEEN["release"].set)

    def test_requests_behind_a_slow_one(self):
        """They wait in the client's buffers."""
        with self.serving.connect() as stream:
            stream.sendall(GET % b"/hold")
            stream.settimeout(0.5)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 90_000_000:
                    sent += stream.send(GET % b"/" * 1000)
            self.assertLess(sent, 20_000_000)
        self.serving.call(SEEN["release"].set)

    def test_a_client_that_does_not_read(self):
        """The application is held up."""
        with self.serving.connect() as stream:
            stream.sendall(GET % b"/endless")
            until(lambda: SEEN.get("sent", 0) > 0)
            last = -1
            while last != SEEN["sent"]:
                last = SEEN["sent"]
                time.sleep(0.3)
            self.assertLess(last, 20_000_000)

    def test_a_client_that_leaves(self):
        with self.serving.connect() as stream:
            stream.sendall(GET % b"/wait")
            until(lambda: "scope" in SEEN)
        until(lambda: SEEN.get("left") == "http.disconnect")
        with self.serving.connect() as stream:
            stream.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
            until(lambda: "scope" in SEEN)
        until(lambda: SEEN.get("disconnected"))

    def test_applications_that_fail(self):
        for path, logged in ((b"/fail", "Exception"), (b"/inject", "Exception"), (b"/silent", "without starting")):
            LOGS.lines.clear()
            received = self.serving.ask(GET % path)
            self.assertTrue(received.startswith(b"HTTP/1.1 500 "), received)
            self.assertNotIn(b"cookie", received)
            self.assertTrue(any(logged in line for line in LOGS.lines), LOGS.lines)
        for path in (b"/fail-late", b"/short"):
            received = self.serving.ask(GET % path)
            # Nobody can take this answer for complete.
            self.assertFalse(received.endswith(b"0\r\n\r\n"))
            self.assertNotIn(b"500", received)

    def test_the_idle_time(self):
        with self.serving.connect() as stream:
            stream.sendall(GET % b"/")
            response(stream)
            begin = time.monotonic()
            self.assertEqual(stream.recv(1), b"")
            self.assertGreater(time.monotonic() - begin, 1.5)
            self.assertLess(time.monotonic() - begin, 6)

    def test_connect(self):
        """A tunnel is not served: the bytes behind the head are never read as a request."""
        received = self.serving.ask(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n" + LAST)
        self.assertLessEqual(received.count(b"HTTP/1.1 "), 1)


class Options(unittest.TestCase):
    def test_too_many_at_once(self):
        with Serving(app, limit_concurrency=1) as serving:
            self.assertTrue(serving.ask(LAST).startswith(b"HTTP/1.1 503 "))

    def test_slow_clients(self):
        """The head of each request has its time, however its bytes drip."""
        with mock.patch("wirestate.uvicorn._http.HEAD", 0.5), Serving(app) as serving:
            for first in (b"", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"):
                with serving.connect() as stream:
                    stream.sendall(first)
                    rest = response(stream)[3] if first else b""
                    begin, received = time.monotonic(), rest
                    stream.settimeout(0.05)
                    while b"\r\n\r\n" not in received and time.monotonic() < begin + 10:
                        with contextlib.suppress(TimeoutError):
                            received += stream.recv(1000)
                        stream.sendall(b"G")
                    self.assertTrue(received.startswith(b"HTTP/1.1 408 "), received)
                    self.assertLess(time.monotonic() - begin, 4)
            self.assertEqual(serving.ask(b""), b"")

    def test_a_stop_finishes_the_answer(self):
        with Serving(app) as serving, serving.connect() as busy, serving.connect() as idle:
            idle.sendall(GET % b"/")
            response(idle)
            SEEN.clear()
            busy.sendall(GET % b"/slow")
            until(lambda: "scope" in SEEN)
            serving.server.should_exit = True
            self.assertEqual(everything(idle), b"")
            status, fields, body, _ = response(busy)
            self.assertEqual((status, body, fields[b"connection"]), (200, b"slow", b"close"))
            self.assertEqual(everything(busy), b"")

    def test_starlette(self):
        with Serving(starlette()) as serving:
            base = f"http://127.0.0.1:{serving.port}"
            with urllib.request.urlopen(base, timeout=10) as got:
                self.assertEqual(got.read(), b"starlette")
            request = urllib.request.Request(f"{base}/json?a=b", data=b'{"x": [1]}', method="POST")
            with urllib.request.urlopen(request, timeout=10) as got:
                self.assertEqual(json.load(got), {"got": {"x": [1]}, "query": {"a": "b"}})
            with urllib.request.urlopen(f"{base}/lines", timeout=10) as got:
                self.assertEqual(got.read().count(b"line "), 5)
