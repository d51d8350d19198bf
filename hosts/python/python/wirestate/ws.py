"""WebSocket without I/O, in the shape of wsproto: bytes go in and events come out, events go in and bytes come out.

The README of the package says what differs from wsproto.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from . import http
from ._core import (
    BytesMessage,
    CloseConnection,
    Frames,
    Message,
    Parameters,
    PerMessageDeflate,
    Ping,
    Pong,
    TextMessage,
    UpgradeOffer,
    UpgradeRequest,
)
from ._ws_errors import LocalProtocolError, ProtocolError, Refused, RemoteProtocolError

HeaderList = Sequence[tuple[bytes, bytes]]


class ConnectionType(Enum):
    """The role of this side."""

    CLIENT = 1
    SERVER = 2


class ConnectionState(Enum):
    """The progress of a connection."""

    CONNECTING = 0
    OPEN = 1
    REMOTE_CLOSING = 2
    LOCAL_CLOSING = 3
    CLOSED = 4
    REJECTING = 5


CLIENT, SERVER = ConnectionType.CLIENT, ConnectionType.SERVER


@dataclass(frozen=True)
class Request:
    """A client's request to open a connection.

    A server gets the extensions as text, as the client wrote them; a client sends instances of `PerMessageDeflate`.
    """

    host: str
    target: str
    extensions: Sequence[PerMessageDeflate | str] = field(default_factory=list)
    extra_headers: HeaderList = field(default_factory=list)
    subprotocols: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class AcceptConnection:
    """The server's answer that opens the connection."""

    subprotocol: str | None = None
    extensions: Sequence[PerMessageDeflate] = field(default_factory=list)
    extra_headers: HeaderList = field(default_factory=list)


@dataclass(frozen=True)
class RejectConnection:
    """The server's answer that refuses the connection; `RejectData` follows if `has_body`."""

    status_code: int = 400
    headers: HeaderList = field(default_factory=list)
    has_body: bool = False


@dataclass(frozen=True)
class RejectData:
    """A part of the content of a refusal."""

    data: bytes
    body_finished: bool = True


Event = Union[
    Request,
    AcceptConnection,
    RejectConnection,
    RejectData,
    Message,
    TextMessage,
    BytesMessage,
    Ping,
    Pong,
    CloseConnection,
]

# The fields of the handshake that an event shows in its own attributes.
_SHOWN = {b"host", b"sec-websocket-extensions", b"sec-websocket-protocol"}


