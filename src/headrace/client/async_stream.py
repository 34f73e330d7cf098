"""A stream as tasks see it: does what its ``Session`` says. The twin of ``headrace.client.stream``."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Self, assert_never

from headrace.client.answer import ask_async
from headrace.client.calls import cancel_request
from headrace.client.entry import Entry
from headrace.client.failure import Failure
from headrace.client.result import Result
from headrace.client.session import Over, Read, ReadRefusal, Send, Session, Wait
from headrace.client.transport import AsyncResponse, AsyncTransport, Broken, Unreached
from headrace.errors import RelayError, StreamNotFound

LEAVE_S = 5.0
"""How long leaving a stream may take to tell the relay."""


class AsyncStream:
    """One stream of text, resumed behind the scenes. An async context manager; made by ``AsyncClient``.

    As ``headrace.client.Stream``, with these differences: ``stop`` may come from any task of the same loop; cancelling a
    task that waits for text loses nothing: whoever iterates next goes on behind the last entry, over a new connection. The
    engine then runs on until the block is left.

    Raises (while entering or iterating):
        ClientRequestError: The request is at fault; or the stream is gone, or unknown.
        Overloaded: The server is full.
        UpstreamError: The engine failed.
        StreamCancelled: Somebody else stopped it.
        ConnectionLost: No relay could be reached for too long.
        RelayError: The relay failed, or was restarted.

    Every one of them carries ``result``.
    """

    def __init__(
        self, session: Session, transport: AsyncTransport, *, keep: bool, open_streams: set[AsyncStream]
    ) -> None:
        self._session = session
        self._transport = transport
        self._keep = keep
        self._open_streams = open_streams
        self._ready: deque[Entry] = deque()
        self._response: AsyncResponse | None = None
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self._stop_asked = asyncio.Event()
        self._reading: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        """Send the request, and return when the server has answered."""
        while not self._session.has_begun:
            await self._advance()
        self._raise_error()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[str]:
        """Yield the text of choice 0 as it comes."""
        return (entry.text async for entry in self.entries() if entry.text)

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield every entry once, in order."""
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._session.is_over:
                break
            await self._advance()
        self._raise_error()

    async def read(self) -> Result:
        """Follow to the end and return what became of the stream."""
        async for _ in self.entries():
            pass
        return self.result

    async def stop(self) -> None:
        """Stop the engine; iterating goes on with what it has sent, and then ends. May come from any task.

        Raises:
            RelayError: The relay could not be told. Iterating tells it again when it reconnects.
        """
        must_tell = self._session.request_stop()
        self._stop_asked.set()
        if self._session.is_plain and self._reading is not None:
            self._reading.reschedule(0.0)
        elif must_tell:
            await self._tell()

    async def aclose(self) -> None:
        """Leave the stream: stop the engine unless it has ended or is to be kept, and close the connection. Idempotent."""
        try:
            if self._session.may_run and not self._keep:
                # When the relay cannot be told, the engine stops as soon as it has lingered.
                with contextlib.suppress(RelayError):
                    await self._tell(within_s=LEAVE_S)
        finally:
            self._session.leave()
            self._open_streams.discard(self)
            await self._drop()

    @property
    def result(self) -> Result:
        """What is known by now; all of it after the end."""
        return self._session.result()

    @property
    def stream_id(self) -> str | None:
        """The stream's id, known before the first byte; None when the server turns out to be no Headrace."""
        return self._session.stream_id

    def _raise_error(self) -> None:
        if self._session.error is not None:
            raise self._session.error

    async def _advance(self) -> None:
        """Do one step."""
        try:
            if self._session.take_due_stop():
                with contextlib.suppress(RelayError):
                    await self._tell()
            await self._do_step()
        except Unreached as error:
            self._session.receive_failure(Failure.UNREACHED, error)
        except Broken as error:
            self._session.receive_failure(Failure.BROKEN, error)
        except asyncio.CancelledError:
            self._session.receive_failure(Failure.BROKEN, ConnectionError("the read was cancelled"))
            await self._drop()
            raise
        if not self._session.needs_body:
            await self._drop()
        if self._session.is_over:
            await self.aclose()

    async def _do_step(self) -> None:
        session = self._session
        match session.next_step():
            case Send(request):
                self._open_streams.add(self)
                self._response = await self._transport.send(request)
                session.receive_head(self._response.status, self._response.headers)
            case Read():
                data = await self._next_piece()
                self._ready.extend(session.receive_data(data) if data is not None else session.receive_eof())
            case ReadRefusal(limit_bytes) if self._response is not None:
                session.receive_refusal(await self._response.read(limit_bytes))
            case Wait(seconds):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._stop_asked.wait()
                self._stop_asked.clear()
                session.receive_wake()
            case Over() | ReadRefusal():
                pass
            case step:
                assert_never(step)

    async def _next_piece(self) -> bytes | None:
        if self._pieces is None and self._response is not None:
            self._pieces = self._response.pieces()
        if self._pieces is None:
            return None
        try:
            async with asyncio.timeout(None) as self._reading:
                return await anext(self._pieces, None)
        except TimeoutError as error:
            raise Broken("stopped") from error
        finally:
            self._reading = None

    async def _drop(self) -> None:
        """Give the connection up, or back."""
        if self._pieces is not None:
            await self._pieces.aclose()
        if self._response is not None:
            await self._response.aclose()
        self._pieces = self._response = None

    async def _tell(self, *, within_s: float | None = None) -> None:
        """Tell the relay to stop.

        Raises:
            RelayError: It could not be told.
        """
        request = cancel_request(self._session.stream_id or "")
        error = (await ask_async(self._transport, request, within_s=within_s)).error
        if error is None or (self._session.has_begun and isinstance(error, StreamNotFound)):
            self._session.confirm_stop()
        elif self._session.has_begun:
            raise error
