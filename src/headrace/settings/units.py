"""Durations and sizes as people write them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from headrace.types.access import MAX_DOLLARS, check_dollars

_SECONDS_OF_UNIT = {
    "": Decimal(1),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

# IEC 80000-13: KiB is 1024 bytes, kB is 1000. "KB" is read as kB.
_BYTES_OF_UNIT = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

# The number of digits is bounded so that no setting can take long to read.
_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-z]*)", re.ASCII)
MAX_DECIMALS = 20
"""Digits of an amount of money behind its point."""


def parse_seconds(value: object) -> float:
    """Return a duration in seconds.

    Args:
        value: A number of seconds, or text: a number with or without one of the units ms, s, m, h, d.

    Raises:
        ValueError: It is neither; the message says what is expected.
    """
    expected = 'expected seconds or a duration such as "500ms", "30s", "5m" or "24h"'
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        if not math.isfinite(seconds):
            raise ValueError(f"{expected}, got a number that is not finite")
        return seconds
    number, unit = _quantity(value, expected)
    if unit not in _SECONDS_OF_UNIT:
        raise ValueError(f"{expected}, got the unit {unit!r}")
    return float(number * _SECONDS_OF_UNIT[unit])


def parse_bytes(value: object) -> int:
    """Return a size in bytes.

    Args:
        value: A whole number of bytes, or text: a number with or without one of the units B, kB, KiB, MB, MiB, GB, GiB,
            TB, TiB.

    Raises:
        ValueError: It is neither, or no whole number of bytes; the message says what is expected.
    """
    expected = 'expected bytes or a size such as "64KiB", "10MB" or "1GiB"'
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number, unit = _quantity(value, expected)
    if unit not in _BYTES_OF_UNIT:
        raise ValueError(f"{expected}, got the unit {unit!r}")
    size = number * _BYTES_OF_UNIT[unit]
    if size != int(size):
        raise ValueError(f"{expected}, got a fraction of a byte")
    return int(size)


def parse_dollars(value: object) -> Decimal:
    """Return an amount of US dollars, exactly as it is written.

    Args:
        value: A number, or text that is one without sign and exponent.

    Raises:
        ValueError: It is neither, below 0, above ``MAX_DOLLARS``, or has more than ``MAX_DECIMALS`` digits behind the
            point; the message says what is expected.
    """
    expected = f"expected US dollars from 0 to {MAX_DOLLARS}"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        # The shortest text of a float is the number that somebody wrote.
        amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    else:
        amount, unit = _quantity(value, expected)
        if unit:
            raise ValueError(f"{expected}, got the unit {unit!r}")
    check_dollars(amount)
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
        raise ValueError(f"{expected} with at most {MAX_DECIMALS} digits behind the point")
    return amount


def _quantity(value: object, expected: str) -> tuple[Decimal, str]:
    if not isinstance(value, str):
        raise ValueError(f"{expected}, got {type(value).__name__}")  # noqa: TRY004 (callers handle one error)
    found = _QUANTITY.fullmatch(value.strip())
    if found is None:
        raise ValueError(f"{expected}, got {value[:40]!r}")
    return Decimal(found[1]), found[2]
