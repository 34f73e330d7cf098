"""Connections that wait for their next request."""

from __future__ import annotations

import asyncio
import functools

from headrace.engines.openai.connection import Connection


class ConnectionPool:
    """Idle connections of one engine, bounded in number and age.

    Each is watched while it waits: data or an end on it mean that it is of no use any more, and it is closed.
    """

    def __init__(self, *, max_idle: int, idle_s: float, loop: asyncio.AbstractEventLoop) -> None:
        """Begin empty.

        Args:
            max_idle: Most connections kept; one more pushes the oldest out.
            idle_s: Longest stay, in seconds.
            loop: The running loop; its clock measures ``idle_s``.
        """
        self._max_idle = max_idle
        self._idle_s = idle_s
        self._loop = loop
        # Ordered by the time of arrival, so the first is the next to expire.
        self._expiries: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._expiries)

    def take(self) -> Connection | None:
        """Return the connection that has waited least and is still good, out of the pool; None when there is none."""
        while self._expiries:
            connection, expiry = self._expiries.popitem()
            connection.watch(None)
            # The peer's end may have arrived without the loop having told yet.
            if expiry > self._loop.time() and connection.is_quiet:
                return connection
            connection.close()
        return None

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if self._max_idle == 0:
            connection.close()
            return
        if len(self._expiries) >= self._max_idle:
            self._drop(next(iter(self._expiries)))
        self._expiries[connection] = self._loop.time() + self._idle_s
        connection.watch(functools.partial(self._drop, connection))
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle_s, self._expire)

    def close(self) -> None:
        """Close every connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._expiries:
            self._drop(next(iter(self._expiries)))

    def _drop(self, connection: Connection) -> None:
        del self._expiries[connection]
        connection.close()

    def _expire(self) -> None:
        """Close what is too old. One timer for the pool: one for each connection would cost more than they save."""
        self._timer = None
        now = self._loop.time()
        for connection in [connection for connection, expiry in self._expiries.items() if expiry <= now]:
            self._drop(connection)
        if self._expiries:
            self._timer = self._loop.call_at(next(iter(self._expiries.values())), self._expire)
