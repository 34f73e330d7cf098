from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trustme
import uvloop

from headrace.engines.scripted import Script, SimulatorServer, serve
from headrace.engines.scripted.connection import MAX_HEAD_BYTES

Ask = Callable[..., Awaitable[Any]]
Body = Callable[..., bytes]


def chat(body: bytes) -> bytes:
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-secret\r\nX-Tag: t\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (what happens on a socket sets no event)
            await asyncio.sleep(0.001)


# The wire, fault by fault


async def test_a_whole_answer(ask: Ask, simulator: SimulatorServer) -> None:
    response = await ask({"text": "Hello there"}, stream_options={"include_usage": True})
    assert (response.status, response.end, response.text) == (200, "kept", "Hello there")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.data[-1] == b"[DONE]"
    assert json.loads(response.data[-2])["usage"]["completion_tokens"] == 2
    record = simulator.records.all()[0]
    assert (record.outcome, record.status, record.tokens_sent) == ("completed", 200, 2)


async def test_fin_leaves_chunked_framing_open(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "fin", "at": 2}})
    assert response.end == "fin"
    assert response.wire_body.endswith(b"\n\n\r\n")
    assert response.text == "a b"


async def test_rst_resets_after_what_was_sent(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "rst", "at": 2}})
    assert (response.end, response.text) == ("rst", "a b")


async def test_clean_end_is_well_terminated(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "clean_end"}})
    assert (response.end, response.text) == ("kept", "a b c")
    assert b"[DONE]" not in response.raw
    assert b'"finish_reason":"' not in response.raw


async def test_cut_chunked_ends_inside_a_chunk(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "cut_chunked", "at": 1}})
    size, _, rest = response.wire_body.rpartition(b"\n\n\r\n")[2].partition(b"\r\n")
    assert response.end == "fin"
    assert 0 < len(rest) < int(size, 16)


@pytest.mark.parametrize("inside", [False, True])
async def test_cut_close_framed_has_neither_length_nor_finish(ask: Ask, inside: bool) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "cut_close_framed", "at": 1, "inside": inside}})
    assert response.end == "fin"
    assert response.headers["connection"] == "close"
    assert not {"content-length", "transfer-encoding"} & response.headers.keys()
    assert response.text == "a"
    assert response.body.endswith(b"\n\n") is not inside


async def test_a_length_framed_body_falls_short(ask: Ask) -> None:
    response = await ask({"text": "a b c", "framing": "length", "fault": {"kind": "fin", "at": 1}})
    assert response.end == "fin"
    assert len(response.wire_body) < int(response.headers["content-length"])


async def test_broken_framing(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "broken_framing", "at": 1}})
    assert response.end == "fin"
    assert response.wire_body.endswith(b"\n\n\r\nnot-hex\r\n")


@pytest.mark.parametrize(("kind", "end"), [("close_before_head", "fin"), ("reset_before_head", "rst")])
async def test_no_byte_before_the_end(ask: Ask, kind: str, end: str) -> None:
    response = await ask({"fault": {"kind": kind}})
    assert (response.raw, response.end) == (b"", end)


async def test_half_a_head(ask: Ask) -> None:
    response = await ask({"fault": {"kind": "early_eof_head"}})
    assert response.end == "fin"
    assert response.raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in response.raw


@pytest.mark.parametrize("stream", [True, False])
async def test_status(ask: Ask, stream: bool) -> None:
    response = await ask({"fault": {"kind": "status", "code": 429, "retry_after": 2}}, stream=stream)
    assert (response.status, response.headers["retry-after"]) == (429, "2")
    assert json.loads(response.body)["error"]["type"] == "rate_limit_error"
    odd = await ask(
        {"fault": {"kind": "status", "code": 599, "body": "oops", "content_type": "text/plain"}}, stream=stream
    )
    assert (odd.status, odd.body, odd.headers["content-type"]) == (599, b"oops", "text/plain")


async def test_redirect(ask: Ask) -> None:
    response = await ask({"fault": {"kind": "redirect", "location": "http://127.0.0.1:1/x"}})
    assert (response.status, response.headers["location"]) == (302, "http://127.0.0.1:1/x")


@pytest.mark.parametrize(("head", "expected"), [(False, b""), (True, b"HTTP/1.1 200 OK")])
async def test_silence_before(ask: Ask, head: bool, expected: bytes) -> None:
    response = await ask({"fault": {"kind": "silence_before", "head": head}}, quiet_s=0.05)
    assert (response.end, response.raw[:15]) == ("silent", expected)
    late = await ask({"text": "a", "fault": {"kind": "silence_before", "head": head, "ms": 20}})
    assert (late.end, late.text) == ("kept", "a")


