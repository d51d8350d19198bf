"""The errors of WebSocket."""

from __future__ import annotations

from typing import Any


class ProtocolError(Exception):
    """A rule of RFC 6455 was broken."""


class LocalProtocolError(ProtocolError):
    """This side asked for what may not be sent. Nothing was sent, and the connection is unchanged."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol in the opening handshake. `event_hint` is the event to send, if there is one."""

    def __init__(self, message: str, event_hint: Any = None) -> None:
        super().__init__(message)
        self.event_hint = event_hint


class Refused(Exception):
    """The core refuses a handshake: its text, the status of the answer, and the fields of the answer."""

    def __init__(self, message: str, status: int, fields: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fields = fields or []
