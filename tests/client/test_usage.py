"""What the clients ask of usage, and that both give the same."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest

import headrace
from headrace.client import Usage
from headrace.errors import Unauthorized, UpstreamProtocolError

SUM = {"requests": 1, "prompt_tokens": 2, "cached_tokens": 0, "completion_tokens": 3, "cost_usd": "0.000000001"}
TOTAL = SUM | {
    "generated_tokens": 4, "delivered_tokens": 5, "reported": SUM, "estimated": SUM, "unpriced_requests": 0,
}  # fmt: skip
BODY: dict[str, Any] = {
    "object": "usage", "since": 1.0, "until": 2.0, "by": ["model"], "total": TOTAL, "has_more": False,
    "data": [TOTAL | {"group": {"model": "sim"}}],
}  # fmt: skip


class Relay:
    """Stands in for a relay, for both kinds of client."""

    def __init__(self, status: int = 200, body: dict[str, Any] = BODY) -> None:
        self.asked: list[httpx2.Request] = []
        self._status = status
        self._body = body

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return httpx2.Response(self._status, json=self._body)

    async def usage(self, **options: Any) -> Usage:
        """Ask with both clients; what they ask for and what they give is the same."""
        transport = httpx2.MockTransport(self._answer)
        with httpx2.Client(transport=transport) as connections, headrace.Client(http_client=connections) as client:
            usage = client.usage(**options)
        async with (
            httpx2.AsyncClient(transport=transport) as async_connections,
            headrace.AsyncClient(http_client=async_connections) as async_client,
        ):
            assert await async_client.usage(**options) == usage
        assert self.asked[0].url == self.asked[1].url
        return usage


async def test_usage_is_typed() -> None:
    usage = await Relay().usage()
    [line] = usage.data
    assert (line.group, line.requests, line.reported.completion_tokens) == ({"model": "sim"}, 1, 3)
    assert Decimal(usage.total.cost_usd).scaleb(9) == 1


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, {"by": "model", "limit": "10000"}),
        ({"by": ["owner", "tag:team"], "limit": 5}, {"by": "owner,tag:team", "limit": "5"}),
        ({"by": ()}, {"by": "", "limit": "10000"}),
        ({"since": "2026-11-01"}, {"since": "2026-11-01"}),
        ({"since": datetime(2026, 11, 21, 10, tzinfo=UTC)}, {"since": "1795255200.000000"}),
        ({"since": 5, "until": 1795255200.25}, {"since": "5.000000", "until": "1795255200.250000"}),
        ({"owner": "a&b", "key": "key_1", "model": "x/y"}, {"owner": "a&b", "key": "key_1", "model": "x/y"}),
        ({"tag": ("team", "a:b")}, {"tag": "team:a:b"}),
    ],
)
async def test_what_is_asked_for_is_in_the_query(options: dict[str, Any], query: dict[str, str]) -> None:
    relay = Relay()
    await relay.usage(**options)
    sent = dict(relay.asked[0].url.params)
    assert {name: sent[name] for name in query} == query
    assert sent.keys() == {"by", "limit", *query}


async def test_refusals_and_nonsense_are_errors() -> None:
    error = {"message": "no", "type": "invalid_request_error", "code": "invalid_api_key"}
    with pytest.raises(Unauthorized):
        await Relay(401, {"error": error}).usage()
    with pytest.raises(UpstreamProtocolError):
        await Relay(200, {"object": "usage"}).usage()
