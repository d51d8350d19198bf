"""What wirestate.ws promises beyond wsproto, and where it differs from wsproto on purpose (README.md lists both)."""

from __future__ import annotations

import random
import threading
import unittest

from wirestate import ws

MASK = b"\0\0\0\0"


def opened(deflate=None, **options):
    """A client and a server after the handshake; the options are the server's."""
    client, server = ws.WSConnection(ws.CLIENT), ws.WSConnection(ws.SERVER, **options)
    extensions = [deflate] if deflate else []
    server.receive_data(client.send(ws.Request(host="h", target="/", extensions=extensions)))
    list(server.events())
    client.receive_data(server.send(ws.AcceptConnection(extensions=extensions)))
    [accepted] = client.events()
    assert len(accepted.extensions) == len(extensions)
    return client, server


def frame(first, payload=b"", masked=True):
    head = bytes([first, len(payload) | (0x80 if masked else 0)])
    return head + (MASK if masked else b"") + payload


class Errors(unittest.TestCase):
    def failed(self, data, violation, code, section, **options):
        client, server = opened(**options)
        server.receive_data(data)
        *_, event = server.events()
        self.assertEqual((event.violation, event.code, event.section), (violation, code, section))
        # The answer tells the client.
        self.assertIs(server.state, ws.ConnectionState.REMOTE_CLOSING)
        client.receive_data(server.send(event.response()))
        [told] = client.events()
        self.assertEqual((told.code, told.violation), (code, None))
        self.assertIs(server.state, ws.ConnectionState.CLOSED)
        self.assertRaises(ws.LocalProtocolError, server.send, event.response())
        self.assertRaises(ws.LocalProtocolError, server.receive_data, b"more")

    def test_violations_have_a_name_a_code_and_a_section(self):
        self.failed(frame(0x81, b"a", masked=False), "Unmasked", 1002, "RFC 6455 section 5.1")
        self.failed(frame(0xC1, b"a"), "ReservedBit", 1002, "RFC 6455 section 5.2")
        self.failed(frame(0x83), "ReservedOpcode", 1002, "RFC 6455 section 5.2")
        self.failed(frame(0x80), "NothingToContinue", 1002, "RFC 6455 section 5.4")
        self.failed(frame(0x09), "FragmentedControl", 1002, "RFC 6455 section 5.5")
        self.failed(frame(0x81, b"\xff"), "Utf8", 1007, "RFC 6455 section 8.1")
        self.failed(frame(0x88, b"\x03\xed"), "CloseCode", 1002, "RFC 6455 section 7.4")
        self.failed(frame(0x89) * 257, "TooManyControlFrames", 1008, "RFC 6455 section 10.4")
        self.failed(b"\x82\xff" + b"\x7f" * 8 + MASK, "FrameTooLong", 1009, "RFC 6455 section 10.4")
        self.failed(frame(0x82, b"x" * 101), "FrameTooLong", 1009, "RFC 6455 section 10.4", max_message_size=100)
        parts = frame(0x02, b"x" * 60) + frame(0x80, b"x" * 60)
        for whole in (True, False):
            self.failed(parts, "MessageTooLong", 1009, "RFC 6455 section 10.4", max_message_size=100, parts=whole)

    def test_a_bomb(self):
        """A small frame that inflates beyond the limit."""
        settings = ws.PerMessageDeflate(level=9)
        client, server = opened(settings)
        data = client.send(ws.BytesMessage(b"\0" * 900_000))
        self.assertLess(len(data), 1000)
        self.assertEqual(sum(len(event.data) for event in self.received(server, data)), 900_000)
        client, server = opened(settings, max_message_size=100_000)
        *_, event = self.received(server, client.send(ws.BytesMessage(b"\0" * 200_000)))
        self.assertEqual((event.violation, event.code), ("MessageTooLong", 1009))

    @staticmethod
    def received(conn, data):
        conn.receive_data(data)
        return list(conn.events())

    def test_what_cannot_be_sent(self):
        client, server = opened()
        for event in (
            ws.Ping(b"x" * 126),
            ws.CloseConnection(1006),
            ws.CloseConnection(999),
            ws.CloseConnection(1000, "x" * 124),
            ws.Request(host="h", target="/"),
            ws.AcceptConnection(),
        ):
            self.assertRaises(ws.LocalProtocolError, server.send, event)
        server.send(ws.TextMessage("a", message_finished=False))
        self.assertRaises(ws.LocalProtocolError, server.send, ws.BytesMessage(b"b"))
        server.send(ws.TextMessage("b"))
        self.assertRaises(TypeError, server.send, ws.Message(5))
        self.assertRaises(UnicodeEncodeError, server.send, ws.TextMessage("\ud800"))
        server.send(ws.CloseConnection(1000))
        self.assertRaises(ws.LocalProtocolError, server.send, ws.TextMessage("late"))
        self.assertRaises(ws.LocalProtocolError, server.send, ws.Pong())
        self.assertRaises(OverflowError, ws.CloseConnection, 70_000)

    def test_handshakes_that_cannot_be_sent(self):
        for request in (
            ws.Request(host="", target="/"),
            ws.Request(host="h", target="x"),
            ws.Request(host="h", target="/ x"),
            ws.Request(host="h", target="/", subprotocols=["a b"]),
            ws.Request(host="h", target="/", extra_headers=[(b"X", b"a\r\nY: b")]),
            ws.Request(host="h", target="/", extensions=["permessage-deflate"]),
        ):
            self.assertRaises(ws.LocalProtocolError, ws.WSConnection(ws.CLIENT).send, request)
        server = ws.WSConnection(ws.SERVER)
        self.assertRaises(ws.LocalProtocolError, server.send, ws.AcceptConnection())
        server.receive_data(ws.WSConnection(ws.CLIENT).send(ws.Request(host="h", target="/", subprotocols=["a"])))
        self.assertRaises(ws.LocalProtocolError, server.send, ws.AcceptConnection("b"))
        self.assertRaises(ws.LocalProtocolError, server.send, ws.AcceptConnection(extra_headers=[(b"X", b"\r\n")]))
        self.assertIn(b"Sec-WebSocket-Protocol: a", server.send(ws.AcceptConnection("a")))

    def test_a_false_answer(self):
        """A 101 that does not answer this request."""
        answer = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
        client = ws.WSConnection(ws.CLIENT)
        client.send(ws.Request(host="h", target="/"))
        with self.assertRaises(ws.RemoteProtocolError) as caught:
            client.receive_data(answer % b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertIsNone(caught.exception.event_hint)

    def test_refusals_say_what_the_server_takes(self):
        server = ws.WSConnection(ws.SERVER)
        with self.assertRaises(ws.RemoteProtocolError) as caught:
            server.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        sent = server.send(caught.exception.event_hint)
        self.assertTrue(sent.startswith(b"HTTP/1.1 426 "), sent)
        self.assertIn(b"Sec-WebSocket-Version: 13\r\n", sent)
        request = ws.WSConnection(ws.CLIENT).send(ws.Request(host="h", target="/"))
        for change in ((b"HTTP/1.1", b"HTTP/1.0"), (b"Host: h\r\n", b"Host: h\r\nContent-Length: 5\r\n")):
            server = ws.WSConnection(ws.SERVER)
            with self.assertRaises(ws.RemoteProtocolError) as caught:
                server.receive_data(request.replace(*change))
            self.assertTrue(server.send(caught.exception.event_hint).startswith(b"HTTP/1.1 400 "))
        server = ws.WSConnection(ws.SERVER)
        with self.assertRaises(ws.RemoteProtocolError) as caught:
            server.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 70_000)
        self.assertTrue(server.send(caught.exception.event_hint).startswith(b"HTTP/1.1 431 "))