class WSConnection:
    """One WebSocket connection, from its opening handshake on.

    `max_message_size` bounds a message in bytes, compressed and inflated; a longer one ends the connection with 1009. With
    `parts`, a message that is not complete in the received bytes comes in parts, as in wsproto; without, only whole messages come.
    """

    def __init__(self, connection_type: ConnectionType, *, max_message_size: int = 1 << 20, parts: bool = True) -> None:
        self.client = connection_type is ConnectionType.CLIENT
        self._http = http.Connection(http.CLIENT if self.client else http.SERVER)
        self._frames: Frames | None = None
        self._state = ConnectionState.CONNECTING
        self._events: deque[Event] = deque()
        self._upgrade: UpgradeRequest | UpgradeOffer | None = None
        self._deflate: PerMessageDeflate | None = None
        self._max_message_size = max_message_size
        self._parts = parts

    @property
    def state(self) -> ConnectionState:
        """The progress of the connection."""
        if self._frames is None:
            return self._state
        return ConnectionState[self._frames.state]

    def initiate_upgrade_connection(self, headers: HeaderList, path: bytes | str) -> None:
        """For a server whose HTTP stack has read the request: its fields and its target."""
        if self.client:
            raise LocalProtocolError("only a server receives a request")
        try:
            request = http.Request(method=b"GET", target=path, headers=headers)
            self.receive_data(http.Connection(http.CLIENT).send(request))
        except http.LocalProtocolError as error:
            raise RemoteProtocolError(str(error), RejectConnection()) from error

    def send(self, event: Event) -> bytes:
        """Returns the bytes that `event` is sent as. Raises `LocalProtocolError`."""
        frames = self._frames
        if frames is None:
            try:
                return self._send_handshake(event)
            except http.LocalProtocolError as error:
                raise LocalProtocolError(str(error)) from error
        if isinstance(event, Message):
            return frames.message(event.data, event.message_finished)
        if isinstance(event, Pong):
            return frames.pong(event.payload)
        if isinstance(event, Ping):
            return frames.ping(event.payload)
        if isinstance(event, CloseConnection):
            return frames.close(event.code, event.reason)
        raise LocalProtocolError(f"{event!r} cannot be sent in state {self.state}")

    def receive_data(self, data: bytes | None) -> None:
        """Adds received bytes; `None` means that the stream has ended. Ask for `events()` next.

        Raises `RemoteProtocolError` for a bad opening handshake.
        """
        if self._frames is None:
            self._receive_handshake(data or b"")
        else:
            self._frames.receive_data(data)

    def events(self) -> Iterator[Event]:
        """The events of what was received."""
        if self._events:
            return self._all_events()
        return iter(()) if self._frames is None else self._frames

    def _all_events(self) -> Iterator[Event]:
        while self._events:
            yield self._events.popleft()
        if self._frames is not None:
            yield from self._frames

    # The opening handshake.

    def _send_handshake(self, event: Event) -> bytes:
        if isinstance(event, Request) and self.client:
            return self._offer(event)
        if isinstance(event, AcceptConnection) and isinstance(self._upgrade, UpgradeRequest):
            return self._accept(event, self._upgrade)
        if isinstance(event, RejectConnection) and not self.client and self._state is ConnectionState.CONNECTING:
            headers = list(event.headers)
            if not event.has_body:
                headers.append((b"content-length", b"0"))
            data = self._http.send(http.Response(status_code=event.status_code, headers=headers))
            self._state = ConnectionState.REJECTING
            return data if event.has_body else data + self._rejected()
        if isinstance(event, RejectData) and self._state is ConnectionState.REJECTING and not self.client:
            data = self._http.send(http.Data(data=event.data))
            return data + self._rejected() if event.body_finished else data
        raise LocalProtocolError(f"{event!r} cannot be sent in state {self.state}")

    def _rejected(self) -> bytes:
        data = self._http.send(http.EndOfMessage())
        self._state = ConnectionState.CLOSED
        return data

    def _accept(self, event: AcceptConnection, request: UpgradeRequest) -> bytes:
        deflate = _deflate(event.extensions)
        fields, parameters = request.accept(event.subprotocol, deflate)
        headers: list[tuple[str, str] | tuple[bytes, bytes]] = [*fields, *event.extra_headers]
        data = self._http.send(http.InformationalResponse(status_code=101, headers=headers))
        self._open(deflate, parameters)
        return data

    def _offer(self, event: Request) -> bytes:
        deflate = _deflate(event.extensions)
        host = event.host.encode("idna").decode("ascii")
        offer = UpgradeOffer(host, event.target, list(event.subprotocols), deflate)
        headers = [*offer.headers(), *event.extra_headers]
        data = self._http.send(http.Request(method=b"GET", target=event.target, headers=headers))
        data += self._http.send(http.EndOfMessage())
        self._upgrade, self._deflate = offer, deflate
        return data

    def _open(self, deflate: PerMessageDeflate | None, parameters: Parameters | None) -> None:
        frames = Frames(self.client, self._max_message_size, self._parts, deflate, parameters)
        trailing, closed = self._http.trailing_data
        if trailing:
            frames.receive_data(trailing)
        if closed:
            frames.receive_data(None)
        self._frames = frames

    def _receive_handshake(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            while self._frames is None:
                event = self._http.next_event()
                if isinstance(event, (http.Sentinel, http.ConnectionClosed)):
                    break
                if self.client:
                    self._answer(event)
                elif isinstance(event, http.Request):
                    self._request(event)
        except http.RemoteProtocolError as error:
            hint = None if self.client else RejectConnection(status_code=error.error_status_hint)
            raise RemoteProtocolError(str(error), hint) from error
        except Refused as error:
            fields = [(name.encode(), value.encode()) for name, value in error.fields]
            hint = None if self.client else RejectConnection(status_code=error.status, headers=fields)
            raise RemoteProtocolError(str(error), hint) from error

    def _request(self, event: http.Request) -> None:
        upgrade = UpgradeRequest(event.method, event.headers)
        self._http.next_event()
        if self._http.their_state is not http.MIGHT_SWITCH_PROTOCOL:
            # RFC 9110 section 7.8: an Upgrade is ignored there.
            raise Refused("a request of HTTP/1.0, or one with content, cannot switch protocols", 400)
        self._upgrade = upgrade
        extensions: list[str] = []
        for name, value in event.headers:
            if name == b"sec-websocket-extensions":
                extensions += [offer.strip() for offer in value.decode("ascii").split(",") if offer.strip()]
        self._events.append(
            Request(
                host=self._upgrade.host,
                target=event.target.decode("ascii"),
                extensions=extensions,
                extra_headers=[(name, value) for name, value in event.headers if name not in _SHOWN],
                subprotocols=self._upgrade.subprotocols,
            )
        )

    def _answer(self, event: http.Event) -> None:
        """What a server answered to our request."""
        if isinstance(event, http.InformationalResponse):
            if event.status_code != 101 or not isinstance(self._upgrade, UpgradeOffer):
                return
            subprotocol, parameters = self._upgrade.verify(event.status_code, event.headers)
            used = [self._deflate] if self._deflate is not None and parameters is not None else []
            extra = [(name, value) for name, value in event.headers if name not in _SHOWN]
            self._events.append(AcceptConnection(subprotocol, used, extra))
            self._open(self._deflate, parameters)
        elif isinstance(event, http.Response):
            self._state = ConnectionState.REJECTING
            self._events.append(RejectConnection(event.status_code, list(event.headers), has_body=True))
        elif isinstance(event, http.Data):
            self._events.append(RejectData(event.data, body_finished=False))
        elif isinstance(event, http.EndOfMessage):
            self._events.append(RejectData(b"", body_finished=True))
            self._state = ConnectionState.CLOSED


def _deflate(extensions: Sequence[PerMessageDeflate | str]) -> PerMessageDeflate | None:
    found = None
    for extension in extensions:
        if not isinstance(extension, PerMessageDeflate) or found is not None:
            raise LocalProtocolError(f"one PerMessageDeflate is all that can be offered, not {extension!r}")
        found = extension
    return found


__all__ = [
    "CLIENT",
    "SERVER",
    "AcceptConnection",
    "BytesMessage",
    "CloseConnection",
    "ConnectionState",
    "ConnectionType",
    "Event",
    "LocalProtocolError",
    "Message",
    "PerMessageDeflate",
    "Ping",
    "Pong",
    "ProtocolError",
    "RejectConnection",
    "RejectData",
    "RemoteProtocolError",
    "Request",
    "TextMessage",
    "WSConnection",
]
