"""What wirestate.http promises beyond h11, and where it differs from h11 on purpose (README.md lists both)."""

from __future__ import annotations

import array
import copy
import pathlib
import pickle
import random
import unittest

from wirestate import http

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def server(data=b"", **options):
    conn = http.Connection(http.SERVER, **options)
    if data:
        conn.receive_data(data)
    return conn


def events(conn):
    """All events up to NEED_DATA, PAUSED or the end."""
    found = []
    while (event := conn.next_event()) not in (http.NEED_DATA, http.PAUSED):
        found.append(event)
        if isinstance(event, http.ConnectionClosed):
            break
    return found


def answer(conn, status=200, body=b"", headers=()):
    fields = [("Content-Length", str(len(body))), *headers]
    head = conn.send(http.Response(status_code=status, headers=fields))
    return head + conn.send(http.Data(body)) + conn.send(http.EndOfMessage())


class Errors(unittest.TestCase):
    def refused(self, data, kind, status, section):
        conn = server(data)
        with self.assertRaises(http.RemoteProtocolError) as caught:
            events(conn)
        error = caught.exception
        self.assertEqual((error.kind, error.error_status_hint, error.section), (kind, status, section))
        self.assertIs(conn.their_state, http.ERROR)
        self.assertIn(conn.our_state, (http.IDLE, http.SEND_RESPONSE))
        self.assertIn(b"Connection: close", answer(conn, error.error_status_hint, b"no"))
        self.assertIs(conn.our_state, http.MUST_CLOSE)
        self.assertRaises(http.RemoteProtocolError, conn.next_event)
        self.assertRaises(http.LocalProtocolError, conn.start_next_cycle)

    def test_violations_have_a_kind_a_status_and_a_section(self):
        self.refused(b"GET / HTTP/1.1\nHost: h\n\n", "BareLf", 400, "RFC 9112 section 2.2")
        self.refused(b"GET / HTTP/1.1\r\n\r\n", "HostMissing", 400, "RFC 9112 section 3.2")
        self.refused(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "VersionUnsupported", 505, "RFC 9110 section 15.6.6")
        self.refused(b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", "SpaceBeforeColon", 400, "RFC 9112 section 5.1")
        self.refused(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 101 + b"\r\n", "TooManyFields", 431, "RFC 6585 section 5")
        both = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.refused(both, "LengthAndCoding", 400, "RFC 9112 section 6.1")
        self.refused(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", "TargetTooLong", 414, "RFC 9110 section 15.5.15")

    def test_a_truncated_message_is_never_complete(self):
        conn = server(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
        self.assertEqual([type(event) for event in events(conn)], [http.Request, http.Data])
        conn.receive_data(b"")
        with self.assertRaises(http.RemoteProtocolError) as caught:
            conn.next_event()
        self.assertEqual(caught.exception.kind, "Truncated")

    def test_after_a_local_error_the_connection_is_unchanged(self):
        conn = server(GET)
        events(conn)
        self.assertRaises(http.LocalProtocolError, conn.send, http.Data(b"early"))
        self.assertIs(conn.our_state, http.SEND_RESPONSE)
        self.assertRaises(http.LocalProtocolError, conn.send, http.Request(method="GET", target="/", headers=[]))
        conn.send(http.Response(status_code=200, headers=[("Content-Length", "2")]))
        self.assertRaises(http.LocalProtocolError, conn.send, http.Data(b"long"))
        self.assertRaises(http.LocalProtocolError, conn.send, http.EndOfMessage())
        self.assertEqual(conn.send(http.Data(b"ok")), b"ok")
        self.assertEqual(conn.send(http.EndOfMessage()), b"")
        conn.start_next_cycle()

    def test_what_cannot_be_an_event(self):
        bad = [
            lambda: http.Response(status_code=200, headers=[("X", "a\r\nInjected: 1")]),
            lambda: http.Response(status_code=200, headers=[("X\n", "a")]),
            lambda: http.Response(status_code=200, headers=[("", "a")]),
            lambda: http.Response(status_code=200, headers=[("X", " a")]),
            lambda: http.Response(status_code=200, headers=[("Content-Length", "-1")]),
            lambda: http.Response(status_code=200, headers=[("Content-Length", "")]),
            lambda: http.Response(status_code=200, headers=[("Content-Length", "1"), ("content-length", "2")]),
            lambda: http.Response(status_code=200, headers=[("Transfer-Encoding", "gzip, chunked")]),
            lambda: http.Response(status_code=100, headers=[]),
            lambda: http.Response(status_code=1000, headers=[]),
            lambda: http.Response(status_code=10**30, headers=[]),
            lambda: http.Response(status_code="200", headers=[]),
            lambda: http.InformationalResponse(status_code=200, headers=[]),
        ]
        for make in bad:
            self.assertRaises(http.LocalProtocolError, make)
        for wrong in (None, 5, [("a",)], [("a", "b", "c")], ["ab c"], [(1, 2)]):
            self.assertRaises((TypeError, ValueError), http.Response, status_code=200, headers=wrong)
        self.assertRaises(ValueError, http.Response, status_code=200, headers=[("X", "\u20ac")])
        self.assertRaises(TypeError, server().send, "text")
        self.assertRaises(TypeError, server().receive_data, "text")
        self.assertRaises(ValueError, http.Connection, "SERVER")
        self.assertRaises(TypeError, http.ProtocolError, "base")

    def test_reasons_and_targets_cannot_inject(self):
        conn = server(GET)
        events(conn)
        bad = http.Response(status_code=200, headers=[], reason=b"OK\r\nX: y")
        self.assertRaises(http.LocalProtocolError, conn.send, bad)
        client = http.Connection(http.CLIENT)
        for method, target in (("GET", "/ HTTP/1.1\r\nX: y"), ("G ET", "/"), ("GET", "")):
            request = http.Request(method=method, target=target, headers=[("Host", "h")])
            self.assertRaises(http.LocalProtocolError, client.send, request)
        self.assertRaises(http.LocalProtocolError, client.send, http.Request(method="GET", target="/", headers=[]))

    def test_data_after_the_end(self):
        conn = server(GET)
        conn.receive_data(b"")
        self.assertRaises(RuntimeError, conn.receive_data, b"more")
        conn.receive_data(b"")


class Differences(unittest.TestCase):
    def test_http_1_0_may_be_kept(self):
        conn = server(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        events(conn)
        self.assertEqual(conn.their_http_version, b"1.0")
        self.assertIn(b"Connection: keep-alive", answer(conn))
        conn.start_next_cycle()
        self.assertIsInstance(conn.next_event(), http.Request)

    def test_an_empty_reason_is_filled_in(self):
        conn = server(GET)
        events(conn)
        self.assertTrue(answer(conn, 404).startswith(b"HTTP/1.1 404 Not Found\r\n"))

    def test_content_for_head_is_dropped(self):
        conn = server(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        events(conn)
        sent = answer(conn, 200, b"body")
        self.assertTrue(sent.endswith(b"Content-Length: 4\r\n\r\n"), sent)
        conn.start_next_cycle()

    def test_an_answer_without_the_100_closes(self):
        conn = server(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        events(conn)
        self.assertTrue(conn.they_are_waiting_for_100_continue)
        self.assertIn(b"Connection: close", answer(conn, 403))
        self.assertFalse(conn.they_are_waiting_for_100_continue)
        self.assertIs(conn.our_state, http.MUST_CLOSE)

    def test_a_server_may_speak_before_a_request(self):
        conn = server()
        self.assertIn(b"Connection: close", answer(conn, 408))
        self.assertIs(conn.our_state, http.MUST_CLOSE)

    def test_limits(self):
        conn = server(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n", max_body=5)
        with self.assertRaises(http.RemoteProtocolError) as caught:
            events(conn)
        self.assertEqual(caught.exception.error_status_hint, 413)
        conn = server(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 100, max_incomplete_event_size=50)
        self.assertRaises(http.RemoteProtocolError, events, conn)


class Switching(unittest.TestCase):
    def test_an_upgrade(self):
        conn = server(b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nother")
        events(conn)
        self.assertIs(conn.their_state, http.MIGHT_SWITCH_PROTOCOL)
        self.assertIs(conn.next_event(), http.PAUSED)
        conn.send(http.InformationalResponse(status_code=101, headers=[("Upgrade", "x")]))
        self.assertEqual((conn.our_state, conn.their_state), (http.SWITCHED_PROTOCOL, http.SWITCHED_PROTOCOL))
        self.assertEqual(conn.trailing_data, (b"other", False))
        self.assertRaises(http.LocalProtocolError, conn.send, http.Data(b"x"))

    def test_a_refused_upgrade(self):
        conn = server(b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + GET)
        events(conn)
        answer(conn)
        conn.start_next_cycle()
        self.assertIsInstance(conn.next_event(), http.Request)

    def test_connect(self):
        client, conn = http.Connection(http.CLIENT), server()
        conn.receive_data(client.send(http.Request(method="CONNECT", target="h:1", headers=[("Host", "h:1")])))
        client.send(http.EndOfMessage())
        events(conn)
        client.receive_data(conn.send(http.Response(status_code=200, headers=[])) + b"tunnel")
        self.assertIsInstance(client.next_event(), http.Response)
        self.assertIs(client.next_event(), http.PAUSED)
        self.assertEqual(client.trailing_data[0], b"tunnel")
        for side in (client, conn):
            self.assertEqual(set(side.states.values()), {http.SWITCHED_PROTOCOL})

    def test_an_upgrade_that_nobody_asked_for(self):
        client = http.Connection(http.CLIENT)
        client.send(http.Request(method="GET", target="/", headers=[("Host", "h")]))
        client.receive_data(b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        self.assertRaises(http.RemoteProtocolError, client.next_event)


class Python(unittest.TestCase):
    def test_bytes_like_objects(self):
        for kind in (bytearray, memoryview, lambda data: array.array("B", data)):
            conn = server()
            conn.receive_data(kind(GET))
            self.assertEqual(len(events(conn)), 2)
            conn.send(http.Response(status_code=200, headers=[(kind(b"X"), kind(b"y")), ("Content-Length", b"2")]))
            self.assertEqual(conn.send(http.Data(kind(b"hi"))), b"hi")

    def test_pieces_hold_the_object_itself(self):
        conn = server(GET)
        events(conn)
        conn.send(http.Response(status_code=200, headers=[]))

        class File:
            def __len__(self):
                return 5

        file = File()
        before, content, after = conn.send_with_data_passthrough(http.Data(file))
        self.assertEqual((before, after), (b"5\r\n", b"\r\n"))
        self.assertIs(content, file)
        self.assertEqual(b"".join(conn.send_with_data_passthrough(http.EndOfMessage())), b"0\r\n\r\n")

    def test_constants(self):
        for constant in (http.IDLE, http.NEED_DATA, http.SERVER):
            self.assertIs(copy.deepcopy(constant), constant)
            self.assertIs(pickle.loads(pickle.dumps(constant)), constant)
        self.assertEqual(repr(http.MIGHT_SWITCH_PROTOCOL), "MIGHT_SWITCH_PROTOCOL")

    def test_events_compare_and_show_themselves(self):
        make = lambda: http.Request(method="GET", target="/", headers=[("Host", "h"), ("X", "y")])  # noqa: E731
        self.assertEqual(make(), make())
        self.assertNotEqual(make(), http.ConnectionClosed())
        self.assertEqual(http.Data(b"a"), http.Data(data=b"a"))
        self.assertRaises(TypeError, hash, make())
        headers = make().headers
        self.assertEqual(headers, [(b"host", b"h"), (b"x", b"y")])
        self.assertEqual(headers.raw_items(), [(b"Host", b"h"), (b"X", b"y")])
        self.assertEqual((len(headers), headers[1], headers[-1]), (2, (b"x", b"y"), (b"x", b"y")))
        self.assertRaises(IndexError, lambda: headers[2])
        self.assertEqual(repr(http.EndOfMessage(headers=headers[:1])), "EndOfMessage(headers=<Headers([(b'host', b'h')])>)")
        with self.assertRaises(AttributeError):
            make().method = b"PUT"

    def test_a_connection_that_is_in_use(self):
        """A call from within a call is an error, as is one from another thread."""
        conn = server(GET)
        events(conn)
        conn.send(http.Response(status_code=200, headers=[]))
        found = []

        class Data:
            def __len__(self):
                try:
                    conn.next_event()
                except RuntimeError as error:
                    found.append(error)
                return 1

        conn.send_with_data_passthrough(http.Data(Data()))
        self.assertEqual(len(found), 1)

    def test_what_was_read_takes_no_memory(self):
        """Input that never becomes empty: each piece ends within a chunk's size."""
        conn = server(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1")
        pages = lambda: int(pathlib.Path("/proc/self/statm").read_text().split()[1])  # noqa: E731
        piece, before, content = b"0000\r\n" + b"x" * 0x10000 + b"\r\n1", pages(), 0
        for _ in range(1000):
            conn.receive_data(piece)
            content += sum(len(event.data) for event in events(conn) if isinstance(event, http.Data))
        self.assertEqual(content, 1000 * 0x10000)
        self.assertLess((pages() - before) * 4096, 10_000_000)

    def test_any_bytes_and_any_calls(self):
        """Only the two errors of the protocol come out, whatever goes in."""
        chance = random.Random(7)
        words = [GET, b"\r\n", b"\0", b"HTTP/1.1 200 OK\r\n\r\n", b"POST / HTTP/1.1\r\nHost: h\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"ffffffffffffffff\r\n", b"5\r\nhello\r\n", b"Content-Length: 18446744073709551615\r\n\r\n"]
        sends = [
            http.Request(method="GET", target="/", headers=[("Host", "h")]),
            http.Request(method="PUT", target="/", headers=[("Host", "h"), ("Content-Length", "18446744073709551615")]),
            http.InformationalResponse(status_code=101, headers=[("Upgrade", "x")]),
            http.InformationalResponse(status_code=100, headers=[]),
            http.Response(status_code=200, headers=[]),
            http.Response(status_code=200, headers=[("Content-Length", "5")]),
            http.Data(b"hello"),
            http.EndOfMessage(headers=[("X", "y")]),
            http.EndOfMessage(),
            http.ConnectionClosed(),
        ]
        errors = 0
        for _ in range(3000):
            conn = http.Connection(chance.choice([http.SERVER, http.CLIENT]))
            for _ in range(20):
                call = chance.randrange(6)
                try:
                    if call == 0:
                        conn.receive_data(chance.choice([*words, bytes(chance.randrange(256) for _ in range(9))]))
                    elif call in (1, 2):
                        conn.next_event()
                    elif call == 3:
                        conn.send(chance.choice(sends))
                    elif call == 4:
                        conn.send_with_data_passthrough(chance.choice(sends))
                    else:
                        conn.start_next_cycle()
                except (http.LocalProtocolError, http.RemoteProtocolError):
                    errors += 1
                repr((conn.states, conn.trailing_data, conn.their_http_version))
        self.assertGreater(errors, 1000)
