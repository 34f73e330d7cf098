"""Answers that break off and go on: simulators in pairs, the relay in front of them, and clients by every door."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import openai
from tests.processes import Relay
from tests.system.breaks import PROMPT, Door, Plan, Walk
from tests.system.wire import JSON, Answer, ask

from headrace.engines.scripted import SimulatorServer

TIMEOUT_S = 30.0
FORMS = ("assistant", "prefix", "continue_final_message")
MODELS = ("sim", "other")
"""What the two simulators of a lane call their model."""

MESSAGES: Any = [{"role": "user", "content": PROMPT}]

PACE = """
[stream]
flush_interval_ms = 5
[retry]
backoff = "20ms"
[health]
failures = 1000000
min_requests = 1000000
"""
"""Waits are short, and no engine rests: each lane's engines die all the time."""


class Lane:
    """Two simulators, of which the next request gets the next script, whichever of them it reaches.

    Args:
        number: Of the lane.
        form: How they take partial answers; ``none``: not at all.
    """

    def __init__(self, number: int, form: str) -> None:
        self.form = form
        self.number = number
        self._draw = random.Random(number)
        self.servers = [SimulatorServer(models=[model]) for model in MODELS]
        self.servers[1].scripts = self.servers[0].scripts

    def model(self, engines: int) -> str:
        """Return the name by which clients reach one engine, or both."""
        return f"{'one' if engines == 1 else 'two'}-{self.number}"

    def engine(self, number: int) -> str:
        return f"{'ab'[number]}-{self.number}"

    def settings(self, more: str = "") -> str:
        """Return the relay's settings for it; ``more`` goes to both models."""
        lines = []
        for number, server in enumerate(self.servers):
            lines += [f"[engines.{self.engine(number)}]", 'kind = "openai"', f'upstream = "{server.url}"']
            lines += [f'continuation = "{self.form}"']
        for engines in (1, 2):
            lines += [f"[models.{self.model(engines)}]", more]
            for number in range(engines):
                lines += [f"[models.{self.model(engines)}.engines.{self.engine(number)}]"]
                lines += [f'model = "{MODELS[number]}"', f"order = {number + 1}"]
        return "\n".join([*lines, ""])

    def prepare(self, scripts: Sequence[Mapping[str, Any]], then: Mapping[str, Any]) -> None:
        """Say what the next requests get, and forget the last ones."""
        for server in self.servers:
            server.records.forget()
        self.servers[0].scripts.set(scripts, then)

    @property
    def requests(self) -> list[Any]:
        """All requests since, in their order."""
        records = [record for server in self.servers for record in server.records.all()]
        return sorted(records, key=lambda record: record.accepted_at)

    @property
    def active(self) -> int:
        return sum(server.records.summary().active for server in self.servers)


@asynccontextmanager
async def lanes(count: int, forms: Sequence[str] = FORMS) -> AsyncIterator[list[Lane]]:
    """Serve so many lanes on this loop."""
    async with AsyncExitStack() as stack:
        made = [Lane(number, forms[number % len(forms)]) for number in range(count)]
        for lane in made:
            for server in lane.servers:
                await stack.enter_async_context(server)
        yield made


@asynccontextmanager
async def relay_before(
    served: Sequence[Lane], folder: Path, *, pace: str = PACE, model: str = ""
) -> AsyncIterator[Relay]:
    """Run a relay in front of lanes; ``model`` are more settings of their models."""
    file = folder / "headrace.toml"
    file.write_text(pace + "".join(lane.settings(model) for lane in served))
    relay = Relay(served[0].servers[0].url, folder / "streams.db", "--config", str(file))
    # Its upstreams are served by this loop.
    await asyncio.to_thread(relay.start)
    try:
        yield relay
    finally:
        await asyncio.to_thread(relay.__exit__)


@dataclass(kw_only=True)
class Got:
    """What a client has seen of one answer."""

    stream_id: str = ""
    text: str = ""
    roles: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    created: set[int] = field(default_factory=set)
    finish_reasons: list[str] = field(default_factory=list)
    usages: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    """The error object."""
    status: int | None = None
    """HTTP status of an answer that is an error."""
    chunks: list[dict[str, Any]] = field(default_factory=list)

    def take(self, chunk: Mapping[str, Any]) -> None:
        """Take note of a chunk, or of a whole answer."""
        self.chunks.append(dict(chunk))
        self.ids.add(chunk["id"])
        self.created.add(chunk["created"])
        if chunk.get("usage"):
            self.usages.append(chunk["usage"])
        for choice in chunk["choices"]:
            delta = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            self.text += delta.get("content") or ""
            if delta.get("role"):
                self.roles.append(delta["role"])
            if choice.get("finish_reason"):
                self.finish_reasons.append(choice["finish_reason"])

    def fail(self, error: openai.APIError) -> None:
        self.error = error.body if isinstance(error.body, dict) else {"message": str(error)}
        if isinstance(error, openai.APIStatusError):
            self.status = error.status_code
            self.stream_id = error.response.headers["headrace-stream-id"]
            self.text = self.error.get("partial_text") or ""


