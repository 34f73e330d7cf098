"""Time, passed in."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Clocks(msgspec.Struct, frozen=True):
    """The clocks of a node."""

    monotonic_s: Callable[[], float]
    wall_time: Callable[[], float]
    """Unix seconds."""
