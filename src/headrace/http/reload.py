"""Reloading the settings while the relay serves: all of it, or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from headrace.errors import SettingsError
from headrace.settings import Settings
from headrace.settings.reload import adopted, changes

logger = logging.getLogger(__name__)

Adopt = Callable[[], None]
"""Uses what was prepared; cannot fail."""

Prepare = Callable[[Settings], Awaitable[Adopt]]
"""Makes everything that new settings need, and raises ``SettingsError`` when something is wrong with them."""


class Reloader:
    """Knows the settings in use, and whoever goes by them.

    Args:
        settings: Those in use.
        load: Reads them again from where they came from.
        parts: Those who go by them.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings], parts: Sequence[Prepare]) -> None:
        self._settings = settings
        self._load = load
        self._parts = parts
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> bool:
        """Read the settings again and go by them; the log tells each change. Streams that run keep what they began with.

        Returns:
            False when something is wrong with them: then nothing has changed, and the log says what is wrong.
        """
        async with self._one_at_a_time:
            try:
                new = await asyncio.to_thread(self._load)
                settings = adopted(self._settings, new)
                ready = [await prepare(settings) for prepare in self._parts]
            except SettingsError as error:
                logger.error("the settings were not reloaded, nothing has changed: %s", error.message)  # noqa: TRY400 (a user's mistake)
                return False
            except Exception:
                # A task's boundary: a fault of ours must not end every stream.
                logger.exception("the settings were not reloaded, nothing has changed")
                return False
            # Under whichever level shows it, for the level may be among what changes.
            tells_first = logger.isEnabledFor(logging.INFO)
            if tells_first:
                self._tell(new)
            for adopt in ready:
                adopt()
            if not tells_first:
                self._tell(new)
            self._settings = settings
            return True

    def _tell(self, new: Settings) -> None:
        found = changes(self._settings, new)
        logger.info("the settings were reloaded, %d changed", len(found))
        for change in found:
            later = " (from the next start on)" if change.applies == "restart" else ""
            logger.info("%s: %s -> %s%s", change.path, change.old, change.new, later)
