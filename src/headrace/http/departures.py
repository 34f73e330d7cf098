"""Requests that are about to begin a stream which others would rather join."""

from __future__ import annotations

import asyncio

from headrace.errors import RelayError
from headrace.pump.pump import Pump
from headrace.types.ids import KeyId


class Refused(Exception):
    """Whoever was about to begin was refused.

    Args:
        error: Why.
        key_id: The key that it came with; another one may not be refused.
    """

    def __init__(self, error: RelayError, key_id: KeyId) -> None:
        super().__init__(str(error))
        self.error = error
        self.key_id = key_id


class Departures:
    """Who is about to begin which stream, and which of them run, by what identical requests have in common.

    Of identical requests that come at once the first one begins; the others wait until it has, and join. If it is refused,
    so are they.
    """

    def __init__(self) -> None:
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._running: dict[str, Pump] = {}

    def running(self, key: str) -> Pump | None:
        """Return the stream that runs under a key; None when there is none that could be joined."""
        pump = self._running.get(key)
        if pump is not None and pump.log.end is not None:
            del self._running[key]
            return None
        return pump

    def enter(self, key: str) -> asyncio.Future[None] | None:
        """Be the one who begins, and return None; or return what tells when somebody else who is about to has begun.

        It raises ``Refused`` when that one was. Whoever begins calls ``leave`` in the end.
        """
        leaving = self._leaving.get(key)
        if leaving is None:
            self._leaving[key] = asyncio.get_running_loop().create_future()
        return leaving

    def leave(self, key: str, pump: Pump | None, refused: Refused | None = None) -> None:
        """Tell those who wait that the stream runs, or was refused; with neither, the next of them begins."""
        leaving = self._leaving.pop(key)
        if pump is not None and pump.log.end is None:
            self._running[key] = pump
        if refused is not None and not leaving.cancelled():
            leaving.set_exception(refused)
            # Perhaps nobody waits.
            leaving.exception()
        elif not leaving.cancelled():
            leaving.set_result(None)

    def ended(self, key: str, pump: Pump) -> None:
        """Forget a stream that has ended."""
        if self._running.get(key) is pump:
            del self._running[key]
