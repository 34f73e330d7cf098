"""The client for tasks of asyncio. The twin of ``headrace.client.client``."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import httpx2

from headrace.client.address import DEFAULT_URL, Address
from headrace.client.answer import ask_async
from headrace.client.async_http import AsyncHTTPTransport
from headrace.client.async_stream import AsyncStream
from headrace.client.calls import (
    Moment,
    cancel_request,
    chat_headers,
    chat_request,
    erase_request,
    list_request,
    models_request,
    show_request,
    usage_request,
)
from headrace.client.page import Models, Page
from headrace.client.patience import Patience
from headrace.client.plan import Planner, chat_fields, new_stream_id
from headrace.client.session import Session
from headrace.protocol.usage import Usage


class AsyncClient:
    """Talks to a relay; to any other server of OpenAI's chat API too, but then nothing can be resumed.

    A context manager; any thread may use it. Leaving it leaves every stream that it made and that has not ended.

    Args:
        base_url: Where the server is, with or without ``/v1``.
        api_key: Sent as a bearer token. It is in no ``repr`` and in no error.
        patience: How long to wait for what.
        http_client: Makes the connections, for proxies and certificates of one's own; whoever made it closes it.
        clock: Monotonic seconds.
        random: Numbers from 0 up to 1, for the backoff.

    Raises:
        ValueError: ``base_url`` is no http or https URL, or ``api_key`` cannot stand in a header.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        http_client: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        patience = patience or Patience()
        self._address = Address(base_url)
        self._transport = AsyncHTTPTransport(self._address, api_key=api_key, patience=patience, client=http_client)
        self._planner = Planner(patience=patience, clock=clock, random=random)
        self._streams: set[AsyncStream] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._address)!r})"

    async def aclose(self) -> None:
        """Leave all streams and close the connections. Idempotent."""
        for stream in list(self._streams):
            await stream.aclose()
        await self._transport.aclose()

    def chat(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        model: str | None = None,
        linger_s: float = 30.0,
        keep: bool = False,
        stream_id: str | None = None,
        coalesce_tokens: int | None = None,
        **fields: Any,
    ) -> AsyncStream:
        """Return a stream that is about to start: entering it, or iterating, sends the request.

        Args:
            prompt: What the user says; or else ``messages``.
            messages: The chat, in OpenAI's shape.
            model: None takes the relay's default.
            linger_s: How long the engine goes on while this client is cut off, in seconds.
            keep: Let it go on, that long, also when the stream is left before its end.
            stream_id: The stream's id, ``[A-Za-z0-9_-]{1,64}``; None makes one up.
            coalesce_tokens: Let the relay send this many tokens at a time.
            fields: Any other field of OpenAI's chat request.

        Raises:
            ValueError: There is a prompt and messages, or neither.
        """
        stream_id = stream_id or new_stream_id()
        headers = chat_headers(stream_id=stream_id, linger_s=linger_s, coalesce_tokens=coalesce_tokens)
        request = chat_request(chat_fields(prompt, messages, model, fields), headers)
        session = self._planner.start(request, stream_id=stream_id, coalesce_tokens=coalesce_tokens)
        return self._stream(session, keep=keep)

    def attach(
        self,
        stream_id: str,
        *,
        after: int = -1,
        keep: bool = True,
        merge: bool = False,
        coalesce_tokens: int | None = None,
    ) -> AsyncStream:
        """Return a stream that follows one which exists, from any offset.

        Args:
            stream_id: The stream.
            after: The newest offset that the caller has; -1 for none.
            keep: Let it go on when it is left before its end; False stops it.
            merge: Let one entry stand for several, with the offset of the last one.
            coalesce_tokens: Let the relay send this many tokens at a time.
        """
        session = self._planner.attach(stream_id, after=after, merge=merge, coalesce_tokens=coalesce_tokens)
        return self._stream(session, keep=keep)

    async def streams(self, *, state: str | None = None, limit: int = 20, after: str | None = None) -> Page:
        """Return a page of streams, newest first.

        Args:
            state: Only these.
            limit: Most streams in the page.
            after: Id of the stream behind which the page begins: ``last_id`` of the page before.
        """
        return (await ask_async(self._transport, list_request(state=state, limit=limit, after=after))).decoded(Page)

    async def show(self, stream_id: str) -> dict[str, Any]:
        """Return a stream as it stands now.

        Raises:
            StreamNotFound: There is none.
        """
        return (await ask_async(self._transport, show_request(stream_id))).decoded(dict[str, Any])

    async def cancel(self, stream_id: str) -> dict[str, Any]:
        """Stop a stream now and return it; one that has ended stays as it is.

        Raises:
            StreamNotFound: There is none.
        """
        return (await ask_async(self._transport, cancel_request(stream_id))).decoded(dict[str, Any])

    async def erase(self, stream_id: str) -> None:
        """Stop a stream and remove every trace of it.

        Raises:
            StreamNotFound: There is none.
        """
        error = (await ask_async(self._transport, erase_request(stream_id))).error
        if error is not None:
            raise error

    async def usage(
        self,
        *,
        by: Sequence[str] = ("model",),
        since: Moment | None = None,
        until: Moment | None = None,
        owner: str | None = None,
        key: str | None = None,
        model: str | None = None,
        tag: tuple[str, str] | None = None,
        limit: int = 10_000,
    ) -> Usage:
        """Return what requests that have ended used and cost. Without the role admin: those of one's own owner.

        Args:
            by: What is told apart, up to 4 of ``owner``, ``key``, ``model``, ``engine``, ``state``, ``day`` (UTC) and
                ``tag:NAME``; nothing gives one group for all.
            since: When the first of them was accepted; None: in this month.
            until: Before when the last of them was accepted; None: now.
            owner: Only those of this owner.
            key: Only those with the key of this id.
            model: Only those of this model.
            tag: Only those with this tag: name and value.
            limit: Most groups.

        Raises:
            ClientRequestError: The relay does not take one of these.
        """
        request = usage_request(
            by=by, since=since, until=until, owner=owner, key=key, model=model, tag=tag, limit=limit
        )
        return (await ask_async(self._transport, request)).decoded(Usage)

    async def models(self) -> list[str]:
        """Return the names of the models served."""
        return (await ask_async(self._transport, models_request())).decoded(Models).names

    def _stream(self, session: Session, *, keep: bool) -> AsyncStream:
        return AsyncStream(session, self._transport, keep=keep, open_streams=self._streams)
