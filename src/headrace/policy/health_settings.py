"""When an engine counts as ill. All times in seconds of a monotonic clock."""

from __future__ import annotations

from typing import Annotated

import msgspec

from headrace.policy.units import Count, PositiveSeconds, without_seconds


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=without_seconds):
    """Each model of each engine is judged by itself. One that rests is asked only when no other is left."""

    window_s: PositiveSeconds = 60.0
    """What is older says nothing any more."""
    failures: Count = 5
    """It rests after this many failures in a row,"""
    failure_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    """or when this share of the window's requests has failed,"""
    min_requests: Count = 10
    """of which there must be so many. A slow one is slow by as many, too."""
    rest_s: PositiveSeconds = 5.0
    """How long it is left alone before one request tries it. Doubles while that fails, up to ``rest_max``."""
    rest_max_s: PositiveSeconds = 60.0
    slow_first_token_s: PositiveSeconds | None = None
    """It comes after the others while one in ten answers begins later than this; None: never."""
    slow_gap_s: PositiveSeconds | None = None
    """The same by the longest gap within an answer."""
