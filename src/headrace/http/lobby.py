"""The lobby: where requests wait until there is room for them in all that they are held to."""

from __future__ import annotations

import asyncio

from headrace.errors import RelayError
from headrace.policy.admission import Admission
from headrace.policy.queueing import Waiting
from headrace.policy.slots import Slot


class Lobby:
    """Gives waiting requests a coroutine to wait in, and a sweep to watch their time.

    Args:
        admission: Decides who gets in.
    """

    def __init__(self, admission: Admission) -> None:
        self.admission = admission

    async def turn(self, waiting: Waiting) -> Slot:
        """Return the slot that a request waits for. Cancelling the call leaves the queue, and holds nothing.

        Raises:
            RelayError: It waited too long, or can never get in.
        """
        decided = asyncio.Event()
        waiting.on_decided = decided.set
        try:
            if waiting.outcome is None:
                await decided.wait()
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        if not isinstance(waiting.outcome, Slot):
            raise waiting.outcome or RelayError("the relay lost a request in its queue")
        return waiting.outcome

    def expire(self, now_s: float) -> None:
        """Let in, or send away, those whose time has come."""
        self.admission.dispatch(now_s)
