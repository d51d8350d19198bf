"""One request and its answer, as an ASGI application sees them."""

from __future__ import annotations

import asyncio
import http as statuses
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from .. import http

if TYPE_CHECKING:
    from ._http import HttpProtocol

CLOSE = (b"connection", b"close")
REASONS = {status.value: status.phrase.encode("ascii") for status in statuses.HTTPStatus}


class Cycle:
    """One exchange."""

    def __init__(self, protocol: HttpProtocol, scope: Any) -> None:
        self.protocol = protocol
        self.conn = protocol.conn
        self.scope = scope
        self.changed = asyncio.Event()
        self.disconnected = False
        self.keep_alive = True
        self.body = bytearray()
        self.more_body = True
        # The head of the answer waits for the first part of its body, so that both go out in one write.
        self.head: http.Response | None = None
        self.response_started = False
        self.response_complete = False

    # From the connection.

    def feed(self, data: bytes) -> int:
        """Adds content; returns the bytes that wait."""
        self.body += data
        self.changed.set()
        return len(self.body)

    def end(self) -> None:
        """The request is complete."""
        self.more_body = False
        self.changed.set()

    def disconnect(self) -> None:
        """The client is gone."""
        self.disconnected = not self.response_complete
        self.changed.set()

    # The application.

    async def run(self, app: Any) -> None:
        """Runs the application, and answers in its place where it fails."""
        logger = self.protocol.logger
        try:
            result = await app(self.scope, self.receive, self.send)
        except BaseException as error:
            logger.error("Exception in ASGI application\n", exc_info=error)
            await self._fail()
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return
        if result is not None:
            logger.error("ASGI callable should return None, but returned '%s'.", result)
            self.protocol.transport.close()
        elif not self.response_complete and not self.disconnected:
            what = "completing" if self.response_started or self.head else "starting"
            logger.error("ASGI callable returned without %s response.", what)
            await self._fail()

    async def _fail(self) -> None:
        if self.response_complete or self.disconnected:
            return
        if self.response_started:
            # The client must not take the answer for complete.
            return self.protocol.transport.close()
        self.head = None
        text = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)), CLOSE]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": text})

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive."""
        protocol = self.protocol
        if self.conn.they_are_waiting_for_100_continue and not protocol.transport.is_closing():
            protocol.transport.write(self.conn.send(http.InformationalResponse(status_code=100, headers=[])))
        if not self.disconnected and not self.response_complete:
            if self.more_body:
                protocol.resume_reading()
            await self.changed.wait()
            self.changed.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body = bytes(self.body)
        self.body.clear()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's send."""
        if not self.protocol.writable.is_set():
            await self.protocol.writable.wait()
        if self.disconnected:
            return
        kind = message["type"]
        if self.response_complete:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent, after response already completed.")
        if self.head is None and not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{kind}'.")
            return self._start(message)
        if kind != "http.response.body":
            raise RuntimeError(f"Expected ASGI message 'http.response.body', but got '{kind}'.")
        self._body(message.get("body", b""), message.get("more_body", False))

    def _start(self, message: dict[str, Any]) -> None:
        status = message["status"]
        headers = [*self.protocol.server_state.default_headers, *message.get("headers", ())]
        if not self.keep_alive:
            headers.append(CLOSE)
        self.head = http.Response(status_code=status, headers=headers, reason=REASONS.get(status, b""))
        if self.protocol.access_log:
            self.protocol.access_logger.info(
                '%s - "%s %s HTTP/%s" %d',
                get_client_addr(self.scope),
                self.scope["method"],
                get_path_with_query_string(self.scope),
                self.scope["http_version"],
                status,
            )

    def _body(self, body: bytes, more: bool) -> None:
        conn, output = self.conn, b""
        if self.head is not None:
            output = conn.send(self.head)
            self.head, self.response_started = None, True
        if body:
            output += conn.send(http.Data(body))
        if not more:
            # Raises if the body is shorter than announced.
            output += conn.send(http.EndOfMessage())
            self.response_complete = True
        if output:
            self.protocol.transport.write(output)
        if self.response_complete:
            self.changed.set()
            self.protocol.answered(self.keep_alive)
