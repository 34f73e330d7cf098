from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

import pytest

from headrace.http.deadlines import Deadlines


class FakeLoop:
    """Time and timers of an event loop, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.most_timers = 0

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, callback: Callable[[], None]) -> object:
        heapq.heappush(self.timers, (when_s, len(self.timers), callback))
        self.most_timers = max(self.most_timers, len(self.timers))
        return object()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> object:
        return self.call_at(self.now_s + delay_s, callback)

    def move_to(self, now_s: float) -> None:
        while self.timers and self.timers[0][0] <= now_s:
            self.now_s, _, callback = heapq.heappop(self.timers)
            callback()
        self.now_s = now_s


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    fake = FakeLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: fake)
    return fake


@pytest.fixture
def expired() -> list[Any]:
    return []


def test_each_wait_ends_in_its_turn_by_one_timer(loop: FakeLoop, expired: list[Any]) -> None:
    deadlines = Deadlines[str](10, lambda item: expired.append((item, loop.time())))
    for second, item in enumerate("abc"):
        loop.move_to(second)
        deadlines.begin(item)
    loop.move_to(30)
    assert expired == [("a", 10), ("b", 11), ("c", 12)]
    assert loop.most_timers == 1
    assert len(deadlines) == 0
    assert loop.timers == []


def test_a_wait_that_ended_in_time_does_not_expire(loop: FakeLoop, expired: list[Any]) -> None:
    deadlines = Deadlines[str](10, expired.append)
    deadlines.begin("a")
    loop.move_to(5)
    deadlines.begin("b")
    deadlines.end("a")
    deadlines.end("never begun")
    loop.move_to(14)
    assert expired == []
    loop.move_to(15)
    assert expired == ["b"]


def test_beginning_again_does_not_prolong_a_wait(loop: FakeLoop, expired: list[Any]) -> None:
    deadlines = Deadlines[str](10, expired.append)
    deadlines.begin("a")
    loop.move_to(9)
    deadlines.begin("a")
    loop.move_to(10)
    assert expired == ["a"]


def test_what_expires_may_begin_another_wait(loop: FakeLoop) -> None:
    ends_s: list[float] = []

    def again(item: str) -> None:
        ends_s.append(loop.time())
        if len(ends_s) < 3:
            deadlines.begin(item)

    deadlines = Deadlines[str](10, again)
    deadlines.begin("a")
    loop.move_to(100)
    assert ends_s == [10, 20, 30]