class Connections(unittest.TestCase):
    def test_whole_messages(self):
        text = "\u20ac" * 10_000
        for parts in (True, False):
            client, server = opened(parts=parts)
            data, found = client.send(ws.TextMessage(text)), []
            for at in range(0, len(data), 1000):
                server.receive_data(data[at : at + 1000])
                found += server.events()
            self.assertEqual("".join(event.data for event in found), text)
            self.assertEqual(len(found) == 1, not parts)
            self.assertEqual([event.message_finished for event in found], [False] * (len(found) - 1) + [True])

    def test_data_behind_the_handshake(self):
        client, server = ws.WSConnection(ws.CLIENT), ws.WSConnection(ws.SERVER)
        server.receive_data(client.send(ws.Request(host="h", target="/")) + frame(0x81, b"early"))
        self.assertEqual([type(event) for event in server.events()], [ws.Request])
        data = server.send(ws.AcceptConnection()) + frame(0x81, b"first", masked=False)
        self.assertEqual(list(server.events()), [ws.TextMessage("early")])
        client.receive_data(data)
        accepted, first = client.events()
        self.assertEqual(first, ws.TextMessage("first"))

    def test_from_another_http_stack(self):
        server = ws.WSConnection(ws.SERVER)
        fields = [(b"Host", b"h"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
        fields += [(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="), (b"Sec-WebSocket-Version", b"13")]
        server.initiate_upgrade_connection(fields, "/x")
        self.assertEqual(next(server.events()).target, "/x")
        self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", server.send(ws.AcceptConnection()))

    def test_the_end_of_the_stream(self):
        client, server = opened()
        server.receive_data(None)
        [event] = server.events()
        self.assertEqual((event.code, event.reason, server.state), (1006, None, ws.ConnectionState.CLOSED))

    def test_a_close_frame_without_a_code(self):
        client, server = opened()
        self.assertEqual(server.send(ws.CloseConnection(1005)), b"\x88\0")
        client.receive_data(b"\x88\0")
        [event] = client.events()
        self.assertEqual((event.code, event.reason), (1005, ""))

    def test_both_close_at_once(self):
        client, server = opened()
        ours, theirs = client.send(ws.CloseConnection(1000)), server.send(ws.CloseConnection(1001))
        client.receive_data(theirs)
        server.receive_data(ours)
        self.assertEqual([event.code for event in client.events()], [1001])
        self.assertEqual([event.code for event in server.events()], [1000])
        self.assertEqual((client.state.name, server.state.name), ("CLOSED", "CLOSED"))

    def test_bytes_behind_a_close_frame_are_dropped(self):
        client, server = opened()
        server.receive_data(client.send(ws.CloseConnection(1000)))
        [event] = server.events()
        server.receive_data(frame(0x81, b"late"))
        self.assertEqual(list(server.events()), [])
        server.send(event.response())
        self.assertRaises(ws.LocalProtocolError, server.receive_data, b"later")

    def test_no_mask_is_used_twice(self):
        client, _ = opened()
        masks = {client.send(ws.Ping(b""))[2:6] for _ in range(100)}
        self.assertGreater(len(masks), 95)

    def test_threads(self):
        """Large messages are compressed while other threads run; one connection is one thread's at a time."""
        text, results = "".join(random.Random(1).choices("abcdefgh", k=500_000)), []

        def work():
            client, server = opened(ws.PerMessageDeflate())
            for _ in range(3):
                server.receive_data(client.send(ws.TextMessage(text)))
                results.append("".join(event.data for event in server.events()) == text)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [True] * 9)

    def test_window_bits(self):
        for bits in (8, 9, 15):
            settings = ws.PerMessageDeflate(server_max_window_bits=bits, client_max_window_bits=bits)
            client, server = opened(settings)
            text = "hello world " * 500
            server.receive_data(client.send(ws.TextMessage(text)))
            client.receive_data(server.send(ws.TextMessage(text)))
            for side in (client, server):
                self.assertEqual("".join(event.data for event in side.events()), text)
        self.assertRaises(ValueError, ws.PerMessageDeflate, server_max_window_bits=16)

    def test_any_frames(self):
        """Only the errors of the protocol come out, whatever goes in."""
        chance, ends = random.Random(3), 0
        for _ in range(1500):
            client, server = opened(ws.PerMessageDeflate() if chance.random() < 0.5 else None)
            conn = chance.choice([client, server])
            for _ in range(6):
                data = bytes(chance.choice([0, 1, 0x81, 0x82, 0x88, 0x89, 0xC1, 0x80, 0x83, 5]) for _ in range(chance.randint(1, 20)))
                try:
                    conn.receive_data(data)
                    for event in conn.events():
                        ends += isinstance(event, ws.CloseConnection)
                        if isinstance(event, (ws.Ping, ws.CloseConnection)):
                            conn.send(event.response())
                except ws.LocalProtocolError:
                    break
        self.assertGreater(ends, 500)
