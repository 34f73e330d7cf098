"""Scripts in sequence: the first request gets the first, the second the second, and whoever comes later the last word.

Set by ``PUT /simulator/scripts`` or in process. Without any, every request gets the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from headrace.engines.scripted.request import wrong_field
from headrace.engines.scripted.script import Script
from headrace.errors import ClientRequestError

MAX_SCRIPTS = 10_000
SHOWN_SCRIPTS = 100
"""Scripts in a report at most: each is whole, and a default may be long."""

ScriptLike = Script | Mapping[str, Any]
"""A mapping holds fields as in JSON and is laid over the default; a ``Script`` stands for itself alone."""


class SimulatedScripts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``PUT /simulator/scripts``. All scripts are laid over the default; a request's own is laid over that."""

    scripts: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MAX_SCRIPTS)]
    """The k-th is for the k-th request to come."""
    then: dict[str, Any] = {}
    """For all requests after these."""


class ScriptsReport(msgspec.Struct, frozen=True, kw_only=True):
    """The sequence as ``GET /simulator/scripts`` shows it."""

    scripts: int
    """How many were set."""
    taken: int
    """How many of them requests have got."""
    next: list[Script]
    """The next ones that requests get, each laid over the default; at most ``SHOWN_SCRIPTS``."""
    then: Script


class _Merged(msgspec.Struct):
    """Gives errors in merged scripts the path they have in the body."""

    scripts: Annotated[list[Script], msgspec.Meta(max_length=MAX_SCRIPTS)]
    then: Script


class ScriptSequence:
    """Hands out scripts, each once."""

    def __init__(self, default: Script) -> None:
        """Begin without a sequence; ``default`` is for every request."""
        self._default = default
        self._scripts: list[Script] = []
        self._then = default
        self._taken = 0

    def set(self, scripts: Sequence[ScriptLike], then: ScriptLike | None = None) -> None:
        """Begin a new sequence; what is left of the last one is dropped.

        Args:
            scripts: The k-th is for the k-th request from now on.
            then: For all requests after these; None is the default.

        Raises:
            ClientRequestError: A script is wrong, or there are more than ``MAX_SCRIPTS``; ``param`` is its path, such as
                ``scripts[3].fault.kind``. The last sequence stays.
        """
        base = msgspec.to_builtins(self._default)
        merged = {"scripts": [_laid_over(base, script) for script in scripts], "then": _laid_over(base, then or {})}
        try:
            found = msgspec.convert(merged, type=_Merged)
        except msgspec.ValidationError as error:
            raise wrong_field(error) from None
        self._scripts, self._then, self._taken = found.scripts, found.then, 0

    def set_json(self, body: bytes) -> None:
        """Begin the sequence that a ``SimulatedScripts`` holds.

        Raises:
            ClientRequestError: As ``set`` does, or it is none.
        """
        try:
            given = msgspec.json.decode(body, type=SimulatedScripts)
        except RecursionError:
            raise ClientRequestError("the scripts are nested too deeply", param="scripts") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise wrong_field(error) from None
        self.set(given.scripts, given.then)

    def forget(self) -> None:
        """Give every request the default."""
        self._scripts = []
        self._then = self._default
        self._taken = 0

    def take(self) -> tuple[int | None, Script]:
        """Return the next script and its number in the sequence, from 0; None after its end."""
        if self._taken == len(self._scripts):
            return None, self._then
        self._taken += 1
        return self._taken - 1, self._scripts[self._taken - 1]

    def report(self) -> ScriptsReport:
        shown = self._scripts[self._taken : self._taken + SHOWN_SCRIPTS]
        return ScriptsReport(scripts=len(self._scripts), taken=self._taken, next=shown, then=self._then)


def _laid_over(base: Mapping[str, Any], script: ScriptLike) -> Mapping[str, Any] | Script:
    """Return a script with all its fields; those of a mapping are not checked yet."""
    return script if isinstance(script, Script) else {**base, **script}
