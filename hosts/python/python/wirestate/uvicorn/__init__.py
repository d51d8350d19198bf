"""Protocols for uvicorn.

uvicorn app:app --http wirestate.uvicorn:HttpProtocol --ws wirestate.uvicorn:WebSocketProtocol
"""

from ._http import HttpProtocol as HttpProtocol
from ._ws import WebSocketProtocol as WebSocketProtocol
