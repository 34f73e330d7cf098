"""Plays the provider faults against real relays and notes what everybody saw.

All engines are simulators in this process, each on a port of its own; the relays are processes, one for the calls that stream
and one for those that do not. Rows run side by side: they mostly wait.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import openai
from tests.processes import Relay
from tests.system.money import bearer, first_key
from tests.system.provider_case import RETRY, SECRET, TIMEOUTS, WORDS, Engine, Row
from tests.system.provider_faults import ROWS
from tests.system.sdk import MESSAGES, Seen
from tests.system.wire import JSON, ask

from headrace.engines.scripted import Script, SimulatorServer
from headrace.engines.scripted.records import RequestRecord

AT_ONCE = 14
"""Calls that are under way at a time: their durations are held against bounds, on a small machine."""

ITL_MS = 4
FAILURES = 5
REST_S, REST_MAX_S = 2.0, 2.5

_SETTINGS = f"""
[engine]
upstream = "http://127.0.0.1:9/v1"
model = "sim"
[timeouts]
first_token = "{TIMEOUTS.first_token_s}s"
idle = "{TIMEOUTS.idle_s}s"
head_wait = "{TIMEOUTS.head_wait_s}s"
commit_wait = "{TIMEOUTS.commit_wait_s}s"
[retry]
backoff = "{RETRY.backoff_s}s"
backoff_max = "{RETRY.backoff_max_s}s"
max_wait = "{RETRY.max_wait_s}s"
silence = "{RETRY.silence_s}s"
[health]
failures = {FAILURES}
rest = "{REST_S}s"
rest_max = "{REST_MAX_S}s"
"""

_ORDINALS = ("first", "second", "third")
_KEY_VARIABLE = "PROVIDER_KEY"


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """One route and its engines, before a relay knows them."""

    name: str
    """The model that clients ask for."""
    engines: Sequence[Engine]
    settings: str = ""
    prices: Sequence[tuple[str, str]] = ()
    """Of each engine's model, dollars for a million tokens: of the prompt, and of the answer."""


@dataclass(kw_only=True)
class Route:
    """One route whose engines run."""

    name: str
    servers: list[SimulatorServer | None]
    """None: nobody listens."""

    def requests(self, engine: int) -> list[RequestRecord]:
        """Return what an engine, counted from 1, knows of the requests that it got, oldest first."""
        server = self.servers[engine - 1]
        return [] if server is None else server.records.all()

    def engine(self, number: int) -> str:
        """Return what the relay calls an engine."""
        return f"{self.name}-{number}"

    def model(self, number: int) -> str:
        """Return what an engine calls the model."""
        return f"{self.name}-model-{number}"


@dataclass(kw_only=True)
class Call:
    """One call of the SDK, and what the relay and the engines say of it."""

    route: Route
    seen: Seen
    view: dict[str, Any]
    """``GET /v1/streams/{id}``."""

    @property
    def attempts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.view["attempts"]
        return found


class Counter:
    """A relay in front of many routes, with keys, and the stock SDK before it. Made by ``counter``."""

    def __init__(self, relay: Relay, routes: Mapping[str, Route], admin: str) -> None:
        self.relay = relay
        self.routes = routes
        self._admin = admin

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the relay as its admin."""
        data = b"" if body is None else msgspec.json.encode(body)
        answer = await asyncio.to_thread(
            ask, self.relay.port, method, path, headers={**bearer(self._admin), **(JSON if data else {})}, body=data
        )
        assert answer.status < 300, answer.body
        return answer.json

    async def new_key(self, owner: str) -> dict[str, Any]:
        made: dict[str, Any] = await self.ask("POST", "/v1/keys", {"owner": owner})
        return made

    async def standing(self, route: Route, engine: int) -> dict[str, Any]:
        """Return what ``GET /v1/engines`` says of an engine."""
        reports: list[dict[str, Any]] = (await self.ask("GET", "/v1/engines"))["data"]
        return next(one for one in reports if one["engine"] == route.engine(engine))

    async def view(self, stream_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", f"/v1/streams/{stream_id}")
        return found

    async def call(self, clerk: Clerk, route: Route, *, streams: bool, **fields: Any) -> Call:
        seen = await (clerk.streamed if streams else clerk.blocked)(route.name, **fields)
        return Call(route=route, seen=seen, view=await self.view(seen.stream_id))

    def clerk(self, key: str) -> Clerk:
        return Clerk(self.relay.url, key)


class Clerk:
    """The stock ``openai`` SDK with its defaults, and what a user of it sees. A context manager."""

    def __init__(self, base_url: str, key: str) -> None:
        self.client = openai.AsyncOpenAI(base_url=base_url, api_key=key, timeout=20)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def streamed(self, model: str, **fields: Any) -> Seen:
        """Make one streaming call and read it to its end."""
        seen, began_s = Seen(), time.monotonic()
        parts: list[str] = []
        options: Any = {"include_usage": True}
        try:
            async with await self.client.chat.completions.create(
                model=model, messages=MESSAGES, stream=True, stream_options=options, **fields
            ) as stream:
                seen.headers = dict(stream.response.headers)
                async for chunk in stream:
                    seen.chunks.append(chunk)
                    for choice in chunk.choices:
                        parts.append(choice.delta.content or "")
                        seen.finish_reason = choice.finish_reason or seen.finish_reason
        except openai.APIError as error:
            seen.note(error)
        seen.text, seen.elapsed_s = "".join(parts), time.monotonic() - began_s
        return seen

    async def blocked(self, model: str, **fields: Any) -> Seen:
        """Make one blocking call."""
        seen, began_s = Seen(), time.monotonic()
        try:
            raw = await self.client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, **fields)
            seen.headers, seen.completion = dict(raw.headers), raw.parse()
            choice = seen.completion.choices[0]
            seen.text, seen.finish_reason = choice.message.content or "", choice.finish_reason
        except openai.APIError as error:
            seen.note(error)
            # What had come is in the error.
            seen.text = seen.body.get("partial_text") or ""
        seen.elapsed_s = time.monotonic() - began_s
        return seen


@asynccontextmanager
async def counter(folder: Path, wirings: Sequence[Wiring]) -> AsyncIterator[Counter]:
    """Serve these routes until the block ends: all of their engines, and a relay that has them in its settings."""
    async with AsyncExitStack() as stack:
        routes: dict[str, Route] = {}
        lines = [_SETTINGS]
        for wiring in wirings:
            route = routes[wiring.name] = Route(name=wiring.name, servers=[])
            lines.append(f"[models.{route.name}]\n{wiring.settings}")
            for number, engine in enumerate(wiring.engines, 1):
                url = await _engine(stack, route, number, engine)
                lines.append(_engine_settings(route, number, engine, url))
            lines += [
                f'[models.{route.model(number)}.price]\ninput = "{prompt}"\noutput = "{answer}"'
                for number, (prompt, answer) in enumerate(wiring.prices, 1)
            ]
        relay, admin = await asyncio.to_thread(_relay, folder, "\n".join(lines))
        stack.push_async_callback(asyncio.to_thread, relay.__exit__)
        yield Counter(relay, routes, admin)


def _relay(folder: Path, settings: str) -> tuple[Relay, str]:
    """Start a relay; returns it with an admin's key."""
    folder.mkdir(parents=True, exist_ok=True)
    path, store = folder / "headrace.toml", folder / "providers.db"
    path.write_text(settings)
    admin = first_key(store)
    return Relay(None, store, "--config", str(path), environ={_KEY_VARIABLE: SECRET}).__enter__(), admin


