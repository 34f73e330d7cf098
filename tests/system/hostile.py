"""Hostile input for every door: made from a seed, so that what broke something once breaks it again.

Each public generator yields inputs for one door without end. What they have in common: most of an input is right, so that
it gets past the first check, and one to three things are wrong with it. None asks for an answer that would take long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

SECRET = b"sk-hostile.4f9a17c6d2e84b05"
"""Stands wherever people put keys by mistake. Nothing may repeat it."""

MAX_BODY_BYTES = 256 * 1024
"""``server.max_body_bytes`` of the relay that is tested."""
MAX_FRAME_BYTES = 1024 * 1024
"""``limits.max_frame_bytes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What is sent at once."""

    data: bytes
    is_last: bool = False
    """Nothing can follow on this connection: the framing is broken, or the method makes its answer hard to read."""
    leaves: bool = False
    """The client closes without waiting for an answer, since none need come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What exists at the relay, so that some inputs hit it."""

    streams: Sequence[str]
    """Ids of ended streams."""
    tickets: Sequence[str]


# --- values: JSON

_VALUES = (
    *(b"null", b"true", b"false", b"0", b"1", b"2", b"-1", b"-0", b"1.5", b"1e2", b"1e400", b"-1e400", b"1e-400"),
    *(b"9" * 20, b"18446744073709551616", b"9" * 400, b"-" + b"9" * 5000, b"0." + b"3" * 3000, b'"' + b"x" * 70_000 + b'"'),
    *(b'""', b'" "', b'"sim"', b'"true"', b'"1"', b'"user"', b'"\\u0000"', b'"\\ud83d"', b'"\\ude00\\ud83d"', b'"\\ud83d\\ude00"'),
    *(b'"\xe2\x80\xae"', b'"\xf0\x9f\x99\x82"', b'{"a":1,"a":2}', b'{"":""}', b'{"\\ud83d":1}', b'{"type":"start"}'),
    *(b"[]", b"{}", b"[null]", b"[[]]", b"[{}]", b'[""]', b"[" + b"1," * 5000 + b"1]", b'["a"]', b'[{"role":"user"}]'),
)  # fmt: skip
_MALFORMED_VALUES = (
    *(b"NaN", b"Infinity", b"-Infinity", b"-", b"01", b"0x10", b"1_000", b"undefined", b"/**/1", b"'a'", b""),
    *(b'"\xff\xfe"', b'"\xed\xa0\xbd"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', b'"a\x00b"', b'"\x1b[2J"', b'"a\nb"'),
    *(b'"\\x"', b'"\\u12"', b'"\\', b'"', b'"a" "b"', b"[1,2", b"[1,]", b"{,}", b'{"a":1,}', b"{1:2}"),
)  # fmt: skip

_BODIES = (
    *(b"", b" ", b"\n", b"null", b"[]", b"1", b'"x"', b"{", b"}", b"{}", b"[{}]", b"\x00", b"\xff", b"\xef\xbb\xbf{}"),
    *('{"messages":[]}'.encode("utf-16"), b"{}{}", b"{} x", b"a=1&b=2", b"<xml/>", b"data: {}\n\n", b"\x1f\x8b\x08\x00", b"NaN"),
)  # fmt: skip

_DEPTHS = (2, 40, 200, *range(980, 1010), 2000, 20_000)


def _nested(rng: Random) -> bytes:
    depth = rng.choice(_DEPTHS)
    if rng.random() < 0.5:
        return b"".join((b"[" * depth, b"]" * depth))
    return b"".join((b'{"a":' * depth, b"1", b"}" * depth))


def _value(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.03:
        return _nested(rng)
    return rng.choice(_MALFORMED_VALUES if kind < 0.2 else _VALUES)


def _object(rng: Random, needed: Mapping[bytes, bytes], others: Mapping[bytes, bytes]) -> bytes:
    """Return a JSON object with the needed fields and some others, in most of which something is wrong."""
    members = [*needed.items(), *rng.sample(sorted(others.items()), rng.randrange(min(4, len(others) + 1)))]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        rng.choice(_CHANGES)(rng, members, {**needed, **others})
    text = b"{%b}" % b",".join(b'"%b":%b' % member for member in members)
    return _scratched(rng, text) if rng.random() < 0.15 else text


Members = list[tuple[bytes, bytes]]


def _replace(rng: Random, members: Members, _: Mapping[bytes, bytes]) -> None:
    if members:
        place = rng.randrange(len(members))
        members[place] = (members[place][0], _value(rng))


def _scratch_value(rng: Random, members: Members, _: Mapping[bytes, bytes]) -> None:
    if members:
        place = rng.randrange(len(members))
        members[place] = (members[place][0], _scratched(rng, members[place][1]))


def _drop(rng: Random, members: Members, _: Mapping[bytes, bytes]) -> None:
    if members:
        del members[rng.randrange(len(members))]


def _repeat(rng: Random, members: Members, _: Mapping[bytes, bytes]) -> None:
    if members:
        members.insert(rng.randrange(len(members) + 1), (rng.choice(members)[0], _value(rng)))


def _add_known(rng: Random, members: Members, known: Mapping[bytes, bytes]) -> None:
    members.append((rng.choice(sorted(known)), _value(rng)))


def _add_unknown(rng: Random, members: Members, _: Mapping[bytes, bytes]) -> None:
    name = rng.choice(
        (b"api_key", b"", b"Model", b"messages ", b"\\u0000", b"__proto__", b"\xff", b"x" * 5000, b"\\ud83d")
    )
    members.append((name, b'"%b"' % SECRET if name == b"api_key" else _value(rng)))


_CHANGES: tuple[Callable[[Random, Members, Mapping[bytes, bytes]], None], ...] = (
    *(_replace, _replace, _add_known),
    *(_scratch_value, _drop, _repeat, _add_known, _add_known, _add_unknown),
)


def _scratched(rng: Random, data: bytes) -> bytes:
    """Return ``data`` with a few bytes changed, lost, doubled or put in."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        place, size = rng.randrange(len(changed) + 1), rng.randrange(1, 6)
        kind = rng.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + size]
        elif kind == 2:
            changed[place:place] = rng.randbytes(size)
        elif kind == 3:
            changed[place:place] = changed[place : place + 40]
        else:
            del changed[place:]
    return bytes(changed)


