"""``GET /v1/usage``: what requests used and cost, grouped as asked, as JSON or CSV. Members see their own owner's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from headrace.errors import ClientRequestError
from headrace.http.exchange import Exchange
from headrace.http.node import Node
from headrace.http.parameters import whole_number
from headrace.protocol.csv_table import CONTENT_TYPE
from headrace.protocol.usage import Usage, UsageGroup, UsageSum, UsageTotal, usage_csv
from headrace.stream.store import TokenSum, UsageFilter, UsageLine
from headrace.types.access import TAG_NAME_PATTERN, Caller
from headrace.types.bill import dollars
from headrace.types.ids import KeyId

MAX_GROUPS = 10_000
"""Groups in one answer."""

MAX_BY = 4
"""Things grouped by at once."""

GROUPINGS = ("owner", "key", "model", "engine", "state", "day")
PARAMETERS = ("since", "until", "by", "owner", "key", "model", "tag", "limit", "format")

_TAG = "tag:"
_TAG_NAME = re.compile(TAG_NAME_PATTERN)
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].{1,30})?", re.ASCII)

_NOTHING = UsageLine(
    group=(), generated_tokens=0, delivered_tokens=0, reported=TokenSum(), estimated=TokenSum(), unpriced_requests=0
)


class UsageQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to know."""

    filter: UsageFilter
    by: tuple[str, ...]
    limit: int
    is_csv: bool
    is_seen: bool
    """False when the caller may see nothing of what was asked for: then there is nothing, as far as it can tell."""


async def show_usage(exchange: Exchange) -> None:
    """``GET /v1/usage?since=&until=&by=owner,model&owner=&key=&model=&tag=name:value&limit=N&format=json|csv``.

    Raises:
        ClientRequestError: A parameter is unknown or wrong; ``param`` names it.
        StoreError: The usage cannot be read.
    """
    accept = exchange.headers().get(b"accept", b"")
    question = read_question(
        exchange.query(), accept=accept, caller=exchange.caller, now=exchange.node.clocks.wall_time()
    )
    lines, total = await _found(exchange.node, question)
    # Thousands of groups take a while to write down, and streams must not wait for that.
    if question.is_csv:
        body = await asyncio.to_thread(lambda: usage_csv(usage_of(question, lines, total)))
        more = b"true" if len(lines) > question.limit else b"false"
        name = b'attachment; filename="headrace-usage.csv"'
        headers = [(b"cache-control", b"no-store"), (b"content-disposition", name), (b"headrace-has-more", more)]
        await exchange.respond(200, body, content_type=CONTENT_TYPE.encode(), headers=headers)
        return
    body = await asyncio.to_thread(lambda: msgspec.json.encode(usage_of(question, lines, total)))
    await exchange.respond(200, body, headers=[(b"cache-control", b"no-store")])


def read_question(query: Mapping[str, str], *, accept: bytes, caller: Caller, now: float) -> UsageQuestion:
    """Return what a query asks for.

    Args:
        query: Parameters by name.
        accept: The ``Accept`` header.
        caller: Who asks.
        now: Unix seconds.

    Raises:
        ClientRequestError: A parameter is unknown or wrong; ``param`` names it.
    """
    for name in query:
        if name not in PARAMETERS:
            raise _wrong(name[:80], f"is no parameter of usage; there are: {', '.join(PARAMETERS)}")
    since = time_of(query["since"], "since") if "since" in query else month_start(now)
    until = time_of(query["until"], "until") if "until" in query else now
    if since > until:
        raise _wrong("since", "must not be after until (left out, it is the first of this month, UTC)")
    owner = query.get("owner")
    return UsageQuestion(
        filter=UsageFilter(
            since=since,
            until=until,
            owner=owner if caller.is_admin else caller.owner,
            key_id=KeyId(query["key"]) if "key" in query else None,
            model=query.get("model"),
            tag=_tag_of(query["tag"]) if "tag" in query else None,
        ),
        by=grouping_of(query.get("by", "model")),
        limit=whole_number(query.get("limit", str(MAX_GROUPS)), "limit", least=1, most=MAX_GROUPS),
        is_csv=_is_csv(query.get("format"), accept),
        is_seen=owner is None or caller.may_see(owner),
    )


