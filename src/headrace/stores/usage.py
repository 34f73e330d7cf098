"""Usage: a row for what one ended request cost, without any text, and sums over such rows.

Rows are entered when a record is saved with a bill, and corrected by a settlement. A settled row stands: saving the
record of before once more, as happens after a failure of the store, changes neither the row nor the bill in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from headrace.stores.limits import MAX_COUNT, MAX_NANO_USD
from headrace.stream.store import Settlement, TokenSum, UsageLine
from headrace.types.bill import Basis, Bill, BillRule
from headrace.types.ids import KeyId, RequestId
from headrace.types.record import Record

MAX_GROUPINGS = 4
"""Things that usage can be grouped by at once."""

GROUPINGS = {
    "owner": "owner",
    "key": "key_id",
    "model": "model",
    "engine": "engine",
    "state": "state",
    "day": "day",
}
"""What usage can be grouped by beside tags: the name of each, and the field of ``UsageRow`` that holds it."""

TAG_GROUPING = "tag:"
"""Stands before the name of a tag that usage is grouped by."""


class Amounts(msgspec.Struct, frozen=True):
    """The part of a row that a settlement corrects. The fields are columns of the table too."""

    generated_tokens: int
    delivered_tokens: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    nano_usd: int | None
    is_reported: bool
    """Whether the engine counted the tokens."""
    rule: str | None

    @property
    def bill(self) -> Bill:
        return Bill(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            nano_usd=self.nano_usd,
            basis=Basis.REPORTED if self.is_reported else Basis.ESTIMATED,
            rule=None if self.rule is None else BillRule(self.rule),
        )


class UsageRow(msgspec.Struct, frozen=True):
    """What one request cost. The fields, but for ``amounts``, are columns of the table too."""

    request_id: RequestId
    owner: str
    key_id: KeyId
    model: str
    engine: str
    state: str
    accepted_at: float
    day: str
    """Of UTC, in which it was accepted: ``2026-11-21``."""
    tags: dict[str, str]
    amounts: Amounts
    is_settled: bool = False


def row_of(record: Record, bill: Bill) -> UsageRow:
    """Return what a record is entered with."""
    return UsageRow(
        request_id=record.id,
        owner=record.owner,
        key_id=record.key_id,
        model=record.model,
        engine=record.engine,
        state=record.state.value,
        accepted_at=record.accepted_at,
        day=datetime.fromtimestamp(record.accepted_at, UTC).date().isoformat(),
        tags=record.tags,
        amounts=amounts_of(record.generated_tokens, record.delivered_tokens, bill),
    )


def amounts_of(generated_tokens: int, delivered_tokens: int, bill: Bill) -> Amounts:
    """Return what a request is entered with; what is too large for sums is cut to its bound."""
    return Amounts(
        generated_tokens=_bounded(generated_tokens, MAX_COUNT),
        delivered_tokens=_bounded(delivered_tokens, MAX_COUNT),
        prompt_tokens=_bounded(bill.prompt_tokens, MAX_COUNT),
        cached_tokens=_bounded(bill.cached_tokens, MAX_COUNT),
        completion_tokens=_bounded(bill.completion_tokens, MAX_COUNT),
        nano_usd=None if bill.nano_usd is None else _bounded(bill.nano_usd, MAX_NANO_USD),
        is_reported=bill.basis is Basis.REPORTED,
        rule=None if bill.rule is None else bill.rule.value,
    )


def _bounded(count: int, most: int) -> int:
    return 0 if count < 0 else min(count, most)


def with_amounts(record: Record, amounts: Amounts) -> Record:
    """Return a record with what its settled row says."""
    return msgspec.structs.replace(
        record,
        generated_tokens=amounts.generated_tokens,
        delivered_tokens=amounts.delivered_tokens,
        bill=amounts.bill,
    )


def last_of_each(settlements: Sequence[Settlement]) -> list[Settlement]:
    """Return the last settlement of each request: it is the one that counts."""
    return list({settlement.request_id: settlement for settlement in settlements}.values())


def check_groupings(by: Sequence[str]) -> None:
    """Make sure that usage can be grouped so.

    Raises:
        ValueError: Too many, or one that there is not.
    """
    if len(by) > MAX_GROUPINGS:
        raise ValueError(f"usage can be grouped by at most {MAX_GROUPINGS} things, not {len(by)}")
    for name in by:
        if name not in GROUPINGS and not name.startswith(TAG_GROUPING):
            raise ValueError(f"usage cannot be grouped by {name!r}; use {', '.join(GROUPINGS)} or {TAG_GROUPING}NAME")


def line_of(group: tuple[str, ...], sums: Sequence[int]) -> UsageLine:
    """Return the line of a group.

    Args:
        group: A value for each thing grouped by.
        sums: Over its rows: tokens generated, tokens delivered, and rows without a price; then, of reported rows, how many,
            their prompt, cached and completion tokens, and nano-dollars; the same of estimated ones.
    """
    generated_tokens, delivered_tokens, unpriced_requests, *bills = sums
    return UsageLine(
        group=group,
        generated_tokens=generated_tokens,
        delivered_tokens=delivered_tokens,
        reported=TokenSum(*bills[:5]),
        estimated=TokenSum(*bills[5:]),
        unpriced_requests=unpriced_requests,
    )