async def _engine(stack: AsyncExitStack, route: Route, number: int, engine: Engine) -> str:
    """Start an engine, and return its base URL."""
    if engine.is_down:
        # Bound and not listening: nobody else can take the port.
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        route.servers.append(None)
        return f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
    base = {"deltas": WORDS, "itl_ms": ITL_MS}
    default = msgspec.convert({**base, **(engine.then or {})}, Script)
    scripts = [msgspec.convert({**base, **script}, Script) for script in engine.scripts]
    server = SimulatorServer(default=default, scripts=scripts, models=[route.model(number)])
    route.servers.append(await stack.enter_async_context(server))
    return server.url


def _engine_settings(route: Route, number: int, engine: Engine, url: str) -> str:
    return f"""
[engines.{route.engine(number)}]
upstream = "{url}"
upstream_keys = ["env:{_KEY_VARIABLE}"]
{engine.settings}
[models.{route.name}.engines.{_ORDINALS[number - 1]}]
engine = "{route.engine(number)}"
model = "{route.model(number)}"
order = {number}
"""


# The whole table


@dataclass(kw_only=True)
class Observation:
    """What both calls of a row showed."""

    streaming: Call
    blocking: Call


@dataclass(kw_only=True)
class Played:
    """What all rows showed."""

    rows: dict[str, Observation] = field(default_factory=dict)
    """By the row's name."""
    printed: str = ""
    """What the relays wrote to their outputs."""
    elapsed_s: float = 0.0


def wirings(rows: Sequence[Row]) -> list[Wiring]:
    """Return the routes of rows, called by their numbers."""
    return [
        Wiring(name=f"row-{number}", engines=row.engines, settings=row.settings) for number, row in enumerate(rows, 1)
    ]


async def play(folder: Path, rows: Sequence[Row] = ROWS) -> Played:
    """Play rows, all of them side by side, and return what was seen."""
    began_s = time.monotonic()
    room = asyncio.Semaphore(AT_ONCE)
    both = await asyncio.gather(*(_play(folder / kind, rows, room, streams=kind == "streaming") for kind in _KINDS))
    (streaming, said), (blocking, said_too) = both
    return Played(
        rows={row.name: Observation(streaming=streaming[row.name], blocking=blocking[row.name]) for row in rows},
        printed=said + said_too,
        elapsed_s=time.monotonic() - began_s,
    )


_KINDS = ("streaming", "blocking")


async def _play(
    folder: Path, rows: Sequence[Row], room: asyncio.Semaphore, *, streams: bool
) -> tuple[dict[str, Call], str]:
    async with counter(folder, wirings(rows)) as desk:
        key = await desk.new_key("search")
        async with desk.clerk(key["key"]) as clerk:

            async def one(row: Row, route: Route) -> Call:
                async with room, asyncio.timeout(30):
                    return await desk.call(clerk, route, streams=streams, **dict(row.fields))

            routes = dict(zip((row.name for row in rows), desk.routes.values(), strict=True))
            # Those that may take long first.
            hurried = sorted(rows, key=lambda row: -row.within_s)
            calls = await asyncio.gather(*(one(row, routes[row.name]) for row in hurried))
        return {row.name: call for row, call in zip(hurried, calls, strict=True)}, desk.relay.output


def measured(row: Row, observed: Observation) -> str:
    """Return what a row's calls took, in words."""
    calls = (observed.streaming, observed.blocking)
    took = " and ".join(f"{call.seen.elapsed_s:5.2f}" for call in calls)
    asked = "+".join(str(len(observed.streaming.route.requests(number))) for number in range(1, len(row.engines) + 1))
    return f"{took} s of {row.within_s:.1f} s, {asked} requests, {observed.streaming.seen.words}: {row.name}"
