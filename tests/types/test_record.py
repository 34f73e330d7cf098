"""The record as JSON: rows of earlier and later versions stay readable."""

from __future__ import annotations

import msgspec

from headrace.types.ids import RequestId, StreamId
from headrace.types.outcome import State
from headrace.types.record import Perceived, Record

OLD = b"""{"id": "r1", "stream_id": "s", "owner": "", "model": "m", "engine": "e", "accepted_at": 1.5, "state": "completed"}"""


def test_a_record_from_before_clients_reported_anything_loads() -> None:
    assert msgspec.json.decode(OLD, type=Record) == Record(
        id=RequestId("r1"),
        stream_id=StreamId("s"),
        owner="",
        model="m",
        engine="e",
        accepted_at=1.5,
        state=State.COMPLETED,
        perceived=None,
    )


def test_a_report_of_a_later_version_loads_without_what_is_new() -> None:
    row = OLD[:-1] + b', "perceived": {"transport": "fetch", "total_ms": 7, "from_a_later_version": [1]}}'
    assert msgspec.json.decode(row, type=Record).perceived == Perceived(transport="fetch", total_ms=7)
