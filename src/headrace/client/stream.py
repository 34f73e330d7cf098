"""A stream as threads see it: does what its ``Session`` says."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Self, assert_never

from headrace.client.answer import ask
from headrace.client.calls import cancel_request
from headrace.client.entry import Entry
from headrace.client.failure import Failure
from headrace.client.result import Result
from headrace.client.session import Over, Read, ReadRefusal, Send, Session, Wait
from headrace.client.transport import Broken, Response, Transport, Unreached
from headrace.errors import RelayError, StreamNotFound

LEAVE_S = 5.0
"""How long leaving a stream may take to tell the relay."""


class Stream:
    """One stream of text, resumed behind the scenes. A context manager; made by ``Client.chat`` and ``Client.attach``.

    Iterating gives the text of choice 0, piece by piece; ``entries`` gives whole chunks. One thread may iterate at a time;
    ``stop`` may come from any. Iterating ends normally after a whole answer and after ``stop``; anything else raises, after
    everything that came has been given.

    Leaving the block before the end stops the engine, unless the stream was made with ``keep=True``. So does an exception
    in the middle of waiting for text: after Ctrl-C no engine runs on for nobody.

    Raises (while entering or iterating):
        ClientRequestError: The request is at fault; or the stream is gone, or unknown.
        Overloaded: The server is full.
        UpstreamError: The engine failed.
        StreamCancelled: Somebody else stopped it.
        ConnectionLost: No relay could be reached for too long.
        RelayError: The relay failed, or was restarted.

    Every one of them carries ``result``.
    """

    def __init__(self, session: Session, transport: Transport, *, keep: bool, open_streams: set[Stream]) -> None:
        self._session = session
        self._transport = transport
        self._keep = keep
        self._open_streams = open_streams
        self._ready: deque[Entry] = deque()
        self._response: Response | None = None
        self._pieces: Generator[bytes, None] | None = None
        self._stop_asked = threading.Event()

    def __enter__(self) -> Self:
        """Send the request, and return when the server has answered."""
        while not self._session.has_begun:
            self._advance()
        self._raise_error()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """Yield the text of choice 0 as it comes."""
        return (entry.text for entry in self.entries() if entry.text)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry once, in order."""
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._session.is_over:
                break
            self._advance()
        self._raise_error()

    def read(self) -> Result:
        """Follow to the end and return what became of the stream."""
        for _ in self.entries():
            pass
        return self.result

    def stop(self) -> None:
        """Stop the engine; iterating goes on with what it has sent, and then ends. May come from any thread.

        Raises:
            RelayError: The relay could not be told. Iterating tells it again when it reconnects.
        """
        must_tell = self._session.request_stop()
        self._stop_asked.set()
        if self._session.is_plain and self._response is not None:
            self._response.interrupt()
        elif must_tell:
            self._tell()

    def close(self) -> None:
        """Leave the stream: stop the engine unless it has ended or is to be kept, and close the connection. Idempotent."""
        try:
            if self._session.may_run and not self._keep:
                # When the relay cannot be told, the engine stops as soon as it has lingered.
                with contextlib.suppress(RelayError):
                    self._tell(within_s=LEAVE_S)
        finally:
            self._session.leave()
            self._open_streams.discard(self)
            self._drop()

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

    def _advance(self) -> None:
        """Do one step."""
        try:
            if self._session.take_due_stop():
                with contextlib.suppress(RelayError):
                    self._tell()
            self._do_step()
        except Unreached as error:
            self._session.receive_failure(Failure.UNREACHED, error)
        except Broken as error:
            self._session.receive_failure(Failure.BROKEN, error)
        except BaseException:
            # Ctrl-C, mostly: no engine shall run on for nobody.
            self.close()
            raise
        if not self._session.needs_body:
            self._drop()
        if self._session.is_over:
            self.close()

    def _do_step(self) -> None:
        session = self._session
        match session.next_step():
            case Send(request):
                self._open_streams.add(self)
                self._response = self._transport.send(request)
                session.receive_head(self._response.status, self._response.headers)
            case Read():
                data = self._next_piece()
                self._ready.extend(session.receive_data(data) if data is not None else session.receive_eof())
            case ReadRefusal(limit_bytes) if self._response is not None:
                session.receive_refusal(self._response.read(limit_bytes))
            case Wait(seconds):
                self._stop_asked.wait(seconds)
                self._stop_asked.clear()
                session.receive_wake()
            case Over() | ReadRefusal():
                pass
            case step:
                assert_never(step)

    def _next_piece(self) -> bytes | None:
        if self._pieces is None and self._response is not None:
            self._pieces = self._response.pieces()
        return next(self._pieces, None) if self._pieces is not None else None

    def _drop(self) -> None:
        """Give the connection up, or back."""
        if self._pieces is not None:
            self._pieces.close()
        if self._response is not None:
            self._response.close()
        self._pieces = self._response = None

    def _tell(self, *, within_s: float | None = None) -> None:
        """Tell the relay to stop.

        Raises:
            RelayError: It could not be told.
        """
        error = ask(self._transport, cancel_request(self._session.stream_id or ""), within_s=within_s).error
        if error is None or (self._session.has_begun and isinstance(error, StreamNotFound)):
            self._session.confirm_stop()
        elif self._session.has_begun:
            raise error
