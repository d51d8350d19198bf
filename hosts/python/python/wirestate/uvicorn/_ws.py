"""WebSocket for uvicorn."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)

from .. import ws

# Bytes of messages that the application has not taken, above which the connection is not read from. An empty message counts 64.
HIGH_WATER = 64 * 1024

# Seconds in which the client must answer a Close frame.
CLOSE_TIMEOUT = 5.0

# Seconds in which a client that is still sending may read the last frame or the refusal.
LINGER = 2.0


class WebSocketProtocol(asyncio.Protocol):
    """One connection of a client, from its opening handshake on."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.server_state = server_state
        self.app_state = app_state
        self.loop = _loop or asyncio.get_event_loop()
        self.logger = logging.getLogger("uvicorn.error")
        self.conn = ws.WSConnection(ws.SERVER, max_message_size=config.ws_max_size, parts=False)
        self.scope: Any = {}
        self.queue: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        self.waiting = 0
        self.is_reading_paused = False
        self.is_started = False
        # The application has answered the handshake; by a response other than 101.
        self.is_answered = False
        self.is_rejecting = False
        self.is_told = False
        self.is_lingering = False
        self.is_lost = False
        self.timer: asyncio.TimerHandle | None = None
        self.close_timer: asyncio.TimerHandle | None = None
        self.ping: bytes | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.server_state.connections.add(self)
        self.transport = transport
        self.server = get_local_addr(transport)
        self.client = get_remote_addr(transport)
        self.scheme = "wss" if is_ssl(transport) else "ws"

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)
        self.is_lost = True
        self._cancel_timers()
        self.writable.set()
        self._tell(1006 if self.conn.state is not ws.ConnectionState.CLOSED else 1005)

    def data_received(self, data: bytes) -> None:
        if self.is_lingering:
            return
        try:
            self.conn.receive_data(data)
        except ws.RemoteProtocolError as error:
            self._refuse(error)
        except ws.LocalProtocolError:
            # Bytes behind the closing handshake.
            self.transport.close()
        else:
            for event in self.conn.events():
                self._handle(event)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """Ends the connection: the server stops."""
        if self.conn.state is ws.ConnectionState.OPEN:
            self.transport.write(self.conn.send(ws.CloseConnection(1012)))
        elif not self.is_answered:
            self._reject(500, b"Internal Server Error")
        self._tell(1012)
        self.transport.close()

    # Events.

    def _handle(self, event: Any) -> None:
        if isinstance(event, ws.Message):
            self._put(event.data)
        elif isinstance(event, ws.Ping):
            if self.conn.state is ws.ConnectionState.OPEN:
                self.transport.write(self.conn.send(event.response()))
        elif isinstance(event, ws.Pong):
            self._pong(event.payload)
        elif isinstance(event, ws.CloseConnection):
            self._closed(event)
        elif isinstance(event, ws.Request):
            self._connect(event)

    def _put(self, data: str | bytes) -> None:
        if self.is_told:
            return
        kind = "text" if isinstance(data, str) else "bytes"
        self._queue({"type": "websocket.receive", kind: data}, len(data) + 64)
        if self.waiting > HIGH_WATER and not self.is_reading_paused:
            self.is_reading_paused = True
            self.transport.pause_reading()

    def _queue(self, message: dict[str, Any], size: int = 0) -> None:
        self.waiting += size
        self.queue.put_nowait((size, message))

    def _tell(self, code: int, reason: str = "") -> None:
        """Tells the application, once, that the connection has ended."""
        if not self.is_told:
            self.is_told = True
            self._queue({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _closed(self, event: ws.CloseConnection) -> None:
        if self.conn.state is ws.ConnectionState.REMOTE_CLOSING:
            self.transport.write(self.conn.send(event.response()))
        self._tell(event.code, event.reason or "")
        self._linger()

    def _connect(self, event: ws.Request) -> None:
        self.is_started = True
        raw_path, _, query = event.target.partition("?")
        root_path = self.config.root_path
        self.scope = {
            "type": "websocket",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": root_path,
            "path": root_path + unquote(raw_path),
            "raw_path": (root_path + raw_path).encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [(b"host", event.host.encode()), *event.extra_headers],
            "subprotocols": list(event.subprotocols),
            "state": self.app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }
        self._queue({"type": "websocket.connect"})
        task = self.loop.create_task(self._run())
        task.add_done_callback(self.server_state.tasks.discard)
        self.server_state.tasks.add(task)

    def _refuse(self, error: ws.RemoteProtocolError) -> None:
        """The handshake is invalid."""
        self.logger.warning("Invalid WebSocket handshake received: %s.", error)
        hint = error.event_hint
        self._reject(hint.status_code, f"{error}\n".encode(), hint.headers)
        self._linger()

    def _reject(self, status: int, text: bytes, headers: Any = ()) -> None:
        # The server's Upgrade field, in a 426, goes with its own Connection field.
        fields = [(name, value) for name, value in headers if name.lower() != b"connection"]
        options = b"upgrade, close" if any(name.lower() == b"upgrade" for name, _ in fields) else b"close"
        fields += [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", options),
        ]
        try:
            head = self.conn.send(ws.RejectConnection(status_code=status, headers=fields, has_body=True))
            self.transport.write(head + self.conn.send(ws.RejectData(text)))
        except ws.LocalProtocolError:
            pass  # The request was not even HTTP: there is no answer to it.
        self.is_answered = True

    def _linger(self) -> None:
        """Ends the stream. The client gets time to read what was sent, and to end its own."""
        self._cancel_timers()
        self.is_lingering = True
        if self.transport.is_closing() or not self.transport.can_write_eof():
            return self.transport.close()
        try:
            self.transport.write_eof()
        except OSError:
            # The client has reset the connection.
            return self.transport.close()
        self._resume_reading()
        self.close_timer = self.loop.call_later(LINGER, self.transport.close)

    # Keeping the connection alive.

    def _start_pings(self) -> None:
        interval = self.config.ws_ping_interval
        if interval:
            self.timer = self.loop.call_later(interval, self._send_ping)

    def _send_ping(self) -> None:
        if self.conn.state is not ws.ConnectionState.OPEN or self.transport.is_closing():
            return
        self.ping = os.urandom(4)
        self.transport.write(self.conn.send(ws.Ping(self.ping)))
        timeout = self.config.ws_ping_timeout
        if timeout is None:
            self._start_pings()
        else:
            self.timer = self.loop.call_later(timeout, self._no_pong)

    def _pong(self, payload: bytes) -> None:
        if payload == self.ping and self.config.ws_ping_timeout is not None:
            self.ping = None
            if self.timer is not None:
                self.timer.cancel()
            self._start_pings()

    def _no_pong(self) -> None:
        if self.is_reading_paused:
            # The Pong may wait behind messages that the application has not taken.
            return self._start_pings()
        if self.conn.state is ws.ConnectionState.OPEN:
            reason = "keepalive ping timeout"
            self.transport.write(self.conn.send(ws.CloseConnection(1011, reason)))
            self._tell(1011, reason)
        self.transport.close()

    def _cancel_timers(self) -> None:
        for timer in (self.timer, self.close_timer):
            if timer is not None:
                timer.cancel()
        self.timer = self.close_timer = None

    # The application.

    async def _run(self) -> None:
        try:
            result = await self.config.loaded_app(self.scope, self._receive, self._send)
        except ClientDisconnected:
            pass
        except BaseException as error:
            self.logger.error("Exception in ASGI application\n", exc_info=error)
            self._fail(1011)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        else:
            if result is not None:
                self.logger.error("ASGI callable should return None, but returned '%s'.", result)
            if not self.is_answered:
                self.logger.error("ASGI callable returned without completing handshake.")
            self._fail(1000)
        if self.close_timer is None:
            self.transport.close()

    def _fail(self, code: int) -> None:
        """The application has ended: ends what it left open."""
        if self.is_lost or self.is_lingering or self.transport.is_closing():
            return
        if not self.is_answered:
            self._reject(500, b"Internal Server Error")
        elif self.conn.state is ws.ConnectionState.OPEN:
            self._close(code, "")

    def _close(self, code: int, reason: str) -> None:
        self.transport.write(self.conn.send(ws.CloseConnection(code, reason)))
        self._tell(code, reason)
        # The client's Close frame may stand behind messages.
        self._resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_TIMEOUT, self.transport.close)

    async def _receive(self) -> dict[str, Any]:
        size, message = await self.queue.get()
        self.waiting -= size
        if self.waiting <= HIGH_WATER // 4:
            self._resume_reading()
        return message

    def _resume_reading(self) -> None:
        if self.is_reading_paused:
            self.is_reading_paused = False
            self.transport.resume_reading()

    async def _send(self, message: dict[str, Any]) -> None:
        if not self.writable.is_set():
            await self.writable.wait()
        if self.is_lost or (self.is_lingering and not self.is_rejecting):
            raise ClientDisconnected
        kind = message["type"]
        if not self.is_answered:
            self._answer(kind, message)
        elif self.is_rejecting:
            self._reject_body(kind, message)
        else:
            self._send_message(kind, message)

    def _answer(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "websocket.accept":
            extensions = [ws.PerMessageDeflate()] if self.config.ws_per_message_deflate else []
            headers = [*self.server_state.default_headers, *message.get("headers", ())]
            accept = ws.AcceptConnection(message.get("subprotocol"), extensions, headers)
            self.transport.write(self.conn.send(accept))
            self.is_answered = True
            self._log("[accepted]")
            self._start_pings()
            for event in self.conn.events():
                self._handle(event)
        elif kind == "websocket.close":
            self._log("403")
            self._reject(403, b"")
            self._tell(1006)
            self._linger()
        elif kind == "websocket.http.response.start":
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            status = message["status"]
            head = self.conn.send(ws.RejectConnection(status_code=status, headers=headers, has_body=True))
            self._log(str(status))
            self.transport.write(head)
            self.is_answered = self.is_rejecting = True
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' "
                f"or 'websocket.http.response.start' but got '{kind}'."
            )

    def _log(self, what: str) -> None:
        path = get_path_with_query_string(self.scope)
        self.logger.info('%s - "WebSocket %s" %s', get_client_addr(self.scope), path, what)

    def _reject_body(self, kind: str, message: dict[str, Any]) -> None:
        if kind != "websocket.http.response.body":
            raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body' but got '{kind}'.")
        if self.is_told:
            raise RuntimeError(f"Unexpected ASGI message '{kind}', after the response was completed.")
        last = not message.get("more_body", False)
        self.transport.write(self.conn.send(ws.RejectData(message.get("body", b""), last)))
        if last:
            self._tell(1006)
            self._linger()

    def _send_message(self, kind: str, message: dict[str, Any]) -> None:
        if kind not in ("websocket.send", "websocket.close"):
            raise RuntimeError(f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'.")
        if self.conn.state is not ws.ConnectionState.OPEN:
            if self.conn.state is ws.ConnectionState.LOCAL_CLOSING:
                raise RuntimeError(f"Unexpected ASGI message '{kind}', after sending 'websocket.close'.")
            raise ClientDisconnected
        if kind == "websocket.send":
            data = message["text"] if message.get("bytes") is None else message["bytes"]
            self.transport.write(self.conn.send(ws.Message(data)))
        else:
            # A Close frame has room for 123 bytes of reason (RFC 6455 section 5.5).
            reason = (message.get("reason") or "").encode()[:123].decode(errors="ignore")
            self._close(message.get("code", 1000), reason)
