"""``resumable`` over the stock SDK and a real relay."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator

import headrace
from headrace.errors import ConnectionLost, RelayError, StreamCancelled

pytestmark = pytest.mark.timeout(60)

WORDS = " ".join(f"word{number}é" for number in range(120))
CHAT: dict[str, Any] = {"model": "sim", "messages": [{"role": "user", "content": "hi"}]}
SCRIPT = {"simulate": {"text": WORDS, "itl_ms": 2}}
ENDLESS = {"simulate": {"tokens": 100_000, "itl_ms": 20}}


def eager() -> float:
    return 0.1


@pytest.fixture
def proxy(relay: Relay) -> Iterator[DroppingProxy]:
    with DroppingProxy(relay.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: DroppingProxy) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{proxy.origin}/v1", api_key="sk-secret") as stock:
        yield headrace.resumable(stock, random=eager)


def text_of(chunk: ChatCompletionChunk) -> str:
    return "".join(choice.delta.content or "" for choice in chunk.choices)


def test_stream_of_the_stock_client_goes_on_over_drops(client: Any, proxy: DroppingProxy) -> None:
    proxy.cut_after_bytes = 2_000
    with client.chat.completions.create(**CHAT, stream=True, extra_body=SCRIPT) as stream:
        chunks = list(stream)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert "".join(text_of(chunk) for chunk in chunks) == WORDS == stream.result.text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert stream.result.reconnects > 3


async def test_async_stream_of_the_stock_client_goes_on_over_drops(proxy: DroppingProxy) -> None:
    proxy.cut_after_bytes = 2_000
    async with openai.AsyncOpenAI(base_url=f"{proxy.origin}/v1", api_key="sk-secret") as stock:
        client = headrace.resumable(stock, random=eager)
        stream = await client.chat.completions.create(**CHAT, stream=True, extra_body=SCRIPT)
        assert "".join([text_of(chunk) async for chunk in stream]) == WORDS
        assert stream.result.reconnects > 3


def test_chunks_are_those_of_the_stock_client(client: Any, relay: Relay) -> None:
    arguments = {**CHAT, "stream": True, "seed": 1, "logprobs": True, "extra_body": {"simulate": {"tokens": 5}}}
    ours = list(client.chat.completions.create(**arguments))
    with openai.OpenAI(base_url=relay.url, api_key="x") as stock:
        theirs = list(stock.chat.completions.create(**arguments))
    shown = [[chunk.model_dump(exclude={"id", "created"}) for chunk in chunks] for chunks in (ours, theirs)]
    assert shown[0] == shown[1]


def test_stop_ends_the_iteration_normally(client: Any, relay: Relay) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True, extra_body=ENDLESS)
    next(stream)
    stream.stop()
    list(stream)
    assert (stream.result.state, stream.result.cause) == ("cancelled", "client_stop")
    assert relay.stream(stream.stream_id)["state"] == "cancelled"


def test_closing_early_stops_the_engine(client: Any, relay: Relay) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True, extra_body=ENDLESS)
    next(stream)
    stream.close()
    assert relay.stream(stream.stream_id)["cause"] == "client_stop"


async def test_async_stop_and_close(relay: Relay) -> None:
    async with openai.AsyncOpenAI(base_url=relay.url, api_key="x") as stock:
        client = headrace.resumable(stock)
        async with await client.chat.completions.create(**CHAT, stream=True, extra_body=ENDLESS) as stream:
            await anext(stream)
            await stream.stop()
            async for _ in stream:
                pass
        assert stream.result.cause == "client_stop"


def test_refusals_are_the_stock_clients_errors(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**{**CHAT, "model": "unknown"}, stream=True)
    assert caught.value.code == "model_not_found"
    fault = {"simulate": {"fault": {"kind": "status", "code": 429, "retry_after": 30}}}
    with pytest.raises(openai.APIError) as refused:
        list(client.chat.completions.create(**CHAT, stream=True, extra_body=fault))
    assert isinstance(refused.value.__cause__, RelayError)
    assert refused.value.__cause__.status == 429


def test_errors_in_the_middle_carry_the_result_in_their_cause(client: Any) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True, extra_body=ENDLESS)
    text = text_of(next(stream))
    client.post(f"/streams/{stream.stream_id}/cancel", cast_to=object)
    with pytest.raises(openai.APIError) as caught:
        text += "".join(text_of(chunk) for chunk in stream)
    assert isinstance(caught.value.__cause__, StreamCancelled)
    assert caught.value.__cause__.result.text.startswith(text)


def test_lost_connection_is_the_stock_clients_connection_error(proxy: DroppingProxy) -> None:
    patience = headrace.Patience(start_for_s=0.2)
    proxy.refuse()
    with openai.OpenAI(base_url=f"{proxy.origin}/v1", api_key="sk-secret") as stock:
        client = headrace.resumable(stock, patience=patience, random=eager)
        with pytest.raises(openai.APIConnectionError) as caught:
            client.chat.completions.create(**CHAT, stream=True)
    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert "sk-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_everything_else_is_the_stock_clients_own(client: Any) -> None:
    answer = client.chat.completions.create(**CHAT, extra_body={"simulate": {"text": "whole"}})
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == "whole"
    assert [model.id for model in client.models.list()] == ["sim"]
    assert isinstance(client.with_options(timeout=5).chat.completions.create, type(client.chat.completions.create))


def test_chosen_stream_id_is_the_one_that_is_resumed(client: Any, proxy: DroppingProxy) -> None:
    proxy.cut_after_bytes = 2_000
    headers = {"headrace-stream-id": "chosen"}
    stream = client.chat.completions.create(**CHAT, stream=True, extra_body=SCRIPT, extra_headers=headers)
    assert "".join(text_of(chunk) for chunk in stream) == WORDS
    assert stream.stream_id == "chosen"


def test_plain_server_works_without_resume(simulator: Simulator) -> None:
    with openai.OpenAI(base_url=simulator.url, api_key="x") as stock:
        stream = headrace.resumable(stock).chat.completions.create(**CHAT, stream=True, extra_body=SCRIPT)
        assert "".join(text_of(chunk) for chunk in stream) == WORDS
        endless = headrace.resumable(stock).chat.completions.create(**CHAT, stream=True, extra_body=ENDLESS)
        timer = threading.Timer(0.2, endless.stop)
        timer.start()
        list(endless)
        timer.join()
    assert endless.result.cause == "client_stop"


async def test_many_async_streams_at_once(proxy: DroppingProxy) -> None:
    async with openai.AsyncOpenAI(base_url=f"{proxy.origin}/v1", api_key="x") as stock:
        client = headrace.resumable(stock, random=eager)

        async def text() -> str:
            stream = await client.chat.completions.create(**CHAT, stream=True, extra_body=SCRIPT)
            return "".join([text_of(chunk) async for chunk in stream])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(text()) for _ in range(10)]
            await asyncio.sleep(0.15)
            await asyncio.to_thread(proxy.cut)
    assert {task.result() for task in tasks} == {WORDS}
