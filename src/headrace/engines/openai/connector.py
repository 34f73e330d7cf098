"""Where generations get their connections from and leave them."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, Self

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.drain import Drain
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.pool import ConnectionPool
from headrace.engines.openai.response import Response
from headrace.errors import UpstreamError

_log = logging.getLogger(__name__)


class Caller(Protocol):
    """Whoever waits for a dialled connection. Neither method may raise."""

    def connected(self, connection: Connection) -> None:
        """Take over a new connection."""

    def unreachable(self, message: str) -> None:
        """Learn that there is none; ``message`` is for people."""


class Connector:
    """Owns the tasks that dial and every connection that no generation uses."""

    def __init__(self, dialler: Dialler, limits: Limits) -> None:
        self._dialler = dialler
        self._limits = limits
        self._tasks = asyncio.TaskGroup()
        self._drains: set[Drain] = set()
        self._redials = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._pool = ConnectionPool(
            max_idle=self._limits.max_idle_connections, idle_s=self._limits.idle_connection_s, loop=self._loop
        )
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close every connection that is here. Generations must have been aborted, which ends their dialling."""
        for drain in self._drains:
            drain.cancel()
        self._drains.clear()
        self._pool.close()
        # Without the body's error: the group must wait for its tasks, not wrap that error in a group of errors.
        await self._tasks.__aexit__(None, None, None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._pool)

    @property
    def redials(self) -> int:
        """Requests sent again because a pooled connection turned out dead."""
        return self._redials

    def count_redial(self) -> None:
        self._redials += 1

    def take_idle(self) -> Connection | None:
        """Return a connection that is ready at once, None when there is none."""
        return self._pool.take()

    def dial(self, caller: Caller) -> asyncio.Task[None]:
        """Open a new connection for ``caller``. Cancelling the task stops that, and tells nobody."""
        return self._tasks.create_task(self._dial(caller))

    def release(self, connection: Connection, response: Response) -> None:
        """Take back a connection whose response has said all that matters."""
        if response.is_complete:
            self._keep(connection, is_whole=response.is_reusable)
            return
        drain = Drain(
            connection,
            response,
            max_bytes=self._limits.max_drain_bytes,
            timeout_s=self._limits.drain_timeout_s,
            loop=self._loop,
            on_end=self._drained,
        )
        self._drains.add(drain)

    async def _dial(self, caller: Caller) -> None:
        try:
            connection = await self._dialler.dial()
        except UpstreamError as error:
            caller.unreachable(error.message)
        except Exception:  # noqa: BLE001 (the task's boundary: one generation's fault must not cancel the others' dialling)
            _log.exception("dialling the engine failed")
            caller.unreachable("The engine cannot be reached")
        else:
            caller.connected(connection)

    def _drained(self, drain: Drain) -> None:
        self._drains.discard(drain)
        self._keep(drain.connection, is_whole=drain.is_whole)

    def _keep(self, connection: Connection, *, is_whole: bool) -> None:
        if is_whole and connection.is_sent:
            self._pool.put(connection)
        else:
            connection.close()
