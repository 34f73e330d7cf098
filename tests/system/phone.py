"""One scenario of a phone's day: what happens to its line, its relay and itself while an answer comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.dropping_proxy import DroppingProxy

from headrace.client import AsyncClient, Patience, Result
from headrace.errors import RelayError

WORDS = " ".join(f"wort{number}é" for number in range(60))

Happening = Callable[[DroppingProxy, random.Random], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Day:
    """What a client saw of one answer."""

    kind: str
    result: Result
    pieces: list[str]
    error: RelayError | None

    @property
    def is_whole(self) -> bool:
        return self.result.state == "completed"

    def check(self) -> None:
        """Assert the promise: whole, or the end is told; and never doubled, never with a hole."""
        text = "".join(self.pieces)
        assert text == self.result.text, self.kind
        if self.is_whole:
            assert (text, self.error) == (WORDS, None), self.kind
        else:
            assert WORDS.startswith(text), f"{self.kind}: {text!r}"
            assert self.error is not None, self.kind
            assert str(self.error), self.kind


async def live(
    kind: str,
    proxy: DroppingProxy,
    happening: Happening,
    *,
    chance: random.Random,
    patience: Patience,
    linger_s: float,
    stream_id: str,
    itl_ms: float = 10,
) -> Day:
    """Read one answer through ``proxy`` while ``happening`` goes on.

    Waits between two tries are half of what they may be: in fast motion the longest would outlast the patience.
    """
    pieces: list[str] = []
    error: RelayError | None = None
    script = {"text": WORDS, "itl_ms": itl_ms}
    async with (
        AsyncClient(proxy.origin, patience=patience, random=lambda: chance.random() / 2) as client,
        asyncio.TaskGroup() as group,
    ):
        misfortune = group.create_task(_misfortune(happening, proxy, chance))
        answer = client.chat("hi", model="sim", linger_s=linger_s, stream_id=stream_id, simulate=script)
        try:
            async with answer:
                async for piece in answer:
                    pieces.append(piece)  # noqa: PERF401 (a comprehension would lose them)
        except RelayError as caught:
            error = caught
        finally:
            misfortune.cancel()
    return Day(kind=kind, result=answer.result, pieces=pieces, error=error)


async def _misfortune(happening: Happening, proxy: DroppingProxy, chance: random.Random) -> None:
    await asyncio.sleep(chance.uniform(0, 0.5))
    await happening(proxy, chance)


# What happens. Times are of a day in fast motion: streams linger for a second or two.


async def nothing(proxy: DroppingProxy, chance: random.Random) -> None:
    """A good day."""


async def tunnel(proxy: DroppingProxy, chance: random.Random) -> None:
    """The line is dead for a moment, and nobody is told."""
    await asyncio.to_thread(proxy.swallow)
    await asyncio.sleep(chance.uniform(0.05, 0.9))
    await asyncio.to_thread(proxy.flow)


async def lift(proxy: DroppingProxy, chance: random.Random) -> None:
    """Connections break, and none can be made for a moment."""
    await asyncio.to_thread(proxy.refuse)
    await asyncio.to_thread(proxy.cut, reset=chance.random() < 0.5)
    await asyncio.sleep(chance.uniform(0.05, 0.9))
    await asyncio.to_thread(proxy.accept)


async def bad_line(proxy: DroppingProxy, chance: random.Random) -> None:
    """Connections break again and again."""
    for _ in range(chance.randint(2, 12)):
        await asyncio.to_thread(proxy.cut, reset=chance.random() < 0.5)
        await asyncio.sleep(chance.uniform(0.01, 0.15))


async def short_pieces(proxy: DroppingProxy, chance: random.Random) -> None:
    """Each connection carries only so much."""
    proxy.cut_after_bytes = chance.randint(700, 3000)


async def other_network(proxy: DroppingProxy, chance: random.Random) -> None:
    """The old connection hangs without a word while new ones work: from one antenna to the next."""
    await asyncio.to_thread(proxy.swallow)
    await asyncio.sleep(chance.uniform(0.05, 0.3))
    await asyncio.to_thread(proxy.cut)
    await asyncio.to_thread(proxy.flow)


async def gone_for_ever(proxy: DroppingProxy, chance: random.Random) -> None:
    """The line is dead and stays so."""
    await asyncio.to_thread(proxy.refuse)
    await asyncio.to_thread(proxy.cut)
    await asyncio.sleep(60)


async def silent_for_ever(proxy: DroppingProxy, chance: random.Random) -> None:
    """The line carries nothing any more, and nobody is told."""
    await asyncio.to_thread(proxy.swallow)
    await asyncio.sleep(60)


HAPPENINGS: Sequence[Happening] = (
    nothing,
    tunnel,
    lift,
    bad_line,
    short_pieces,
    other_network,
    gone_for_ever,
    silent_for_ever,
)
HOPELESS = frozenset({"gone_for_ever", "silent_for_ever"})


def name_of(happening: Any) -> str:
    name: str = happening.__name__
    return name
