"""The types of durations, sizes and counts in settings, so that a reader of settings knows which units to expect.

To type checkers they are plain numbers. At run time they carry their unit and their range.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_SECONDS = 10 * 365 * 24 * 3600.0
"""Ten years. Timers of event loops overflow far beyond; nobody means a longer wait."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS, extra={"unit": "seconds"})]
"""A duration; 0 is allowed and means at once."""

PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS, extra={"unit": "seconds"})]
"""A duration for which 0 makes no sense."""

Bytes = Annotated[int, msgspec.Meta(ge=1, le=2**62, extra={"unit": "bytes"})]
"""A size."""

Count = Annotated[int, msgspec.Meta(ge=1)]
"""How many of something."""


def without_seconds(field: str) -> str:
    """Return a field's name as a settings key: values of keys carry their unit (``"30s"``), names in code end in one."""
    return field.removesuffix("_s")
