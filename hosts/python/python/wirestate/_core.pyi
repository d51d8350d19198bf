from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, SupportsIndex, overload

__version__: str

class Sentinel: ...

CLIENT: Sentinel
SERVER: Sentinel
NEED_DATA: Sentinel
PAUSED: Sentinel
IDLE: Sentinel
SEND_RESPONSE: Sentinel
SEND_BODY: Sentinel
DONE: Sentinel
MUST_CLOSE: Sentinel
CLOSED: Sentinel
ERROR: Sentinel
MIGHT_SWITCH_PROTOCOL: Sentinel
SWITCHED_PROTOCOL: Sentinel

Octets = bytes | bytearray | memoryview
HeaderInput = Headers | Iterable[Iterable[Octets | str]]

class Headers:
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[bytes, bytes]]: ...
    def raw_items(self) -> list[tuple[bytes, bytes]]: ...

class Request:
    method: bytes
    target: bytes
    headers: Headers
    http_version: bytes
    def __new__(
        cls, *, method: Octets | str, target: Octets | str, headers: HeaderInput, http_version: Octets | str = b"1.1"
    ) -> Self: ...

class InformationalResponse:
    status_code: int
    headers: Headers
    http_version: bytes
    reason: bytes
    def __new__(
        cls, *, status_code: int, headers: HeaderInput, http_version: Octets | str = b"1.1", reason: Octets | str = b""
    ) -> Self: ...

class Response:
    status_code: int
    headers: Headers
    http_version: bytes
    reason: bytes
    def __new__(
        cls, *, status_code: int, headers: HeaderInput, http_version: Octets | str = b"1.1", reason: Octets | str = b""
    ) -> Self: ...

class Data:
    data: Any
    chunk_start: bool
    chunk_end: bool
    def __new__(cls, data: Any, chunk_start: bool = False, chunk_end: bool = False) -> Self: ...

class EndOfMessage:
    headers: Headers
    def __new__(cls, *, headers: HeaderInput | None = None) -> Self: ...

class ConnectionClosed:
    def __new__(cls) -> Self: ...

HttpEvent = Request | InformationalResponse | Response | Data | EndOfMessage | ConnectionClosed

class Connection:
    our_role: Sentinel
    their_role: Sentinel
    our_state: Sentinel
    their_state: Sentinel
    states: dict[Sentinel, Sentinel]
    their_http_version: bytes | None
    client_is_waiting_for_100_continue: bool
    they_are_waiting_for_100_continue: bool
    trailing_data: tuple[bytes, bool]
    def __new__(
        cls, our_role: Sentinel, max_incomplete_event_size: int | None = None, *, max_body: int | None = None
    ) -> Self: ...
    def receive_data(self, data: Octets) -> None: ...
    def next_event(self) -> HttpEvent | Sentinel: ...
    @overload
    def send(self, event: ConnectionClosed) -> None: ...
    @overload
    def send(self, event: Request | InformationalResponse | Response | Data | EndOfMessage) -> bytes: ...
    def send_with_data_passthrough(self, event: HttpEvent) -> list[Any] | None: ...
    def send_failed(self) -> None: ...
    def start_next_cycle(self) -> None: ...

class Message:
    data: Any
    frame_finished: bool
    message_finished: bool
    def __new__(cls, data: str | Octets, frame_finished: bool = True, message_finished: bool = True) -> Self: ...

class TextMessage(Message): ...
class BytesMessage(Message): ...

class Ping:
    payload: bytes
    def __new__(cls, payload: Octets = b"") -> Self: ...
    def response(self) -> Pong: ...

class Pong:
    payload: bytes
    def __new__(cls, payload: Octets = b"") -> Self: ...

class CloseConnection:
    code: int
    reason: str | None
    violation: str | None
    section: str | None
    def __new__(cls, code: int, reason: str | None = None) -> Self: ...
    def response(self) -> CloseConnection: ...

class PerMessageDeflate:
    name: str
    def __new__(
        cls,
        client_no_context_takeover: bool = True,
        client_max_window_bits: int | None = None,
        server_no_context_takeover: bool = True,
        server_max_window_bits: int | None = None,
        *,
        level: int = 1,
        threshold: int = 256,
    ) -> Self: ...

class Parameters: ...

class Frames:
    state: str
    def __new__(
        cls,
        is_client: bool,
        max_message_size: int,
        parts: bool,
        deflate: PerMessageDeflate | None = None,
        parameters: Parameters | None = None,
    ) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> TextMessage | BytesMessage | Ping | Pong | CloseConnection: ...
    def receive_data(self, data: Octets | None) -> None: ...
    def message(self, data: str | Octets, finished: bool = True) -> bytes: ...
    def ping(self, payload: bytes) -> bytes: ...
    def pong(self, payload: bytes) -> bytes: ...
    def close(self, number: int, reason: str | None = None) -> bytes: ...

class UpgradeRequest:
    host: str
    subprotocols: list[str]
    def __new__(cls, method: Octets | str, headers: HeaderInput) -> Self: ...
    def accept(
        self, subprotocol: str | None = None, deflate: PerMessageDeflate | None = None
    ) -> tuple[list[tuple[str, str]], Parameters | None]: ...

class UpgradeOffer:
    def __new__(
        cls, host: str, target: str, subprotocols: Sequence[str], deflate: PerMessageDeflate | None
    ) -> Self: ...
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    def verify(self, status: int, headers: HeaderInput) -> tuple[str | None, Parameters | None]: ...
