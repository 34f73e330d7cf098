"""A WebSocket session in process: streams side by side, credit, stop, and what closes a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.node import InProcess, node_in_process
from websockets.frames import Frame
from websockets.streams import StreamReader

from headrace.engines.scripted import ScriptedEngine
from headrace.engines.scripted.script import Script
from headrace.http.socket import serve_socket
from headrace.http.websocket import SHUTDOWN
from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts

TIMEOUTS = Timeouts(commit_wait_s=5, reconnect_s=0.2, slow_client_s=0.3)


class Wire:
    """Both ends of a connection: what ASGI gives a session, and what its client sees."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None
        self.subprotocol: str | None = None
        self.is_aborted = False
        self.takes = asyncio.Event()
        self.takes.set()
        self.waiting_bytes = 0
        self._reader = StreamReader()
        self.events.put_nowait({"type": "websocket.connect"})

    # what the session uses

    def abort(self) -> None:
        self.is_aborted = True
        self.takes.set()
        self.events.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def is_gone(self) -> bool:
        return self.is_aborted

    def write_buffer_bytes(self) -> int:
        return self.waiting_bytes

    async def write(self, frames: bytes) -> None:
        await self.takes.wait()
        self._reader.feed_data(frames)
        while self._reader.buffer:
            parsing = Frame.parse(self._reader.read_exact, mask=False, max_size=None)
            try:
                while True:
                    next(parsing)
            except StopIteration as done:
                self.messages.put_nowait(json.loads(done.value.data))

    async def asgi_send(self, message: Any) -> None:
        if message["type"] == "websocket.accept":
            self.subprotocol = message["subprotocol"]
        else:
            self.closed = (message["code"], message["reason"])

    # what the client does

    def say(self, message: Any = None, **fields: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(fields)
        self.events.put_nowait({"type": "websocket.receive", "text": text})

    def start(self, stream: str, *, simulate: dict[str, Any] | None = None, **fields: Any) -> None:
        request = {"messages": [{"role": "user", "content": "hi"}], "simulate": simulate or {"text": "one two three"}}
        self.say(type="start", stream=stream, request=request, **fields)

    def leave(self) -> None:
        self.events.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def hear(self) -> Any:
        async with asyncio.timeout(5):
            return await self.messages.get()

    async def until_end(self, *streams: str) -> dict[str, list[Any]]:
        """Return all messages by stream, once each of ``streams`` has ended."""
        heard: dict[str, list[Any]] = {}
        missing = set(streams)
        while missing:
            message = await self.hear()
            heard.setdefault(message["stream"], []).append(message)
            if message["type"] == "end":
                missing.discard(message["stream"])
        return heard


def text_of(messages: list[Any]) -> str:
    return "".join(
        message["chunk"]["choices"][0]["delta"].get("content") or ""
        for message in messages
        if message["type"] == "entry"
    )


@asynccontextmanager
async def connected(relay: InProcess, *, subprotocols: tuple[str, ...] = ("headrace.v1",)) -> AsyncIterator[Wire]:
    """Serve a connection until the block ends; then the client has left."""
    wire = Wire()
    scope = {"headers": [], "subprotocols": list(subprotocols), "extensions": {"headrace.connection": wire}}
    async with asyncio.timeout(20):
        serving = asyncio.ensure_future(serve_socket(relay.node, scope, wire.events.get, wire.asgi_send))
        try:
            yield wire
        finally:
            wire.leave()
            await serving


async def closed(wire: Wire) -> tuple[int, str]:
    async with asyncio.timeout(5):
        while wire.closed is None:  # noqa: ASYNC110 (a fake tells nobody)
            await asyncio.sleep(0.005)
    return wire.closed


async def end_of(relay: InProcess, stream: str) -> tuple[str, str]:
    """Return state and cause of a stream once its end is committed."""
    async with asyncio.timeout(5):
        while True:
            shown = (await relay.call("GET", f"/v1/streams/{stream}")).json
            if shown["cause"] is not None:
                return shown["state"], shown["cause"]
            await asyncio.sleep(0.005)


async def test_streams_run_side_by_side_each_with_its_offsets_and_its_end() -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        for name in "abc":
            wire.start(name, simulate={"text": f"{name} one two", "itl_ms": 10})
        heard = await wire.until_end("a", "b", "c")
        for name, messages in heard.items():
            assert text_of(messages) == f"{name} one two"
            assert [message["offset"] for message in messages] == list(range(len(messages)))
            assert messages[-1]["end"]["state"] == "completed"


async def test_a_stop_ends_its_stream_only() -> None:
    engine = ScriptedEngine(Script(itl_ms=10, tokens=200))
    async with node_in_process(engine=engine) as relay, connected(relay) as wire:
        wire.start("stopped", simulate={"itl_ms": 10, "tokens": 200})
        wire.start("other", simulate={"itl_ms": 10, "tokens": 20})
        while (await wire.hear())["stream"] != "stopped":
            pass
        wire.say(type="stop", stream="stopped")
        heard = await wire.until_end("stopped", "other")
        assert heard["stopped"][-1]["end"]["cause"] == "client_stop"
        assert heard["other"][-1]["end"]["state"] == "completed"
        assert engine.active() == 0
        wire.say(type="stop", stream="stopped")
        wire.say(type="ping", id="still here")
        assert (await wire.hear()) == {"type": "pong", "id": "still here"}


async def test_a_stream_without_credit_waits_and_the_others_do_not() -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        wire.start("slow", credit=2)
        wire.start("fast")
        heard = await wire.until_end("fast")
        assert [message["offset"] for message in heard["slow"]] == [0, 1]
        wire.say(type="credit", stream="slow", credit=1)
        assert (await wire.hear())["offset"] == 2
        wire.say(type="credit", stream="slow", credit=100)
        rest = (await wire.until_end("slow"))["slow"]
        assert [message["offset"] for message in rest] == [3, 4, 5]


async def test_a_lost_connection_leaves_streams_that_another_one_resumes() -> None:
    async with node_in_process() as relay:
        async with connected(relay) as wire:
            wire.start("s", simulate={"text": "one two three four", "itl_ms": 20}, linger=5)
            first = [await wire.hear(), await wire.hear()]
        async with connected(relay) as wire:
            wire.say(type="resume", stream="s", after=first[-1]["offset"])
            rest = (await wire.until_end("s"))["s"]
        assert text_of(first) + text_of(rest) == "one two three four"


@pytest.mark.parametrize(("linger", "lingers"), [(True, True), (False, False), (0, False), (5, True)])
async def test_a_stream_lingers_as_long_as_it_was_told(linger: float | bool, lingers: bool) -> None:
    engine = ScriptedEngine()
    timeouts = msgspec.structs.replace(TIMEOUTS, linger_s=30, reconnect_s=0)
    async with node_in_process(engine=engine, timeouts=timeouts) as relay:
        async with connected(relay) as wire:
            wire.start("s", simulate={"itl_ms": 10, "tokens": 1000}, linger=linger)
            await wire.hear()
        assert engine.active() == lingers


async def test_detach_lets_go_of_one_stream() -> None:
    engine = ScriptedEngine()
    async with node_in_process(engine=engine, timeouts=TIMEOUTS) as relay, connected(relay) as wire:
        wire.start("s", simulate={"itl_ms": 10, "tokens": 1000}, linger=0)
        await wire.hear()
        wire.say(type="detach", stream="s")
        wire.say(type="ping")
        while (await wire.hear())["type"] != "pong":
            pass
        assert engine.active() == 0
        assert await end_of(relay, "s") == ("cancelled", "client_gone")


async def test_merged_entries_have_the_offset_of_the_last() -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        wire.start("s", merge=True, coalesce_tokens=100, simulate={"text": "one two three", "itl_ms": 5})
        messages = (await wire.until_end("s"))["s"]
        assert text_of(messages) == "one two three"
        assert len(messages) < 6
        assert messages[-1]["offset"] == 5


@pytest.mark.parametrize(
    ("message", "status_code"),
    [
        ({"type": "resume", "stream": "unknown"}, "stream_not_found"),
        ({"type": "stop", "stream": "unknown"}, "stream_not_found"),
        ({"type": "start", "stream": "x", "request": {}}, None),
        ({"type": "start", "stream": "x", "request": {"messages": []}}, None),
        ({"type": "start", "stream": "x", "request": {"messages": [{}], "model": "none"}}, "model_not_found"),
        ({"type": "start", "stream": "x", "request": {"messages": [{}]}, "linger": 1e9}, None),
        ({"type": "resume", "stream": "done", "after": 1000}, None),
        ({"type": "start", "stream": "done", "request": {"messages": [{}]}}, "stream_exists"),
        ({"type": "resume", "stream": "done\n"}, None),
    ],
)
async def test_what_concerns_one_stream_is_an_error_message_and_all_else_goes_on(
    message: dict[str, Any], status_code: str | None
) -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        wire.start("done")
        await wire.until_end("done")
        wire.say(**message)
        heard = await wire.hear()
        assert heard["type"] == "error"
        assert (heard["stream"], heard["error"]["code"]) == (message["stream"], status_code)
        wire.start("after")
        assert text_of((await wire.until_end("after"))["after"]) == "one two three"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["{"], 4400),
        (['{"type":"nonsense"}'], 4400),
        ([{"type": "credit", "stream": "unknown", "credit": 1}], 4409),
        ([{"type": "detach", "stream": "unknown"}], 4409),
        ([{"type": "resume", "stream": "running"}], 4409),
        ([{"type": "auth", "ticket": "late"}], 4409),
    ],
)
async def test_what_breaks_the_protocol_closes_with_a_code_and_loses_nothing(messages: list[Any], code: int) -> None:
    async with node_in_process() as relay:
        async with connected(relay) as wire:
            wire.start("running", simulate={"text": "one two three four", "itl_ms": 20}, linger=5)
            seen = [await wire.hear()]
            for message in messages:
                if isinstance(message, str):
                    wire.say(message)
                else:
                    wire.say(**message)
            number, reason = await closed(wire)
            assert number == code
            assert reason
        while not wire.messages.empty():
            seen.append(wire.messages.get_nowait())
        async with connected(relay) as wire:
            wire.say(type="resume", stream="running", after=seen[-1]["offset"])
            rest = (await wire.until_end("running"))["running"]
        assert text_of(seen) + text_of(rest) == "one two three four"


