"""Whether output is styled, and the few styles there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Look:
    """Styles of short texts; without styling they come back as they are."""

    is_styled: bool

    @classmethod
    def of(cls, out: TextIO, environ: Mapping[str, str]) -> Look:
        """Return the look that suits a stream: styled on a terminal that can do it, unless the user does not want it.

        ``NO_COLOR``: see https://no-color.org.
        """
        return cls(out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb")

    def dim(self, text: str) -> str:
        return self._with("2", text)

    def red(self, text: str) -> str:
        return self._with("31", text)

    def bold(self, text: str) -> str:
        return self._with("1", text)

    def _with(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.is_styled else text
