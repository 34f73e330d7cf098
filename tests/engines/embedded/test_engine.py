"""The engine with the real model."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable

import msgspec
import psutil  # type: ignore[import-untyped]  # (stubs are another package)
import pytest
import pytest_asyncio
from tests.engines.embedded.asking import Answer, idle

from headrace.engines.embedded import EmbeddedEngine
from headrace.engines.embedded.chat import native_chat
from headrace.engines.embedded.native import BATCH_TOKENS, Server
from headrace.errors import ClientRequestError, Overloaded, SettingsError
from headrace.types.engine import Continuation, Engine
from headrace.types.outcome import Cause

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SLOTS = 4
_MAX_QUEUE = 4
_LONG_PROMPT = "The river carries water to the wheel, and the wheel turns the stone. " * 120
"""About 1900 tokens: seconds of prefill."""


class _Counted:
    """llama.cpp, with a count of what it reports.

    How soon an aborted generation ends is told in reports (tokens, or batches of the prefill) and not in seconds: on a
    machine that others use as well, a step takes as long as it takes.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.reports = 0

    def handle_completions(self, body: bytes, callback: Callable[[bytes], bool]) -> None:
        self._server.handle_completions(body, callback)

    def handle_chat_completions(self, body: bytes, callback: Callable[[bytes], bool]) -> None:
        def count(chunk: bytes) -> bool:
            self.reports += 1
            return callback(chunk)

        self._server.handle_chat_completions(body, count)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(installed: None) -> AsyncIterator[EmbeddedEngine]:
    async with EmbeddedEngine(slots=_SLOTS, max_queue=_MAX_QUEUE) as engine:
        yield engine


async def test_it_is_an_engine(engine: EmbeddedEngine) -> None:
    as_engine: Engine = engine
    assert as_engine.name == "embedded"
    assert await as_engine.models() == ("smollm2",)
    capabilities = as_engine.capabilities
    assert (capabilities.max_choices, capabilities.context_tokens) == (_SLOTS, 2048)
    assert capabilities.continuation is Continuation.ASSISTANT
    assert not any((capabilities.takes_tools, capabilities.takes_images))


async def test_an_answer_streams_in_openais_shape(engine: EmbeddedEngine) -> None:
    answer = await Answer(engine, "Tell me a story.", max_tokens=8, temperature=0, model="whatever").whole()
    end = answer.generation.end
    assert end is not None
    assert end.cause is None
    first, *_, usage = answer.chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 8
    assert answer.chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert {chunk["model"] for chunk in answer.chunks} == {"smollm2"}
    assert {chunk["object"] for chunk in answer.chunks} == {"chat.completion.chunk"}
    assert not any("prompt_progress" in chunk for chunk in answer.chunks)
    assert answer.text()
    assert len(answer.chunks) > 5
    await idle(engine)


async def test_the_tick_may_read_instead(engine: EmbeddedEngine) -> None:
    answer = Answer(engine, "Tell me a story.", max_tokens=20, temperature=0)
    await answer.first_content()
    answer.generation.watch(None)
    while answer.generation.end is None:
        await asyncio.sleep(0.01)
        answer.read()
    assert not answer.is_woken
    assert answer.chunks[-1]["usage"]["completion_tokens"] == 20


async def test_temperature_zero_repeats_itself_whatever_ran_in_between(engine: EmbeddedEngine) -> None:
    async def ask() -> Answer:
        return await Answer(engine, "Why is the sky blue?", temperature=0, max_tokens=30).whole()

    first, again = await ask(), await ask()
    others = [Answer(engine, f"Write a poem about number {number}.", max_tokens=15) for number in range(_SLOTS)]
    for other in others:
        await other.whole()
    beside = Answer(engine, "Tell me a long story.", max_tokens=400)
    last = await ask()
    beside.generation.abort()
    assert first.text() == again.text() == last.text()
    assert first.computed_prompt_tokens == again.computed_prompt_tokens
    await idle(engine)


