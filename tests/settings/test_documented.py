"""The configuration document names every key there is, and none that is not."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from headrace.settings import Settings, load_settings
from headrace.settings.reload import RESTART
from headrace.settings.shape import paths, shape_of
from headrace.types.bill import BillRule

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def sections() -> dict[str, str]:
    """Return the document's sections by heading."""
    parts = re.split(r"^## (.*)\n", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("number", [0, 1])
def test_examples_are_good_settings(number: int, tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    file = tmp_path / "headrace.toml"
    file.write_text(examples[number])
    load_settings(environ={"HOME": "/home/someone"}, file=file)


def test_every_rule_of_bills_is_explained() -> None:
    text = sections()["Limits, budgets and prices"]
    assert re.findall(r"^- `(\w+)`", text, flags=re.MULTILINE) == list(BillRule)


def test_every_key_is_documented_once_and_every_documented_key_exists() -> None:
    # A heading names all sections that have the keys of its table: "engine.limits, keys.limits".
    documented = Counter(
        f"{section}.{key}"
        for heading, text in sections().items()
        for key in re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE)
        for section in heading.replace("`", "").split(", ")
    )
    assert documented == Counter(".".join(path) for path in paths(shape_of(Settings)))


def test_keys_that_need_a_restart_are_listed() -> None:
    listed = re.findall(r"^- .*$", sections()["Reload"], flags=re.MULTILINE)
    assert sorted(re.findall(r"`([\w.]+)`", "".join(listed))) == sorted(RESTART)
