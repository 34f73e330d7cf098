"""The configuration document names every key there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from headrace.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_every_key_is_documented_and_every_documented_key_exists() -> None:
    documented: dict[str, list[str]] = {}
    for section in re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]:
        name = section.split("\n", 1)[0]
        documented[name] = re.findall(r"^\| `(\w+)`", section, flags=re.MULTILINE)
    tree = {
        section.encode_name: [field.encode_name for field in msgspec.structs.fields(section.type)]
        for section in msgspec.structs.fields(Settings)
    }
    assert documented == tree
