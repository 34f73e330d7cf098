"""Lists that servers answer with."""

from __future__ import annotations

from typing import Any

import msgspec


class Page(msgspec.Struct, frozen=True):
    """Streams, newest first; each as ``Client.show`` returns it."""

    data: list[dict[str, Any]]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None
    """What ``after`` takes for the next page."""


class Models(msgspec.Struct, frozen=True):
    """``GET /v1/models``."""

    data: list[Model]

    @property
    def names(self) -> list[str]:
        return [model.id for model in self.data]


class Model(msgspec.Struct, frozen=True):
    id: str
