from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from headrace.errors import SettingsError
from headrace.settings.names import OwnerName
from headrace.settings.reader import build, read
from headrace.settings.sources import Source


class Range(msgspec.Struct, frozen=True, kw_only=True):
    first: int
    last: int = 9

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("last must not come before first")


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    range: Range | None = None


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    owners: dict[OwnerName, Owned] = {}


def built(values: dict[str, Any]) -> Tree:
    return build(Tree, read(Source({"owners": {"a.b": {"range": values}}}, "a test"), Tree))


def test_sections_under_names_are_built() -> None:
    assert built({"first": 1}) == Tree(owners={"a.b": Owned(range=Range(first=1))})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match=r'^owners\."a\.b"\.range\.first: must be set$'):
        built({"last": 3})


def test_what_a_section_says_of_itself_is_said_with_its_path() -> None:
    with pytest.raises(SettingsError, match=r'^owners\."a\.b"\.range: last must not come before first$'):
        built({"first": 2, "last": 1})


@pytest.mark.parametrize("names", [str, Annotated[str, msgspec.Meta(min_length=1)]])
def test_names_must_say_whose_they_are(names: Any) -> None:
    tree = msgspec.defstruct("tree", [("owners", dict[names, Owned])])
    with pytest.raises(TypeError, match="names must say whose they are"):
        read(Source({}, "a test"), tree)