# --- values: text

_TEXTS = (
    *(b"", b" ", b"true", b"false", b"TRUE", b"yes", b"None", b"0", b"1", b"-1", b"-0", b"+1", b"1.5", b".5", b"1e3", b"1e400"),
    *(b"nan", b"inf", b"-inf", b"Infinity", b"1_000", b"0x10", b"\xb2", b"\xd9\xa1", b"9" * 19, b"9" * 30, b"9" * 5000, b"2000"),
    *(b"\xff\xfe", b"\x80", b"\xf0\x9f\x99\x82", b"\t", b"\x00", b"\x07", b"\x7f", b"\x1b[31m", b"\xc2\xa0", b"\xe2\x80\xae"),
    *(b"' OR 1=1 --", b"../../etc/passwd", b"%00", b"%s%n%p", b"${jndi:ldap://x}", b"<script>alert(1)</script>", b"a b", b"a/b"),
    *(b"x" * 64, b"x" * 65, b"x" * 9000, b"x" * 70_000, b"a," * 10_000, b";;;,,,", b"=", b'"', b"\\", b"*", b"*/*"),
    *(b"application/x-ndjson", b"text/event-stream;q=0", b"application/json; charset=utf-16", b"multipart/form-data; boundary="),
    *(b"gzip;q=2, br;q=nan, zstd;q=", b"gzip;q=1e-400", b"*;q=0, identity;q=0", b"br" + b",br" * 2000, b"gzip"),
    *(b":", b"a:b:c", b"x:-1", b"x:-2", b"x:" + b"9" * 30, b"never:5", b"never", b"completed", b"in_progress", SECRET),
)  # fmt: skip


def _text(rng: Random) -> bytes:
    """Return text that stays on one line."""
    if rng.random() < 0.8:
        return rng.choice(_TEXTS)
    return rng.randbytes(rng.randrange(1, 40)).replace(b"\r", b"").replace(b"\n", b"")


