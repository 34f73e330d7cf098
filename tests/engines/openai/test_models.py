from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.keys import KeyRing, UpstreamKey
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.models import fetch_models
from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.url import BaseURL
from headrace.errors import UpstreamError, UpstreamProtocolError, UpstreamRejected, UpstreamTimeout

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Peer, Serve


KEY = "sk-0123456789"
OTHER_KEY = "sk-9876543210"
LIST = b'{"object":"list","data":[{"id":"b","object":"model"},{"id":"a"}]}'
FAST = Limits(connect_timeout_s=10, models_timeout_s=10, max_models_body_bytes=1000)


def answer(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


def ring(*secrets: str) -> KeyRing:
    return KeyRing([UpstreamKey(f"env:{secret}", secret) for secret in secrets], clock=lambda: 0.0)


async def ask(serve: Serve, *parts: bytes, limits: Limits = FAST, hold: bool = False) -> list[str]:
    async def engine(peer: Peer) -> None:
        line, headers, _ = await peer.request()
        assert line == "GET /v1/models HTTP/1.1"
        assert headers["authorization"] == f"Bearer {KEY}"
        await peer.send(*parts)
        if hold:
            await peer.gone()

    base_url = BaseURL.parse((await serve(engine)).url)
    dialler = Dialler(base_url, timeout_s=limits.connect_timeout_s, ssl_context=None)
    return list(await fetch_models(dialler, RequestEncoder(base_url), limits, keys=ring(KEY)))


@pytest.mark.parametrize(
    "message",
    [
        answer(LIST),
        b"HTTP/1.1 200 OK\r\n\r\n" + LIST,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST),
    ],
    ids=["length", "close", "chunked"],
)
async def test_names_come_in_the_engines_order(serve: Serve, message: bytes) -> None:
    assert await ask(serve, message[:30], message[30:]) == ["b", "a"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (answer(b"{}"), UpstreamProtocolError),
        (answer(b"\xff"), UpstreamProtocolError),
        (answer(b'{"data":[{"id":1}]}'), UpstreamProtocolError),
        (answer(b'{"data":[' + b" " * 2000), UpstreamProtocolError),
        (answer(LIST)[:-1], UpstreamProtocolError),
        (b"SSH-2.0\r\n", UpstreamProtocolError),
        (b"", UpstreamProtocolError),
        (answer(b"", 204), UpstreamProtocolError),
        (answer(KEY.encode(), 401), UpstreamRejected),
        (answer(b'{"error":{"message":"' + KEY.encode() + b'"}}', 500), UpstreamRejected),
    ],
)
async def test_anything_else_is_the_engines_fault(serve: Serve, message: bytes, error: type[UpstreamError]) -> None:
    with pytest.raises(error) as caught:
        await ask(serve, message)
    assert caught.value.status == 502
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_key_that_is_rejected_makes_room_for_the_next(serve: Serve, status: int) -> None:
    seen: list[str] = []

    async def engine(peer: Peer) -> None:
        seen.append((await peer.request())[1]["authorization"])
        await peer.send(answer(b"", status) if seen[-1].endswith(KEY) else answer(LIST))

    keys = ring(KEY, OTHER_KEY)
    base_url = BaseURL.parse((await serve(engine)).url)
    dialler = Dialler(base_url, timeout_s=10, ssl_context=None)
    assert list(await fetch_models(dialler, RequestEncoder(base_url), FAST, keys=keys)) == ["b", "a"]
    assert seen == [f"Bearer {KEY}", f"Bearer {OTHER_KEY}"]
    assert [state.running for state in keys.states()] == [0, 0]
    keys.replace([UpstreamKey("env:left", KEY)])
    if status == 401:
        with pytest.raises(UpstreamRejected, match="check the keys"):
            await fetch_models(dialler, RequestEncoder(base_url), FAST, keys=keys)
    elif status == 429:
        with pytest.raises(UpstreamRejected, match="rate limit") as caught:
            await fetch_models(dialler, RequestEncoder(base_url), FAST, keys=keys)
        assert caught.value.retry_after_s == 1.0
        assert len(seen) == 2, "no request goes out"


async def test_silence_is_bounded(serve: Serve) -> None:
    with pytest.raises(UpstreamTimeout):
        await ask(serve, answer(LIST)[:-1], limits=Limits(models_timeout_s=0.05), hold=True)


async def test_a_broken_connection_says_so(serve: Serve) -> None:
    async def engine(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    base_url = BaseURL.parse((await serve(engine)).url)
    dialler = Dialler(base_url, timeout_s=10, ssl_context=None)
    with pytest.raises(UpstreamError) as caught:
        await fetch_models(dialler, RequestEncoder(base_url), FAST, keys=ring())
    assert caught.value.code == "upstream_closed"


async def test_cancelling_closes_the_connection(serve: Serve) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()
        left.set()

    base_url = BaseURL.parse((await serve(engine)).url)
    dialler = Dialler(base_url, timeout_s=10, ssl_context=None)
    task = asyncio.ensure_future(fetch_models(dialler, RequestEncoder(base_url), FAST, keys=ring()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(left.wait(), 10)
