"""The list of models, ``GET /models``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.keys import KeyRing, Lease
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.rejection import is_rejection, no_key, rejection
from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.response import Response
from headrace.errors import UpstreamError, UpstreamProtocolError, UpstreamRejected, UpstreamTimeout
from headrace.types.engine import EngineEnd


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model]
    has_more: bool | None = None
    last_id: str | None = None


MAX_PAGES = 10
"""Pages of a list that comes in pages."""


async def fetch_models(dialler: Dialler, encoder: RequestEncoder, limits: Limits, *, keys: KeyRing) -> Sequence[str]:
    """Ask the engine for its models, with one key after the other while it rejects them.

    Each time over a connection of its own that is closed afterwards, cancelled or not.

    Returns:
        The model names in the engine's order.

    Raises:
        UpstreamError: The engine cannot be reached (code ``upstream_unreachable``).
        UpstreamTimeout: It did not answer in time.
        UpstreamRejected: It answered with an error status, or there is no key that can be used now.
        UpstreamProtocolError: Its answer is no list of models, or has more than ``MAX_PAGES`` pages.
    """
    lease = keys.take()
    if lease is None:
        raise _rejected(no_key(keys.rest_s()))
    names: list[str] = []
    after: str | None = None
    try:
        for _ in range(MAX_PAGES):
            page = _page(await _fetch(dialler, encoder, limits, lease, after))
            names += [model.id for model in page.data]
            after = page.last_id if encoder.dialect.pages_models and page.has_more else None
            if after is None:
                return names
    finally:
        lease.release()
    raise UpstreamProtocolError(f"The engine's list of models has more than {MAX_PAGES} pages")


async def _fetch(dialler: Dialler, encoder: RequestEncoder, limits: Limits, lease: Lease, after: str | None) -> bytes:
    """Return one page, asked for with one key after the other while the engine rejects them."""
    while True:
        response = Response(max_head_bytes=limits.max_head_bytes)
        request = encoder.models_request(after) + encoder.dialect.head_end(lease.secret)
        body = await _ask(dialler, response, request, limits)
        if not is_rejection(response.status):
            lease.accept()
            return body
        end = rejection(response, body, secrets=lease.secrets(), wall_time=time.time())
        if not lease.move(response.status, end.retry_after_s):
            raise _rejected(end)


async def _ask(dialler: Dialler, response: Response, request: bytes, limits: Limits) -> bytes:
    """Send a request, feed its response and return the body."""
    connection = await dialler.dial()
    try:
        async with asyncio.timeout(limits.models_timeout_s):
            connection.send(request)
            return await _body(connection, response, max_body_bytes=limits.max_models_body_bytes)
    except TimeoutError as error:
        raise UpstreamTimeout("The engine did not list its models in time") from error
    except OSError as error:
        raise UpstreamError("The connection to the engine broke", code="upstream_closed") from error
    finally:
        connection.close()


def _page(body: bytes) -> _ModelList:
    try:
        return msgspec.json.decode(body, type=_ModelList)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamProtocolError("The engine's list of models is not what its API describes") from error


def _rejected(end: EngineEnd) -> UpstreamRejected:
    return UpstreamRejected(end.message or "", retry_after_s=end.retry_after_s)


async def _body(connection: Connection, response: Response, *, max_body_bytes: int) -> bytes:
    readable = asyncio.Event()
    connection.watch(readable.set)
    body = bytearray()
    while not response.is_complete:
        await readable.wait()
        readable.clear()
        data = connection.receive()
        if data is None:
            continue
        if data:
            response.receive_data(data)
        elif not response.receive_eof():
            raise UpstreamProtocolError("The engine closed the connection before its answer was complete")
        body += response.take_body()
        if len(body) > max_body_bytes:
            raise UpstreamProtocolError(f"The engine's list of models is longer than {max_body_bytes} bytes")
    return bytes(body)
