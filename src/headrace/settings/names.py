"""Names that the user chooses, which settings stand under."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from headrace.types.access import OWNER_PATTERN

MAX_NAMES = 10_000
"""Owners, and models, that settings may name."""

MAX_ENGINES = 100
"""Engines that settings may name beside the default one, and targets of one model."""

MAX_MODEL_CHARACTERS = 256

_OWNER = re.compile(OWNER_PATTERN)
_ENGINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

OwnerName = Annotated[str, msgspec.Meta(extra={"names": "owner"})]
EngineName = Annotated[str, msgspec.Meta(extra={"names": "engine"})]
TargetName = Annotated[str, msgspec.Meta(extra={"names": "target"})]
ModelName = Annotated[str, msgspec.Meta(extra={"names": "model"})]


def check_owner(name: str) -> None:
    """Make sure that an owner can be called so.

    Raises:
        ValueError: It cannot; the message says what is expected.
    """
    if _OWNER.fullmatch(name) is None:
        raise ValueError("expected an owner's name: 1 to 64 of A-Z a-z 0-9 . _ @ -, the first a letter or digit")


def check_model(name: str) -> None:
    """Make sure that a model can be called so.

    Raises:
        ValueError: It cannot; the message says what is expected.
    """
    if not (0 < len(name) <= MAX_MODEL_CHARACTERS and name.isprintable()):
        raise ValueError(f"expected a model's name: 1 to {MAX_MODEL_CHARACTERS} printable characters")


def check_engine(name: str) -> None:
    """Make sure that an engine, or a target, can be called so.

    Raises:
        ValueError: It cannot; the message says what is expected.
    """
    if _ENGINE.fullmatch(name) is None:
        raise ValueError("expected a name: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit")


NAME_CHECKS: Mapping[str, Callable[[str], None]] = {
    "owner": check_owner,
    "model": check_model,
    "engine": check_engine,
    "target": check_engine,
}