def _percented(data: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in data)


def _query_text(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.5:
        return _percented(_text(rng)[:6000])
    if kind < 0.7:
        return rng.choice(
            (b"%", b"%z", b"%zz", b"%%", b"%0", b"%ff%fe", b"%ed%a0%80", b"%00", b"%0d%0aX:%20y", b"+", b"%u0041")
        )
    if kind < 0.9:
        return rng.choice((b"hi", b"1", b"true", b"sim", b"5", b"-1", b"0.5", b"completed"))
    return _text(rng)[:6000].replace(b" ", b"+").replace(b"#", b"")


def _query(rng: Random, known: Sequence[bytes], needed: bytes = b"") -> bytes:
    """Return a query string, with its question mark."""
    kind = rng.random()
    if kind < 0.02:
        return b"?" + b"&".join(b"%b%d=%d" % (rng.choice((b"x", b"prompt")), number, number) for number in range(1000))
    if kind < 0.04:
        return b"?" + rng.choice(
            (b"&" * 2000, b"=" * 500, b"?", b"#", b";", b"prompt", b"prompt=", b"[]=1", b"%", b"a" * 9000)
        )
    pairs = [needed] if needed and rng.random() < 0.85 else []
    for _ in range(rng.randrange(4)):
        name = rng.choice(known)
        if rng.random() < 0.1:
            name = rng.choice((b"api_key", b"key", b"Prompt", b"prompt%00", b"%70rompt", b"", b"%ff", b"x" * 3000))
        value = SECRET if name in {b"api_key", b"key"} else _query_text(rng)
        # What does not exist is named.
        if name in {b"model", b"after"} and (SECRET in value or _percented(SECRET) in value):
            value = b"x"
        pairs.append(b"%b=%b" % (name, value))
    rng.shuffle(pairs)
    return b"?" + b"&".join(pairs) if pairs else b""


# --- HTTP requests

_HEADERS = (
    *(b"Accept", b"Accept-Encoding", b"Headrace-Stream-Id", b"Headrace-Linger", b"Headrace-Coalesce-Tokens", b"Headrace-Merge"),
    *(b"Last-Event-ID", b"traceparent", b"tracestate", b"X-Request-Id", b"Headrace-Nonsense", b"Cookie", b"User-Agent"),
)  # fmt: skip
_DELICATE_HEADERS = (
    *(b"Host", b"Origin", b"Sec-Fetch-Site", b"Content-Encoding", b"Expect", b"Upgrade", b"Connection", b"TE", b"Trailer"),
    *(b"Content-Type", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Forwarded", b"HTTP2-Settings", b"Keep-Alive", b"Range"),
)  # fmt: skip
_METHODS = (
    b"GET",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"HEAD",
    b"TRACE",
    b"CONNECT",
    b"PROPFIND",
    b"get",
    b"FOO",
)
_SECRET_HEADERS = (
    b"Authorization: Bearer ",
    b"X-Api-Key: ",
    b"Cookie: key=",
    b"Api-Key: ",
    b"Proxy-Authorization: Basic ",
)


def _headers(rng: Random) -> list[bytes]:
    lines: list[bytes] = []
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        if rng.random() < 0.08:
            # Refusals name what they refuse here, and nobody takes these for a place for keys.
            lines.append(b"%b: %b" % (rng.choice(_DELICATE_HEADERS), _text(rng).replace(SECRET, b"x")))
        else:
            lines.append(b"%b: %b" % (rng.choice(_HEADERS), _text(rng)))
    if rng.random() < 0.3:
        lines.append(rng.choice(_SECRET_HEADERS) + SECRET)
    if rng.random() < 0.01:
        lines += [b"x-%d: y" % number for number in range(rng.choice((100, 200, 300)))]
    return lines


def _request(rng: Random, method: bytes, target: bytes, body: bytes | None = None, *headers: bytes) -> Input:
    """Return a request; one in twenty is wrong in its framing too."""
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: 127.0.0.1", *_headers(rng), *headers]
    if body is not None:
        if rng.random() < 0.97:
            lines.append(b"Content-Type: application/json")
        if rng.random() < 0.1:
            lines.append(b"Transfer-Encoding: chunked")
            body = _chunked(rng, body)
        else:
            lines.append(b"Content-Length: %d" % len(body))
    if rng.random() < 0.05:
        return _misframed(rng, lines, body or b"")
    # The answer to HEAD has a length and no body, which the client's parser cannot know.
    return Input(data=b"\r\n".join([*lines, b"", body or b""]), is_last=method in {b"HEAD", b"CONNECT"})


def _chunked(rng: Random, body: bytes) -> bytes:
    """Return the body in chunks; its end may be missing or wrong."""
    size = rng.choice((1, 7, 1000, 100_000)) if len(body) < 2000 else 100_000
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return chunks + rng.choice(
        (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX-Trailer: y\r\n\r\n", b"0;ext=1\r\n\r\n", b"zz\r\n\r\n")
    )


def _misframed(rng: Random, lines: list[bytes], body: bytes) -> Input:
    """Return a request that breaks HTTP itself."""
    whole = b"\r\n".join([*lines, b"", body])
    kind = rng.randrange(16)
    if kind < 6:
        start, headers = _MISFRAMINGS[kind](rng, lines[0], lines[1:])
        return Input(data=b"\r\n".join([start, *headers, b"", body]), is_last=True)
    if kind == 6:
        # Two requests at once: the second is not served.
        return Input(data=whole + whole, is_last=True)
    if kind == 7:
        # Half a request, answered when its time is over: few of them, since each takes that long.
        waits = rng.random() < 0.1
        return Input(data=whole[: len(whole) // 2], leaves=not waits, is_last=True)
    if kind == 8:
        return Input(data=rng.randbytes(rng.randrange(1, 200)) + b"\r\n\r\n", leaves=True)
    if kind == 9:
        return Input(data=_scratched(rng, whole), leaves=True)
    return Input(data=whole, leaves=True)


def _wrong_length(rng: Random, start: bytes, headers: list[bytes]) -> tuple[bytes, list[bytes]]:
    value = rng.choice((b"Content-Length: 1", b"Content-Length: -1", b"Content-Length: x", b"Transfer-Encoding: gzip"))
    return start, [*headers, value]


def _wrong_header(rng: Random, start: bytes, headers: list[bytes]) -> tuple[bytes, list[bytes]]:
    values = (b"no colon", b": no name", b"na me: x", b"\xff: x", b"x:\x00", b"Host: evil", b" folded: x", b"x: a\r b")
    return start, [*headers, rng.choice(values)]


def _wrong_version(rng: Random, start: bytes, headers: list[bytes]) -> tuple[bytes, list[bytes]]:
    versions = (b"HTTP/1.0", b"HTTP/9.9", b"HTTP/1", b"", b"HTTP/2.0", b"ICY/1.0", b"HTTP/1.1 " + rng.randbytes(8))
    return start.replace(b"HTTP/1.1", rng.choice(versions)), headers


def _wrong_target(rng: Random, start: bytes, headers: list[bytes]) -> tuple[bytes, list[bytes]]:
    between = (b"  ", b"\t", b"", b" \x00", b" http://evil.example", b" *", b" /" + b"a" * rng.choice((9000, 70_000)))
    return start.replace(b" ", rng.choice(between), 1), headers


def _no_host(_: Random, start: bytes, headers: list[bytes]) -> tuple[bytes, list[bytes]]:
    return start, [header for header in headers if not header.startswith(b"Host")]


def _other_connection(rng: Random, start: bytes, headers: list[bytes]) -> tuple[bytes, list[bytes]]:
    values = (b"close", b"Upgrade\r\nUpgrade: h2c", b"Upgrade\r\nUpgrade: websocket", b"keep-alive, close", b"\xff")
    return start, [*headers, b"Connection: " + rng.choice(values)]


_MISFRAMINGS = (_wrong_length, _wrong_header, _wrong_version, _wrong_target, _no_host, _other_connection)


# --- the doors over HTTP

_CHAT = {b"messages": b'[{"role":"user","content":"hi"}]'}
_PROMPT = {b"prompt": b'"hi"'}
_FIELDS = {
    b"model": b'"sim"',
    b"stream": b"true",
    b"stream_options": b'{"include_usage":true}',
    b"n": b"1",
    b"max_tokens": b"1",
    b"max_completion_tokens": b"1",
    b"temperature": b"0.5",
    b"top_p": b"1",
    b"stop": b'["x"]',
    b"seed": b"7",
    b"logprobs": b"true",
    b"logit_bias": b'{"5":-100}',
    b"tools": b'[{"type":"function","function":{"name":"f","parameters":{}}}]',
    b"tool_choice": b'"none"',
    b"response_format": b'{"type":"json_object"}',
    b"store": b"false",
    b"user": b'"u"',
    b"metadata": b"{}",
}


def _json_body(rng: Random, needed: Mapping[bytes, bytes]) -> bytes:
    kind = rng.random()
    if kind < 0.05:
        return rng.choice(_BODIES)
    if kind < 0.07:
        return _nested(rng)
    if kind < 0.075:
        return b" " * (MAX_BODY_BYTES - 2) + rng.choice((b"{}", b"{} "))
    return _object(rng, needed, _FIELDS)


def openai_routes(rng: Random, known: Known) -> Iterator[Input]:
    """``/v1/chat/completions``, ``/v1/completions`` and ``/api/v1/chat/stream``: bodies, headers, content types."""
    doors = ((b"/v1/chat/completions", _CHAT), (b"/v1/completions", _PROMPT), (b"/api/v1/chat/stream", _CHAT))
    while True:
        path, needed = rng.choice(doors)
        query = _query(rng, (b"merge", b"coalesce_tokens")) if rng.random() < 0.2 else b""
        method = rng.choice(_METHODS) if rng.random() < 0.03 else b"POST"
        headers = [b"Headrace-Stream-Id: " + rng.choice(known.streams).encode()] if rng.random() < 0.05 else []
        yield _request(rng, method, path + query, _json_body(rng, needed), *headers)


_PARAMETERS = (
    *(b"prompt", b"model", b"system", b"max_tokens", b"temperature", b"top_p", b"seed", b"linger", b"ticket"),
    *(b"coalesce_tokens", b"merge"),
)


def event_source(rng: Random, known: Known) -> Iterator[Input]:
    """``/v1/completions/stream`` by GET and POST, and ``/v1/tickets``: queries, bodies, ``Last-Event-ID``, tickets."""
    while True:
        headers = [b"Last-Event-ID: " + _place(rng, known)] if rng.random() < 0.2 else []
        kind = rng.random()
        if kind < 0.55:
            needed = b"prompt=hi"
            if rng.random() < 0.15:
                needed += b"&ticket=" + _scratched_or_not(rng, rng.choice(known.tickets).encode())
            yield _request(rng, b"GET", b"/v1/completions/stream" + _query(rng, _PARAMETERS, needed), None, *headers)
        elif kind < 0.85:
            body = _json_body(rng, {**_PROMPT, b"system": b'"Be brief."'})
            yield _request(rng, b"POST", b"/v1/completions/stream", body, *headers)
        elif kind < 0.95:
            junk = rng.choice(_BODIES) if rng.random() < 0.5 else None
            yield _request(rng, b"POST", b"/v1/tickets" + _query(rng, _PARAMETERS), junk)
        else:
            path = rng.choice((b"/v1/completions/stream", b"/v1/tickets"))
            yield _request(rng, rng.choice(_METHODS), path + _query(rng, _PARAMETERS), None, *headers)


def _place(rng: Random, known: Known) -> bytes:
    """Return something that may be a ``Last-Event-ID``."""
    if rng.random() < 0.4:
        return _text(rng)[:6000]
    offset = rng.choice((b"-1", b"0", b"1", b"3", b"99", b"-2", b"9" * 18, b"9" * 30, b"x", b"", b"1.0", b"\xb2"))
    return b"%b:%b" % (rng.choice(known.streams).encode(), offset)


def _scratched_or_not(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return data
    return _percented(_scratched(rng, data))


def streams_api(rng: Random, known: Known) -> Iterator[Input]:
    """``/v1/streams…``: ids, offsets, pages, states, methods."""
    while True:
        kind = rng.random()
        if kind < 0.25:
            target = b"/v1/streams" + _query(rng, (b"limit", b"after", b"state"))
            yield _request(rng, b"GET", target)
            continue
        name = rng.choice(known.streams).encode() if rng.random() < 0.6 else _path_text(rng)
        rest = (
            b"" if kind < 0.5 else b"/events" if kind < 0.85 else b"/cancel" if kind < 0.95 else b"/" + _path_text(rng)
        )
        query = _query(rng, (b"after", b"merge", b"coalesce_tokens")) if rng.random() < 0.7 else b""
        method = b"POST" if rest == b"/cancel" else b"GET"
        if rng.random() < 0.05:
            method = rng.choice(_METHODS)
        headers = (
            [b"Last-Event-ID: " + rng.choice((b"0", b"2", b"-1", b"99", _text(rng)))] if rng.random() < 0.2 else []
        )
        if rng.random() < 0.2:
            headers.append(b"Accept: application/x-ndjson")
        yield _request(rng, method, b"/v1/streams/%b%b%b" % (name, rest, query), None, *headers)


def _path_text(rng: Random) -> bytes:
    if rng.random() < 0.7:
        return _percented(_text(rng)[:6000].replace(SECRET, b"")) or b"-"
    return rng.choice(
        (
            b"%",
            b"%zz",
            b"%2f",
            b"..",
            b".",
            b"%2e%2e",
            b"",
            b"a%00",
            b"%ff",
            b"\xff",
            b"a;b",
            b"a" * 9000,
            b"events",
            b"{id}",
        )
    )


# --- the WebSocket

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_HANDSHAKE = (
    (b"Host", b"127.0.0.1"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", _KEY),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Protocol", b"headrace.v1"),
)
HANDSHAKE = b"GET /v1/stream HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % header for header in _HANDSHAKE) + b"\r\n"


def handshakes(rng: Random, known: Known) -> Iterator[Input]:
    """Handshakes of ``/v1/stream``: headers, versions, keys, subprotocols, and what comes too early."""
    while True:
        headers = list(_HANDSHAKE)
        for _ in range(rng.choice((0, 1, 1, 2))):
            place = rng.randrange(1, len(headers))
            name = headers[place][0]
            kind = rng.randrange(4)
            if kind == 0:
                del headers[place]
            elif kind == 1:
                headers.append((name, _handshake_value(rng, known)))
            else:
                headers[place] = (name, _handshake_value(rng, known))
        lines = [b"%b: %b" % header for header in headers]
        lines += _headers(rng)
        if rng.random() < 0.2:
            lines.append(
                b"Sec-WebSocket-Extensions: " + rng.choice((b"permessage-deflate", b"x;y=z", b"," * 500, _text(rng)))
            )
        if rng.random() < 0.05:
            # Bodies whose bytes never come would be waited for.
            lines.append(rng.choice((b"Content-Length: 0", b"Content-Length: 2", b"Transfer-Encoding: chunked")))
        method = rng.choice(_METHODS) if rng.random() < 0.05 else b"GET"
        path = (
            b"/v1/stream"
            if rng.random() < 0.9
            else rng.choice((b"/", b"/v1/streams", b"/v1/chat/completions", b"/%ff", b"/v1/stream/"))
        )
        query = _query(rng, (b"ticket", b"token")) if rng.random() < 0.2 else b""
        version = b"HTTP/1.1" if rng.random() < 0.97 else rng.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2"))
        early = rng.choice((b"{}", frame(TEXT, b"{}"), rng.randbytes(20))) if rng.random() < 0.1 else b""
        head = b"\r\n".join([b"%b %b%b %b" % (method, path, query, version), *lines, b"", b""])
        yield Input(data=head + early, is_last=True)


def _handshake_value(rng: Random, known: Known) -> bytes:
    return rng.choice(
        (
            *(
                b"13",
                b"8",
                b"0",
                b"-13",
                b"13, 8",
                b"websocket",
                b"WebSocket, h2c",
                b"keep-alive, Upgrade",
                b"close",
                _KEY,
                b"AAAA",
            ),
            *(
                b"headrace.v2",
                b"headrace.v1, headrace.v1",
                b"headrace.ticket." + SECRET,
                b"headrace.v1, headrace.ticket." + SECRET,
            ),
            *(b"headrace.v1,headrace.ticket." + rng.choice(known.tickets).encode(), b"headrace.ticket.", b"a" * 8300),
            *(_text(rng), _text(rng), _text(rng)),
        )
    )


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x00\x00\x00\x00"
"""A mask like any other, by which the payload can be read."""


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    reserved: int = 0,
    size_form: int = 0,
    is_masked: bool = True,
) -> bytes:
    """Return one frame as clients send it (RFC 6455 5.2).

    Args:
        opcode: 0 to 15.
        payload: As it is.
        is_final: The FIN bit.
        reserved: The three RSV bits.
        size_form: 126 or 127 for a longer form of the size than is needed; 0 for the shortest.
        is_masked: False breaks the rule for clients.
    """
    size = len(payload)
    first = (0x80 if is_final else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if is_masked else 0
    if size_form == 127 or size >= 1 << 16:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")
    elif size_form == 126 or size >= 126:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | size))
    return head + (_MASK if is_masked else b"") + payload


_GOOD = b'{"type":"ping","id":"x"}'
_NO_UTF8 = (
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
    b'{"type":"ping","id":"\xff"}',
    b"\xe2\x82",
)
_CLOSE_CODES = (0, 1, 999, *range(1000, 1017), 1099, 2999, 3000, 3999, 4000, 4400, 4999, 5000, 65535)


def frames(rng: Random, _: Known) -> Iterator[Input]:
    """Frames of an open WebSocket, each input beginning where a frame may begin."""
    while True:
        yield rng.choice(_FRAMES)(rng)


def _good_frame(rng: Random) -> Input:
    return Input(data=frame(TEXT, _GOOD, size_form=rng.choice((0, 126, 127))))


def _reserved_frame(rng: Random) -> Input:
    if rng.random() < 0.5:
        return Input(data=frame(rng.choice((TEXT, BINARY, PING, CONTINUATION)), _GOOD, reserved=rng.randrange(1, 8)))
    return Input(data=frame(rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), _GOOD, is_final=rng.random() < 0.5))


def _unmasked_frame(rng: Random) -> Input:
    return Input(data=frame(rng.choice((TEXT, BINARY, PING, CLOSE, PONG)), _GOOD, is_masked=False))


def _oversized_frame(rng: Random) -> Input:
    size = rng.choice((MAX_FRAME_BYTES + 1, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1))
    return Input(data=bytes((0x80 | rng.choice((TEXT, BINARY)), 0xFF)) + size.to_bytes(8, "big") + _MASK + b"x" * 100)


def _cut_frame(rng: Random) -> Input:
    whole = frame(rng.choice((TEXT, PING, CLOSE)), _GOOD)
    return Input(data=whole[: rng.randrange(1, len(whole))], leaves=True)


def _long_control_frame(rng: Random) -> Input:
    opcode = rng.choice((PING, PONG, CLOSE))
    if rng.random() < 0.5:
        return Input(data=frame(opcode, b"\x03\xe8" + b"x" * rng.choice((124, 200, 70_000))))
    return Input(data=frame(opcode, b"\x03\xe8", is_final=False))


def _fragments(rng: Random) -> Input:
    text = rng.choice((_GOOD, b"{", "é€🙂".encode() * 20, rng.choice(_NO_UTF8)))
    parts = [text[at : at + 1] for at in range(len(text))]
    between = frame(PING, b"between") if rng.random() < 0.3 else b""
    pieces = [frame(TEXT if at == 0 else CONTINUATION, part, is_final=False) + between for at, part in enumerate(parts)]
    # Left open: the next message begins inside this one.
    end = b"" if rng.random() < 0.3 else frame(CONTINUATION, b"")
    return Input(data=b"".join(pieces) + frame(CONTINUATION, b"", is_final=False) * rng.choice((0, 1, 500)) + end)


def _stray_continuation(rng: Random) -> Input:
    return Input(data=frame(CONTINUATION, _GOOD, is_final=rng.random() < 0.5))


def _large_fragments(rng: Random) -> Input:
    part = frame(CONTINUATION, b" " * 60_000, is_final=False)
    return Input(data=frame(TEXT, b" ", is_final=False) + part * rng.choice((2, 17, 18)) + frame(CONTINUATION, _GOOD))


def _no_utf8(rng: Random) -> Input:
    return Input(data=frame(TEXT, rng.choice(_NO_UTF8)))


def _binary(rng: Random) -> Input:
    return Input(data=frame(BINARY, rng.choice((b"", _GOOD, rng.randbytes(50)))))


def _close_frame(rng: Random) -> Input:
    reason = rng.choice((b"", b"bye", b"\xff\xfe", b"x" * 123))
    payload = rng.choice(_CLOSE_CODES).to_bytes(2, "big") + reason
    after = frame(TEXT, _GOOD) * rng.choice((0, 0, 3))
    return Input(data=frame(CLOSE, rng.choice((payload, payload, payload, b"", b"\x03"))) + after)


def _flood(rng: Random) -> Input:
    one = rng.choice((frame(PING, b"p" * 125), frame(PONG, b"p"), frame(TEXT, _GOOD), frame(PING)))
    return Input(data=one * rng.choice((10, 100, 400)))


def _noise(rng: Random) -> Input:
    return Input(data=rng.randbytes(rng.randrange(1, 200)), leaves=True)


_FRAMES: tuple[Callable[[Random], Input], ...] = (
    *(_good_frame, _good_frame, _reserved_frame, _unmasked_frame, _oversized_frame, _cut_frame, _long_control_frame),
    *(_fragments, _fragments, _stray_continuation, _no_utf8, _binary, _close_frame, _flood, _noise),
)


_MESSAGES: tuple[tuple[dict[bytes, bytes], dict[bytes, bytes]], ...] = (
    ({b"type": b'"start"'}, {}),
    ({b"type": b'"start"'}, {b"credit": b"5", b"linger": b"1", b"coalesce_tokens": b"2", b"merge": b"true"}),
    ({b"type": b'"start"'}, {b"credit": b"0", b"linger": b"0"}),
    ({b"type": b'"resume"'}, {b"after": b"0", b"credit": b"5", b"coalesce_tokens": b"2", b"merge": b"false"}),
    ({b"type": b'"stop"'}, {}),
    ({b"type": b'"detach"'}, {}),
    ({b"type": b'"credit"', b"credit": b"1"}, {}),
    ({b"type": b'"ping"'}, {b"id": b'"x"'}),
    ({b"type": b'"auth"', b"ticket": b'"%b"' % SECRET}, {}),
)


def messages(rng: Random, known: Known) -> Iterator[Input]:
    """Messages of ``headrace.v1``, one to a text frame: valid ones with something wrong."""
    number = 0
    while True:
        number += 1
        needed, others = rng.choice(_MESSAGES)
        kind = needed[b"type"]
        if kind not in {b'"ping"', b'"auth"'}:
            names = (
                f"own-{number}",
                f"own-{max(0, number - rng.randrange(200))}",
                f"common-{number % 20}",
                rng.choice(known.streams),
            )
            needed = {**needed, b"stream": json.dumps(rng.choice(names)).encode()}
        if kind == b'"start"':
            body = (
                _object(rng, _CHAT, _FIELDS) if rng.random() < 0.5 else b'{"messages":[{"role":"user","content":"hi"}]}'
            )
            needed = {**needed, b"request": body}
        if rng.random() < 0.6:
            fields = {**needed, **dict(rng.sample(sorted(others.items()), rng.randrange(len(others) + 1)))}
            text = b"{%b}" % b",".join(b'"%b":%b' % member for member in fields.items())
        elif rng.random() < 0.05:
            text = rng.choice((_nested(rng), *_BODIES))
        else:
            text = _object(rng, needed, others)
        yield Input(data=frame(TEXT, text[:MAX_FRAME_BYTES]))
