"""Departures: of identical requests that come at once one begins, and the others hear what came of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.errors import Overloaded
from headrace.http.departures import Departures, Refused
from headrace.types.ids import KeyId


def pump(*, has_ended: bool = False) -> Any:
    return SimpleNamespace(log=SimpleNamespace(end="an end" if has_ended else None))


async def test_the_first_one_begins_and_the_others_wait_for_it() -> None:
    departures, running = Departures(), pump()
    assert departures.enter("k") is None
    waiting = departures.enter("k")
    assert waiting is not None
    assert departures.enter("k") is waiting
    assert departures.running("k") is None
    departures.leave("k", running)
    await waiting
    assert departures.running("k") is running


async def test_other_requests_do_not_wait_for_it() -> None:
    departures = Departures()
    assert departures.enter("k") is None
    assert departures.enter("other") is None


async def test_a_refusal_is_told_to_those_who_wait_and_to_nobody_later() -> None:
    departures, error = Departures(), Overloaded("full")
    departures.enter("k")
    waiting = departures.enter("k")
    assert waiting is not None
    departures.leave("k", None, Refused(error, KeyId("a")))
    with pytest.raises(Refused, match="full") as refused:
        await waiting
    assert (refused.value.error, refused.value.key_id) == (error, "a")
    assert departures.enter("k") is None
    assert departures.running("k") is None


async def test_a_refusal_that_nobody_waits_for_troubles_nobody(caplog: pytest.LogCaptureFixture) -> None:
    departures = Departures()
    departures.enter("k")
    departures.leave("k", None, Refused(Overloaded("full"), KeyId("")))
    await asyncio.sleep(0)
    assert not caplog.records


async def test_if_it_never_begins_the_next_one_does() -> None:
    departures = Departures()
    departures.enter("k")
    waiting = departures.enter("k")
    assert waiting is not None
    departures.leave("k", None)
    await waiting
    assert departures.enter("k") is None


async def test_one_that_gives_up_waiting_leaves_the_others_waiting() -> None:
    departures = Departures()
    departures.enter("k")
    waiting = departures.enter("k")
    assert waiting is not None
    impatient = asyncio.ensure_future(asyncio.shield(waiting))
    await asyncio.sleep(0)
    impatient.cancel()
    departures.leave("k", pump())
    await waiting
    assert impatient.cancelled()


async def test_a_stream_that_has_ended_is_joined_by_nobody() -> None:
    departures, running = Departures(), pump()
    departures.enter("k")
    departures.leave("k", running)
    running.log.end = "an end"
    assert departures.running("k") is None
    departures.enter("k")
    departures.leave("k", pump(has_ended=True))
    assert departures.running("k") is None


async def test_the_end_of_a_stream_forgets_it_and_no_later_one() -> None:
    departures, earlier, later = Departures(), pump(), pump()
    for each in (earlier, later):
        departures.enter("k")
        departures.leave("k", each)
    departures.ended("k", earlier)
    assert departures.running("k") == later
    departures.ended("k", later)
    assert departures.running("k") is None
    departures.ended("k", later)
