"""Client keys in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from headrace.errors import StoreError
from headrace.stores.limits import MAX_KEYS
from headrace.types.access import ClientKey
from headrace.types.ids import KeyId


class MemoryKeys:
    """Keeps at most ``max_keys`` client keys in memory; one more is refused."""

    def __init__(self, *, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._keys: dict[KeyId, ClientKey] = {}
        self._version = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def version(self) -> int:
        return self._version

    async def all(self) -> list[ClientKey]:
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    async def insert(self, key: ClientKey) -> None:
        if key.id in self._keys:
            raise StoreError(f"there is a key {key.id} already")
        if len(self._keys) >= self._max_keys:
            raise StoreError(f"there are {self._max_keys} keys already, as many as a store takes")
        self._put(key)

    async def change(self, key_id: KeyId, change: Callable[[ClientKey], ClientKey]) -> ClientKey | None:
        key = self._keys.get(key_id)
        if key is None:
            return None
        changed = change(key)
        self._put(changed)
        return changed

    def _put(self, key: ClientKey) -> None:
        self._keys[key.id] = key
        self._version += 1
