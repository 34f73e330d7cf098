"""``Cache-Control`` of a request, as far as an answer that was given before may be given again (RFC 9111 5.2.1)."""

from __future__ import annotations

import re

import msgspec

_DIRECTIVE = re.compile(r'\s*([A-Za-z-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,]*)))?\s*(?:,|$)')

MAX_BYTES = 1024
"""Of the header; the rest of a longer one is not read."""


class CacheControl(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants of a cache."""

    no_store: bool = False
    """Neither give it an answer of before nor keep this one."""
    no_cache: bool = False
    """Give it no answer of before."""
    only_if_cached: bool = False
    """Give it nothing else."""
    max_age_s: float | None = None
    """No older one than this."""

    @classmethod
    def parse(cls, value: str) -> CacheControl:
        """Read a header; what is not known, or makes no sense, asks for nothing (RFC 9111 5.2.3)."""
        found: dict[str, str] = {}
        for match in _DIRECTIVE.finditer(value[:MAX_BYTES]):
            found[match[1].lower()] = match[2] if match[2] is not None else match[3] or ""
        age = found.get("max-age", "")
        return cls(
            no_store="no-store" in found,
            no_cache="no-cache" in found,
            only_if_cached="only-if-cached" in found,
            max_age_s=float(age) if age.isascii() and age.isdecimal() and len(age) <= 10 else None,
        )

    def allows(self, age_s: float) -> bool:
        """Return whether an answer of that age, in seconds, may be given."""
        if self.no_store or self.no_cache:
            return False
        return self.max_age_s is None or age_s <= self.max_age_s
