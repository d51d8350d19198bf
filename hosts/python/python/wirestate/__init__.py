"""HTTP/1.1 and WebSocket without I/O: `wirestate.http` in the shape of h11, `wirestate.ws` in the shape of wsproto."""

from ._core import __version__ as __version__