def time_of(text: str, name: str) -> float:
    """Return a moment in Unix seconds: from an ISO date (its beginning) or time, UTC unless it says otherwise, or seconds.

    Raises:
        ClientRequestError: It is none of these.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    # In a query string a plus is a space, and few clients escape it.
    iso = text.replace(" ", "+") if "T" in text else text
    try:
        moment = datetime.fromisoformat(iso) if _ISO.fullmatch(iso) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _wrong(name, "must be a date (2026-11-21), a time (2026-11-21T08:00:00Z), or Unix seconds")
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def month_start(now: float) -> float:
    """Return when the month of a moment began (UTC)."""
    day = datetime.fromtimestamp(now, UTC)
    return datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()


def grouping_of(text: str) -> tuple[str, ...]:
    """Return what is grouped by; empty text groups by nothing.

    Raises:
        ClientRequestError: Something in it is unknown or twice, or there is too much.
    """
    by = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    if len(by) > MAX_BY or len(set(by)) < len(by):
        raise _wrong("by", f"names at most {MAX_BY} different things")
    for part in by:
        is_tag = part.startswith(_TAG) and _TAG_NAME.fullmatch(part.removeprefix(_TAG)) is not None
        if part not in GROUPINGS and not is_tag:
            raise _wrong("by", f"{part[:80]!r} must be one of {', '.join(GROUPINGS)}, tag:NAME")
    return by


def usage_of(question: UsageQuestion, lines: Sequence[UsageLine], total: UsageLine) -> Usage:
    """Return the answer, with at most as many groups as were asked for."""
    return Usage(
        since=question.filter.since,
        until=question.filter.until,
        by=list(question.by),
        data=[_group(question.by, line) for line in lines[: question.limit]],
        total=_total(total),
        has_more=len(lines) > question.limit,
    )


async def _found(node: Node, question: UsageQuestion) -> tuple[list[UsageLine], UsageLine]:
    """Return the groups, one more than asked for when there are more, and the sum of all."""
    if not question.is_seen:
        return [], _NOTHING
    lines = await node.records.usage(question.filter, by=question.by, limit=question.limit + 1)
    if len(lines) <= question.limit:
        return lines, _added(lines)
    return lines, _added(await node.records.usage(question.filter, by=(), limit=1))


def _added(lines: Sequence[UsageLine]) -> UsageLine:
    return UsageLine(
        group=(),
        generated_tokens=sum(line.generated_tokens for line in lines),
        delivered_tokens=sum(line.delivered_tokens for line in lines),
        reported=_plus([line.reported for line in lines]),
        estimated=_plus([line.estimated for line in lines]),
        unpriced_requests=sum(line.unpriced_requests for line in lines),
    )


def _plus(sums: Sequence[TokenSum]) -> TokenSum:
    return TokenSum(
        requests=sum(part.requests for part in sums),
        prompt_tokens=sum(part.prompt_tokens for part in sums),
        cached_tokens=sum(part.cached_tokens for part in sums),
        completion_tokens=sum(part.completion_tokens for part in sums),
        nano_usd=sum(part.nano_usd for part in sums),
    )


def _group(by: Sequence[str], line: UsageLine) -> UsageGroup:
    total = _total(line)
    return UsageGroup(group=dict(zip(by, line.group, strict=True)), **msgspec.structs.asdict(total))


def _total(line: UsageLine) -> UsageTotal:
    both = _sum(_plus([line.reported, line.estimated]))
    return UsageTotal(
        **msgspec.structs.asdict(both),
        generated_tokens=line.generated_tokens,
        delivered_tokens=line.delivered_tokens,
        reported=_sum(line.reported),
        estimated=_sum(line.estimated),
        unpriced_requests=line.unpriced_requests,
    )


def _sum(part: TokenSum) -> UsageSum:
    return UsageSum(
        requests=part.requests,
        prompt_tokens=part.prompt_tokens,
        cached_tokens=part.cached_tokens,
        completion_tokens=part.completion_tokens,
        cost_usd=dollars(part.nano_usd),
    )


def _tag_of(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or _TAG_NAME.fullmatch(name) is None:
        raise _wrong("tag", "must be NAME:VALUE")
    return name, value


def _is_csv(asked: str | None, accept: bytes) -> bool:
    if asked not in {None, "json", "csv"}:
        raise _wrong("format", "must be json or csv")
    return asked == "csv" if asked is not None else b"text/csv" in accept


def _wrong(name: str, what: str) -> ClientRequestError:
    return ClientRequestError(f"{name}: {what}", param=name)
