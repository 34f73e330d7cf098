from __future__ import annotations

import asyncio
import time

import pytest

from headrace.engines.scripted.manual_time import ManualTime
from headrace.engines.scripted.timetable import LoopTime, Timetable


def test_calls_come_in_order_and_never_early() -> None:
    source = ManualTime()
    timetable = Timetable(source)
    called: list[tuple[str, float]] = []
    for name, due_s in (("c", 0.030), ("a", 0.010), ("b", 0.020), ("a2", 0.010)):
        timetable.at(due_s, lambda name=name: called.append((name, source.monotonic())))  # type: ignore[misc]
    source.advance(0.009)
    assert called == []
    source.advance(0.021)
    assert called == [("a", 0.010), ("a2", 0.010), ("b", 0.020), ("c", 0.030)]


def test_one_timer_serves_all() -> None:
    source = ManualTime()
    timetable = Timetable(source)
    for number in range(1000):
        timetable.at(1 - number / 1000, lambda: None)
    assert sum(not timer.is_cancelled for timer in source._timers) == 1
    source.advance(2)
    assert not source._timers


def test_a_call_may_ask_for_the_next() -> None:
    source = ManualTime()
    timetable = Timetable(source)
    called: list[float] = []

    def again() -> None:
        called.append(source.monotonic())
        if len(called) < 3:
            timetable.at(source.monotonic() + 0.005, again)

    timetable.at(0, again)
    source.advance(1)
    assert called == pytest.approx([0, 0.005, 0.010])


def test_a_call_that_raises_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    source = ManualTime()
    timetable = Timetable(source)
    called: list[int] = []
    timetable.at(0.001, lambda: 1 // 0)  # type: ignore[arg-type]
    timetable.at(0.001, lambda: called.append(1))
    timetable.at(0.002, lambda: called.append(2))
    source.advance(1)
    assert called == [1, 2]
    assert "ZeroDivisionError" in caplog.text


def test_clear_forgets() -> None:
    source = ManualTime()
    timetable = Timetable(source)
    called: list[int] = []
    timetable.at(0.001, lambda: called.append(1))
    timetable.clear()
    source.advance(1)
    timetable.at(1.001, lambda: called.append(2))
    source.advance(1)
    assert called == [2]


def test_advance_without_a_time_goes_to_the_next_timer() -> None:
    source = ManualTime()
    timetable = Timetable(source)
    source.advance()
    assert source.monotonic() == 0
    timetable.at(0.5, lambda: None)
    source.advance()
    assert source.monotonic() == 0.5


async def test_the_loop_is_never_early() -> None:
    timetable = Timetable(LoopTime(asyncio.get_running_loop()))
    fired = asyncio.Event()
    due_s = time.monotonic() + 0.0123
    timetable.at(due_s, fired.set)
    await fired.wait()
    assert time.monotonic() >= due_s
