"""The requests of the wire protocol that a client makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from headrace.client.transport import Request
from headrace.client.wire import NDJSON

Moment = datetime | float | str
"""A moment as the relay takes it: a ``datetime``, Unix seconds, or text: an ISO date or time, UTC unless it says otherwise."""


def chat_headers(*, stream_id: str, linger_s: float, coalesce_tokens: int | None = None) -> dict[str, str]:
    """Return the headers of a chat request whose answer can be resumed."""
    linger = {"Headrace-Stream-Id": stream_id, "Headrace-Linger": f"{linger_s:g}"}
    return {"Accept": NDJSON, **linger, **_coalescing(coalesce_tokens)}


def chat_request(fields: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
    """Return the request that starts a chat."""
    body = msgspec.json.encode({**fields, "stream": True})
    headers = {"Content-Type": "application/json", **headers}
    return Request(method="POST", path="/chat/completions", headers=headers, body=body)


def events_request(stream_id: str, after: int, *, merge: bool = False, coalesce_tokens: int | None = None) -> Request:
    """Return the request for what follows ``after``."""
    headers = {"Accept": NDJSON, **_coalescing(coalesce_tokens)}
    if merge:
        headers["Headrace-Merge"] = "true"
    return Request(method="GET", path=f"{stream_path(stream_id)}/events?after={after}", headers=headers)


def cancel_request(stream_id: str) -> Request:
    return Request(method="POST", path=f"{stream_path(stream_id)}/cancel")


def list_request(*, state: str | None, limit: int, after: str | None) -> Request:
    query = {"limit": limit, "state": state, "after": after}
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return Request(method="GET", path=f"/streams?{given}")


def show_request(stream_id: str) -> Request:
    return Request(method="GET", path=stream_path(stream_id))


def erase_request(stream_id: str) -> Request:
    return Request(method="DELETE", path=stream_path(stream_id))


def usage_request(
    *,
    by: Sequence[str],
    since: Moment | None,
    until: Moment | None,
    owner: str | None,
    key: str | None,
    model: str | None,
    tag: tuple[str, str] | None,
    limit: int,
) -> Request:
    query = {
        "by": ",".join(by),
        "since": _moment(since),
        "until": _moment(until),
        "owner": owner,
        "key": key,
        "model": model,
        "tag": None if tag is None else ":".join(tag),
        "limit": limit,
    }
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return Request(method="GET", path=f"/usage?{given}")


def models_request() -> Request:
    return Request(method="GET", path="/models")


def stream_path(stream_id: str) -> str:
    return f"/streams/{quote(stream_id, safe='')}"


def _moment(moment: Moment | None) -> str | None:
    """Return a moment as text; a ``datetime`` without a time zone is one of this machine's."""
    if moment is None or isinstance(moment, str):
        return moment
    return f"{moment.timestamp() if isinstance(moment, datetime) else moment:.6f}"


def _coalescing(tokens: int | None) -> dict[str, str]:
    return {} if tokens is None else {"Headrace-Coalesce-Tokens": str(tokens)}
