"""The last bytes of a response whose content is already complete.

``[DONE]`` ends a stream, but the connection carries the next request only after the HTTP message has ended too. That is
waited for here, briefly and behind the stream's back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.response import Response
from headrace.errors import UpstreamProtocolError

_log = logging.getLogger(__name__)


class Drain:
    """Reads one response to its end and throws away what it reads."""

    def __init__(
        self,
        connection: Connection,
        response: Response,
        *,
        max_bytes: int,
        timeout_s: float,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[Drain], None],
    ) -> None:
        """Begin to read.

        Args:
            connection: Where the response comes from.
            response: The response so far.
            max_bytes: Most that is read.
            timeout_s: Longest wait, in seconds.
            loop: The running loop.
            on_end: Called once, unless ``cancel`` comes first. The owner looks at ``is_whole`` and takes the connection.
        """
        self.connection = connection
        self.is_whole = False
        """The message ended as it should and the connection may carry another request."""
        self._response = response
        self._left_bytes = max_bytes
        self._on_end = on_end
        self._timer = loop.call_later(timeout_s, self._end)
        connection.watch(self._on_readable)

    def cancel(self) -> None:
        """Give up and close the connection."""
        self._timer.cancel()
        self.connection.close()

    def _on_readable(self) -> None:
        try:
            is_over = self._receive()
        except (OSError, UpstreamProtocolError):
            is_over = True
        except Exception:  # noqa: BLE001 (the loop's boundary: a fault of ours costs one connection, not the loop)
            _log.exception("draining a response failed")
            is_over = True
        if is_over:
            self._end()

    def _receive(self) -> bool:
        data = self.connection.receive()
        if data is None:
            return False
        self._left_bytes -= len(data)
        if not data or self._left_bytes < 0:
            return True
        self._response.receive_data(data)
        self._response.take_body()
        self.is_whole = self._response.is_reusable
        return self._response.is_complete

    def _end(self) -> None:
        self._timer.cancel()
        self.connection.watch(None)
        self._on_end(self)
