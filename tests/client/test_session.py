"""Following a stream without sockets: a relay of lists, and connections that drop where Hypothesis says."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.client.entry import Entry
from headrace.client.failure import Failure
from headrace.client.patience import Patience
from headrace.client.plan import Planner
from headrace.client.session import MAX_STARTS, Over, Read, ReadRefusal, Send, Session, Wait
from headrace.client.transport import Request
from headrace.errors import ConnectionLost, RelayError, StoreError, StreamNotFound

NDJSON = {"content-type": "application/x-ndjson", "headrace-stream-id": "s1"}
START = Request(method="POST", path="/chat/completions")
END = {"state": "completed", "cause": "stop", "finish_reason": "stop", "usage": None}


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def session(*, clock: Clock | None = None, patience: Patience | None = None) -> Session:
    planner = Planner(patience=patience or Patience(), clock=clock or Clock(), random=lambda: 0.5)
    return planner.start(START, stream_id="s1")


def chunk(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def body_of(request: Request, texts: list[str], *, replayed: int = 0) -> bytes:
    """Return what the relay would answer; ``replayed`` entries more than asked for."""
    if request.method == "POST":
        entries = [chunk(text) for text in texts]
    else:
        found = re.search(r"after=(-?\d+)$", request.path)
        assert found is not None
        first = max(0, int(found[1]) + 1 - replayed)
        entries = [{"offset": offset, "chunk": chunk(text)} for offset, text in enumerate(texts)][first:]
    values = [*entries, {"offset": len(texts), "end": END}]
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


texts_of_a_stream = st.lists(st.text(alphabet="ab é😀\n", max_size=4), max_size=8)


@settings(deadline=None)
@given(texts=texts_of_a_stream, data=st.data())
def test_any_drops_and_any_splits_give_every_entry_once(texts: list[str], data: st.DataObject) -> None:
    following, entries = session(), list[Entry]()
    drops_left = 12
    while not following.is_over:
        match following.next_step():
            case Wait():
                following.receive_wake()
            case Send(request) if drops_left and data.draw(st.booleans()):
                drops_left -= 1
                is_sent = request.method == "POST" or data.draw(st.booleans())
                following.receive_failure(Failure.BROKEN if is_sent else Failure.UNREACHED, ConnectionError("dropped"))
            case Send(request):
                following.receive_head(200, NDJSON)
                raw = body_of(request, texts, replayed=data.draw(st.integers(0, 3)))
                kept = raw[: data.draw(st.integers(0, len(raw)))] if drops_left else raw
                drops_left -= bool(drops_left)
                cuts = sorted({0, len(kept), *data.draw(st.lists(st.integers(0, len(kept)), max_size=5))})
                for start, end in pairwise(cuts):
                    entries += following.receive_data(kept[start:end])
                if not following.is_over:
                    following.receive_eof()
            case step:
                raise AssertionError(f"unexpected {step}")
    assert following.error is None
    assert [entry.offset for entry in entries] == list(range(len(texts)))
    assert "".join(entry.text for entry in entries) == "".join(texts) == following.result().text
    assert following.result().state == "completed"


def follow(following: Session, data: bytes) -> None:
    assert isinstance(following.next_step(), Send)
    following.receive_head(200, NDJSON)
    assert isinstance(following.next_step(), Read)
    following.receive_data(data)


def failed(following: Session, failure: Failure) -> float:
    """Let the next request fail; returns the wait that follows, 0 for none."""
    assert isinstance(following.next_step(), Send)
    following.receive_failure(failure, ConnectionError("dropped"))
    step = following.next_step()
    if isinstance(step, Wait):
        following.receive_wake()
        return step.seconds
    return 0.0


def test_waits_grow_and_progress_makes_them_short_again() -> None:
    following = session()
    follow(following, b"")
    following.receive_eof()
    following.receive_wake()
    waits = [failed(following, Failure.UNREACHED) for _ in range(3)]
    assert waits == sorted(set(waits))
    follow(following, json.dumps({"offset": 0, "chunk": chunk("a")}).encode() + b"\n")
    following.receive_eof()
    step = following.next_step()
    assert isinstance(step, Wait)
    assert step.seconds < waits[0]


def test_patience_is_counted_from_the_last_sign_of_life() -> None:
    clock = Clock()
    following = session(clock=clock, patience=Patience(resume_for_s=60))
    follow(following, b"")
    clock.now_s = 1_000
    following.receive_data(b"\n")
    following.receive_eof()
    following.receive_wake()
    clock.now_s += 50
    assert failed(following, Failure.UNREACHED) > 0
    clock.now_s += 20
    assert failed(following, Failure.UNREACHED) == 0
    assert isinstance(following.error, ConnectionLost)
    assert following.error.result.state == "in_progress"


def test_connections_that_bring_nothing_are_no_progress() -> None:
    clock = Clock()
    following = session(clock=clock)
    for _ in range(100):
        follow(following, b"")
        clock.now_s += 1
        following.receive_eof()
        if following.is_over:
            break
        following.receive_wake()
    assert isinstance(following.error, ConnectionLost)


def test_request_that_never_arrives_is_given_up_sooner_than_a_stream() -> None:
    clock = Clock()
    following = session(clock=clock, patience=Patience(start_for_s=5, resume_for_s=60))
    assert failed(following, Failure.UNREACHED) > 0
    clock.now_s += 6
    assert failed(following, Failure.UNREACHED) == 0
    assert isinstance(following.error, ConnectionLost)
    assert following.error.__cause__ is not None


def test_wait_that_the_server_asks_for_beyond_patience_is_not_waited() -> None:
    following = session(patience=Patience(start_for_s=5))
    assert isinstance(following.next_step(), Send)
    following.receive_head(503, {"retry-after": "30"})
    assert isinstance(following.next_step(), ReadRefusal)
    following.receive_refusal(b'{"error": {"message": "busy", "type": "rate_limit_error", "code": "overloaded"}}')
    assert following.error is not None
    assert (following.error.status, following.error.retry_after_s) == (503, 30)


def test_request_that_may_have_arrived_is_sent_a_few_times_only() -> None:
    following, posts = session(), 0
    while not isinstance(step := following.next_step(), Over):
        if isinstance(step, Wait):
            following.receive_wake()
            continue
        assert isinstance(step, Send)
        if step.request.method == "POST":
            posts += 1
            following.receive_failure(Failure.BROKEN, ConnectionError("dropped"))
        else:
            following.receive_head(404, {})
            following.receive_refusal(b"not found")
    assert posts == MAX_STARTS
    assert isinstance(following.error, ConnectionLost)


def test_stop_before_anything_was_sent_sends_nothing() -> None:
    following = session()
    assert following.request_stop() is False
    assert isinstance(following.next_step(), Over)
    assert (following.error, following.result().state) == (None, "cancelled")


def test_stop_while_the_request_does_not_arrive_does_not_send_it_again() -> None:
    following = session()
    assert isinstance(following.next_step(), Send)
    following.receive_failure(Failure.UNREACHED, ConnectionError("refused"))
    following.request_stop()
    following.receive_wake()
    assert isinstance(following.next_step(), Over)
    assert (following.error, following.result().state) == (None, "cancelled")


def test_stop_that_was_not_told_is_due_after_each_head() -> None:
    following = session()
    follow(following, b"")
    assert following.request_stop() is True
    assert following.take_due_stop() is False
    following.receive_eof()
    following.receive_wake()
    follow(following, b"")
    assert [following.take_due_stop(), following.take_due_stop()] == [True, False]
    following.confirm_stop()
    following.receive_eof()
    following.receive_wake()
    follow(following, b"")
    assert following.take_due_stop() is False


def test_told_stop_ends_normally_even_when_the_end_never_comes() -> None:
    clock = Clock()
    following = session(clock=clock)
    follow(following, json.dumps(chunk("a")).encode() + b"\n")
    following.request_stop()
    following.confirm_stop()
    following.receive_eof()
    following.receive_wake()
    clock.now_s += 100
    assert failed(following, Failure.UNREACHED) == 0
    assert (following.error, following.result().state, following.result().text) == (None, "cancelled", "a")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_cancelled_end_is_an_error_unless_it_is_wanted(is_wanted: bool) -> None:
    following = session()
    follow(following, b"")
    if is_wanted:
        following.request_stop()
    following.receive_data(b'{"offset":0,"end":{"state":"cancelled","cause":"client_stop"}}\n')
    assert (following.error is None) is is_wanted


def test_error_carries_what_came_before_it_in_the_same_read() -> None:
    following = session()
    follow(following, json.dumps(chunk("a")).encode() + b"\nnonsense\n")
    assert following.error is not None
    assert following.error.result.text == "a"


def test_unknown_stream_cannot_be_attached_to() -> None:
    planner = Planner(patience=Patience(), clock=Clock(), random=lambda: 0.0)
    following = planner.attach("s/1", after=4, merge=False, coalesce_tokens=None)
    step = following.next_step()
    assert isinstance(step, Send)
    assert step.request.path == "/streams/s%2F1/events?after=4"
    following.receive_head(404, {})
    following.receive_refusal(b'{"error": {"message": "there is none", "code": "stream_not_found"}}')
    assert isinstance(following.error, StreamNotFound)
    assert not following.may_run


def test_leaving_says_what_is_known() -> None:
    following = session()
    follow(following, b"")
    assert following.may_run
    following.leave()
    assert following.is_over
    assert following.result().state == "in_progress"


def test_page_of_a_portal_in_place_of_a_stream_is_not_asked_for_a_second_answer() -> None:
    following = session()
    assert isinstance(following.next_step(), Send)
    following.receive_head(200, {"content-type": "text/html"})
    following.receive_refusal(b"<html>log in</html>")
    assert isinstance(following.error, RelayError)
    assert "not with a stream" in str(following.error)


def test_error_of_a_busy_relay_is_raised_rather_than_a_lost_connection() -> None:
    clock = Clock()
    following = session(clock=clock)
    follow(following, b"")
    following.receive_eof()
    following.receive_wake()
    for _ in range(2):
        assert isinstance(following.next_step(), Send)
        following.receive_head(503, {})
        following.receive_refusal(b'{"error": {"message": "the store is away", "code": "store_error"}}')
        following.receive_wake()
        clock.now_s += 70
    assert isinstance(following.error, StoreError)
    assert following.error.result.state == "in_progress"


def test_nothing_changes_once_the_stream_is_left() -> None:
    following = session()
    follow(following, b"")
    following.leave()
    left = following.result()
    following.receive_head(200, NDJSON)
    assert following.receive_data(json.dumps(chunk("a")).encode() + b"\n") == []
    following.receive_eof()
    following.receive_failure(Failure.BROKEN, ConnectionError("dropped"))
    following.receive_wake()
    assert following.is_over
    assert following.result() == left
