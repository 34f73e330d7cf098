"""Why the relay closes a WebSocket."""

from __future__ import annotations

import enum


class Close(enum.IntEnum):
    """Why the relay closes a connection. Below 4000: RFC 6455 7.4.1."""

    NOT_TEXT = 1003
    FAULT = 1011
    RESTART = 1012
    MALFORMED = 4400
    UNAUTHORIZED = 4401
    OUT_OF_ORDER = 4409


class Closing(Exception):
    """The client broke the protocol; the connection must close."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
