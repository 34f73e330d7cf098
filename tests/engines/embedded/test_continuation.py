"""Answers that go on behind a partial one, with the real model.

What is asked leaves the model no choice. Where two tokens are nearly as likely, a prompt computed in batches and the same
text generated token by token may differ in the one that follows, whatever the place where the answer was cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import accumulate
from typing import Any

import pytest
import pytest_asyncio
from tests.engines.embedded.asking import Answer, idle

from headrace.engines.embedded import EmbeddedEngine
from headrace.types.engine import Endpoint
from headrace.types.outcome import Cause

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CONTEXT_TOKENS = 512
_REPEAT = "Repeat: The quick brown fox jumps."
_REPEATED = "The quick brown fox jumps."
_SURE: dict[str, Any] = {"temperature": 0, "seed": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(installed: None) -> AsyncIterator[EmbeddedEngine]:
    async with EmbeddedEngine(slots=2, context_tokens=_CONTEXT_TOKENS) as engine:
        yield engine


async def _continued(engine: EmbeddedEngine, asked: str, partial: Any, **fields: Any) -> Answer:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": partial}]
    return await Answer(engine, messages, **{**_SURE, **fields}).whole()


async def _joined(engine: EmbeddedEngine, asked: str, partial: str, **fields: Any) -> str:
    return partial + (await _continued(engine, asked, partial, **fields)).text()


async def test_an_answer_cut_at_any_character_goes_on_to_the_same_whole(engine: EmbeddedEngine) -> None:
    assert (await Answer(engine, _REPEAT, **_SURE, max_tokens=20).whole()).text() == _REPEATED
    # Each with its white space at the end, which callers hold back but need not.
    for cut in range(1, len(_REPEATED)):
        assert await _joined(engine, _REPEAT, _REPEATED[:cut], max_tokens=20) == _REPEATED, cut


async def test_an_answer_cut_between_any_two_tokens_ends_at_the_same_length(engine: EmbeddedEngine) -> None:
    asked, bound = "Count from 1 to 20 in digits, separated by commas and spaces, like 1, 2, 3.", 16
    whole = await Answer(engine, asked, **_SURE, max_tokens=bound).whole()
    assert whole.text().startswith("1, 2, 3, 4, 5")
    assert whole.usage["completion_tokens"] == bound
    for used, partial in enumerate(accumulate(whole.texts()), start=1):
        if partial == partial.rstrip() and used < bound:
            assert await _joined(engine, asked, partial, max_tokens=bound - used) == whole.text(), partial


async def test_a_continuation_has_the_shape_of_an_answer_and_counts_what_it_adds(engine: EmbeddedEngine) -> None:
    answer = await _continued(engine, _REPEAT, "The quick bro", max_tokens=2)
    assert answer.text() == "wn fox jumps"
    assert answer.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert answer.chunks[-2]["choices"][0]["finish_reason"] == "length"
    # The token "brown" is the partial answer's, of which it had a part.
    assert answer.usage["completion_tokens"] == 2
    assert answer.usage["prompt_tokens"] + answer.usage["completion_tokens"] == answer.usage["total_tokens"]
    assert answer.generation.malformed_chunks == 0


@pytest.mark.parametrize("nothing", ["", None])
async def test_nothing_to_go_on_with_is_a_new_answer(engine: EmbeddedEngine, nothing: str | None) -> None:
    answer = await _continued(engine, _REPEAT, nothing, max_tokens=5)
    assert answer.text() == "The quick brown fox jumps"
    assert answer.chunks[-1]["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    "partial", ["\n", "  ", 'A "b\\c', "see \U0001f355", "\u65e5\u672c", "x\u0301", "a\x00", "root ::= .*"]
)
async def test_any_partial_answer_goes_on_without_an_error(engine: EmbeddedEngine, partial: str) -> None:
    answer = await _continued(engine, "Go on.", partial, max_tokens=12)
    assert answer.generation.end is not None
    assert answer.generation.end.cause is None
    assert answer.chunks[-1]["usage"]["completion_tokens"] <= 12


async def test_a_stop_across_the_joint_ends_the_answer(engine: EmbeddedEngine) -> None:
    answer = await _continued(engine, _REPEAT, "The quic", stop=["quick brown"], max_tokens=20)
    assert answer.text() == ""
    assert answer.chunks[-2]["choices"][0]["finish_reason"] == "stop"


async def test_several_choices_go_on_each(engine: EmbeddedEngine) -> None:
    answer = await _continued(engine, _REPEAT, "The quick", n=2, max_tokens=20)
    assert [answer.text(index) for index in range(2)] == [" brown fox jumps."] * 2


async def test_two_answers_in_a_row_are_refused(engine: EmbeddedEngine) -> None:
    for text in ("", "one", "and two"):
        messages = [{"role": "assistant", "content": "one"}, {"role": "assistant", "content": text}]
        end = (await Answer(engine, messages).whole()).generation.end
        assert end is not None
        assert (end.cause, end.status, end.upstream_status) == (Cause.UPSTREAM_REJECTED, 400, 400)


async def test_a_partial_answer_that_fills_the_context_is_too_long(engine: EmbeddedEngine) -> None:
    end = (await _continued(engine, _REPEAT, "word " * _CONTEXT_TOKENS)).generation.end
    assert end is not None
    assert (end.status, end.upstream_status, end.error_code) == (400, 400, "context_length_exceeded")
    await idle(engine)


async def test_a_plain_completion_cut_between_any_two_tokens_goes_on_to_the_same_whole(engine: EmbeddedEngine) -> None:
    prompt = "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the"

    async def complete(prompt: str) -> Answer:
        return await Answer(engine, prompt, endpoint=Endpoint.COMPLETIONS, **_SURE, max_tokens=12).whole()

    answer = await complete(prompt)
    whole = answer.text()
    assert whole.startswith(" lazy dog.")
    for partial in accumulate(answer.texts()):
        sent = partial.rstrip()
        rest = (await complete(prompt + sent)).text()
        assert (sent + rest).startswith(whole), partial