async def test_a_binary_frame_is_closed_as_such() -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        wire.events.put_nowait({"type": "websocket.receive", "bytes": b"{}"})
        assert (await closed(wire))[0] == 1003


async def test_a_ticket_opens_a_connection_once_by_first_message_or_by_subprotocol() -> None:
    async with node_in_process() as relay:
        ticket = (await relay.call("POST", "/v1/tickets")).json["ticket"]
        async with connected(relay) as wire:
            wire.say(type="auth", ticket=ticket)
            wire.start("s")
            await wire.until_end("s")
        async with connected(relay) as wire:
            wire.say(type="auth", ticket=ticket)
            assert (await closed(wire))[0] == 4401
        ticket = (await relay.call("POST", "/v1/tickets")).json["ticket"]
        offered = ("headrace.v1", f"headrace.ticket.{ticket}")
        async with connected(relay, subprotocols=offered) as wire:
            wire.say(type="ping", id=1)
            await wire.hear()
            assert wire.subprotocol == "headrace.v1"
        async with connected(relay, subprotocols=offered) as wire:
            assert (await closed(wire))[0] == 4401


async def test_a_key_is_taken_and_not_looked_at_while_nobody_needs_one() -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        wire.say(type="auth", key="sk-anything")
        wire.start("s")
        assert text_of((await wire.until_end("s"))["s"]) == "one two three"


