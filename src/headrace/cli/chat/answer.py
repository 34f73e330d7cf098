"""One answer: asked for, shown while it comes, stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from headrace.cli.chat.line import Line
from headrace.cli.chat.painter import Painter
from headrace.cli.chat.prompt import quiet_keyboard
from headrace.cli.remote import reached, unreachable
from headrace.cli.untrusted import ControlStripper
from headrace.client import AsyncClient, AsyncStream, Entry, Result
from headrace.errors import ConnectionLost, RelayError
from headrace.protocol.chunk_view import choices_of
from headrace.types.outcome import State

PATIENCE_S = 0.5
"""How long a stop may take before something is said about it."""

OpenClient = Callable[[httpx2.AsyncClient], AsyncClient]


@dataclass(frozen=True)
class Answered:
    """What became of one request."""

    result: Result
    """As far as it came."""
    error: RelayError | None = None
    """Why it is not whole, unless the user stopped it."""
    was_stopped: bool = False

    @property
    def is_whole(self) -> bool:
        return self.result.state is State.COMPLETED


class Answers:
    """Asks a relay, one question at a time; a context manager.

    Args:
        url: Where the relay is, for messages.
        open_client: Makes a client of connections. Each answer has its own: none is held while the user thinks.
        fields: Of every request: model, temperature and the like.
        painter: Makes what shows an answer.
        keyboard: Descriptor of the terminal that the user types at; None when it is none.
    """

    def __init__(
        self,
        url: str,
        *,
        open_client: OpenClient,
        fields: Mapping[str, Any],
        painter: Callable[[], Painter],
        keyboard: int | None,
    ) -> None:
        self._url = url
        self._open_client = open_client
        self._fields = fields
        self._painter = painter
        self._keyboard = keyboard
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def models(self) -> list[str]:
        """Return the names of the models served.

        Raises:
            RelayError: The relay cannot be reached, or refuses.
        """
        return self._runner.run(self._models())

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> Answered:
        """Show the answer to ``messages`` and return what became of it; Ctrl-C stops the engine."""
        try:
            with quiet_keyboard(self._keyboard):
                return self._runner.run(self._ask(messages))
        except* BrokenPipeError as errors:
            # Who reads our output has gone.
            raise BrokenPipeError(errno.EPIPE, "output is closed") from errors

    async def _models(self) -> list[str]:
        async with httpx2.AsyncClient() as connections, self._open_client(connections) as client:
            with reached(self._url):
                return await client.models()

    async def _ask(self, messages: Sequence[Mapping[str, Any]]) -> Answered:
        painter = self._painter()
        line = Line(painter.notice)
        async with (
            httpx2.AsyncClient(event_hooks=line.hooks) as connections,
            self._open_client(connections) as client,
            asyncio.TaskGroup() as group,
        ):
            stream = client.chat(messages=messages, **self._fields)
            following = group.create_task(_follow(stream, painter), name="follow")
            stop = _Stop(stream, following, group, painter)
            with _on_interrupt(stop.ask):
                await asyncio.wait([following])
            stop.end()
        painter.finish()
        result = stream.result
        error = None if following.cancelled() else following.result()
        if isinstance(error, ConnectionLost) and result.last_offset < 0:
            error = unreachable(self._url)
        return Answered(result, error, was_stopped=stop.is_asked)


class _Stop:
    """What Ctrl-C does: the first stops the engine, the second waits no longer for that."""

    def __init__(
        self, stream: AsyncStream, following: asyncio.Task[Any], group: asyncio.TaskGroup, painter: Painter
    ) -> None:
        self._stream = stream
        self._following = following
        self._group = group
        self._painter = painter
        self._telling: asyncio.Task[None] | None = None

    @property
    def is_asked(self) -> bool:
        return self._telling is not None

    def ask(self) -> None:
        if self._telling is None:
            self._telling = self._group.create_task(self._tell(), name="stop")
        else:
            self.end()
            self._following.cancel()

    def end(self) -> None:
        """There is nothing left to stop."""
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        with contextlib.suppress(TimeoutError, RelayError):
            async with asyncio.timeout(PATIENCE_S):
                await self._stream.stop()
                await asyncio.sleep(PATIENCE_S)
        # The relay is away. The stream tells it when it is back; without us the engine stops when it has lingered.
        self._painter.notice("stopping … Ctrl-C again waits no longer")


async def _follow(stream: AsyncStream, painter: Painter) -> RelayError | None:
    """Show a stream to its end; returns why it is not whole, if it is not."""
    stripper = ControlStripper()
    is_silent = True
    try:
        async with stream:
            async for entry in stream.entries():
                if entry.text:
                    painter.write(stripper.feed(entry.text))
                elif is_silent and _is_thought(entry):
                    painter.notice("thinking …")
                is_silent = is_silent and not entry.text and not _is_thought(entry)
    except RelayError as error:
        return error
    return None


def _is_thought(entry: Entry) -> bool:
    """Whether an entry bears reasoning, which is not shown."""
    return any(delta.get("reasoning_content") or delta.get("reasoning") for _, _, delta in choices_of(entry.chunk))


@contextmanager
def _on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` on Ctrl-C until the block ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