async def test_silence_in_the_middle(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "silence", "at": 2}}, quiet_s=0.05)
    assert (response.end, response.raw.count(b'"content":"')) == ("silent", 3)
    assert (await ask({"text": "a b c", "fault": {"kind": "silence", "at": 2, "ms": 10}})).text == "a b c"


@pytest.mark.parametrize("at", [0, 1])
async def test_keepalive(ask: Ask, at: int) -> None:
    fault = {"kind": "keepalive", "at": at, "every_ms": 2, "for_ms": 7}
    response = await ask({"text": "a b", "fault": fault})
    before, *_, after = response.body.split(b": keep-alive\n\n")
    assert response.body.count(b": keep-alive\n\n") == 3
    assert (before.count(b'"content":"'), response.text) == (2 * at, "a b")
    assert after.endswith(b"[DONE]\n\n")


async def test_malformed_json_goes_on(ask: Ask) -> None:
    response = await ask({"text": "a b", "fault": {"kind": "malformed_json", "at": 1}})
    with pytest.raises(json.JSONDecodeError):
        json.loads(response.data[2])
    assert json.loads(response.data[3])["choices"][0]["delta"]["content"] == " b"
    assert response.data[-1] == b"[DONE]"


async def test_no_done(ask: Ask) -> None:
    for script in ({"fault": {"kind": "no_done"}}, {"done": False}):
        response = await ask({"text": "a", **script})
        assert (response.end, json.loads(response.data[-1])["choices"][0]["finish_reason"]) == ("kept", "stop")


async def test_error_event(ask: Ask) -> None:
    response = await ask({"text": "a b", "fault": {"kind": "error_event", "at": 1, "message": "oh", "code": "c"}})
    assert json.loads(response.data[2]) == {
        "error": {"message": "oh", "type": "server_error", "param": None, "code": "c"}
    }
    assert response.data[3:] == [b"[DONE]"]


@pytest.mark.parametrize("bytes_per_packet", [None, 1])
async def test_split_utf8_joins_to_the_text(ask: Ask, bytes_per_packet: int | None) -> None:
    fault = {"kind": "split_utf8", "bytes_per_packet": bytes_per_packet}
    response = await ask({"text": "né 🌊 水車", "fault": fault})
    assert (response.end, response.text) == ("kept", "né 🌊 水車")


async def test_repeat_event_id(ask: Ask) -> None:
    response = await ask({"text": "a b c", "fault": {"kind": "repeat_event_id", "at": 1}})
    events = response.body.split(b"\n\n")
    ids = [event.partition(b"\n")[0] for event in events if event.startswith(b"id: ")]
    assert ids == [b"id: 0", b"id: 1", b"id: 2", b"id: 2", b"id: 3", b"id: 4"]
    assert events[2] == events[3]


async def test_repeat_text(ask: Ask) -> None:
    response = await ask({"text": "a b", "fault": {"kind": "repeat_text", "at": 1}})
    assert response.text == "ahaha b"
    assert response.data[2] == response.data[3]


async def test_huge_event(ask: Ask) -> None:
    response = await ask({"text": "a b", "fault": {"kind": "huge_event", "at": 1, "bytes": 3_000_000}})
    assert response.text == "a" + "x" * 3_000_000 + " b"


async def test_burst(ask: Ask, simulator: SimulatorServer) -> None:
    response = await ask({"text": "a b", "fault": {"kind": "burst", "at": 1}})
    assert len(response.data) == 1 + 1 + 10_000 + 1 + 1 + 1
    assert simulator.records.all()[0].tokens_sent == 10_002


async def test_compressed_bomb(ask: Ask) -> None:
    response = await ask({"fault": {"kind": "compressed_bomb", "bytes": 5_000_000}})
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.body) < 20_000
    assert len(zlib.decompress(response.body, wbits=31)) == 5_000_000


# The rest of HTTP


async def test_a_blocking_answer(ask: Ask) -> None:
    response = await ask({"text": "Hello there"}, stream=False)
    answer = json.loads(response.body)
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello there"}
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


async def test_a_bad_script_is_refused_with_its_path(ask: Ask, simulator: SimulatorServer) -> None:
    response = await ask({"itl_ms": "x"})
    error = json.loads(response.body)["error"]
    assert (response.status, error["type"], error["param"]) == (400, "invalid_request_error", "simulate.itl_ms")
    assert "$.simulate.itl_ms" in error["message"]
    assert simulator.records.all()[0].status == 400


