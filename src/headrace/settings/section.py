"""What all sections of the settings have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec

from headrace.policy.units import without_seconds

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=without_seconds):
    """One table of TOML."""
