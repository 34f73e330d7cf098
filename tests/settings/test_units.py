from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.settings.units import parse_bytes, parse_dollars, parse_seconds


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
        (Decimal("0.1"), 0.1),
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


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (0, "0"),
        (3, "3"),
        (0.1, "0.1"),
        (Decimal("0.10"), "0.1"),
        ("0.1", "0.1"),
        ("1000000000", "1000000000"),
        (Decimal("1e-20"), "0.00000000000000000001"),
    ],
)
def test_dollars_are_exact(value: object, amount: str) -> None:
    assert parse_dollars(value) == Decimal(amount)


@pytest.mark.parametrize(
    "value",
    ["", "-1", "1e3", "$1", "1 USD", "1000000000.01", -0.01, 10**400, 1e300, math.nan, math.inf, True, None, []],
)
def test_bad_dollars_say_what_is_expected(value: object) -> None:
    with pytest.raises(ValueError, match="expected US dollars from 0 to 1000000000"):
        parse_dollars(value)


@pytest.mark.parametrize("text", ["1e-21", "1e-999999999", "-1e-20", "1e10", "nan", "snan", "inf"])
def test_bad_decimals_are_no_dollars(text: str) -> None:
    with pytest.raises(ValueError, match="expected US dollars from 0 to 1000000000"):
        parse_dollars(Decimal(text))


@given(st.integers(0, 10**9), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]))
def test_units_multiply_exactly(number: int, unit: tuple[str, int]) -> None:
    name, milliseconds = unit
    assert parse_seconds(f"{number}{name}") == number * milliseconds / 1000


@given(st.text(max_size=50))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    for parse in (parse_seconds, parse_bytes, parse_dollars):
        try:
            number: float | Decimal = parse(text)
        except ValueError:
            continue
        assert number >= 0
