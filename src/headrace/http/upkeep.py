"""What a node looks after every second besides its streams: keys that other processes change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from headrace.engines.openai.keys import KeyRing, KeyState, UpstreamKey
from headrace.engines.openai.references import KeyFiles, read_keys
from headrace.errors import SettingsError
from headrace.http.identity import Gate

logger = logging.getLogger(__name__)

ROUND_S = 1.0
"""Time between two looks."""


class UpstreamKeys:
    """The engine's keys: read from where the settings say, and again when a file of theirs changes.

    Args:
        ring: Who uses them.
        environ: Where ``env:`` references are looked up.
    """

    def __init__(self, ring: KeyRing, environ: Mapping[str, str]) -> None:
        self._ring = ring
        self._environ = environ
        self._references: tuple[str, ...] = ()
        self._files = KeyFiles(())

    def states(self) -> list[KeyState]:
        """Return how each key stands."""
        return self._ring.states()

    async def prepare(self, references: Sequence[str]) -> Callable[[], None]:
        """Read the keys that some references name; what is returned has the engine use them.

        Raises:
            SettingsError: One of them cannot be read.
        """
        # Before the keys are read, so that no change is missed.
        files = KeyFiles(references)
        keys = await asyncio.to_thread(read_keys, references, self._environ)

        def use() -> None:
            self._use(tuple(references), files, keys)

        return use

    async def look(self) -> None:
        """Use the keys in files that have changed; one that cannot be read leaves all keys as they are."""
        files = self._files
        if not files.changed():
            return
        try:
            use = await self.prepare(self._references)
        except SettingsError as error:
            logger.error("the engine's keys stay as they were: %s", error.message)  # noqa: TRY400 (a user's mistake)
            return
        # A reload that came meanwhile knows better where the keys are.
        if self._files is files:
            use()
            logger.info("the engine's keys were read again")

    def _use(self, references: tuple[str, ...], files: KeyFiles, keys: list[UpstreamKey]) -> None:
        self._references = references
        self._files = files
        self._ring.replace(keys)


async def look_after(gate: Gate, upstream_keys: Mapping[str, UpstreamKeys]) -> None:
    """Look at both kinds of keys, for ever."""
    while True:
        await asyncio.sleep(ROUND_S)
        await gate.refresh()
        for keys in upstream_keys.values():
            await keys.look()