async def test_an_unknown_model_is_refused(ask: Ask) -> None:
    response = await ask(model="other")
    assert (response.status, json.loads(response.body)["error"]["code"]) == (404, "model_not_found")


async def test_models(ask: Ask) -> None:
    response = await ask(raw=get("/v1/models"))
    assert [model["id"] for model in json.loads(response.body)["data"]] == ["scripted"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (get("/nowhere"), 404),
        (get("/v1/chat/completions"), 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
async def test_bad_requests(ask: Ask, raw: bytes, status: int) -> None:
    assert (await ask(raw=raw)).status == status


async def test_a_body_over_the_limit_is_refused(ask: Ask, body_of: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.engines.scripted.connection.MAX_BODY_BYTES", 10)
    response = await ask(raw=chat(body_of()))
    assert (response.status, response.end) == (413, "fin")


async def test_an_upgrade_is_refused(ask: Ask) -> None:
    raw = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert (await ask(raw=raw)).raw.startswith(b"HTTP/1.1 ")


async def test_garbage_during_an_answer_drops_it(simulator: SimulatorServer, body_of: Body) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(chat(body_of({"fault": {"kind": "silence_before", "head": True}})))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\0garbage\r\n")
    assert await reader.read() == b""
    writer.close()
    assert simulator.records.all()[0].outcome == "client_closed"


async def test_a_failure_here_is_logged_and_drops_the_connection(
    ask: Ask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatorServer, "answer", None)
    assert (await ask()).end == "fin"
    assert "answering a request failed" in caplog.text


async def test_a_connection_is_kept(simulator: SimulatorServer, body_of: Body) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    for _ in range(3):
        writer.write(chat(body_of({"tokens": 1})))
        await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    assert [(record.connection, record.request) for record in simulator.records.all()] == [(1, 1), (1, 2), (1, 3)]


async def test_pipelining_is_reset(simulator: SimulatorServer, body_of: Body) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(chat(body_of({"fault": {"kind": "silence_before"}})) * 2)
    assert await reader.read() == b""
    writer.close()
    assert [record.outcome for record in simulator.records.all()] == ["client_closed"]


async def test_http10(ask: Ask) -> None:
    response = await ask({"text": "a b"}, version="1.0")
    assert (response.end, response.text) == ("fin", "a b")
    assert "transfer-encoding" not in response.headers


async def test_continue_is_sent_for_who_waits(simulator: SimulatorServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_tls(body_of: Body) -> None:
    authority = trustme.CA()
    server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(client_side)
    async with SimulatorServer(ssl=server_side) as server:
        assert server.url.startswith("https://127.0.0.1:")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=client_side)
        writer.write(chat(body_of({"text": "a b"})))
        assert b'"content":" b"' in await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(chat(body_of({"text": "a b", "fault": {"kind": "rst", "at": 1}})))
        assert b'"content":"a"' in await reader.readuntil(b'"a"}')
        await until(lambda: server.records.summary().open_connections == 0)
        writer.close()
        assert [record.outcome for record in server.records.all()] == ["completed", "fault:rst"]


# What is remembered


@pytest.mark.parametrize(
    "script",
    [
        {"fault": {"kind": "silence_before"}},
        {"fault": {"kind": "silence_before", "head": True}},
        {"ttft_ms": 60_000},
        {"itl_ms": 60_000},
        {"fault": {"kind": "silence", "at": 3}},
        {"fault": {"kind": "keepalive", "at": 1, "every_ms": 60_000}},
        {"tokens": 1_000_000},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["fin", "half", "rst"])
async def test_a_client_that_leaves_is_seen_in_every_phase(
    simulator: SimulatorServer, body_of: Body, script: dict[str, Any], way: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(chat(body_of(script)))
    await until(lambda: bool(simulator.records.all()))
    if script.get("fault", {}).get("kind") != "silence_before" or script["fault"].get("head"):
        await reader.read(1)
    left_at = time.monotonic()
    if way == "half" and "tokens" not in script:
        writer.write_eof()
    elif way == "rst":
        writer.transport.abort()
    else:
        writer.close()
    await until(lambda: simulator.records.all()[0].outcome is not None)
    writer.close()
    record = simulator.records.all()[0]
    assert record.outcome == "client_closed"
    assert record.client_closed_at is not None
    assert record.client_closed_at == pytest.approx(record.ended_at)
    assert left_at <= record.client_closed_at < left_at + 1
    assert simulator.records.summary().active == 0


async def test_a_slow_reader_holds_the_stream_and_little_memory(simulator: SimulatorServer, body_of: Body) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(chat(body_of({"tokens": 1_000_000})))
    await reader.read(1)
    sent = -1
    while sent != (sent := simulator.records.all()[0].tokens_sent):  # noqa: ASYNC110 (as above)
        await asyncio.sleep(0.02)
    assert sent < 100_000
    assert simulator.records.all()[0].outcome is None
    await reader.readexactly(20_000_000)
    assert simulator.records.all()[0].tokens_sent > sent
    writer.close()
    await until(lambda: simulator.records.all()[0].outcome == "client_closed")


async def test_an_end_that_was_not_taken_is_no_end(simulator: SimulatorServer, body_of: Body) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port, limit=1024)
    writer.write(chat(body_of({"fault": {"kind": "burst", "events": 100_000}})))
    await reader.read(1)
    await asyncio.sleep(0.02)
    assert simulator.records.all()[0].outcome is None
    async with asyncio.timeout(20):
        while await reader.read(1 << 20):
            if simulator.records.all()[0].outcome:
                break
    assert simulator.records.all()[0].outcome == "completed"
    writer.close()


async def test_the_record_tells_the_request(simulator: SimulatorServer, ask: Ask, body_of: Body) -> None:
    body = body_of({"tokens": 2, "ttft_ms": 5})
    before_s = time.monotonic()
    response = await ask(raw=chat(body))
    shown: dict[str, Any] = json.loads((await ask(raw=get("/simulator/requests"))).body)[0]
    assert shown["id"] == json.loads(response.data[0])["id"]
    assert (shown["model"], shown["body_bytes"]) == ("scripted", len(body))
    assert (shown["headers"]["authorization"], shown["headers"]["x-tag"]) == ("present", "t")
    assert "sk-secret" not in str(shown)
    assert before_s <= shown["accepted_at"] < shown["first_token_at"] <= shown["ended_at"] <= time.monotonic()
    assert shown["first_token_at"] - shown["accepted_at"] >= 0.005
    assert shown["client_closed_at"] is None


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ({"tokens": 5}, 5),
        ({"tokens": 5, "n": 3}, 15),
        ({"reasoning": "a b", "text": "c", "tool_calls": [{"name": "f", "arguments": "{}"}]}, 5),
        ({"tokens": 5, "fault": {"kind": "fin", "at": 2}}, 2),
        ({"tokens": 5, "n": 2, "fault": {"kind": "rst", "at": 2}}, 4),
        ({"tokens": 5, "fault": {"kind": "cut_chunked", "at": 2}}, 2),
        ({"tokens": 5, "fault": {"kind": "clean_end", "at": 4}}, 4),
        ({"tokens": 5, "fault": {"kind": "error_event", "at": 1}}, 1),
        ({"tokens": 5, "fault": {"kind": "broken_framing", "at": 3}}, 3),
        ({"tokens": 5, "fault": {"kind": "malformed_json", "at": 3}}, 5),
        ({"tokens": 5, "fault": {"kind": "repeat_text", "at": 3, "times": 4}}, 9),
        ({"tokens": 5, "fault": {"kind": "repeat_event_id", "at": 3}}, 5),
        ({"tokens": 5, "fault": {"kind": "huge_event", "at": 3, "bytes": 100_000}}, 6),
        ({"tokens": 5, "fault": {"kind": "split_utf8"}}, 5),
        ({"tokens": 5, "fault": {"kind": "split_utf8", "bytes_per_packet": 3}}, 5),
        ({"tokens": 5, "fault": {"kind": "close_before_head"}}, 0),
        ({"tokens": 5, "fault": {"kind": "status", "code": 500}}, 0),
    ],
    ids=str,
)
async def test_tokens_sent_is_exact_however_a_stream_ends(
    ask: Ask, simulator: SimulatorServer, script: dict[str, Any], sent: int
) -> None:
    await ask(script)
    record = simulator.records.all()[0]
    assert (record.tokens_sent, simulator.records.summary().tokens_sent) == (sent, sent)


async def test_a_blocking_answer_sends_all_its_tokens_at_once(ask: Ask, simulator: SimulatorServer) -> None:
    await ask({"tokens": 5}, stream=False, n=2)
    assert simulator.records.all()[0].tokens_sent == 10


@pytest.mark.parametrize(("at", "last"), [(0, b"200 OK"), (1, b'"content":"a"'), (3, b'"content":" c"')])
async def test_tokens_sent_is_exact_when_a_client_leaves(
    simulator: SimulatorServer, body_of: Body, at: int, last: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(chat(body_of({"text": "a b c d e", "fault": {"kind": "silence", "at": at}})))
    await reader.readuntil(last)
    writer.close()
    await until(lambda: simulator.records.all()[0].outcome == "client_closed")
    assert simulator.records.all()[0].tokens_sent == at


async def test_the_summary_counts(ask: Ask) -> None:
    await ask({"tokens": 2})
    await ask({"tokens": 2, "fault": {"kind": "rst", "at": 1}})
    summary = json.loads((await ask(raw=get("/simulator/summary"))).body)
    assert summary["outcomes"] == {"completed": 1, "fault:rst": 1}
    assert (summary["requests"], summary["tokens_sent"], summary["active"]) == (2, 3, 0)
    assert summary["connections"] == 3
    assert (await ask(raw=get("/simulator/requests", "DELETE"))).status == 204
    assert json.loads((await ask(raw=get("/simulator/requests"))).body) == []
    assert json.loads((await ask(raw=get("/simulator/summary"))).body)["requests"] == 0


async def test_records_are_bounded(body_of: Body) -> None:
    async with SimulatorServer(max_records=2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number in range(3):
            writer.write(chat(body_of({"tokens": number + 1})))
            await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
        assert [record.tokens_sent for record in server.records.all()] == [2, 3]
        assert server.records.summary().requests == 3


async def test_outcomes_tell_cut_answers_from_whole_ones(ask: Ask, simulator: SimulatorServer) -> None:
    whole: list[dict[str, Any]] = [
        {"kind": "silence", "ms": 1},
        {"kind": "malformed_json"},
        {"kind": "no_done"},
        {"kind": "repeat_text"},
    ]
    cut: list[dict[str, Any]] = [
        {"kind": "clean_end"},
        {"kind": "status", "code": 500},
        {"kind": "error_event"},
        {"kind": "redirect"},
    ]
    for fault in [*whole, *cut]:
        await ask({"tokens": 1, "fault": fault})
    expected = ["completed"] * len(whole) + [f"fault:{fault['kind']}" for fault in cut]
    assert [record.outcome for record in simulator.records.all()] == expected


async def test_chunks_may_bear_the_time(ask: Ask) -> None:
    before_s = time.monotonic()
    response = await ask({"tokens": 3, "timestamps": True, "itl_ms": 2})
    sent = [json.loads(data)["sent_at"] for data in response.data[:-1]]
    assert sent == sorted(sent)
    assert before_s - 1e-6 <= sent[0] < sent[-1] <= time.monotonic()


async def test_delays_do_not_add_up(simulator: SimulatorServer, ask: Ask) -> None:
    await ask({"tokens": 50, "itl_ms": 2})
    record = simulator.records.all()[0]
    assert record.ended_at is not None
    assert record.first_token_at is not None
    assert 0.097 <= record.ended_at - record.first_token_at < 0.5


# Other loops and ways to run


def test_uvloop_cuts_the_same_way(body_of: Body) -> None:
    uvloop.run(cut_and_leave(body_of))


async def cut_and_leave(body_of: Body) -> None:
    async with SimulatorServer() as server:
        for kind, end in (("rst", b"<rst>"), ("fin", b"<fin>"), ("cut_chunked", b"<fin>")):
            received = await cut(server.port, body_of({"text": "a b c", "fault": {"kind": kind, "at": 2}}))
            assert received.endswith(end)
            assert b'"content":" b"' in received
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(chat(body_of({"fault": {"kind": "silence_before", "head": True}})))
        await reader.read(1)
        writer.close()
        await until(lambda: server.records.all()[-1].outcome == "client_closed")


async def cut(port: int, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(chat(body))
        while data := await reader.read(1 << 16):
            received += data
    except ConnectionResetError:
        return received + b"<rst>"
    finally:
        writer.close()
    return received + b"<fin>"


async def test_leaving_the_server_drops_connections(body_of: Body) -> None:
    async with SimulatorServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(chat(body_of({"fault": {"kind": "silence_before", "head": True}})))
        await reader.readuntil(b"\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_serve_runs_until_sigterm() -> None:
    ready: asyncio.Queue[SimulatorServer] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve("127.0.0.1", 0, Script(tokens=1), on_ready=ready.put_nowait))
        server = await ready.get()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
