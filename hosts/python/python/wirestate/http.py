"""HTTP/1.1 without I/O, in the shape of h11: bytes go in and events come out, events go in and bytes come out.

The README of the package says what differs from h11.
"""

from __future__ import annotations

from typing import Union

from ._core import (
    CLIENT,
    CLOSED,
    DONE,
    ERROR,
    IDLE,
    MIGHT_SWITCH_PROTOCOL,
    MUST_CLOSE,
    NEED_DATA,
    PAUSED,
    SEND_BODY,
    SEND_RESPONSE,
    SERVER,
    SWITCHED_PROTOCOL,
    Connection,
    ConnectionClosed,
    Data,
    EndOfMessage,
    Headers,
    InformationalResponse,
    Request,
    Response,
    Sentinel,
    __version__,
)
from ._http_errors import LocalProtocolError, ProtocolError, RemoteProtocolError

Event = Union[Request, InformationalResponse, Response, Data, EndOfMessage, ConnectionClosed]

# For a Server or User-Agent field.
PRODUCT_ID = "wirestate/" + __version__

__all__ = [
    "CLIENT",
    "CLOSED",
    "DONE",
    "ERROR",
    "IDLE",
    "MIGHT_SWITCH_PROTOCOL",
    "MUST_CLOSE",
    "NEED_DATA",
    "PAUSED",
    "PRODUCT_ID",
    "SEND_BODY",
    "SEND_RESPONSE",
    "SERVER",
    "SWITCHED_PROTOCOL",
    "Connection",
    "ConnectionClosed",
    "Data",
    "EndOfMessage",
    "Event",
    "Headers",
    "InformationalResponse",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Sentinel",
]
