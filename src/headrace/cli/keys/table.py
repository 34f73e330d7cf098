"""Keys as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from headrace.cli.columns import aligned
from headrace.cli.untrusted import one_line
from headrace.types.access import ClientKey

HEADINGS = ("ID", "OWNER", "NAME", "ROLE", "KEY", "STATE", "EXPIRES")


def table(keys: Sequence[ClientKey], *, now: float) -> list[str]:
    """Return a line of headings and one for each key.

    Args:
        keys: In the order to be shown.
        now: Unix seconds.
    """
    return aligned([HEADINGS, *(_row(key, now) for key in keys)])


def line_of(key: ClientKey, *, now: float) -> str:
    """Return what a key is, on one line, without anything of its secrets."""
    parts = [one_line(key.name), key.role.value, state_of(key, now)]
    if key.expires_at is not None and key.revoked_at is None:
        parts.append(f"until {time_of(key.expires_at)}")
    return f"{key.id} of {one_line(key.owner)} ({', '.join(part for part in parts if part)})"


def state_of(key: ClientKey, now: float) -> str:
    """Return ``good``, ``revoked`` or ``expired``."""
    if key.revoked_at is not None:
        return "revoked"
    return "good" if key.expires_at is None or now < key.expires_at else "expired"


def time_of(seconds: float) -> str:
    """Return a moment as the user's clock shows it."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "minutes")


def _row(key: ClientKey, now: float) -> tuple[str, ...]:
    good = [secret for secret in key.secrets if secret.expires_at is None or now < secret.expires_at]
    return (
        one_line(key.id),
        one_line(key.owner),
        one_line(key.name),
        key.role.value,
        ", ".join(one_line(secret.hint) for secret in good),
        state_of(key, now),
        "never" if key.expires_at is None else time_of(key.expires_at),
    )
