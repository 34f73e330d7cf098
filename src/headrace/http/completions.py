"""OpenAI's routes, and chat as lines: each starts a stream and follows it for its client, streaming or blocking."""

from __future__ import annotations

from headrace.http.answers import answer_blocking, answer_streaming
from headrace.http.ask import Ask
from headrace.http.exchange import Exchange
from headrace.http.intake import begin
from headrace.http.node import new_stream_id
from headrace.http.parameters import accepts_lines, linger_s_of, options_of, stream_id_of
from headrace.protocol.encoders import ChatNDJSONEncoder, ChatSSEEncoder, Encoder
from headrace.protocol.request import GenerationRequest, parse_chat_request, parse_completion_request
from headrace.types.engine import Endpoint
from headrace.types.ids import Offset

STREAM_ID_HEADER = "Headrace-Stream-Id"


async def chat_completions(exchange: Exchange) -> None:
    """``POST /v1/chat/completions`` by OpenAI's contract; as lines for who accepts NDJSON."""
    body = await exchange.body()
    request = parse_chat_request(body, max_choices=exchange.node.limits.max_choices)
    await _serve(exchange, request, body, Endpoint.CHAT, as_lines=_wants_lines(exchange, request))


async def completions(exchange: Exchange) -> None:
    """``POST /v1/completions`` by OpenAI's contract; as lines for who accepts NDJSON."""
    body = await exchange.body()
    request = parse_completion_request(body, max_choices=exchange.node.limits.max_choices)
    await _serve(exchange, request, body, Endpoint.COMPLETIONS, as_lines=_wants_lines(exchange, request))


async def chat_stream(exchange: Exchange) -> None:
    """``POST /api/v1/chat/stream``: a chat request in, always lines out."""
    body = await exchange.body()
    request = parse_chat_request(body, max_choices=exchange.node.limits.max_choices)
    await _serve(exchange, request, body, Endpoint.CHAT, as_lines=True)


def _wants_lines(exchange: Exchange, request: GenerationRequest) -> bool:
    """Return whether the answer is lines: NDJSON is named, and no whole object was asked for in so many words."""
    return request.stream is not False and accepts_lines(exchange.headers().get(b"accept", b""))


async def _serve(
    exchange: Exchange, request: GenerationRequest, body: bytes, endpoint: Endpoint, *, as_lines: bool
) -> None:
    node, headers = exchange.node, exchange.headers()
    options = options_of(node, headers, exchange.query())
    linger, proposed = headers.get(b"headrace-linger"), headers.get(b"headrace-stream-id")
    streams = as_lines or bool(request.stream)
    ask = Ask(
        caller=exchange.caller,
        request=request,
        body=body,
        endpoint=endpoint,
        stream_id=new_stream_id() if proposed is None else stream_id_of(proposed.decode("latin-1"), STREAM_ID_HEADER),
        proposed_as=None if proposed is None else STREAM_ID_HEADER,
        request_id=exchange.request_id,
        headers=headers,
        linger_s=None if linger is None else linger_s_of(node, linger.decode("latin-1"), "Headrace-Linger"),
        wants_usage=streams and request.wants_usage,
    )
    begun = await begin(node, ask, waits=exchange.while_here)
    exchange.more_headers = begun.headers
    coalesce_tokens = options.coalesce_tokens if streams else 1
    with node.consumer(
        begun.followed, position=Offset(0), peer=exchange.peer, coalesce_tokens=coalesce_tokens
    ) as consumer:
        if streams:
            encoder: Encoder = ChatNDJSONEncoder() if as_lines else ChatSSEEncoder(stream_id=ask.stream_id)
            await exchange.watched(consumer, answer_streaming(exchange, begun, consumer, encoder, options))
        else:
            await exchange.watched(consumer, answer_blocking(exchange, begun, consumer, endpoint))
