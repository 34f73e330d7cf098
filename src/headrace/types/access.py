"""Who may use the relay, and how much of it: owners, keys, and what they are allowed."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated, NewType

import msgspec

from headrace.types.ids import Credential, KeyId

Owner = NewType("Owner", str)
"""Whose streams they are: a person, a team, a program. Empty while nobody has to show a key."""

OWNER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
TAG_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_TAGS = 16
MAX_TAG_CHARACTERS = 128
"""Of a tag's value."""

MAX_SECRETS = 2
"""Secrets of one key that are good at the same time: the new one and, while a rotation lasts, the old one."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
MAX_DOLLARS = Decimal(10**9)

Dollars = Decimal
"""US dollars, from 0 to ``MAX_DOLLARS``. As JSON a decimal string, so that no digit is lost; numbers are taken too."""

Tags = dict[str, str]
"""What a request's cost is to be told apart by: names and values."""


def check_dollars(amount: Decimal) -> None:
    """Make sure that an amount makes sense.

    Raises:
        ValueError: It is no number from 0 to ``MAX_DOLLARS``.
    """
    if not (amount.is_finite() and 0 <= amount <= MAX_DOLLARS):
        raise ValueError(f"expected US dollars from 0 to {MAX_DOLLARS}")


class Role(enum.StrEnum):
    """What a key may do beside using its own streams."""

    MEMBER = "member"
    ADMIN = "admin"
    """Also: every owner's streams and usage, all metrics, and keys."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How fast and how much a key, an owner, a model or an engine may generate; None bounds nothing."""

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    """Of prompts and answers together. A stream that reaches it is read more slowly."""
    concurrent_streams: Limit | None = None
    max_prompt_tokens: Limit | None = None
    """Of one request, as estimated before the engine counts (a token for every 4 bytes)."""
    max_output_tokens: Limit | None = None
    """Of one answer: a larger ``max_tokens`` is refused, and a missing one is filled in."""


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much money a key or an owner may spend; None bounds nothing. Days and months are those of UTC."""

    day_usd: Dollars | None = None
    month_usd: Dollars | None = None

    def __post_init__(self) -> None:
        for amount in (self.day_usd, self.month_usd):
            if amount is not None:
                check_dollars(amount)


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of a key, as it is kept: never the secret itself."""

    digest: str
    """SHA-256 of the whole key as clients send it, in hexadecimal. Keys are random, so no slow hash is needed."""
    hint: str
    """First and last characters, for people who look for a key in a list."""
    created_at: float
    expires_at: float | None = None
    """When a rotation ends its use; None: with the key itself."""


class ClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that clients show. Times are Unix seconds (UTC)."""

    id: KeyId
    name: str
    owner: Owner
    role: Role = Role.MEMBER
    secrets: tuple[Secret, ...]
    models: tuple[str, ...] | None = None
    """Models it may ask for; None: all."""
    limits: Allowance = Allowance()
    budget: Budget = Budget()
    tags: Tags = {}
    """Tags of all its requests; a request cannot say otherwise."""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends a request."""

    owner: Owner
    role: Role
    key: ClientKey | None
    """None while nobody has to show a key: then everybody is the same admin, without an owner."""
    credential: Credential = Credential("")

    @property
    def key_id(self) -> KeyId:
        """Empty without a key."""
        return KeyId("") if self.key is None else self.key.id

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    def may_see(self, owner: str) -> bool:
        """Whether a stream of ``owner`` exists for this caller."""
        return self.is_admin or owner == self.owner


ANYBODY = Caller(owner=Owner(""), role=Role.ADMIN, key=None)
"""Whoever calls while there are no keys."""
