"""The tally: tokens, finish, usage and errors, as chunks of real engines say them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.pump.tally import Tally, end_of_error_event, usage_chunk
from headrace.types.chunk import Chunks, ChunkView
from headrace.types.outcome import Cause, TokenSource


def chunks(*objects: dict[str, Any]) -> Chunks:
    data = b"\n".join(msgspec.json.encode(item) for item in objects)
    return Chunks(data, msgspec.json.Decoder(ChunkView).decode_lines(data))


def delta(content: str | None = None, *, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": content, **more}, "finish_reason": finish}]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_the_role_chunk_bears_no_content() -> None:
    tally = Tally(choices=1, prompt_bytes=40)
    assert tally.count(chunks(delta(role="assistant"), delta("")))
    assert tally.tokens == 0
    assert tally.usage() == ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, TokenSource.COUNTED)


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"function_call": {"arguments": "{"}},
        {"audio": {"data": "…"}},
    ],
)
def test_anything_that_adds_to_the_answer_is_content(more: dict[str, Any]) -> None:
    tally = Tally(choices=1, prompt_bytes=40)
    tally.count(chunks(delta(**more)))
    assert tally.tokens == 1


def test_an_answer_is_whole_when_every_choice_has_finished() -> None:
    tally = Tally(choices=2, prompt_bytes=0)
    tally.count(chunks(delta("a", index=1, finish="length")))
    assert not tally.is_whole
    assert tally.finish_reason == "length"
    tally.count(chunks(delta(index=0, finish="stop")))
    assert tally.is_whole
    assert tally.finish_reason == "stop"


def test_the_usage_chunk_is_read_and_hidden_unless_the_client_asked() -> None:
    both = chunks(delta("a", finish="stop"), {"choices": [], "usage": USAGE})
    tally = Tally(choices=1, prompt_bytes=0)
    assert not tally.count(both)
    assert tally.without_ours(both, wants_usage=False) == (both.lines()[0], 1)
    assert tally.without_ours(both, wants_usage=True) == (both.data, 2)
    assert tally.usage() == (USAGE, TokenSource.ENGINE)


def test_usage_beside_a_choice_stays_where_it_is() -> None:
    one = chunks({**delta("a"), "usage": USAGE})
    tally = Tally(choices=1, prompt_bytes=0)
    assert tally.count(one)
    assert tally.usage() == (USAGE, TokenSource.ENGINE)


def test_running_usage_of_several_choices_is_added_up_until_the_engine_does() -> None:
    def told(index: int, tokens: int) -> dict[str, Any]:
        return {**delta("a", index=index), "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}

    tally = Tally(choices=2, prompt_bytes=0)
    tally.count(chunks(told(0, 1), told(1, 1), told(0, 2)))
    assert tally.usage()[0] == {"prompt_tokens": 3, "completion_tokens": 3}
    tally.count_unlogged(chunks(told(1, 2), {"choices": [], "usage": USAGE}))
    assert tally.unlogged_tokens == 1
    assert tally.usage() == (USAGE, TokenSource.ENGINE)


def test_counts_for_the_bill_tell_the_engine_s_from_ours() -> None:
    tally = Tally(choices=1, prompt_bytes=40)
    tally.count(chunks(delta("a"), delta("b")))
    tally.count_unlogged(chunks(delta("c")))
    (counts,) = tally.counts(delivered_tokens=1)
    assert (counts.prompt_tokens, counts.generated_tokens, counts.delivered_tokens) == (10, 3, 1)
    assert not counts.is_reported
    cached = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    tally.count(chunks({"choices": [], "usage": cached}))
    (counts,) = tally.counts(delivered_tokens=1)
    assert (counts.prompt_tokens, counts.cached_tokens, counts.completion_tokens, counts.is_reported) == (9, 4, 5, True)


def test_a_chunk_without_choices_or_usage_is_kept() -> None:
    first = chunks({"choices": [], "prompt_filter_results": []}, delta("a"))
    tally = Tally(choices=1, prompt_bytes=0)
    assert not tally.count(first)
    assert tally.without_ours(first, wants_usage=False) == (first.data, 2)


def test_chunks_before_an_error_event_are_kept_and_those_from_it_on_are_not() -> None:
    some = chunks(delta("a"), {"error": {"message": "out of memory"}}, delta("b"))
    tally = Tally(choices=1, prompt_bytes=0)
    assert not tally.count(some)
    assert tally.without_ours(some, wants_usage=False) == (some.lines()[0], 1)
    assert tally.error == {"message": "out of memory"}


def test_our_count_is_deltas_and_the_prompt_by_its_size() -> None:
    tally = Tally(choices=1, prompt_bytes=40)
    tally.count(chunks(delta("a"), delta("b")))
    usage, source = tally.usage()
    assert usage == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    assert source is TokenSource.COUNTED


def test_our_usage_chunk_carries_the_stream_s_own_names() -> None:
    made = msgspec.json.decode(usage_chunk(b'{"id":"c1","created":7,"model":"m","choices":[]}', USAGE))
    assert made == {
        "id": "c1",
        "created": 7,
        "model": "m",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        ({"message": "too long", "code": 400, "type": "t"}, 400, "too long"),
        ({"message": "boom", "code": 500}, 502, "boom"),
        ({"code": "weird"}, 502, "the engine sent an error event"),
        ({"message": "no", "code": "content_policy_violation"}, 400, "no"),
        ({"message": "prompt is too long", "type": "invalid_request_error"}, 400, "prompt is too long"),
        ({"message": "later", "type": "rate_limit_error"}, 429, "later"),
        ({"message": "full", "type": "overloaded_error"}, 502, "full"),
        ({"message": "whose key", "type": "authentication_error"}, 502, "whose key"),
        ("plain words", 502, "plain words"),
        (["a list"], 502, "['a list']"),
    ],
)
def test_an_error_event_ends_the_stream_with_its_message(error: Any, status: int, message: str) -> None:
    end = end_of_error_event(error)
    assert (end.cause, end.status, end.message) == (Cause.UPSTREAM_REJECTED, status, message)