async def test_more_streams_than_allowed_are_refused_and_the_others_stay() -> None:
    async with (
        node_in_process(limits=Limits(max_connection_streams=2)) as relay,
        connected(relay) as wire,
    ):
        for name in "abc":
            wire.start(name, simulate={"itl_ms": 10, "tokens": 10})
        heard = await wire.until_end("a", "b")
        assert heard["c"][0]["error"]["code"] == "overloaded"


async def test_a_peer_that_takes_nothing_is_dropped_as_slow() -> None:
    async with node_in_process(timeouts=TIMEOUTS) as relay, connected(relay) as wire:
        wire.start("s", simulate={"itl_ms": 10, "tokens": 1000}, linger=0)
        await wire.hear()
        wire.takes.clear()
        wire.waiting_bytes = 1000
        async with asyncio.timeout(5):
            while not wire.is_aborted:  # noqa: ASYNC110 (a fake tells nobody)
                await asyncio.sleep(0.01)
        assert await end_of(relay, "s") == ("cancelled", "slow_client")


async def test_a_shutdown_sends_every_end_before_it_closes() -> None:
    async with node_in_process() as relay, connected(relay) as wire:
        wire.start("s", simulate={"itl_ms": 10, "tokens": 1000})
        await wire.hear()
        relay.node.supervisor.end_all()
        wire.events.put_nowait({"type": SHUTDOWN})
        heard = await wire.until_end("s")
        assert heard["s"][-1]["end"]["cause"] == "shutdown"
        assert (await closed(wire))[0] == 1012
