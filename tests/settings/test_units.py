from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.settings.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (30, 30.0),
        (1.5, 1.5),
        ("30", 30.0),
        ("0.1", 0.1),
        ("500ms", 0.5),
        ("35ms", 0.035),
        ("30s", 30.0),
        ("1.5 m", 90.0),
        ("24h", 86400.0),
        (" 7d ", 604800.0),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "s", "-1", "-1s", "1e3", "1S", "1min", "1 2s", "nan", "inf", math.nan, math.inf, True, None, [], 10**400],
)
def test_bad_durations_say_what_is_expected(value: object) -> None:
    with pytest.raises(ValueError, match="expected seconds or a duration"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (1000, 1000),
        ("512", 512),
        ("1B", 1),
        ("10kB", 10_000),
        ("10KB", 10_000),
        ("64KiB", 65536),
        ("1.5KiB", 1536),
        ("10MB", 10_000_000),
        ("8 MiB", 2**23),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("2TB", 2 * 10**12),
        ("1TiB", 2**40),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_bytes(value) == size


@pytest.mark.parametrize(
    "value", ["", "KiB", "-1", "1kib", "1mb", "0.5B", "1.0001KiB", 1.0, math.nan, True, None, "9" * 21]
)
def test_bad_sizes_say_what_is_expected(value: object) -> None:
    with pytest.raises(ValueError, match="expected bytes or a size"):
        parse_bytes(value)


@given(st.integers(0, 10**9), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]))
def test_units_multiply_exactly(number: int, unit: tuple[str, int]) -> None:
    name, milliseconds = unit
    assert parse_seconds(f"{number}{name}") == number * milliseconds / 1000


@given(st.text(max_size=50))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    for parse in (parse_seconds, parse_bytes):
        try:
            number = parse(text)
        except ValueError:
            continue
        assert number >= 0
