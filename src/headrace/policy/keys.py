"""Client keys: making, rotating, revoking and checking them, without I/O.

The text of a key is random and long, and only its SHA-256 is kept. It is looked up by that digest, so how long a look-up takes says
nothing of any key: no secret is compared with another, character by character.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec

from headrace.errors import ClientRequestError
from headrace.types.access import (
    MAX_SECRETS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    OWNER_PATTERN,
    TAG_NAME_PATTERN,
    Allowance,
    Budget,
    ClientKey,
    Owner,
    Role,
    Secret,
    Tags,
)
from headrace.types.ids import KeyId

KEY_PREFIX = "hr_"
KEY_BYTES = 32
ID_BYTES = 12

MAX_KEYS = 10_000
"""Keys in one store, revoked ones included."""

MAX_TEXT_CHARACTERS = 256
"""Longest text that is looked up as a key; ours have 46 characters."""

MAX_NAME_CHARACTERS = 128
MAX_MODELS = 256
MAX_MODEL_CHARACTERS = 256

MAX_LIFE_S = 100 * 365 * 24 * 3600.0
"""Longest life of a key that ends at all."""

MAX_OVERLAP_S = 365 * 24 * 3600.0
"""How long a rotation may let the old secret go on."""

DOLLAR_DIGITS = 9
"""Digits behind the point of a budget: money is counted in nano-dollars."""

Random = Callable[[int], bytes]
"""As many random bytes as asked for."""

_OWNER = re.compile(OWNER_PATTERN)
_TAG_NAME = re.compile(TAG_NAME_PATTERN)


class KeyWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key is to be: the body of ``POST /v1/keys``, and the options of ``headrace keys create``."""

    owner: str
    name: str = ""
    role: Role = Role.MEMBER
    models: tuple[str, ...] | None = None
    limits: Allowance = Allowance()
    budget: Budget = Budget()
    tags: Tags = {}
    expires_in: float | None = None
    """Seconds from now; None: never."""


class Refusal(enum.StrEnum):
    """Why a request has no caller. For counting only: clients are not told which."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyTable:
    """All keys of a store, to be looked up by what clients send.

    Args:
        keys: Revoked and expired ones included.
    """

    def __init__(self, keys: Sequence[ClientKey] = ()) -> None:
        self.keys = tuple(keys)
        """In the order given."""
        self._by_id = {key.id: key for key in keys}
        self._by_digest = {secret.digest: (key, secret) for key in keys for secret in key.secrets}

    @property
    def is_empty(self) -> bool:
        """Whether there is no key at all: then nobody has to show one."""
        return not self.keys

    def find(self, text: str, now: float) -> ClientKey | None:
        """Return the key that a client sent, if it is good; None for anything else, however odd."""
        found = self.judge(text, now)
        return found if isinstance(found, ClientKey) else None

    def judge(self, text: str, now: float) -> ClientKey | Refusal:
        """As ``find``, or why not."""
        return self.judge_digest(digest(text), now) if len(text) <= MAX_TEXT_CHARACTERS else Refusal.UNKNOWN

    def judge_digest(self, text_digest: str, now: float) -> ClientKey | Refusal:
        """As ``judge``, by the digest of what was sent."""
        found = self._by_digest.get(text_digest)
        if found is None:
            return Refusal.UNKNOWN
        key, secret = found
        if key.revoked_at is not None:
            return Refusal.REVOKED
        return key if is_good(key, now) and _is_before(now, secret.expires_at) else Refusal.EXPIRED

    def of_id(self, key_id: str) -> ClientKey | None:
        """Return the key of that id, good or not."""
        return self._by_id.get(KeyId(key_id))


def is_good(key: ClientKey, now: float) -> bool:
    """Return whether a key is neither revoked nor expired (Unix seconds)."""
    return key.revoked_at is None and _is_before(now, key.expires_at)


def digest(text: str) -> str:
    """Return what is kept of a key's text."""
    # Half surrogate pairs are no text of a key, but a digest of them must not fail either.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(wish: KeyWish, *, now: float, random: Random = secrets.token_bytes) -> tuple[ClientKey, str]:
    """Return a new key and its text, which is kept nowhere.

    Args:
        wish: What it is to be.
        now: Unix seconds.
        random: Where its id and its text come from.

    Raises:
        ClientRequestError: Something in the wish cannot be; ``param`` names the field.
    """
    check_wish(wish)
    secret, text = _new_secret(now, random)
    key = ClientKey(
        id=KeyId("key_" + _url_safe(random(ID_BYTES))),
        name=wish.name,
        owner=Owner(wish.owner),
        role=wish.role,
        secrets=(secret,),
        models=wish.models,
        limits=wish.limits,
        budget=wish.budget,
        tags=wish.tags,
        created_at=now,
        expires_at=None if wish.expires_in is None else now + wish.expires_in,
    )
    return key, text