async def test_a_second_turn_computes_only_what_is_new(engine: EmbeddedEngine) -> None:
    question = [{"role": "user", "content": "Tell me about rivers and mills. " * 20}]
    first = await Answer(engine, question, max_tokens=10).whole()
    turns = [*question, {"role": "assistant", "content": first.text()}, {"role": "user", "content": "And then?"}]
    second = await Answer(engine, turns, max_tokens=5).whole()
    assert second.chunks[-1]["usage"]["prompt_tokens"] > first.chunks[-1]["usage"]["prompt_tokens"]
    assert second.computed_prompt_tokens < first.computed_prompt_tokens / 2


async def test_choices_take_a_slot_each(engine: EmbeddedEngine) -> None:
    both = Answer(engine, "Name a colour.", n=_SLOTS, max_tokens=6)
    waiting = Answer(engine, "Say hi.", max_tokens=2)
    await both.first_content()
    assert not waiting.generation.is_accepted
    await both.whole()
    await waiting.whole()
    assert all(both.text(index) for index in range(_SLOTS))
    assert both.generation.end is not None
    assert both.generation.end.cause is None
    await idle(engine)


async def test_options_reach_the_model(engine: EmbeddedEngine) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    shaped = Answer(
        engine,
        "Give me a number.",
        max_tokens=60,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    seeded = [Answer(engine, "Tell me a tale.", max_tokens=12, seed=7, temperature=1) for _ in range(2)]
    probable = Answer(engine, "Say hi.", max_tokens=2, temperature=0, logprobs=True, top_logprobs=2)
    stopped = Answer(engine, "Count: one, two, three.", max_tokens=40, temperature=0, stop=["e"])
    for answer in (shaped, *seeded, probable, stopped):
        await answer.whole()
    assert isinstance(msgspec.json.decode(shaped.text())["a"], int)
    assert seeded[0].text() == seeded[1].text()
    logprobs = [choice["logprobs"] for chunk in probable.chunks for choice in chunk["choices"] if "logprobs" in choice]
    assert len(logprobs[0]["content"][0]["top_logprobs"]) == 2
    assert "e" not in stopped.text()
    await idle(engine)


async def test_a_prompt_beyond_the_context_is_the_engines_own_400(engine: EmbeddedEngine) -> None:
    answer = await Answer(engine, "word and " * 3000).whole()
    end = answer.generation.end
    assert end is not None
    assert (end.cause, end.status, end.error_code) == (Cause.UPSTREAM_REJECTED, 400, "context_length_exceeded")
    assert end.upstream_status == 400
    assert end.message is not None
    assert "2048" in end.message
    assert answer.chunks == []
    assert answer.generation.malformed_chunks == 0
    await idle(engine)


async def test_what_the_model_cannot_take_is_a_400(engine: EmbeddedEngine) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    for fields in ({"response_format": {"type": "poem"}}, {"messages": [{"role": "user", "content": [image]}]}):
        end = (await Answer(engine, "Hi", **fields).whole()).generation.end
        assert end is not None
        assert (end.cause, end.status) == (Cause.UPSTREAM_REJECTED, 400)
    await idle(engine)


async def test_a_request_that_cannot_be_served_starts_nothing(engine: EmbeddedEngine) -> None:
    with pytest.raises(ClientRequestError):
        Answer(engine, "Hi", n=_SLOTS + 1)
    assert engine.active() == 0


@pytest.fixture
def counted(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> _Counted:
    counted = _Counted(engine._server)
    monkeypatch.setattr(engine, "_server", counted)
    return counted


async def test_decode_is_cancelled_with_the_next_token(engine: EmbeddedEngine, counted: _Counted) -> None:
    answer = Answer(engine, "Tell me a long story.", max_tokens=1000, temperature=0)
    await answer.first_content()
    answer.generation.abort()
    before = counted.reports
    await idle(engine)
    # One that was under way, and the one that cancels.
    assert counted.reports - before <= 2


async def test_prefill_goes_in_small_steps_and_ends_with_the_one_that_says_so(engine: EmbeddedEngine) -> None:
    native = native_chat(
        msgspec.json.encode({"messages": [{"role": "user", "content": f"Steps. {_LONG_PROMPT}"}]}),
        slots=_SLOTS,
        context_tokens=2048,
    )
    processed: list[int] = []

    def cancel_the_fourth(chunk: bytes) -> bool:
        processed.append(msgspec.json.decode(chunk)["prompt_progress"]["processed"])
        return len(processed) == 4

    await asyncio.to_thread(engine._server.handle_chat_completions, native.body, cancel_the_fourth)
    assert len(processed) == 4
    assert all(0 < later - earlier <= BATCH_TOKENS for earlier, later in itertools.pairwise(processed))


async def test_prefill_is_cancelled_with_the_next_batch(engine: EmbeddedEngine, counted: _Counted) -> None:
    # New beginnings, so that no cached prompt shortens them.
    first = Answer(engine, f"First. {_LONG_PROMPT}", max_tokens=5)
    second = Answer(engine, f"Second. {_LONG_PROMPT}", max_tokens=5)
    async with asyncio.timeout(30):
        while counted.reports < 3:  # noqa: ASYNC110 (progress is told to nobody)
            await asyncio.sleep(0.001)
    assert first.generation.is_accepted
    assert not second.generation.is_accepted
    second.generation.abort()
    assert engine.active() == 1
    first.generation.abort()
    before = counted.reports
    await idle(engine)
    assert counted.reports - before <= 2
    first.read()
    assert first.chunks == []


async def test_who_waits_is_aborted_without_having_run(engine: EmbeddedEngine) -> None:
    running = [Answer(engine, "Tell me a long story.", max_tokens=1000) for _ in range(_SLOTS)]
    waiting = Answer(engine, "Say hi.", max_tokens=2)
    for answer in running:
        await answer.first_content()
    assert engine.active() == _SLOTS + 1
    assert not waiting.generation.is_accepted
    waiting.generation.abort()
    assert engine.active() == _SLOTS
    for answer in running:
        answer.generation.abort()
    await idle(engine)
    assert not waiting.generation.is_accepted


async def test_a_full_queue_refuses_and_recovers(engine: EmbeddedEngine) -> None:
    answers = [Answer(engine, "Tell me a long story.", max_tokens=1000) for _ in range(_SLOTS + _MAX_QUEUE)]
    with pytest.raises(Overloaded) as caught:
        Answer(engine, "Say hi.")
    assert caught.value.retry_after_s
    assert engine.active() == _SLOTS + _MAX_QUEUE
    for answer in answers[:_SLOTS]:
        answer.generation.abort()
    for answer in answers[_SLOTS:]:
        await answer.accepted()
        answer.generation.abort()
    await idle(engine)
    after = await asyncio.gather(*(Answer(engine, "Say hi.", max_tokens=3).whole() for _ in range(_SLOTS)))
    assert all(answer.text() for answer in after)


async def test_aborting_all_the_time_leaves_nothing_behind(engine: EmbeddedEngine) -> None:
    process = psutil.Process()
    await Answer(engine, "Say hi.", max_tokens=2).whole()
    before = process.num_fds(), threading.active_count(), process.num_threads()
    for number in range(50):
        answer = Answer(engine, f"{number} Tell me a long story.", max_tokens=500)
        if number % 5 == 0:
            await answer.first_content()
        elif number % 2:
            await asyncio.sleep(0.005)
        answer.generation.abort()
        await idle(engine)
    assert (process.num_fds(), threading.active_count(), process.num_threads()) <= before
    assert (await Answer(engine, "Say hi.", max_tokens=3).whole()).text()


async def test_leaving_aborts_what_runs_and_what_waits(installed: None) -> None:
    engine = EmbeddedEngine(slots=1, context_tokens=512, max_queue=2)
    async with engine:
        running = Answer(engine, "Tell me a long story.", max_tokens=400)
        waiting = [Answer(engine, "Say hi.") for _ in range(2)]
        await running.first_content()
    assert engine.active() == 0
    assert not any(answer.generation.is_accepted for answer in waiting)
    with pytest.raises(Overloaded) as caught:
        Answer(engine, "Say hi.")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    "settings", [{"slots": 0}, {"slots": 65}, {"context_tokens": 10}, {"threads": 0}, {"max_queue": -1}]
)
async def test_settings_out_of_range_are_named(settings: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=rf"^{next(iter(settings))}: "):
        EmbeddedEngine(**settings)
