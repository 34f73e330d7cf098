"""``/v1/completions/stream``: one prompt in, text out, for a browser's ``EventSource`` and for one line of curl.

An EventSource reconnects by itself, with the same URL and the id of the last event it saw. So the first event carries an id
before there is any text, and a request with ``Last-Event-ID`` attaches to the stream that the id names, and never starts
another one.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.errors import ClientRequestError
from headrace.http.answers import follow
from headrace.http.ask import Ask
from headrace.http.exchange import Exchange
from headrace.http.followed import Followed
from headrace.http.intake import begin
from headrace.http.node import Node, new_stream_id
from headrace.http.parameters import asked, linger_s_of, options_of, stream_id_of, whole_number
from headrace.http.streams import next_position
from headrace.http.visible import log_of
from headrace.policy.tickets import TICKET_S
from headrace.protocol.encoders import TokenSSEEncoder
from headrace.protocol.request import parse_chat_request
from headrace.types.engine import Endpoint
from headrace.types.ids import Offset, StreamId

DEFAULT_MAX_TOKENS = 256

_NUMBERS: dict[str, type[int | float]] = {"max_tokens": int, "temperature": float, "top_p": float, "seed": int}
_PARAMETERS = frozenset(
    {"prompt", "model", "system", *_NUMBERS, "linger", "ticket", "coalesce_tokens", "merge"},
)

_decoder = msgspec.json.Decoder(dict[str, Any])


async def get_completion_stream(exchange: Exchange) -> None:
    """``GET /v1/completions/stream?prompt=TEXT``: starts a stream, or goes on with the one of ``Last-Event-ID``."""
    query = exchange.query()
    unknown = query.keys() - _PARAMETERS
    if unknown:
        name = min(unknown)[:64]
        raise ClientRequestError(
            f"unknown parameter {name!r}; known: {', '.join(sorted(_PARAMETERS))}", param=name, code="unknown_parameter"
        )
    last_event_id = exchange.headers().get(b"last-event-id")
    if last_event_id:
        await _attach(exchange, query, last_event_id.decode("latin-1"))
        return
    await _start(exchange, query, _fields_of_query(query))


async def post_completion_stream(exchange: Exchange) -> None:
    """``POST /v1/completions/stream`` with ``{"prompt": TEXT, …}``; every other field is one of a chat request."""
    body = await exchange.body()
    last_event_id = exchange.headers().get(b"last-event-id")
    if last_event_id:
        await _attach(exchange, {}, last_event_id.decode("latin-1"))
        return
    try:
        fields = _decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise ClientRequestError(f"the body is not a JSON object: {error}", code="invalid_json") from error
    await _start(exchange, {}, _with_messages(fields, fields.pop("prompt", None), fields.pop("system", None)))


async def issue_ticket(exchange: Exchange) -> None:
    """``POST /v1/tickets``: a word for one use in a URL, where a key must not stand."""
    ticket = exchange.node.tickets.issue(exchange.caller.credential)
    answer = {"object": "ticket", "ticket": ticket, "expires_in": int(TICKET_S)}
    await exchange.respond_json(answer, status=201, headers=[(b"cache-control", b"no-store")])


def _fields_of_query(query: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": query["model"]} if "model" in query else {}
    for name, kind in _NUMBERS.items():
        if name in query:
            fields[name] = _number(query[name], name, kind)
    return _with_messages(fields, query.get("prompt"), query.get("system"))


def _number(text: str, name: str, kind: type[int | float]) -> float:
    try:
        number = kind(text[:32])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ClientRequestError(f"{name} must be a number", param=name)
    return number


def _with_messages(fields: dict[str, Any], prompt: Any, system: Any) -> dict[str, Any]:
    """Return a chat request: the prompt is the user's only message."""
    if not isinstance(prompt, str) or not prompt:
        raise ClientRequestError("prompt must be a text that is not empty", param="prompt")
    if system is not None and not isinstance(system, str):
        raise ClientRequestError("system must be a text", param="system")
    messages = [{"role": "system", "content": system}] if system else []
    return {
        "max_tokens": DEFAULT_MAX_TOKENS,
        **{name: value for name, value in fields.items() if value is not None},
        "messages": [*messages, {"role": "user", "content": prompt}],
        "stream": True,
    }


