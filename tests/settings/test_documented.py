"""The configuration document names every key there is, and none that is not."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from headrace.policy.faults import Fault
from headrace.policy.kinds import KINDS
from headrace.policy.retry import RetryPolicy
from headrace.settings import EngineKind, Settings, load_settings
from headrace.settings.reload import RESTART
from headrace.settings.shape import paths, shape_of
from headrace.types.bill import BillRule
from headrace.types.engine import Continuation

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def sections() -> dict[str, str]:
    """Return the document's sections by heading."""
    parts = re.split(r"^## (.*)\n", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


EXAMPLES = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_good_settings(example: str, tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(example)
    load_settings(environ={"HOME": "/home/someone"}, file=file)


def test_there_are_examples_of_routes() -> None:
    assert sum("[models." in example for example in EXAMPLES) >= 4


def test_every_rule_of_bills_is_explained() -> None:
    text = sections()["Limits, budgets and prices"]
    assert re.findall(r"^- `(\w+)`", text, flags=re.MULTILINE) == list(BillRule)


def test_every_key_is_documented_once_and_every_documented_key_exists() -> None:
    # A heading names all sections that have the keys of its table: "engine.limits, keys.limits".
    # FAULT stands for each of them.
    documented = Counter(
        f"{section}.{key}".replace(".FAULT.", f".{fault}.")
        for heading, text in sections().items()
        for table in re.findall(r"^\| Key \| Default \| Means \|\n(?:\|.*\n)*", text, flags=re.MULTILINE)
        for key in re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)
        for section in heading.replace("`", "").split(", ")
        for fault in (Fault if "FAULT" in section else ("",))
    )
    assert documented == Counter(".".join(path) for path in paths(shape_of(Settings)))


def test_keys_that_need_a_restart_are_listed() -> None:
    listed = re.findall(r"^- .*$", sections()["Reload"], flags=re.MULTILINE)
    assert sorted(re.findall(r"`([\w.]+)`", "".join(listed))) == sorted(RESTART)


def rows(section: str, title: str) -> list[list[str]]:
    """Return the cells of the table that begins with ``title``, without back-ticks."""
    table = re.search(rf"^\| {title} \|.*\n\|[-|]*\n((?:\|.*\n)*)", sections()[section], flags=re.MULTILINE)
    assert table is not None
    return [
        [cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in table[1].strip().split("\n")
    ]


def test_what_follows_each_fault_is_documented() -> None:
    policy = RetryPolicy()
    documented = {fault: (int(same), elsewhere) for fault, same, elsewhere, _ in rows("retry.FAULT", "Fault")}
    assert documented == {fault: (policy.rule(fault).same, policy.rule(fault).elsewhere) for fault in Fault}


def test_how_each_kind_of_engine_continues_is_documented() -> None:
    documented = {
        kind: re.split("[; (]", how)[0]
        for kinds, how, _ in rows("engine, engines.NAME", "Kind")
        for kind in kinds.split(", ")
    }
    assert list(documented) == list(get_args(EngineKind))
    assert documented.pop("embedded") == Continuation.ASSISTANT
    assert documented == {kind: capabilities.continuation for kind, capabilities in KINDS.items()}
