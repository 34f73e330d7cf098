"""Rows of records, from what a pump knows."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from headrace.pump.attempts import Attempts
from headrace.pump.order import Order
from headrace.pump.part import token_count
from headrace.pump.party import Party
from headrace.pump.reckoning import Reckoning
from headrace.stream.log import StreamLog
from headrace.types.attempt import Attempt
from headrace.types.bill import Bill
from headrace.types.outcome import TokenSource
from headrace.types.record import Record


class Streaming(Protocol):
    """A pump, as far as its rows go."""

    order: Order
    log: StreamLog
    attempts: Attempts
    reckoning: Reckoning
    accepted_at: float
    first_content_at: float | None
    ended_at: float | None


def record_of_stream(
    pump: Streaming,
    *,
    usage: dict[str, Any],
    tokens_source: TokenSource,
    finish_reason: str | None,
    attempts: list[Attempt],
    retry_budget_s: float,
) -> Record:
    """Return the row of the request that began a stream, as the stream stands."""
    log, order, reckoning = pump.log, pump.order, pump.reckoning
    end = log.end
    return Record(
        id=order.request_id,
        stream_id=order.stream_id,
        owner=order.owner,
        model=order.model,
        engine=pump.attempts.engine,
        accepted_at=pump.accepted_at,
        first_content_at=pump.first_content_at,
        ended_at=pump.ended_at,
        state=log.state,
        cause=end.cause if end is not None else None,
        finish_reason=finish_reason,
        prompt_tokens=token_count(usage.get("prompt_tokens")),
        completion_tokens=token_count(usage.get("completion_tokens")),
        tokens_source=tokens_source,
        entries=log.appended,
        bytes=log.bytes,
        malformed_chunks=end.malformed_chunks if end is not None else 0,
        durability=log.durability,
        key_id=order.key_id,
        tags=order.tags,
        generated_tokens=reckoning.generated_tokens,
        delivered_tokens=reckoning.delivered_tokens,
        bill=reckoning.bill,
        engine_model=pump.attempts.model,
        attempts=attempts,
        seams=list(pump.attempts.seams),
        retry_budget_s=retry_budget_s if attempts else None,
    )


def record_of_party(whole: Record, party: Party, pump: Streaming) -> Record:
    """Return the row of one request on a stream; ``whole`` is that of the one which began it.

    Who joined pays nothing, and has had nothing generated.
    """
    record, log = whole, pump.log
    if party.end is not None:
        record = msgspec.structs.replace(
            record,
            state=party.end.state,
            cause=party.end.cause,
            ended_at=party.ended_at,
            finish_reason=None,
            entries=party.ends_at,
        )
    requester = party.requester
    if requester.stream_id == log.stream_id:
        return record
    is_given = log.end is not None and party.is_open and party.followers > 0
    return msgspec.structs.replace(
        record,
        id=requester.request_id,
        stream_id=requester.stream_id,
        log_id=log.stream_id,
        owner=requester.owner,
        key_id=requester.key_id,
        tags=requester.tags,
        source=requester.source,
        accepted_at=party.accepted_at,
        # What was there when it came, it had at once.
        first_content_at=None if record.first_content_at is None else max(record.first_content_at, party.accepted_at),
        generated_tokens=0,
        delivered_tokens=log.tokens if is_given else party.delivered_tokens,
        bill=Bill() if record.state.is_terminal else None,
    )
