"""The keys that the simulator knows, and what it makes of each: how an engine treats a key, for tests of its clients.

Set over ``PUT /simulator/keys``. Without any, every key is as good as none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec

from headrace.errors import ClientRequestError

MAX_KEYS = 1000
_BEARER = "bearer "
_RATE_LIMITED = 429
_ROUNDING = 1e-6
"""Who waits exactly as long as told must not fail by a rounding error."""


class SimulatedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key and what requests with it get."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """What records call it."""
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
    """The bearer token. Never shown."""
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    """Answers with this; None answers as the script says."""
    retry_after: Annotated[float, msgspec.Meta(ge=0)] | str | None = None
    """``Retry-After`` beside ``status``: seconds, or any text."""
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Requests beyond this get 429, with a ``Retry-After``. So many may come at once; then they are let in evenly."""


class SimulatedKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``PUT /simulator/keys``."""

    keys: Annotated[list[SimulatedKey], msgspec.Meta(max_length=MAX_KEYS)]


class KeyReport(msgspec.Struct, frozen=True, kw_only=True):
    """One key as ``GET /simulator/keys`` shows it."""

    name: str
    status: int | None
    requests_per_minute: int | None
    requests: int
    """Requests that came with it, since it was set."""
    refused: int
    """How many of them got ``status``, or were too many."""


class Refusal(msgspec.Struct, frozen=True):
    """What a request gets because of its key."""

    status: int
    message: str
    code: str
    retry_after: str | None = None


class _Known:
    """One key, and what it has left."""

    __slots__ = ("filled_at_s", "key", "left", "refused", "requests")

    def __init__(self, key: SimulatedKey, now_s: float) -> None:
        self.key = key
        self.requests = 0
        self.refused = 0
        self.left = float(key.requests_per_minute or 0)
        self.filled_at_s = now_s

    def judge(self, now_s: float) -> Refusal | None:
        self.requests += 1
        refusal = self._refusal(now_s)
        self.refused += refusal is not None
        return refusal

    def _refusal(self, now_s: float) -> Refusal | None:
        status, after = self.key.status, self.key.retry_after
        if status is not None:
            text = f"{after:g}" if isinstance(after, float) else after
            return Refusal(status, f"simulated status {status} of key {self.key.name}", _code(status), text)
        wait_s = self._wait_s(now_s)
        if wait_s is None:
            return None
        # Up to whole milliseconds: who waits that long must be let in.
        text = f"{math.ceil(wait_s * 1000) / 1000:g}"
        return Refusal(_RATE_LIMITED, f"too many requests with key {self.key.name}", _code(_RATE_LIMITED), text)

    def _wait_s(self, now_s: float) -> float | None:
        """Take one request from what is left. None: done; else how long to wait, in seconds."""
        limit = self.key.requests_per_minute
        if limit is None:
            return None
        self.left = min(float(limit), self.left + (now_s - self.filled_at_s) * limit / 60)
        self.filled_at_s = now_s
        if self.left < 1 - _ROUNDING:
            return (1 - self.left) * 60 / limit
        self.left -= 1
        return None


class KeyTable:
    """All keys that the simulator knows. Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def set(self, body: bytes, *, now_s: float) -> None:
        """Know these keys and no others; counts and rates begin anew.

        Raises:
            ClientRequestError: It is no ``SimulatedKeys``, or one key or name is there twice.
        """
        try:
            keys = msgspec.json.decode(body, type=SimulatedKeys).keys
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientRequestError(str(error), param="keys") from None
        if len({key.name for key in keys}) < len(keys) or len({key.key for key in keys}) < len(keys):
            raise ClientRequestError("a key or a name is there twice", param="keys")
        self._known = {key.key: _Known(key, now_s) for key in keys}

    def forget(self) -> None:
        """Know none: every key is as good as none."""
        self._known = {}

    def reports(self) -> list[KeyReport]:
        return [
            KeyReport(
                name=known.key.name,
                status=known.key.status,
                requests_per_minute=known.key.requests_per_minute,
                requests=known.requests,
                refused=known.refused,
            )
            for known in self._known.values()
        ]

    def judge(self, headers: Iterable[tuple[str, str]], *, now_s: float) -> tuple[str | None, Refusal | None]:
        """Count a request.

        Args:
            headers: Its headers, lower-case names.
            now_s: When it came.

        Returns:
            The name of its key, None for one that is not known; and what it gets instead of its answer, if anything.
        """
        if not self._known:
            return None, None
        known = self._known.get(_bearer(headers))
        if known is None:
            return None, Refusal(401, "incorrect API key", "invalid_api_key")
        return known.key.name, known.judge(now_s)


def _bearer(headers: Iterable[tuple[str, str]]) -> str:
    value = next((value for name, value in headers if name == "authorization"), "")
    return value[len(_BEARER) :].strip() if value.lower().startswith(_BEARER) else ""


def _code(status: int) -> str:
    return {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status, "simulated")
