"""The pool alone, with a clock that the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.pool import ConnectionPool


class FakeTimer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeLoop:
    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(when, call))
        return self.timers[-1]

    def call_later(self, delay: float, call: Callable[[], None]) -> FakeTimer:
        return self.call_at(self.now + delay, call)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(timer)
            if not timer.is_cancelled:
                timer.call()


class FakeConnection:
    def __init__(self) -> None:
        self.is_quiet = True
        self.is_closed = False
        self.on_readable: Callable[[], None] | None = None

    def watch(self, on_readable: Callable[[], None] | None) -> None:
        self.on_readable = on_readable

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


def pool_of(loop: FakeLoop, max_idle: int = 2) -> ConnectionPool:
    return ConnectionPool(max_idle=max_idle, idle_s=10.0, loop=cast("asyncio.AbstractEventLoop", loop))


def put(pool: ConnectionPool) -> FakeConnection:
    connection = FakeConnection()
    pool.put(cast("Connection", connection))
    return connection


def test_the_latest_comes_out_first_and_unwatched(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    first, second = put(pool), put(pool)
    assert cast("object", pool.take()) is second
    assert cast("object", pool.take()) is first
    assert first.on_readable is None
    assert pool.take() is None


def test_one_too_many_pushes_the_oldest_out(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    first, second, third = put(pool), put(pool), put(pool)
    assert [first.is_closed, second.is_closed, third.is_closed] == [True, False, False]
    assert len(pool) == 2


def test_a_pool_of_none_keeps_none(loop: FakeLoop) -> None:
    assert put(pool_of(loop, max_idle=0)).is_closed


def test_whatever_arrives_on_an_idle_connection_ends_it(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    connection = put(pool)
    assert connection.on_readable is not None
    connection.on_readable()
    assert connection.is_closed
    assert len(pool) == 0


def test_what_the_loop_has_not_told_yet_is_seen_when_taking(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    good, dead = put(pool), put(pool)
    dead.is_quiet = False
    assert cast("object", pool.take()) is good
    assert dead.is_closed


def test_each_connection_expires_in_its_own_time(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    first = put(pool)
    loop.advance(6)
    second = put(pool)
    loop.advance(4)
    assert [first.is_closed, second.is_closed] == [True, False]
    loop.advance(6)
    assert second.is_closed
    assert not loop.timers


def test_an_expired_connection_is_not_handed_out_even_when_its_timer_is_late(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    connection = put(pool)
    loop.now += 11
    assert pool.take() is None
    assert connection.is_closed


def test_close_closes_all_and_stops_the_timer(loop: FakeLoop) -> None:
    pool = pool_of(loop)
    connections = [put(pool), put(pool)]
    pool.close()
    assert all(connection.is_closed for connection in connections)
    assert all(timer.is_cancelled for timer in loop.timers)
