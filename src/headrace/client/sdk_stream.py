"""Resumable streams in the shape of the stock client's ``Stream`` and ``AsyncStream``."""

from __future__ import annotations

from typing import Self

import httpx2
from openai import APIError
from openai.types.chat import ChatCompletionChunk

from headrace.client.async_stream import AsyncStream
from headrace.client.entry import Entry
from headrace.client.result import Result
from headrace.client.sdk_errors import sdk_error
from headrace.client.stream import Stream
from headrace.errors import RelayError


class ResumableStream:
    """Iterates over ``ChatCompletionChunk`` objects. A context manager.

    Args:
        stream: What it shows.
        request: Stands in the errors.
    """

    def __init__(self, stream: Stream, request: httpx2.Request) -> None:
        self._stream = stream
        self._request = request
        self._entries = stream.entries()

    def open(self) -> Self:
        """Send the request, and return when the server has answered.

        Raises:
            openai.APIError: It refused, or could not be reached.
        """
        try:
            self._stream.__enter__()
        except RelayError as error:
            raise self._told(error) from error
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatCompletionChunk:
        try:
            return chunk_of(next(self._entries))
        except RelayError as error:
            raise self._told(error) from error

    def stop(self) -> None:
        """Stop the engine; iterating goes on with what it has sent, and then ends. May come from any thread."""
        try:
            self._stream.stop()
        except RelayError as error:
            raise self._told(error) from error

    def close(self) -> None:
        """Stop the engine unless it has ended, and close the connection. Idempotent."""
        self._stream.close()

    @property
    def result(self) -> Result:
        """What is known by now; all of it after the end."""
        return self._stream.result

    @property
    def stream_id(self) -> str | None:
        """The stream's id; None when the server is no Headrace."""
        return self._stream.stream_id

    def _told(self, error: RelayError) -> APIError:
        return sdk_error(error, self._request, is_mid_stream=self.result.last_offset >= 0)


class AsyncResumableStream:
    """As ``ResumableStream``, for tasks of asyncio."""

    def __init__(self, stream: AsyncStream, request: httpx2.Request) -> None:
        self._stream = stream
        self._request = request
        self._entries = stream.entries()

    async def open(self) -> Self:
        try:
            await self._stream.__aenter__()
        except RelayError as error:
            raise self._told(error) from error
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        try:
            return chunk_of(await anext(self._entries))
        except RelayError as error:
            raise self._told(error) from error

    async def stop(self) -> None:
        try:
            await self._stream.stop()
        except RelayError as error:
            raise self._told(error) from error

    async def close(self) -> None:
        await self._stream.aclose()

    @property
    def result(self) -> Result:
        return self._stream.result

    @property
    def stream_id(self) -> str | None:
        return self._stream.stream_id

    def _told(self, error: RelayError) -> APIError:
        return sdk_error(error, self._request, is_mid_stream=self.result.last_offset >= 0)


def chunk_of(entry: Entry) -> ChatCompletionChunk:
    """Return an entry as the stock client would: without validation, unknown fields kept."""
    return ChatCompletionChunk.construct(**entry.chunk)