def rotated(
    key: ClientKey, *, now: float, keep_old_for_s: float, random: Random = secrets.token_bytes
) -> tuple[ClientKey, str]:
    """Return a key with a new secret, and the text of that.

    Of the old secrets the newest goes on for ``keep_old_for_s`` (0: ends now); any other ends now.

    Raises:
        ClientRequestError: The time is out of its range, or the key is revoked or expired (409).
    """
    if not 0 <= keep_old_for_s <= MAX_OVERLAP_S:
        raise ClientRequestError(f"keep_old_for: must be seconds from 0 to {MAX_OVERLAP_S:.0f}", param="keep_old_for")
    if not is_good(key, now):
        how = "revoked" if key.revoked_at is not None else "expired"
        raise ClientRequestError(
            f"{key.id} is {how} and stays so; make a new key", status=409, code=f"key_{how}", param="key_id"
        )
    secret, text = _new_secret(now, random)
    old = [one for one in key.secrets if _is_before(now, one.expires_at)][1 - MAX_SECRETS :]
    kept = [_ending(one, now + keep_old_for_s) for one in old if keep_old_for_s > 0]
    return msgspec.structs.replace(key, secrets=(*kept, secret)), text


def revoked(key: ClientKey, *, now: float) -> ClientKey:
    """Return a key that is good no more. One that is revoked stays as it is."""
    return key if key.revoked_at is not None else msgspec.structs.replace(key, revoked_at=now)


def check_wish(wish: KeyWish) -> None:
    """Make sure that a key can be as it is wished.

    Raises:
        ClientRequestError: It cannot; ``param`` names the field.
    """
    if _OWNER.fullmatch(wish.owner) is None:
        raise _wrong("owner", "must be 1 to 64 letters, digits, '.', '_', '@' or '-', a letter or digit first")
    if len(wish.name) > MAX_NAME_CHARACTERS or not wish.name.isprintable():
        raise _wrong("name", f"must be at most {MAX_NAME_CHARACTERS} printable characters")
    if wish.expires_in is not None and not 0 < wish.expires_in <= MAX_LIFE_S:
        raise _wrong("expires_in", f"must be seconds, more than 0 and at most {MAX_LIFE_S:.0f}")
    _check_models(wish.models)
    _check_budget(wish.budget)
    check_tags(wish.tags, "tags")


def check_tags(tags: Mapping[str, str], field: str) -> None:
    """Make sure that tags are within their bounds.

    Args:
        tags: Names and values.
        field: What a client calls them.

    Raises:
        ClientRequestError: They are not.
    """
    if len(tags) > MAX_TAGS:
        raise _wrong(field, f"there are at most {MAX_TAGS} tags")
    for name, value in tags.items():
        if _TAG_NAME.fullmatch(name) is None:
            raise _wrong(
                field,
                f"the name {name[:80]!r} must be 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first",
            )
        if len(value) > MAX_TAG_CHARACTERS or not value.isprintable():
            raise _wrong(field, f"the value of {name} must be at most {MAX_TAG_CHARACTERS} printable characters")


def _check_models(models: Sequence[str] | None) -> None:
    if models is None:
        return
    if not 1 <= len(models) <= MAX_MODELS:
        raise _wrong("models", f"must name 1 to {MAX_MODELS} models; left out, the key may ask for any")
    for model in models:
        if not 1 <= len(model) <= MAX_MODEL_CHARACTERS or not model.isprintable():
            raise _wrong("models", f"a name has 1 to {MAX_MODEL_CHARACTERS} printable characters")


def _check_budget(budget: Budget) -> None:
    for field, amount in (("day_usd", budget.day_usd), ("month_usd", budget.month_usd)):
        if amount is not None and _fraction_digits(amount) > DOLLAR_DIGITS:
            raise _wrong(f"budget.{field}", f"has at most {DOLLAR_DIGITS} digits behind the point")


def _fraction_digits(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _wrong(field: str, what: str) -> ClientRequestError:
    return ClientRequestError(f"{field}: {what}", param=field)


def _new_secret(now: float, random: Random) -> tuple[Secret, str]:
    text = KEY_PREFIX + _url_safe(random(KEY_BYTES))
    return Secret(digest=digest(text), hint=f"{text[:7]}...{text[-4:]}", created_at=now), text


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _ending(secret: Secret, at: float) -> Secret:
    """Return a secret that ends then, or when it would have ended anyway."""
    expires_at = at if secret.expires_at is None else min(at, secret.expires_at)
    return msgspec.structs.replace(secret, expires_at=expires_at)


def _is_before(now: float, expires_at: float | None) -> bool:
    return expires_at is None or now < expires_at
