"""HTTP for uvicorn."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from .. import http
from ._cycle import Cycle

# Seconds in which the head of a request must arrive, from its first byte, or from the begin of the connection.
HEAD = 30.0

# Bytes of a body that the application has not taken, above which the connection is not read from.
HIGH_WATER = 64 * 1024

# Bytes of a body that the application left, which are read to keep the connection.
DRAIN = 256 * 1024

# Seconds in which a client that is still sending may read the last answer (RFC 9112 section 9.6).
LINGER = 2.0


class HttpProtocol(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.server_state = server_state
        self.app_state = app_state
        self.loop = _loop or asyncio.get_event_loop()
        self.logger = logging.getLogger("uvicorn.error")
        self.access_logger = logging.getLogger("uvicorn.access")
        self.access_log = self.access_logger.hasHandlers()
        self.conn = http.Connection(http.SERVER, config.h11_max_incomplete_event_size)
        self.cycle: Cycle | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.drained = 0
        self.is_in_head = True
        self.is_lingering = False
        self.is_reading_paused = False
        self.writable = asyncio.Event()
        self.writable.set()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.server_state.connections.add(self)
        self.transport = transport
        self.server = get_local_addr(transport)
        self.client = get_remote_addr(transport)
        self.scheme = "https" if is_ssl(transport) else "http"
        self.timer = self.loop.call_later(HEAD, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)
        self._cancel_timer()
        self.writable.set()
        if self.cycle is not None:
            self.cycle.disconnect()

    def data_received(self, data: bytes) -> None:
        if self.is_lingering:
            return
        if self.cycle is None and not self.is_in_head:
            self.is_in_head = True
            self._cancel_timer()
            self.timer = self.loop.call_later(HEAD, self._too_slow)
        self.conn.receive_data(data)
        self._read()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """Ends the connection after the answer under way."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    # Reading.

    def _read(self) -> None:
        while not self.is_lingering:
            try:
                event = self.conn.next_event()
            except http.RemoteProtocolError as error:
                return self._refuse(error)
            if isinstance(event, http.Request):
                if not self._begin(event):
                    return
            elif isinstance(event, http.Data):
                self._take(event.data)
            elif isinstance(event, http.EndOfMessage):
                if self.cycle is not None:
                    self.cycle.end()
                    if self.cycle.response_complete:
                        self._next()
            else:
                # PAUSED: the rest waits for the answer. NEED_DATA: an answer may come before more data.
                if event is http.PAUSED:
                    self.pause_reading()
                return

    def _take(self, data: bytes) -> None:
        cycle = self.cycle
        if cycle is None:
            return
        if not cycle.response_complete:
            if cycle.feed(data) > HIGH_WATER:
                self.pause_reading()
            return
        self.drained += len(data)
        if self.drained > DRAIN:
            self._linger()

    def _begin(self, event: http.Request) -> bool:
        """Starts the application for a request. False if another protocol takes over."""
        self._cancel_timer()
        self.is_in_head = False
        headers = list(event.headers)
        raw_path, _, query = _origin_form(event.target).partition(b"?")
        if self._is_websocket(event, headers):
            self._switch(event, headers)
            return False
        root_path = self.config.root_path
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.3"},
            "http_version": event.http_version.decode("ascii"),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": event.method.decode("ascii"),
            "root_path": root_path,
            "path": root_path + unquote(raw_path.decode("ascii")),
            "raw_path": root_path.encode("ascii") + raw_path,
            "query_string": query,
            "headers": headers,
            "state": self.app_state.copy(),
        }
        app, limit, state = self.config.loaded_app, self.config.limit_concurrency, self.server_state
        if limit is not None and (len(state.connections) >= limit or len(state.tasks) >= limit):
            self.logger.warning("Exceeded concurrency limit.")
            app = service_unavailable
        self.cycle = Cycle(self, scope)
        self.drained = 0
        context = contextvars.Context() if getattr(self.config, "reset_contextvars", False) else None
        task = self.loop.create_task(self.cycle.run(app), context=context)
        task.add_done_callback(state.tasks.discard)
        state.tasks.add(task)
        return True

    def _is_websocket(self, event: http.Request, headers: list[tuple[bytes, bytes]]) -> bool:
        upgrade, options, has_body = None, b"", False
        for name, value in headers:
            if name == b"upgrade":
                upgrade = value.lower()
            elif name == b"connection":
                options += b"," + value.lower()
            elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                has_body = True
        if upgrade is None or b"upgrade" not in [option.strip() for option in options.split(b",")]:
            return False
        if upgrade == b"websocket" and self.config.ws_protocol_class is not None:
            # In a request with a body, an Upgrade is ignored (RFC 9110 section 7.8).
            return not has_body and event.http_version == b"1.1"
        self.logger.warning("Unsupported upgrade request.")
        return False

    def _switch(self, event: http.Request, headers: list[tuple[bytes, bytes]]) -> None:
        self.server_state.connections.discard(self)
        head = [event.method, b" ", event.target, b" HTTP/1.1\r\n"]
        for name, value in headers:
            head += [name, b": ", value, b"\r\n"]
        trailing, _ = self.conn.trailing_data
        protocol = self.config.ws_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(b"".join([*head, b"\r\n", trailing]))

    def _refuse(self, error: http.RemoteProtocolError) -> None:
        """Answers a violation, if an answer is still possible, and ends the connection."""
        self.logger.warning("Invalid HTTP request received.")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnect()
        if self.conn.our_state not in (http.IDLE, http.SEND_RESPONSE):
            return self._linger()
        self._answer(error.error_status_hint, f"{error}\n".encode())

    def _too_slow(self) -> None:
        """The head of a request has not arrived in time."""
        if self.conn.trailing_data[0] and self.conn.our_state is http.IDLE:
            self._answer(408, b"the head of the request did not arrive in time\n")
        else:
            self.transport.close()

    def _answer(self, status: int, text: bytes) -> None:
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
        ]
        head = self.conn.send(http.Response(status_code=status, headers=headers))
        self.transport.write(head + self.conn.send(http.Data(text)) + self.conn.send(http.EndOfMessage()))
        self._linger()

    # After an answer.

    def answered(self, keep_alive: bool) -> None:
        """The application's answer is complete."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.is_lingering:
            return
        if not keep_alive or self.conn.our_state is not http.DONE:
            return self._linger()
        self._cancel_timer()
        self.timer = self.loop.call_later(self.config.timeout_keep_alive, self.transport.close)
        self._next()
        self.resume_reading()
        self._read()

    def _next(self) -> None:
        """Begins the next exchange, if the request was read to its end."""
        if self.conn.their_state is http.DONE:
            self.conn.start_next_cycle()
            self.cycle = None

    def _linger(self) -> None:
        """Closes the connection. A client that is still sending gets time to read the answer."""
        self.is_lingering = True
        self._cancel_timer()
        has_unread = self.conn.trailing_data[0] != b"" or self.conn.their_state not in (http.DONE, http.MUST_CLOSE)
        if not has_unread or not self.transport.can_write_eof() or self.transport.is_closing():
            return self.transport.close()
        try:
            self.transport.write_eof()
        except OSError:
            # The client has reset the connection.
            return self.transport.close()
        self.resume_reading()
        self.timer = self.loop.call_later(LINGER, self.transport.close)

    def pause_reading(self) -> None:
        if not self.is_reading_paused:
            self.is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.is_reading_paused:
            self.is_reading_paused = False
            self.transport.resume_reading()

    def _cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target (RFC 9112 section 3.2.2)."""
    if target.startswith((b"http://", b"https://")):
        _, _, rest = target.partition(b"://")
        slash = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
        path = rest[slash:]
        return path if path.startswith(b"/") else b"/" + path
    return target
