"""The client against a real relay, over a network that misbehaves."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator

from headrace.client import AsyncClient, AsyncStream, Client, Patience, Stream
from headrace.errors import (
    ClientRequestError,
    ConnectionLost,
    RelayError,
    StreamCancelled,
    StreamExists,
    StreamNotFound,
    UpstreamError,
    UpstreamRejected,
)

pytestmark = pytest.mark.timeout(60)

WORDS = " ".join(f"word{number}é" for number in range(120))
SCRIPT = {"text": WORDS, "itl_ms": 2}
ENDLESS = {"tokens": 100_000, "itl_ms": 20}


def eager() -> float:
    """Stands in for chance: backoff waits a tenth of what it may."""
    return 0.1


@contextmanager
def later(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.fixture
def proxy(relay: Relay) -> Iterator[DroppingProxy]:
    with DroppingProxy(relay.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: DroppingProxy) -> Iterator[Client]:
    with Client(proxy.origin, random=eager) as client:
        yield client


async def collect(answer: AsyncStream, pieces: list[str]) -> None:
    """Add what comes to ``pieces``, also when it is cancelled."""
    async for piece in answer:
        pieces.append(piece)  # noqa: PERF401 (a comprehension would lose them)


async def read_inside(answer: AsyncStream) -> None:
    async with answer:
        await answer.read()


def wait_for_start(relay: Relay, answer: Stream) -> None:
    """Wait until the relay knows the stream."""
    until_s = time.monotonic() + 10
    while answer.stream_id not in [stream["id"] for stream in relay.get_json("/v1/streams")["data"]]:
        assert time.monotonic() < until_s, "the stream does not start"
        time.sleep(0.01)


def wait_for_end(relay: Relay, stream_id: str | None) -> dict[str, Any]:
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        stream = relay.stream(stream_id or "")
        if stream["state"] not in {"queued", "in_progress"}:
            return stream
        time.sleep(0.01)
    raise AssertionError(f"{stream_id} does not end")


def test_quiet_network_needs_one_connection(client: Client, proxy: DroppingProxy) -> None:
    with client.chat("hi", simulate=SCRIPT, seed=1) as answer:
        assert "".join(answer) == WORDS
    result = answer.result
    assert (result.text, result.state, result.cause, result.finish_reason) == (WORDS, "completed", "stop", "stop")
    assert (result.reconnects, proxy.connections) == (0, 1)
    assert result.usage is not None
    assert result.ttft_s is not None
    assert 0 < result.ttft_s < result.duration_s
    assert result.tpot_s is not None
    assert 0.001 < result.tpot_s < 0.1


@pytest.mark.parametrize("piece_bytes", [300, 1_000, 4_000])
def test_drops_neither_lose_nor_repeat_anything(client: Client, proxy: DroppingProxy, piece_bytes: int) -> None:
    # Smaller than any head with one entry would never bring progress.
    proxy.cut_after_bytes = 600 + piece_bytes
    with client.chat(messages=[{"role": "user", "content": "hi"}], simulate=SCRIPT) as answer:
        entries = list(answer.entries())
    assert [entry.offset for entry in entries] == list(range(len(entries)))
    assert "".join(entry.text for entry in entries) == WORDS
    assert answer.result.reconnects > 3


def test_compressed_streams_survive_drops_too(simulator: Simulator, tmp_path: Path) -> None:
    with Relay(simulator.url, tmp_path / "streams.db", "--compress") as relay, DroppingProxy(relay.port) as proxy:
        proxy.cut_after_bytes = 700
        with Client(proxy.origin, random=eager) as client:
            result = client.chat("hi", simulate=SCRIPT).read()
    assert result.text == WORDS
    assert result.reconnects >= 1


async def test_many_streams_survive_drops_by_reset_together(proxy: DroppingProxy) -> None:
    async def text_of(client: AsyncClient) -> tuple[str, int]:
        async with client.chat("hi", simulate={**SCRIPT, "itl_ms": 5}) as answer:
            text = "".join([piece async for piece in answer])
        return text, answer.result.reconnects

    async with AsyncClient(proxy.origin, random=eager) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(text_of(client)) for _ in range(20)]
        for _ in range(3):
            await asyncio.sleep(0.15)
            await asyncio.to_thread(proxy.cut)
    assert {task.result()[0] for task in tasks} == {WORDS}
    assert sum(task.result()[1] for task in tasks) >= 20


def test_refused_connections_are_tried_until_somebody_listens(client: Client, proxy: DroppingProxy) -> None:
    with client.chat("hi", simulate=SCRIPT) as answer:
        pieces = iter(answer)
        text = next(pieces)
        proxy.refuse()
        proxy.cut()
        with later(0.3, proxy.accept):
            text += "".join(pieces)
    assert text == WORDS
    assert answer.result.reconnects == 1


def test_request_to_a_relay_that_is_just_starting_arrives(client: Client, proxy: DroppingProxy) -> None:
    proxy.refuse()
    with later(0.3, proxy.accept), client.chat("hi", simulate=SCRIPT) as answer:
        assert answer.read().text == WORDS


def test_request_that_was_swallowed_is_asked_about_and_not_sent_twice(
    relay: Relay, simulator: Simulator, proxy: DroppingProxy
) -> None:
    simulator.forget()
    patience = Patience(idle_s=0.4)
    with Client(proxy.origin, patience=patience, random=eager) as client:
        proxy.swallow()
        with later(0.5, proxy.flow), client.chat("hi", simulate=SCRIPT) as answer:
            assert answer.read().text == WORDS
    assert len(simulator.requests()) == 1


def test_silent_connection_is_left_for_a_new_one(proxy: DroppingProxy) -> None:
    with Client(proxy.origin, patience=Patience(idle_s=0.3), random=eager) as client:
        with client.chat("hi", simulate=SCRIPT) as answer:
            pieces = iter(answer)
            text = next(pieces)
            proxy.swallow()
            with later(0.5, proxy.flow):
                text += "".join(pieces)
        assert text == WORDS
        assert answer.result.reconnects >= 1


def test_patience_ends_with_what_came(proxy: DroppingProxy) -> None:
    patience = Patience(resume_for_s=0.3)
    with (
        Client(proxy.origin, patience=patience, random=eager) as client,
        client.chat("hi", simulate=SCRIPT, keep=True) as answer,
    ):
        pieces = iter(answer)
        texts = [next(pieces)]
        proxy.refuse()
        proxy.cut()
        with pytest.raises(ConnectionLost) as caught:
            texts.extend(pieces)
    result = caught.value.result
    assert (result.text, result.state, result.cause) == ("".join(texts), "in_progress", None)
    proxy.accept()
    with Client(proxy.origin) as client:
        rest = client.attach(answer.stream_id or "", after=result.last_offset).read()
    assert result.text + rest.text == WORDS


def test_port_that_nobody_listens_on_is_given_up_soon() -> None:
    with DroppingProxy(1) as proxy:
        proxy.refuse()
        with (
            Client(proxy.origin, patience=Patience(start_for_s=0.2), random=eager) as client,
            pytest.raises(ConnectionLost, match=f"{proxy.host}:{proxy.port} cannot be reached"),
            client.chat("hi"),
        ):
            pass


@pytest.mark.parametrize(("end_of_relay", "code"), [(Relay.kill, "node_lost"), (Relay.terminate, "shutdown")])
def test_restarted_relay_ends_the_stream_with_an_error_that_holds_the_text(
    simulator: Simulator, tmp_path: Path, end_of_relay: Callable[[Relay], None], code: str
) -> None:
    hasty = {"HEADRACE_TIMEOUTS__DRAIN": "200ms"}
    with (
        Relay(simulator.url, tmp_path / "streams.db", environ=hasty) as relay,
        Client(relay.origin, random=eager) as client,
    ):
        with client.chat("hi", simulate=ENDLESS) as answer:
            pieces = iter(answer)
            texts = [next(pieces)]
            end_of_relay(relay)
            with later(0.1, relay.start), pytest.raises(RelayError) as caught:
                texts.extend(pieces)
        assert (type(caught.value), caught.value.code) == (RelayError, code)
        assert caught.value.result.state == "truncated"
        assert caught.value.result.text == "".join(texts)


def test_stop_ends_the_engine_and_the_iteration(client: Client, relay: Relay) -> None:
    with client.chat("hi", simulate=ENDLESS) as answer:
        for number, _ in enumerate(answer):
            if number == 5:
                answer.stop()
    assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
    stream = relay.stream(answer.stream_id or "")
    assert (stream["state"], stream["cause"]) == ("cancelled", "client_stop")
    assert answer.result.last_offset == stream["last_offset"] - 1


def test_stop_from_another_thread_before_any_text(client: Client) -> None:
    with client.chat("hi", simulate={"ttft_ms": 30_000}) as answer, later(0.1, answer.stop):
        assert list(answer) == []
    assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
    assert answer.result.duration_s < 10


def test_stop_before_the_request_was_sent_sends_none(client: Client, proxy: DroppingProxy) -> None:
    answer = client.chat("hi", simulate=ENDLESS)
    answer.stop()
    with answer:
        assert list(answer) == []
    assert answer.result.state == "cancelled"
    assert proxy.connections == 0


def test_stop_that_cannot_be_told_is_told_after_reconnecting(
    client: Client, relay: Relay, proxy: DroppingProxy
) -> None:
    with client.chat("hi", simulate=ENDLESS) as answer:
        pieces = iter(answer)
        next(pieces)
        proxy.refuse()
        proxy.cut()
        with pytest.raises(ConnectionLost):
            answer.stop()
        with later(0.2, proxy.accept):
            for _ in pieces:
                pass
    assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
    assert relay.stream(answer.stream_id or "")["state"] == "cancelled"


def test_leaving_early_stops_the_engine(client: Client, relay: Relay) -> None:
    with client.chat("hi", simulate=ENDLESS, linger_s=30) as answer:
        next(iter(answer))
    assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
    assert wait_for_end(relay, answer.stream_id)["cause"] == "client_stop"


def test_leaving_the_client_leaves_streams_that_nobody_left(relay: Relay) -> None:
    with Client(relay.origin) as client:
        answer = client.chat("hi", simulate=ENDLESS)
        next(iter(answer))
    assert wait_for_end(relay, answer.stream_id)["cause"] == "client_stop"


def test_kept_stream_goes_on_and_can_be_attached_to(client: Client) -> None:
    with client.chat("hi", simulate=SCRIPT, keep=True) as answer:
        first = next(iter(answer))
    assert answer.result.state == "in_progress"
    with client.attach(answer.stream_id or "", after=answer.result.last_offset) as rest:
        assert answer.result.text + "".join(rest) == WORDS
    assert WORDS.startswith(first)
    assert rest.result.state == "completed"


def test_interrupt_stops_the_engine(client: Client, relay: Relay) -> None:
    answer = client.chat("hi", simulate={"ttft_ms": 30_000}, linger_s=60)

    def interrupt() -> None:
        wait_for_start(relay, answer)
        os.kill(os.getpid(), signal.SIGINT)

    with later(0.2, interrupt), pytest.raises(KeyboardInterrupt):
        answer.read()
    assert wait_for_end(relay, answer.stream_id)["cause"] == "client_stop"


async def test_cancelled_wait_loses_nothing(relay: Relay) -> None:
    async with AsyncClient(relay.origin, random=eager) as client:
        pieces: list[str] = []
        async with client.chat("hi", simulate={**SCRIPT, "itl_ms": 10}) as answer:
            for _ in range(3):
                try:
                    async with asyncio.timeout(0.15):
                        await collect(answer, pieces)
                except TimeoutError:
                    continue
            await collect(answer, pieces)
        assert "".join(pieces) == WORDS
        assert answer.result.reconnects == 3


async def test_async_stop_from_another_task_before_any_text(relay: Relay) -> None:
    async with AsyncClient(relay.origin) as client:
        async with client.chat("hi", simulate={"ttft_ms": 30_000}) as answer, asyncio.TaskGroup() as group:
            group.create_task(answer.stop())
            assert [piece async for piece in answer] == []
        assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
        assert (await client.show(answer.stream_id or ""))["state"] == "cancelled"


async def test_async_leaving_early_stops_the_engine_also_when_cancelled(relay: Relay) -> None:
    async with AsyncClient(relay.origin) as client:
        answer = client.chat("hi", simulate=ENDLESS, linger_s=30)
        reading = asyncio.create_task(read_inside(answer))
        await asyncio.sleep(0.2)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert (await client.show(answer.stream_id or ""))["cause"] == "client_stop"


def test_stream_that_somebody_else_stops_raises(client: Client, relay: Relay) -> None:
    with client.chat("hi", simulate=ENDLESS) as answer, Client(relay.origin) as other:
        text = next(iter(answer))
        other.cancel(answer.stream_id or "")
        with pytest.raises(StreamCancelled) as caught:
            text += "".join(answer)
    assert caught.value.result.cause == "client_stop"
    assert caught.value.result.text.startswith(text)


def test_engine_failures_raise_with_what_came(client: Client) -> None:
    fault = {"text": "one two three four", "fault": {"kind": "fin", "at": 2}}
    with pytest.raises(UpstreamError) as caught:
        client.chat("hi", simulate=fault).read()
    assert (caught.value.result.state, caught.value.code) == ("truncated", "upstream_closed")
    assert caught.value.result.text == "one two"


def test_engine_refusal_keeps_status_and_retry_after(client: Client) -> None:
    with pytest.raises(UpstreamRejected) as caught:
        client.chat("hi", simulate={"fault": {"kind": "status", "code": 429, "retry_after": 30}}).read()
    assert (caught.value.status, caught.value.retry_after_s) == (429, 30)
    assert caught.value.result.state == "failed"


def test_requests_that_cannot_be_are_the_callers_fault(client: Client) -> None:
    with pytest.raises(ClientRequestError) as caught:
        client.chat("hi", model="unknown").read()
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    with pytest.raises(ClientRequestError):
        client.chat(messages=[]).read()


def test_taken_stream_id_is_never_followed_by_mistake(client: Client) -> None:
    client.chat("hi", stream_id="mine", simulate=SCRIPT).read()
    with pytest.raises(StreamExists):
        client.chat("hi", stream_id="mine", simulate=SCRIPT).read()


def test_streams_can_be_listed_shown_and_erased(client: Client) -> None:
    ids = [client.chat("hi", simulate=SCRIPT).read().stream_id for _ in range(3)]
    page = client.streams(limit=2)
    assert [stream["id"] for stream in page.data] == [ids[2], ids[1]]
    assert page.has_more
    assert client.streams(limit=1, after=page.last_id).data[0]["id"] == ids[0]
    assert client.show(ids[0] or "")["state"] == "completed"
    client.erase(ids[0] or "")
    for ask in (client.show, client.cancel, client.erase):
        with pytest.raises(StreamNotFound):
            ask(ids[0] or "")
    assert client.models() == ["sim"]


async def test_async_streams_can_be_listed_shown_stopped_and_erased(relay: Relay) -> None:
    async with AsyncClient(relay.url) as client:
        assert await client.models() == ["sim"]
        done = await client.chat("hi", simulate=SCRIPT).read()
        assert (await client.streams(limit=1)).data[0]["id"] == done.stream_id
        kept = client.chat("hi", simulate=ENDLESS, keep=True)
        async with kept:
            pass
        assert (await client.cancel(kept.stream_id or ""))["state"] == "cancelled"
        async with client.attach(kept.stream_id or "") as ended:
            with pytest.raises(StreamCancelled):
                await ended.read()
        await client.erase(done.stream_id or "")
        with pytest.raises(StreamNotFound):
            await client.erase(done.stream_id or "")


async def test_async_leaving_the_client_leaves_streams_that_nobody_left(relay: Relay) -> None:
    async with AsyncClient(relay.origin) as client:
        answer = client.chat("hi", simulate=ENDLESS)
        await anext(answer.entries())
    assert relay.stream(answer.stream_id or "")["cause"] == "client_stop"


async def test_async_client_that_reaches_nobody_says_so() -> None:
    with DroppingProxy(1) as proxy:
        proxy.refuse()
        async with AsyncClient(proxy.origin, patience=Patience(start_for_s=0.2), random=eager) as client:
            with pytest.raises(ConnectionLost, match=f"{proxy.host}:{proxy.port} cannot be reached"):
                await client.chat("hi").read()
            with pytest.raises(ConnectionLost):
                await client.models()


def test_tool_calls_are_put_together(client: Client) -> None:
    calls = [{"name": "look", "arguments": '{"where": "here"}', "fragment_chars": 3}]
    result = client.chat("hi", simulate={"tool_calls": calls}).read()
    assert result.cause == "tool_calls"
    assert [call["function"] for call in result.tool_calls] == [{"name": "look", "arguments": '{"where": "here"}'}]


def test_plain_server_works_without_resume(simulator: Simulator) -> None:
    with DroppingProxy(simulator.port) as proxy, Client(proxy.origin, random=eager) as client:
        result = client.chat("hi", model="sim", simulate=SCRIPT).read()
        assert (result.text, result.state, result.stream_id) == (WORDS, "completed", None)
        with client.chat("hi", model="sim", simulate=SCRIPT) as answer:
            pieces = iter(answer)
            texts = [next(pieces)]
            proxy.cut()
            with pytest.raises(UpstreamError) as caught:
                texts.extend(pieces)
    assert (caught.value.result.text, caught.value.result.state) == ("".join(texts), "truncated")


@pytest.mark.parametrize("ttft_ms", [0, 30_000])
def test_stopping_a_plain_server_closes_its_connection(simulator: Simulator, ttft_ms: int) -> None:
    with Client(simulator.url) as client:
        answer = client.chat("hi", model="sim", simulate={**ENDLESS, "ttft_ms": ttft_ms})
        with answer, later(0.2, answer.stop):
            for _ in answer:
                pass
        assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
        assert answer.result.duration_s < 5


async def test_async_stopping_a_plain_server_closes_its_connection(simulator: Simulator) -> None:
    async with AsyncClient(simulator.url) as client:
        async with client.chat("hi", model="sim", simulate={"ttft_ms": 30_000}) as answer, asyncio.TaskGroup() as group:
            group.create_task(answer.stop())
            assert [piece async for piece in answer] == []
        assert (answer.result.state, answer.result.cause) == ("cancelled", "client_stop")
