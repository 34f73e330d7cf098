"""Every way an engine can go wrong, over real sockets: what the log, the record and users of a stock SDK see of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from tests.system.fault_bench import Call, FaultBench, Observation, table
from tests.system.faults import CASES, SECRET, Case, Sees

from headrace.types.outcome import State

Rows = list[tuple[Case, Observation]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultBench]:
    with FaultBench(tmp_path_factory.mktemp("faults")) as bench:
        yield bench


@pytest.fixture(scope="module")
def rows() -> Iterator[Rows]:
    rows: Rows = []
    yield rows
    sys.stdout.write(f"\n{table(rows)}\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_fault_ends_as_the_table_says(case: Case, bench: FaultBench, rows: Rows) -> None:
    observed = bench.observe(case)
    rows.append((case, observed))
    for call, sees in ((observed.streaming, case.streaming), (observed.blocking, case.blocking)):
        _check_record(case, call)
        _check_log(case, call)
        _check_user(case, call, sees)
    assert observed.streaming.seen.text == case.text
    assert _blocking_text(observed.blocking) == case.text
    assert observed.streams == 2, "the SDK asked again for what had a stream"
    assert SECRET not in observed.printed
    if case.growth_bytes is not None:
        assert observed.growth_bytes <= case.growth_bytes


def _check_record(case: Case, call: Call) -> None:
    view = call.view
    assert (view["state"], view["cause"]) == (case.state, case.cause)
    assert view["last_offset"] == case.entries
    assert view["malformed_chunks"] == case.malformed
    assert view["usage"]["completion_tokens"] == case.tokens
    assert view["tokens_source"] == ("engine" if case.state is State.COMPLETED else "counted")
    assert view["durability"] == "durable"
    assert view["ended_at"] is not None
    assert (view["first_content_at"] is not None) == bool(case.text)


def _check_log(case: Case, call: Call) -> None:
    log = call.log
    assert log.text == case.text
    assert log.offsets == list(range(case.entries))
    assert log.end is not None
    assert (log.end["state"], log.end["cause"]) == (case.state, case.cause)
    assert log.end.get("malformed_chunks", 0) == case.malformed


def _check_user(case: Case, call: Call, sees: Sees) -> None:
    seen = call.seen
    assert (seen.error, seen.status) == (sees.error, sees.status), seen.message
    assert seen.elapsed_s <= case.within_s
    assert call.engine_requests == case.requests
    if sees.error is None:
        assert seen.finish_reason == "stop"
        return
    assert (seen.body["state"], seen.body["cause"]) == (case.state, case.cause)
    assert seen.body["code"] == sees.code
    assert seen.body["stream_id"] == seen.stream_id
    assert SECRET not in f"{seen.message} {seen.body} {call.view} {call.log.end}"
    if sees.status is not None:
        assert seen.headers["x-should-retry"] == "false"
        assert seen.headers.get("retry-after") == sees.retry_after


def _blocking_text(call: Call) -> str:
    """A blocking user finds what had been generated inside the error."""
    if call.seen.error is None:
        return call.seen.text
    text: str = call.seen.body["partial_text"]
    return text
