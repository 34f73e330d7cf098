"""One HTTP/1.1 response, without I/O: bytes in, status, a few headers and body out.

httptools (llhttp) does the parsing. Two facts about it shape this file:

- It has no end-of-input call, so whether a body may end with the connection (RFC 9112 6.3, case 8) is found out here.
- After a whole message it begins the next one by itself. An exception in ``on_message_begin`` stops it; bytes after a
  message then only mean that the connection must not be used again.
"""

from __future__ import annotations

from collections.abc import Callable

import httptools

from headrace.errors import UpstreamProtocolError

_KEPT = frozenset({b"content-encoding", b"content-length", b"content-type", b"retry-after", b"transfer-encoding"})


class _Stop(Exception):
    """Leaves the parser from inside one of its callbacks."""


class Response:
    """Parser and state of one response; informational ones (1xx) in front of it are skipped."""

    __slots__ = (
        "_bare_bytes",
        "_ends_with_connection",
        "_fault",
        "_head_bytes",
        "_headers",
        "_is_persistent",
        "_max_head_bytes",
        "_parser",
        "_parts",
        "is_complete",
        "is_head_complete",
        "on_body",
        "status",
    )

    def __init__(self, *, max_head_bytes: int) -> None:
        """Begin before the status line.

        Args:
            max_head_bytes: Limit for head and trailers, in bytes, give or take one read.
        """
        self.status = 0
        """HTTP status, 0 until the head is complete."""
        self.is_head_complete = False
        self.is_complete = False
        """The body is whole; nothing belongs to this response any more."""
        self._max_head_bytes = max_head_bytes
        self._head_bytes = 0
        self._bare_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._is_persistent = False
        self._ends_with_connection = False
        self._fault: str | None = None
        self._parts: list[bytes] = []
        # The list's own method: a Python function here would cost more than the parsing of the chunk.
        self.on_body: Callable[[bytes], None] = self._parts.append
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_reusable(self) -> bool:
        """True when the connection may carry another request."""
        return self.is_complete and self._is_persistent

    def header(self, name: bytes) -> str | None:
        """Return a header's value, stripped; None when absent. Only the few that matter here are kept."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1").strip()

    def receive_data(self, data: bytes | memoryview) -> None:
        """Take bytes as they came from the connection; the memory may be reused afterwards.

        Raises:
            UpstreamProtocolError: This is no HTTP/1.1, or a limit is passed. What came before stays readable.
        """
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.is_complete:
                self._is_persistent = False
                return
            raise UpstreamProtocolError(self._fault or f"The engine broke HTTP: {error}") from error
        if self._parts:
            self._bare_bytes = 0
            return
        self._bare_bytes += len(data)
        if self._bare_bytes > self._max_head_bytes and not self.is_complete:
            raise UpstreamProtocolError(self._too_long())

    def receive_eof(self) -> bool:
        """Take the end of the connection. Returns False when it cuts the response short."""
        if self.is_head_complete and self._ends_with_connection:
            self.is_complete = True
        self._is_persistent = False
        return self.is_complete

    def peek_body(self) -> bytes:
        """Return the body that has arrived since it was last taken, and leave it there."""
        return b"".join(self._parts)

    def take_body(self) -> bytes:
        """Return the body that has arrived since the last call, without its framing."""
        parts = self._parts
        if not parts:
            return b""
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return body

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_head_complete:
            return  # a trailer: nothing here acts on one
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._max_head_bytes:
            self._stop(self._too_long())
        name = name.lower()
        if name in _KEPT:
            # RFC 9110 5.3: lines of one name are one list.
            former = self._headers.get(name)
            self._headers[name] = value if former is None else b"%s, %s" % (former, value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            self._stop("The engine switched protocols without being asked")
        if status < 200:
            self._headers.clear()
            return
        coding = self.header(b"transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._stop("The engine used a transfer coding other than chunked")
        self.status = status
        self.is_head_complete = True
        self._is_persistent = self._parser.should_keep_alive()
        self._ends_with_connection = coding is None and b"content-length" not in self._headers

    def on_message_complete(self) -> None:
        # An informational response is a message of its own to the parser.
        self.is_complete = self.is_head_complete

    def _stop(self, fault: str) -> None:
        self._fault = fault
        raise _Stop

    def _too_long(self) -> str:
        return f"The engine sent more than {self._max_head_bytes} bytes of header or framing"
