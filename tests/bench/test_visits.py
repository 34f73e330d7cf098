"""Streams are spread over connections, and none is waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import bench.visits
import pytest
from bench.clients import Received, Request
from bench.load import Load
from bench.visits import grouped, run_visits


def test_groups_are_full_and_rise() -> None:
    assert grouped([3.0, 1.0, 2.0, 0.0, 4.0], 2) == [[1.0, 3.0], [0.0, 2.0], [4.0]]
    assert grouped([3.0, 1.0], 1) == [[3.0], [1.0]]
    assert grouped([], 20) == []


async def test_streams_that_never_end_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.visits, "GRACE_S", 0.01)

    async def stuck(port: int, request: Request, delays_s: Sequence[float], result: Received) -> None:
        await asyncio.Event().wait()

    load = Load(streams=5, tokens=1, itl_ms=0, ramp_s=0.0)
    request = Request(authority="localhost:1", path="/")
    result = await run_visits(1, load, request, stuck, groups=grouped([0.0] * 5, 2), result=Received())
    assert (result.completed, result.failed) == (0, 5)
    assert "did not end" in result.failures[0]