class Desk:
    """Clients of one relay: stock SDKs, and bare HTTP for what they do not speak."""

    def __init__(self, relay: Relay) -> None:
        url = relay.url
        self.relay = relay
        # Any: what tests ask for comes in mappings, which overloads do not take.
        self.sdk: Any = openai.OpenAI(base_url=url, api_key="none", timeout=TIMEOUT_S)
        self.async_sdk: Any = openai.AsyncOpenAI(base_url=url, api_key="none", timeout=TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.async_sdk.close()
        self.sdk.close()

    async def ask(self, door: Door, model: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Got:
        """Ask for an answer by one of the doors, and take it whole."""
        doors: dict[Door, Callable[[Got, dict[str, Any]], Awaitable[None]]] = {
            "sdk": lambda got, fields: asyncio.to_thread(self._sdk, got, fields),
            "async": self._async,
            "blocking": self._blocking,
            "ndjson": self._ndjson,
            "completions": self._completions,
            "whole_completions": self._whole_completions,
        }
        got = Got()
        try:
            asked = {} if "completions" in door else {"messages": MESSAGES}
            await doors[door](got, {"model": model, "extra_headers": headers, **asked, **fields})
        except openai.APIError as error:
            got.fail(error)
        return got

    def _sdk(self, got: Got, fields: dict[str, Any]) -> None:
        options = {"include_usage": True}
        with self.sdk.chat.completions.create(stream=True, stream_options=options, **fields) as stream:
            got.stream_id = stream.response.headers["headrace-stream-id"]
            for chunk in stream:
                got.take(chunk.model_dump())

    async def _async(self, got: Got, fields: dict[str, Any]) -> None:
        options = {"include_usage": True}
        stream = await self.async_sdk.chat.completions.create(stream=True, stream_options=options, **fields)
        got.stream_id = stream.response.headers["headrace-stream-id"]
        async for chunk in stream:
            got.take(chunk.model_dump())

    async def _blocking(self, got: Got, fields: dict[str, Any]) -> None:
        raw = await self.async_sdk.chat.completions.with_raw_response.create(**fields)
        got.stream_id = raw.headers["headrace-stream-id"]
        got.take(raw.parse().model_dump())

    async def _completions(self, got: Got, fields: dict[str, Any]) -> None:
        options = {"include_usage": True}
        asked = {"prompt": PROMPT, "max_tokens": 4096, **fields}
        stream = await self.async_sdk.completions.create(stream=True, stream_options=options, **asked)
        got.stream_id = stream.response.headers["headrace-stream-id"]
        async for chunk in stream:
            got.take(chunk.model_dump())

    async def _whole_completions(self, got: Got, fields: dict[str, Any]) -> None:
        raw = await self.async_sdk.completions.with_raw_response.create(
            **{"prompt": PROMPT, "max_tokens": 4096, **fields}
        )
        got.stream_id = raw.headers["headrace-stream-id"]
        got.take(raw.parse().model_dump())

    async def _ndjson(self, got: Got, fields: dict[str, Any]) -> None:
        headers = {**JSON, "accept": "application/x-ndjson", **(fields.pop("extra_headers") or {})}
        extra = fields.pop("extra_body", None) or {}
        body = {"stream": True, "stream_options": {"include_usage": True}, **fields, **extra}
        answer = await self.http("POST", "/v1/chat/completions", headers, msgspec.json.encode(body))
        got.stream_id = answer.headers["headrace-stream-id"]
        if answer.status != 200:
            got.status, got.error = answer.status, answer.error
            return
        *lines, end = [msgspec.json.decode(line) for line in answer.body.splitlines() if line]
        for line in lines:
            got.take(line.get("chunk", line))
        if end["end"]["state"] != "completed":
            got.error = end["end"]

    async def http(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Ask without an SDK."""
        return await asyncio.to_thread(ask, self.relay.port, method, path, headers=headers, body=body)

    async def view(self, stream_id: str) -> dict[str, Any]:
        """Return a stream's view, once it has ended."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                view: dict[str, Any] = (await self.http("GET", f"/v1/streams/{stream_id}")).json
                if view["ended_at"] is not None:
                    return view
                await asyncio.sleep(0.005)

    async def log(self, stream_id: str) -> list[dict[str, Any]]:
        """Return the chunks of a stream's log, one an offset."""
        path = f"/v1/streams/{stream_id}/events"
        answer = await self.http("GET", path, {"accept": "application/x-ndjson"})
        *lines, end = [msgspec.json.decode(line) for line in answer.body.splitlines() if line]
        assert [line["offset"] for line in (*lines, end)] == list(range(len(lines) + 1))
        return [line["chunk"] for line in lines]


def text_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    got = Got()
    for chunk in chunks:
        got.take(chunk)
    return got.text


def check(plan: Plan, lane: Lane, got: Got, view: Mapping[str, Any], chunks: list[dict[str, Any]]) -> Walk:
    """Hold what client, record, log and engines say of a plan against what must be. Returns the latter."""
    attempts = view["attempts"]
    walk = Walk(plan=plan, tokens=[attempt.get("completion_tokens", 0) for attempt in attempts])
    assert (view["state"], view["cause"]) == (walk.state, walk.cause)
    assert (got.text, text_of(chunks)) == (walk.text, walk.text)
    if walk.state == "completed":
        check_whole(plan, got)
    else:
        assert got.error is not None
        assert plan.text.startswith(walk.text)
    check_attempts(walk, lane, view)
    check_seams(walk, lane, view["seams"], chunks)
    check_usage(walk, got, view)
    return walk


def check_whole(plan: Plan, got: Got) -> None:
    """One answer, with nothing doubled and nothing missing."""
    assert got.error is None
    assert got.text == plan.text
    assert got.roles == ["assistant"] * plan.is_chat
    assert len(got.ids) == len(got.created) == 1
    assert got.finish_reasons == ["stop"]
    assert len(got.usages) == 1


def check_attempts(walk: Walk, lane: Lane, view: Mapping[str, Any]) -> None:
    """The record has each attempt, and the engines have seen these and no others."""
    attempts = view["attempts"]
    if len(walk.tries) == 1:
        assert attempts == []
    else:
        found = [(attempt["engine"], attempt["kind"], attempt["cause"]) for attempt in attempts]
        assert found == [(lane.engine(each.engine), each.kind, each.cause) for each in walk.tries]
        assert [attempt.get("first_content_at") is not None for attempt in attempts] == [
            each.has_answered for each in walk.tries
        ]
    asked = lane.requests
    assert [(record.model, record.partial_chars) for record in asked] == [
        (MODELS[each.engine], len(each.partial) or None) for each in walk.tries
    ]
    assert (view["engine"], view["engine_model"]) == (
        lane.engine(walk.tries[-1].engine),
        MODELS[walk.tries[-1].engine],
    )


def check_seams(walk: Walk, lane: Lane, seams: list[dict[str, Any]], chunks: list[dict[str, Any]]) -> None:
    """Each seam is where one attempt's text ends in the log and another one's begins."""
    assert len(seams) == len(walk.seams)
    for seam, (last, each) in zip(seams, walk.seams, strict=True):
        assert text_of(chunks[: seam["offset"]]) == each.before
        assert text_of(chunks[seam["offset"] : seam["offset"] + 1])
        assert (seam["kind"], seam["cause"]) == (each.kind, last.cause)
        names = (lane.engine(last.engine), lane.engine(each.engine), MODELS[each.engine])
        assert (seam["from_engine"], seam["to_engine"], seam["to_model"]) == names
        assert chunks[seam["offset"]]["model"] == seam["to_model"]


def check_usage(walk: Walk, got: Got, view: Mapping[str, Any]) -> None:
    """The usage is the sum of what the attempts brought, and the client was told the same."""
    usage, attempts = view["usage"], view["attempts"]
    if got.usages:
        assert {name: got.usages[0][name] for name in usage} == usage
    if attempts:
        for name in ("prompt_tokens", "completion_tokens"):
            assert usage[name] == sum(attempt.get(name, 0) for attempt in attempts), name
        # The last try's engine counts what it sends, white space that is there already too.
        ours = attempts if walk.state != "completed" else attempts[:-1]
        expected = [each.tokens for each in walk.tries]
        assert [attempt.get("completion_tokens", 0) for attempt in ours] == expected[: len(ours)]
    assert view["generated_tokens"] >= sum(each.tokens for each in walk.tries)
