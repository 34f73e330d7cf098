"""Asking the engine, and reading what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.engines.embedded import EmbeddedEngine
from headrace.types.engine import Endpoint, EngineRequest


class Answer:
    """A generation, read whenever it says so.

    Args:
        engine: Who is asked.
        asked: The user's words, or all messages; for plain completions the prompt.
        endpoint: Contract of the request.
        fields: The others of the request.
    """

    def __init__(
        self,
        engine: EmbeddedEngine,
        asked: str | list[dict[str, str]],
        *,
        endpoint: Endpoint = Endpoint.CHAT,
        **fields: Any,
    ) -> None:
        body: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}, **fields}
        if endpoint is Endpoint.COMPLETIONS:
            body["prompt"] = asked
        else:
            body.setdefault("messages", [{"role": "user", "content": asked}] if isinstance(asked, str) else asked)
        self._ready = asyncio.Event()
        self.chunks: list[dict[str, Any]] = []
        request = EngineRequest(body=msgspec.json.encode(body), endpoint=endpoint)
        self.generation = engine.start(request, self._ready.set)

    @property
    def is_woken(self) -> bool:
        return self._ready.is_set()

    def read(self) -> None:
        chunks = self.generation.read()
        if chunks is not None:
            assert len(chunks.lines()) == len(chunks.views)
            self.chunks += [msgspec.json.decode(line) for line in chunks.lines()]

    async def until(self, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            await self._ready.wait()
            self._ready.clear()
            self.read()

    async def accepted(self) -> None:
        await self.until(lambda: self.generation.is_accepted)

    async def first_content(self) -> None:
        await self.until(lambda: bool(self.text()))

    async def whole(self) -> Answer:
        await self.until(lambda: self.generation.end is not None)
        return self

    def text(self, index: int = 0) -> str:
        return "".join(self.texts(index))

    def texts(self, index: int = 0) -> list[str]:
        """Return the text of each chunk of one choice that has some."""
        choices = [choice for chunk in self.chunks for choice in chunk["choices"] if choice["index"] == index]
        texts = [choice["delta"].get("content") if "delta" in choice else choice["text"] for choice in choices]
        return [text for text in texts if text]

    @property
    def usage(self) -> dict[str, Any]:
        usage: dict[str, Any] = self.chunks[-1]["usage"]
        return usage

    @property
    def computed_prompt_tokens(self) -> int:
        tokens: int = self.chunks[-1]["timings"]["prompt_n"]
        return tokens


async def idle(engine: EmbeddedEngine) -> None:
    """Wait until nothing holds a slot."""
    async with asyncio.timeout(30):
        while engine.active():  # noqa: ASYNC110 (an engine has no event for this, and needs none)
            await asyncio.sleep(0.001)
