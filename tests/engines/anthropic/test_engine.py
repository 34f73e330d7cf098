"""The engine as the pump sees it: what goes out, and what rejections become."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from tests.engines.anthropic import shapes
from tests.engines.anthropic.conftest import KEY, FakeMessages, ask

from headrace.engines.anthropic import CAPABILITIES, AnthropicEngine
from headrace.engines.openai import KeyRing, UpstreamKey
from headrace.errors import ClientRequestError, UpstreamProtocolError, UpstreamRejected
from headrace.types.engine import Continuation, Endpoint, Engine, EngineRequest
from headrace.types.outcome import Cause

HELLO = shapes.answer(shapes.text(0, "hello"))


async def test_a_request_is_what_the_api_wants(fake: FakeMessages, engine: AnthropicEngine) -> None:
    fake.stream(*HELLO)
    theirs = (
        ("authorization", "Bearer theirs"),
        ("x-api-key", "theirs"),
        ("anthropic-version", "1999-01-01"),
        ("anthropic-beta", "fast-mode-2026-02-01"),
    )
    answer = await ask(engine, headers=theirs, max_tokens=9)
    assert answer.end.cause is None
    [asked] = fake.asked
    assert asked.line == "POST /v1/messages HTTP/1.1"
    assert (asked.headers["x-api-key"], asked.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in asked.headers
    assert asked.headers["anthropic-beta"] == "fast-mode-2026-02-01"
    shapes.check_request(asked.body)
    assert asked.body["max_tokens"] == 9
    assert json.loads(answer.lines[0])["created"] == 1_700_000_000


async def test_a_bound_of_its_own_stands_in_for_a_missing_one(fake: FakeMessages) -> None:
    fake.stream(*HELLO)
    async with AnthropicEngine(fake.url, default_max_tokens=77) as engine:
        await ask(engine, headers=(("x-api-key", "theirs"),))
    assert fake.asked[0].body["max_tokens"] == 77
    assert fake.asked[0].headers["x-api-key"] == "theirs", "without a key a client may bring its own"


async def test_connections_are_used_again(fake: FakeMessages, engine: AnthropicEngine) -> None:
    for _ in range(3):
        fake.stream(*HELLO)
    for _ in range(3):
        assert (await ask(engine)).end.cause is None
        assert engine.active() == 0
    assert len(fake.asked) == 3
    assert engine.redials == 0


@pytest.mark.parametrize(
    ("status", "kind", "client_status", "shown"),
    [
        (400, "invalid_request_error", 400, "no such thing"),
        (401, "authentication_error", 502, "The engine answered 401; check the key that the relay uses"),
        (402, "billing_error", 502, "The engine answered 402: no such thing"),
        (403, "permission_error", 502, "The engine answered 403; check the key that the relay uses"),
        (404, "not_found_error", 404, "no such thing"),
        (413, "request_too_large", 413, "no such thing"),
        (429, "rate_limit_error", 429, "no such thing"),
        (500, "api_error", 502, "The engine answered 500: no such thing"),
        (504, "timeout_error", 502, "The engine answered 504: no such thing"),
        (529, "overloaded_error", 502, "The engine answered 529: no such thing"),
    ],
)
async def test_rejections_say_what_the_engine_answered(
    fake: FakeMessages, status: int, kind: str, client_status: int, shown: str
) -> None:
    fake.reject(status, kind, "no such thing")
    async with AnthropicEngine(fake.url) as engine:
        end = (await ask(engine)).end
    assert (end.cause, end.upstream_status, end.status) == (Cause.UPSTREAM_REJECTED, status, client_status)
    assert end.message == shown
    assert end.error_type == (None if status in (401, 403) else kind)
    assert end.error_code is None


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 208656 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length or `max_tokens`",
    ],
)
async def test_a_prompt_that_is_too_long_has_openai_code(
    fake: FakeMessages, engine: AnthropicEngine, message: str
) -> None:
    fake.reject(400, "invalid_request_error", message)
    end = (await ask(engine)).end
    assert (end.status, end.error_code, end.message) == (400, "context_length_exceeded", message)


async def test_a_limit_says_when_to_come_back_and_rests_the_key(fake: FakeMessages, engine: AnthropicEngine) -> None:
    fake.reject(429, "rate_limit_error", "slow down", retry_after="7")
    end = (await ask(engine)).end
    assert (end.status, end.upstream_status) == (429, 429)
    assert end.retry_after_s == pytest.approx(7, abs=1)
    again = (await ask(engine)).end
    assert (again.status, again.error_code) == (429, "rate_limit_exceeded")
    assert len(fake.asked) == 1, "a key that rests is not shown"


async def test_an_overload_says_when_to_come_back_and_rests_no_key(fake: FakeMessages, engine: AnthropicEngine) -> None:
    fake.reject(529, "overloaded_error", "Overloaded", retry_after="3")
    fake.stream(*HELLO)
    end = (await ask(engine)).end
    assert (end.status, end.upstream_status, end.retry_after_s) == (502, 529, 3)
    assert (await ask(engine)).end.cause is None


async def test_another_key_takes_over(fake: FakeMessages) -> None:
    fake.reject(401, "authentication_error", "invalid x-api-key")
    fake.stream(*HELLO)
    keys = KeyRing([UpstreamKey("env:A", "sk-a"), UpstreamKey("env:B", "sk-b")], clock=time.monotonic)
    async with AnthropicEngine(fake.url, keys=keys) as engine:
        answer = await ask(engine)
    assert answer.end.cause is None
    assert [asked.headers["x-api-key"] for asked in fake.asked] == ["sk-a", "sk-b"]
    assert fake.asked[0].body == fake.asked[1].body
    assert [state.is_retired for state in keys.states()] == [True, False]


@pytest.mark.parametrize("status", [400, 500])
async def test_a_key_that_the_engine_repeats_is_removed(
    fake: FakeMessages, engine: AnthropicEngine, status: int
) -> None:
    fake.reject(status, "api_error", f"bad key {KEY}")
    end = (await ask(engine)).end
    assert KEY not in repr(end)
    fake.stream(shapes.message_start(), shapes.error("api_error", f"bad key {KEY}"))
    assert KEY not in repr((await ask(engine)).views)


async def test_what_cannot_be_served_is_refused_before_anything_is_sent(
    fake: FakeMessages, engine: AnthropicEngine
) -> None:
    with pytest.raises(ClientRequestError) as raised:
        await ask(engine, n=2)
    assert raised.value.param == "n"
    request = EngineRequest(body=b'{"model":"m","prompt":"x"}', endpoint=Endpoint.COMPLETIONS)
    with pytest.raises(ClientRequestError) as raised:
        engine.start(request, lambda: None)
    assert (raised.value.param, raised.value.status) == ("prompt", 400)
    assert (fake.asked, engine.active()) == ([], 0)


def models(*names: str, has_more: bool) -> str:
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name.title(),
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
        }
        for name in names
    ]
    page: dict[str, Any] = {"data": data, "has_more": has_more, "first_id": names[0], "last_id": names[-1]}
    return json.dumps(page)


async def test_models_come_from_all_pages(fake: FakeMessages, engine: AnthropicEngine) -> None:
    fake.reply(200, models("claude-b", "claude/a", has_more=True))
    fake.reply(200, models("claude-c", has_more=False))
    assert list(await engine.models()) == ["claude-b", "claude/a", "claude-c"]
    assert [asked.line for asked in fake.asked] == [
        "GET /v1/models?limit=1000 HTTP/1.1",
        "GET /v1/models?limit=1000&after_id=claude%2Fa HTTP/1.1",
    ]
    assert all(asked.headers["x-api-key"] == KEY for asked in fake.asked)
    assert all(asked.headers["anthropic-version"] == "2023-06-01" for asked in fake.asked)


async def test_a_list_of_models_without_end_is_given_up(fake: FakeMessages, engine: AnthropicEngine) -> None:
    for _ in range(20):
        fake.reply(200, models("claude-b", has_more=True))
    with pytest.raises(UpstreamProtocolError, match="pages"):
        await engine.models()
    assert len(fake.asked) == 10


async def test_models_that_are_refused_are_an_error(fake: FakeMessages, engine: AnthropicEngine) -> None:
    fake.reject(401, "authentication_error", "invalid x-api-key")
    with pytest.raises(UpstreamRejected):
        await engine.models()


async def test_models_that_are_known_are_not_asked_for(fake: FakeMessages) -> None:
    async with AnthropicEngine(fake.url, models=["m"]) as engine:
        assert list(await engine.models()) == ["m"]
    assert fake.asked == []


def test_it_says_what_it_can() -> None:
    built: Engine = AnthropicEngine("https://api.anthropic.com/v1")
    assert (built.name, built.capabilities) == ("anthropic", CAPABILITIES)
    assert (CAPABILITIES.max_choices, CAPABILITIES.endpoints) == (1, (Endpoint.CHAT,))
    assert (CAPABILITIES.continuation, CAPABILITIES.takes_logprobs) == (Continuation.NONE, False)
    older = msgspec.structs.replace(CAPABILITIES, continuation=Continuation.ASSISTANT)
    assert AnthropicEngine("https://api.anthropic.com/v1", capabilities=older).capabilities == older


def test_a_bound_must_be_positive() -> None:
    with pytest.raises(ValueError, match="default_max_tokens"):
        AnthropicEngine("https://api.anthropic.com/v1", default_max_tokens=0)