async def _start(exchange: Exchange, query: dict[str, str], fields: dict[str, Any]) -> None:
    node, headers = exchange.node, exchange.headers()
    # Browsers send it with every EventSource, whatever the page wants.
    headers.pop(b"cache-control", None)
    body = msgspec.json.encode(fields)
    request = parse_chat_request(body, max_choices=1)
    stream_id = new_stream_id()
    options, linger_s = options_of(node, headers, query), _linger_s(node, query, headers)
    if "ticket" in query:
        exchange.caller = node.gate.caller_of(node.tickets.redeem(query["ticket"], stream_id))
    ask = Ask(
        caller=exchange.caller,
        request=request,
        body=body,
        endpoint=Endpoint.CHAT,
        stream_id=stream_id,
        request_id=exchange.request_id,
        headers=headers,
        linger_s=linger_s,
        wants_usage=False,
    )
    begun = await begin(node, ask, waits=exchange.while_here)
    exchange.more_headers = begun.headers
    with node.consumer(
        begun.followed, position=Offset(0), peer=exchange.peer, coalesce_tokens=options.coalesce_tokens
    ) as consumer:
        await exchange.watched(consumer, _follow(exchange, begun.followed, consumer, options))


async def _attach(exchange: Exchange, query: dict[str, str], last_event_id: str) -> None:
    """Go on behind the event that the client saw last."""
    node = exchange.node
    stream_id, after = _place_of(last_event_id)
    if "ticket" in query:
        exchange.caller = node.gate.caller_of(node.tickets.attach(query["ticket"], stream_id))
    followed = await log_of(node, exchange.caller, stream_id)
    log = followed.log
    if log.published_end is not None and after == log.published:
        # The client has all of it. WHATWG HTML 9.2.3: 204 tells an EventSource to stop reconnecting.
        await exchange.start(204, followed.headers())
        await exchange.finish()
        return
    options = options_of(node, exchange.headers(), query)
    position = next_position(node, followed, after, param="Last-Event-ID")
    with node.consumer(
        followed, position=position, peer=exchange.peer, coalesce_tokens=options.coalesce_tokens
    ) as consumer:
        await exchange.watched(consumer, _follow_on(exchange, followed, consumer, options))


async def _follow_on(exchange: Exchange, followed: Followed, consumer: Consumer, options: DeliveryOptions) -> None:
    await consumer.probe()
    await _follow(exchange, followed, consumer, options)


async def _follow(exchange: Exchange, followed: Followed, consumer: Consumer, options: DeliveryOptions) -> None:
    encoder = TokenSSEEncoder(stream_id=followed.stream_id)
    first = encoder.head(consumer.position - 1, retry_ms=exchange.node.settings.stream.retry_ms)
    await follow(exchange, followed, consumer, encoder, options, first=first)


def _linger_s(node: Node, query: dict[str, str], headers: dict[bytes, bytes]) -> float | None:
    linger = asked(query, "linger", headers, "Headrace-Linger")
    return node.timeouts.reconnect_s or None if linger is None else linger_s_of(node, *linger)


def _place_of(last_event_id: str) -> tuple[StreamId, Offset]:
    """Return the stream and the offset that an event's id names.

    Raises:
        ClientRequestError: It is no id of an event of this route.
    """
    stream_id, colon, offset = last_event_id.rpartition(":")
    if not colon:
        raise ClientRequestError("Last-Event-ID must be the id of an event of this route", param="Last-Event-ID")
    return (
        stream_id_of(stream_id, "Last-Event-ID"),
        Offset(whole_number(offset, "Last-Event-ID", least=-1, most=2**62)),
    )
