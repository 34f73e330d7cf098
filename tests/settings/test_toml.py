from __future__ import annotations

import tomllib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from headrace.settings.toml import toml_path, toml_value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_paths_read_back(path: list[str]) -> None:
    found: object = tomllib.loads(f"{toml_path(path)} = 1")
    for key in path:
        assert isinstance(found, dict)
        assert list(found) == [key]
        found = found[key]
    assert found == 1


def test_paths_are_quoted_where_they_must_be_and_no_longer_than_people_read() -> None:
    assert toml_path(["models", "gpt-4.1", "price"]) == 'models."gpt-4.1".price'
    assert toml_path(["models", "gpt-4o"]) == "models.gpt-4o"
    assert toml_path(["x" * 1000]) == f'"{"x" * 300}…"'


@given(st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=12))
def test_money_reads_back_exactly(amount: Decimal) -> None:
    text = f"a = {toml_value(amount, 'dollars')}"
    assert Decimal(tomllib.loads(text, parse_float=Decimal)["a"]) == amount


def test_money_has_no_exponent() -> None:
    assert [toml_value(Decimal(text), "dollars") for text in ("1E+3", "1E-7", "2.50")] == ["1000", "0.0000001", "2.50"]
