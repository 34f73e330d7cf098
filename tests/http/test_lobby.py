"""The lobby: waiting in a coroutine, and leaving nothing behind however that ends."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ClientRequestError, RateLimited
from headrace.http.lobby import Lobby
from headrace.policy.admission import Admission, QueueLimits
from headrace.policy.queueing import Waiting
from headrace.policy.scopes import Scope, ScopeKind
from headrace.policy.slots import Slot
from headrace.types.access import Allowance

LIMITS = Allowance(concurrent_streams=1, requests_per_minute=1000, tokens_per_minute=1000)


class Room:
    """A lobby before an engine with one place, where time stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lobby = Lobby(Admission(QueueLimits(queue_s=10), lambda: self.now_s))
        self.scope: Scope = self.lobby.admission.scope(ScopeKind.ENGINE, "e", LIMITS)

    def ask(self, prompt_tokens: int = 10) -> Slot | Waiting:
        return self.lobby.admission.ask("o", [self.scope], prompt_tokens)

    def enter(self) -> Slot:
        slot = self.ask()
        assert isinstance(slot, Slot)
        return slot

    def wait(self, prompt_tokens: int = 10) -> asyncio.Task[Slot]:
        waiting = self.ask(prompt_tokens)
        assert isinstance(waiting, Waiting)
        return asyncio.create_task(self.lobby.turn(waiting))

    def is_as_new(self) -> bool:
        """Whether nothing is held or taken, but for requests and tokens of those who ended by themselves."""
        return not self.scope.is_used() and self.lobby.admission.queued == 0 and self.scope.wanted == 0

    def taken(self) -> tuple[float, float]:
        """Requests and tokens that are missing from the buckets."""
        requests, tokens = self.scope.requests, self.scope.tokens
        assert requests is not None
        assert tokens is not None
        return 1000 - requests.level(self.now_s), 1000 - tokens.level(self.now_s)


async def rounds(count: int) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_whoever_waits_gets_the_slot_that_comes_free() -> None:
    room = Room()
    slot = room.enter()
    first, second = room.wait(), room.wait()
    await rounds(2)
    slot.release()
    got = await first
    await rounds(2)
    assert not second.done()
    got.release()
    (await second).release()
    assert room.is_as_new()


async def test_a_slot_that_came_before_the_wait_began_is_taken_without_waiting() -> None:
    room = Room()
    slot = room.enter()
    turn = room.wait()
    slot.undo()
    (await turn).undo()
    assert room.is_as_new()
    assert room.taken() == (0, 0)


async def test_whoever_waits_too_long_is_told_when_to_come_back() -> None:
    room = Room()
    slot = room.enter()
    turn = room.wait()
    room.now_s = 9.9
    room.lobby.expire(room.now_s)
    await rounds(2)
    assert not turn.done()
    room.now_s = 10.0
    room.lobby.expire(room.now_s)
    with pytest.raises(RateLimited, match=r"concurrent_streams = 1 running after 10s in the queue") as raised:
        await turn
    assert raised.value.retry_after_s == 1.0
    slot.undo()
    assert room.is_as_new()


async def test_whoever_can_never_get_in_any_more_is_told_why() -> None:
    room = Room()
    slot = room.enter()
    turn = room.wait(prompt_tokens=500)
    room.lobby.admission.scope(ScopeKind.ENGINE, "e", Allowance(concurrent_streams=1, max_prompt_tokens=100))
    room.now_s = 10.0
    room.lobby.expire(room.now_s)
    with pytest.raises(ClientRequestError, match="max_prompt_tokens = 100"):
        await turn
    slot.undo()


async def test_cancelling_while_waiting_leaves_nothing() -> None:
    room = Room()
    slot = room.enter()
    turn = room.wait()
    await rounds(2)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert room.lobby.admission.queued == 0
    slot.undo()
    assert room.is_as_new()
    assert room.taken() == (0, 0)


@given(before=st.integers(1, 3), between=st.integers(0, 3), others=st.integers(0, 3))
def test_wherever_a_cancellation_meets_the_turn_nothing_leaks(before: int, between: int, others: int) -> None:
    async def scenario() -> None:
        room = Room()
        slot = room.enter()
        turn = room.wait()
        behind = [room.wait() for _ in range(others)]
        await rounds(before)
        slot.undo()
        await rounds(between)
        turn.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await turn).undo()
        for other in behind:
            (await other).undo()
        assert room.is_as_new()
        assert room.taken() == (0, 0)

    asyncio.run(scenario())
