"""What a new key is to be, read from the options of ``headrace keys create``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.errors import ClientRequestError
from headrace.policy.keys import KeyWish, check_wish
from headrace.protocol.body import read_values
from headrace.settings.units import parse_seconds
from headrace.types.access import Role


def wish_of(
    *,
    owner: str,
    name: str | None,
    is_admin: bool,
    models: Sequence[str],
    limits: Mapping[str, str | None],
    budget: Mapping[str, str | None],
    tags: Sequence[str],
    expires_in: str | None,
) -> KeyWish:
    """Return the wish that options make up; None and nothing are left out.

    Raises:
        ClientRequestError: One of them cannot be; the message names it.
    """
    values: dict[str, Any] = {
        "owner": owner,
        "name": name,
        "role": Role.ADMIN if is_admin else None,
        "models": models or None,
        "limits": {name: _whole(name, text) for name, text in _given(limits).items()},
        "budget": _given(budget),
        "tags": tags_of(tags),
        "expires_in": None if expires_in is None else seconds_of(expires_in, "--expires-in"),
    }
    wish = read_values(_given(values), KeyWish)
    check_wish(wish)
    return wish


def tags_of(options: Sequence[str]) -> dict[str, str]:
    """Return tags given as ``NAME=VALUE``.

    Raises:
        ClientRequestError: One has another form, or a name is there twice.
    """
    tags: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name in tags:
            raise ClientRequestError(f"--tag: {option[:80]!r} must be NAME=VALUE, each name once")
        tags[name] = value
    return tags


def seconds_of(text: str, option: str) -> float:
    """Return a duration in seconds.

    Raises:
        ClientRequestError: It is none; the message names the option.
    """
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise ClientRequestError(f"{option}: {error}") from error


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise ClientRequestError(f"limits.{name}: must be a whole number, not {text[:40]!r}")
    return int(text)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
