"""The errors of HTTP."""

from __future__ import annotations


class ProtocolError(Exception):
    """A rule of HTTP/1.1 was broken. `error_status_hint` is the status that suits as an answer."""

    def __init__(
        self, msg: str, error_status_hint: int = 400, kind: str | None = None, section: str | None = None
    ) -> None:
        if type(self) is ProtocolError:
            raise TypeError("ProtocolError is only a base class")
        super().__init__(msg)
        self.error_status_hint = error_status_hint
        self.kind = kind
        self.section = section


class LocalProtocolError(ProtocolError):
    """This side asked for what may not be sent. Nothing was sent, and the connection is unchanged."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol, or exceeded a limit.

    `kind` names the violation, such as "BareLf"; `section` the rule, such as "RFC 9112 section 2.2".
    """
