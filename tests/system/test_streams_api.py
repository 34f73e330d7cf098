"""``/v1/streams``: what each route promises, on good input and on bad."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import (
    JSON,
    Answer,
    Log,
    ask,
    begin,
    chat,
    chat_body,
    chat_events,
    log_of_events,
    log_of_lines,
    read_log,
    wait_for,
)

WORDS = ["Grüße", " aus", " 水車", " 🌊", "."]
TEXT = "".join(WORDS)
QUICK: dict[str, Any] = {"deltas": WORDS}
ENTRIES = len(WORDS) + 2
"""The role chunk, the deltas, the chunk with the finish reason."""
ENDLESS: dict[str, Any] = {"tokens": 1_000_000, "itl_ms": 10}
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
STREAM_FIELDS = {
    "id", "object", "state", "cause", "finish_reason", "last_offset", "model", "engine", "request_id", "created_at",
    "first_content_at", "ended_at", "usage", "tokens_source", "bytes", "malformed_chunks", "durability", "message",
    "consumers", "lag", "perceived", "owner", "key_id", "tags", "generated_tokens", "delivered_tokens", "cost",
    "engine_model", "source", "log_id", "attempts", "seams", "retry_budget",
}  # fmt: skip


def start(relay: Relay, *, headers: dict[str, str] | None = None, **fields: Any) -> str:
    """Run a stream to its end and return its id."""
    with chat(relay.port, headers=headers, **{"simulate": QUICK, **fields}) as exchange:
        exchange.read()
        return exchange.headers["headrace-stream-id"]


def get(relay: Relay, path: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(relay.port, "GET", path, headers=named)


def ended(relay: Relay, stream_id: str) -> dict[str, Any]:
    """Wait for the end of a stream and return its view."""
    view: dict[str, Any] = wait_for(
        lambda: (found := relay.stream(stream_id))["ended_at"] and found, what=f"the end of {stream_id}"
    )
    return view


def engine_left(simulator: Simulator) -> bool:
    """Tell whether the newest request of the engine was left by its client."""
    return bool(simulator.requests()[-1]["outcome"] == "client_closed")


# Looking at one


def test_a_stream_is_shown_with_its_record(relay: Relay) -> None:
    with chat(relay.port, simulate=QUICK) as exchange:
        exchange.read()
    view = relay.stream(exchange.headers["headrace-stream-id"])
    assert view.keys() == STREAM_FIELDS
    assert (view["state"], view["cause"], view["finish_reason"]) == ("completed", "stop", "stop")
    assert (view["last_offset"], view["durability"]) == (ENTRIES, "durable")
    assert (view["model"], view["engine"], view["request_id"]) == ("sim", "openai", exchange.headers["x-request-id"])
    assert (view["source"], view["log_id"], view["engine_model"]) == ("engine", view["id"], "sim")
    assert (view["attempts"], view["seams"], view["retry_budget"]) == ([], [], None)
    assert view["created_at"] <= view["first_content_at"] <= view["ended_at"]
    assert view["bytes"] == sum(map(len, chat_events(exchange.received)[:-1]))


def test_a_running_stream_is_shown_as_it_stands(relay: Relay) -> None:
    with chat(relay.port, simulate=ENDLESS) as exchange:
        count = len(exchange.read_events(5))
        view = relay.stream(exchange.headers["headrace-stream-id"])
    assert (view["state"], view["cause"], view["ended_at"]) == ("in_progress", None, None)
    assert view["last_offset"] >= count - 1


@pytest.mark.parametrize("stream_id", ["strm_nothing", "a.b", "x" * 65, "%20", "%C3%A4"])
def test_a_stream_that_does_not_exist_is_404_everywhere(relay: Relay, stream_id: str) -> None:
    path = f"/v1/streams/{stream_id}"
    for method, route in (("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/cancel"), ("DELETE", path)):
        answer = ask(relay.port, method, route)
        assert (answer.status, answer.error["code"]) == (404, "stream_not_found")


# Following


@pytest.fixture(scope="module")
def finished(relay: Relay) -> tuple[str, list[bytes]]:
    """A completed stream, and its entries as the chat route sent them."""
    with chat(relay.port, simulate=QUICK) as exchange:
        events = chat_events(exchange.read())
    assert events.pop() == b"[DONE]"
    assert len(events) == ENTRIES
    return exchange.headers["headrace-stream-id"], events


@pytest.mark.parametrize("after", range(-1, ENTRIES + 1))
@pytest.mark.parametrize("accept", [NDJSON, SSE])
def test_events_begin_behind_any_offset(
    relay: Relay, finished: tuple[str, list[bytes]], accept: str, after: int
) -> None:
    stream_id, events = finished
    log = read_log(relay.port, stream_id, after=after, accept=accept)
    assert log.offsets == list(range(after + 1, ENTRIES))
    assert log.chunks == [json.loads(event) for event in events[after + 1 :]]
    assert log.end is not None
    assert (log.end_offset, log.end["state"], log.end["finish_reason"]) == (ENTRIES, "completed", "stop")
    assert log.end["usage"]["completion_tokens"] == len(WORDS)


def test_entries_are_the_events_of_the_chat_route_to_the_byte(relay: Relay, finished: tuple[str, list[bytes]]) -> None:
    stream_id, events = finished
    path = f"/v1/streams/{stream_id}/events"
    *blocks, end, rest = get(relay, path, accept=SSE).body.split(b"\n\n")
    assert blocks == [b"id: %d\ndata: %b" % numbered for numbered in enumerate(events)]
    assert {b"id: %d" % ENTRIES, b"event: end"} < set(end.split(b"\n"))
    assert rest == b""
    *lines, _end = get(relay, path, accept=NDJSON).body.splitlines()
    assert lines == [b'{"offset":%d,"chunk":%b}' % numbered for numbered in enumerate(events)]


def test_last_event_id_is_after_and_the_query_wins(relay: Relay, finished: tuple[str, list[bytes]]) -> None:
    path = f"/v1/streams/{finished[0]}/events"
    assert log_of_events(get(relay, path, last_event_id="2").body).offsets[0] == 3
    assert log_of_events(get(relay, f"{path}?after=4", last_event_id="2").body).offsets[0] == 5
    assert log_of_events(get(relay, path, last_event_id="-1").body).offsets[0] == 0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, SSE),
        ("*/*", SSE),
        (SSE, SSE),
        (NDJSON, NDJSON),
        ("application/x-ndjson, text/event-stream;q=0.5", NDJSON),
    ],
)
def test_accept_chooses_the_protocol(
    relay: Relay, finished: tuple[str, list[bytes]], accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"accept": accept}
    answer = get(relay, f"/v1/streams/{finished[0]}/events", **headers)
    assert answer.headers["content-type"].startswith(content_type)


@pytest.mark.parametrize("after", ["", "abc", "1.5", "-2", "1e3", "%D9%A3", "9" * 30, "0x1", "+1", "1%201"])
def test_a_malformed_offset_is_refused(relay: Relay, finished: tuple[str, list[bytes]], after: str) -> None:
    answer = get(relay, f"/v1/streams/{finished[0]}/events?after={after}")
    assert (answer.status, answer.error["param"]) == (400, "after")


def test_a_malformed_last_event_id_is_refused(relay: Relay, finished: tuple[str, list[bytes]]) -> None:
    answer = get(relay, f"/v1/streams/{finished[0]}/events", last_event_id="abc")
    assert (answer.status, answer.error["param"]) == (400, "Last-Event-ID")


@pytest.mark.parametrize("after", [ENTRIES + 1, 10**6, 2**62])
def test_an_offset_beyond_the_end_is_refused(relay: Relay, finished: tuple[str, list[bytes]], after: int) -> None:
    answer = get(relay, f"/v1/streams/{finished[0]}/events?after={after}")
    assert (answer.status, answer.error["param"]) == (400, "after")


def test_a_query_with_too_many_fields_is_refused(relay: Relay, finished: tuple[str, list[bytes]]) -> None:
    answer = get(relay, f"/v1/streams/{finished[0]}/events?{'a=1&' * 100}")
    assert answer.status == 400


def test_followers_of_a_running_stream_get_what_its_client_gets(relay: Relay) -> None:
    def follow(accept: str) -> Log:
        return read_log(relay.port, stream_id, accept=accept)

    with chat(relay.port, simulate={"tokens": 40, "itl_ms": 10}) as exchange, ThreadPoolExecutor(8) as pool:
        exchange.read_events(3)
        stream_id = exchange.headers["headrace-stream-id"]
        logs = list(pool.map(follow, [NDJSON, SSE] * 4))
        events = chat_events(exchange.read())
    chunks = [json.loads(event) for event in events[:-1]]
    for log in logs:
        assert (log.chunks, log.offsets) == (chunks, list(range(42)))
        assert log.end is not None
        assert log.end["state"] == "completed"


def test_a_follower_keeps_a_stream_alive_that_its_client_has_left(relay: Relay, simulator: Simulator) -> None:
    with chat(relay.port, simulate=ENDLESS) as exchange:
        exchange.read_events(2)
        stream_id = exchange.headers["headrace-stream-id"]
        follower = begin(relay.port, "GET", f"/v1/streams/{stream_id}/events", headers={"accept": NDJSON})
        follower.read_until(b'"offset":1,')
    with follower:
        offset = relay.stream(stream_id)["last_offset"] + 10
        follower.read_until(b'"offset":%d,' % offset)
        assert relay.stream(stream_id)["state"] == "in_progress"
    view = ended(relay, stream_id)
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")
    wait_for(lambda: engine_left(simulator), what="the engine's end")


# Cancelling


def test_cancel_stops_engine_and_clients(relay: Relay, simulator: Simulator) -> None:
    with chat(relay.port, simulate=ENDLESS) as exchange:
        exchange.read_events(3)
        stream_id = exchange.headers["headrace-stream-id"]
        answer = ask(relay.port, "POST", f"/v1/streams/{stream_id}/cancel")
        events = chat_events(exchange.read())
    assert answer.status == 200
    assert (answer.json["state"], answer.json["cause"]) == ("cancelled", "client_stop")
    error = json.loads(events[-1])["error"]
    assert (error["code"], error["state"], error["stream_id"]) == ("client_stop", "cancelled", stream_id)
    assert answer.json == relay.stream(stream_id)
    log = read_log(relay.port, stream_id)
    assert log.chunks == [json.loads(event) for event in events[:-1]]
    assert log.end is not None
    assert (log.end["state"], log.end["cause"]) == ("cancelled", "client_stop")
    wait_for(lambda: engine_left(simulator), what="the engine's end")


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
def test_cancel_before_the_first_token(relay: Relay, simulator: Simulator, stream: bool) -> None:
    stream_id = f"silent-{stream}"
    headers = {"headrace-stream-id": stream_id}
    with chat(relay.port, headers=headers, stream=stream, simulate={"ttft_ms": 60_000}) as exchange:
        wait_for(lambda: get(relay, f"/v1/streams/{stream_id}").status == 200, what="the stream")
        answer = ask(relay.port, "POST", f"/v1/streams/{stream_id}/cancel")
        assert (answer.json["state"], answer.json["cause"]) == ("cancelled", "client_stop")
        assert (exchange.status, exchange.headers["x-should-retry"]) == (499, "false")
        assert json.loads(exchange.read())["error"]["code"] == "client_stop"
    wait_for(lambda: engine_left(simulator), what="the engine's end")


def test_a_blocking_client_of_a_cancelled_stream_gets_the_text_so_far(relay: Relay) -> None:
    headers = {"headrace-stream-id": "cancelled-blocking"}
    with chat(relay.port, headers=headers, stream=False, simulate=ENDLESS) as exchange:
        wait_for(lambda: get(relay, "/v1/streams/cancelled-blocking").status == 200, what="the stream")
        wait_for(lambda: (relay.stream("cancelled-blocking")["last_offset"] or 0) > 5, what="text")
        ask(relay.port, "POST", "/v1/streams/cancelled-blocking/cancel")
        assert exchange.status == 499
        error = json.loads(exchange.read())["error"]
    assert error["partial_text"] == read_log(relay.port, "cancelled-blocking").text != ""


def test_cancel_of_what_has_ended_changes_nothing(relay: Relay) -> None:
    stream_id = start(relay)
    before = relay.stream(stream_id)
    for _ in range(2):
        answer = ask(relay.port, "POST", f"/v1/streams/{stream_id}/cancel")
        assert (answer.status, answer.json) == (200, before)


# Erasing


def gone(relay: Relay, stream_id: str) -> bool:
    path = f"/v1/streams/{stream_id}"
    routes = (("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/cancel"), ("DELETE", path))
    statuses = {ask(relay.port, method, route).status for method, route in routes}
    listed = [view["id"] for view in relay.get_json("/v1/streams?limit=100")["data"]]
    return statuses == {404} and stream_id not in listed


def test_delete_of_an_ended_stream(relay: Relay) -> None:
    stream_id = start(relay)
    answer = ask(relay.port, "DELETE", f"/v1/streams/{stream_id}")
    assert (answer.status, answer.body) == (204, b"")
    assert gone(relay, stream_id)


def test_delete_of_a_running_stream_stops_it_first(relay: Relay, simulator: Simulator) -> None:
    with chat(relay.port, simulate=ENDLESS) as exchange:
        exchange.read_events(3)
        stream_id = exchange.headers["headrace-stream-id"]
        assert ask(relay.port, "DELETE", f"/v1/streams/{stream_id}").status == 204
        error = json.loads(chat_events(exchange.read())[-1])["error"]
    assert (error["state"], error["cause"]) == ("cancelled", "client_stop")
    assert gone(relay, stream_id)
    wait_for(lambda: engine_left(simulator), what="the engine's end")


def test_deleted_text_is_in_no_file(relay: Relay) -> None:
    word = "Unauffindbar"
    stream_id = start(relay, simulate={"deltas": [word]})
    assert ask(relay.port, "DELETE", f"/v1/streams/{stream_id}").status == 204
    wait_for(lambda: not on_disk(relay, word), what="the emptied write-ahead log")


def on_disk(relay: Relay, word: str) -> bool:
    """Tell whether any file of the store holds a word."""
    folder = relay.store.parent if not isinstance(relay.store, str) else None
    assert folder is not None
    return any(word.encode() in path.read_bytes() for path in folder.iterdir())


# Listing


def test_streams_are_listed_newest_first(relay: Relay) -> None:
    started = [start(relay) for _ in range(3)]
    page = relay.get_json("/v1/streams?limit=3")
    assert (page["object"], page["has_more"]) == ("list", True)
    assert [view["id"] for view in page["data"]] == started[::-1]
    assert page["data"][0] == relay.stream(started[-1]) | {"message": None}
    assert not relay.get_json("/v1/streams?limit=100&state=queued")["has_more"]


def test_streams_are_listed_by_state(relay: Relay) -> None:
    completed = start(relay)
    failed = start(relay, simulate={"fault": {"kind": "status", "code": 500}})
    truncated = start(relay, simulate={"deltas": WORDS, "fault": {"kind": "fin", "at": 2}})
    with chat(relay.port, simulate=ENDLESS) as exchange:
        exchange.read_events(2)
        running = exchange.headers["headrace-stream-id"]
        expected = {"completed": completed, "failed": failed, "truncated": truncated, "in_progress": running}
        for state, stream_id in expected.items():
            views = relay.get_json(f"/v1/streams?state={state}")["data"]
            assert views[0]["id"] == stream_id
            assert {view["state"] for view in views} == {state}
    ended(relay, running)
    assert relay.get_json("/v1/streams?state=cancelled")["data"][0]["id"] == running
    assert relay.get_json("/v1/streams?state=in_progress")["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [("state=done", "state"), ("state=", "state"), ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit")],
)
def test_a_bad_list_query_is_refused(relay: Relay, query: str, param: str) -> None:
    answer = get(relay, f"/v1/streams?{query}")
    assert (answer.status, answer.error["param"]) == (400, param)


# Names that clients choose


def test_a_client_names_its_stream(relay: Relay) -> None:
    assert start(relay, headers={"headrace-stream-id": "my_Stream-1"}) == "my_Stream-1"
    assert relay.stream("my_Stream-1")["state"] == "completed"


def test_a_name_is_taken_while_its_stream_runs_and_afterwards(relay: Relay, simulator: Simulator) -> None:
    headers = {"headrace-stream-id": "taken", **JSON}
    with chat(relay.port, headers=headers, simulate=ENDLESS) as exchange:
        exchange.read_events(2)
        requests = len(simulator.requests())
        answer = ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=chat_body())
        assert (answer.status, answer.error["code"]) == (409, "stream_exists")
    ended(relay, "taken")
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=chat_body())
    assert (answer.status, answer.error["code"]) == (409, "stream_exists")
    assert len(simulator.requests()) == requests


def test_of_many_that_want_one_name_at_once_one_gets_it(relay: Relay) -> None:
    headers = {"headrace-stream-id": "wanted"}
    exchanges = [chat(relay.port, headers=headers, simulate=QUICK) for _ in range(8)]
    statuses = []
    for exchange in exchanges:
        with exchange:
            statuses.append(exchange.status)
            exchange.read()
    assert sorted(statuses) == [200, *[409] * 7]
    assert read_log(relay.port, "wanted").text == TEXT


@pytest.mark.parametrize("name", ["", "a b", "a.b", "../x", "x" * 65, "\xe4"])
def test_a_bad_name_is_refused(relay: Relay, name: str) -> None:
    headers = {**JSON, "headrace-stream-id": name}
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=chat_body())
    assert (answer.status, answer.error["param"]) == (400, "Headrace-Stream-Id")


# Lingering


@pytest.mark.parametrize("leave", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
def test_a_lingering_stream_goes_on_without_its_client(relay: Relay, stream: bool, leave: str) -> None:
    stream_id = f"lingers-{stream}-{leave}"
    headers = {"headrace-linger": "30", "headrace-stream-id": stream_id}
    words = [f" {number}" for number in range(30)]
    with chat(relay.port, headers=headers, stream=stream, simulate={"deltas": words, "itl_ms": 10}) as exchange:
        if stream:
            exchange.read_events(3)
        else:
            wait_for(lambda: get(relay, f"/v1/streams/{stream_id}").status == 200, what="the stream")
        if leave == "rst":
            exchange.reset()
    log = read_log(relay.port, stream_id)
    assert log.text == "".join(words)
    assert log.end is not None
    assert log.end["state"] == "completed"


def test_the_head_of_a_lingering_stream_does_not_wait(relay: Relay) -> None:
    with chat(relay.port, headers={"headrace-linger": "0.2"}, simulate={"ttft_ms": 60_000}) as exchange:
        assert exchange.status == 200
        stream_id = exchange.headers["headrace-stream-id"]
        assert relay.stream(stream_id)["first_content_at"] is None
    assert ended(relay, stream_id)["cause"] == "client_gone"


def test_a_lingering_stream_to_which_nobody_comes_back_is_cancelled(relay: Relay, simulator: Simulator) -> None:
    with chat(relay.port, headers={"headrace-linger": "0.5"}, simulate=ENDLESS) as exchange:
        exchange.read_events(2)
        stream_id = exchange.headers["headrace-stream-id"]
    before = relay.stream(stream_id)
    assert before["state"] == "in_progress"
    view = ended(relay, stream_id)
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")
    assert view["last_offset"] > before["last_offset"] + 10
    wait_for(lambda: engine_left(simulator), what="the engine's end")


def test_who_comes_back_in_time_stops_the_clock(relay: Relay) -> None:
    words = [f" {number}" for number in range(100)]
    with chat(relay.port, headers={"headrace-linger": "0.5"}, simulate={"deltas": words, "itl_ms": 10}) as exchange:
        first = exchange.read_events(3)
        stream_id = exchange.headers["headrace-stream-id"]
    # A second of stream is left, twice the linger time.
    log = read_log(relay.port, stream_id, after=len(first) - 1)
    assert log.offsets[0] == len(first)
    assert log.end is not None
    assert (log.end["state"], log.offsets[-1]) == ("completed", 101)


def test_a_linger_time_of_zero_is_none(relay: Relay) -> None:
    with chat(relay.port, headers={"headrace-linger": "0"}, simulate=ENDLESS) as exchange:
        exchange.read_events(2)
        stream_id = exchange.headers["headrace-stream-id"]
    view = ended(relay, stream_id)
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")


@pytest.mark.parametrize("seconds", ["", "abc", "-1", "nan", "inf", "3601", "1e9"])
def test_a_bad_linger_time_is_refused(relay: Relay, seconds: str) -> None:
    headers = {**JSON, "headrace-linger": seconds}
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=chat_body())
    assert (answer.status, answer.error["param"]) == (400, "Headrace-Linger")


# Not storing


def test_a_stream_that_is_not_to_be_stored_can_be_followed_while_it_runs(relay: Relay) -> None:
    words = [f" {number}" for number in range(30)]
    with chat(relay.port, store=False, simulate={"deltas": words, "itl_ms": 10}) as exchange:
        exchange.read_events(3)
        log = read_log(relay.port, exchange.headers["headrace-stream-id"])
    assert log.text == "".join(words)


def test_a_stream_that_is_not_to_be_stored_leaves_its_record_and_no_text(relay: Relay) -> None:
    word = "Vergissmeinnicht"
    stream_id = start(relay, store=False, simulate={"deltas": [word]})
    view = relay.stream(stream_id)
    assert (view["state"], view["usage"]["completion_tokens"]) == ("completed", 1)
    wait_for(lambda: get(relay, f"/v1/streams/{stream_id}/events").status == 410, what="410")
    answer = get(relay, f"/v1/streams/{stream_id}/events")
    assert answer.error["code"] == "stream_gone"
    log = log_of_lines(get(relay, f"/v1/streams/{stream_id}/events?after={view['last_offset']}", accept=NDJSON).body)
    assert log.end is not None
    assert log.end["state"] == "completed"
    wait_for(lambda: not on_disk(relay, word), what="the emptied write-ahead log")


def test_a_streams_routes_take_no_other_methods(relay: Relay) -> None:
    for method, path, allowed in (
        ("POST", "/v1/streams", "GET"),
        ("PUT", "/v1/streams/x", "DELETE, GET"),
        ("DELETE", "/v1/streams/x/events", "GET"),
        ("GET", "/v1/streams/x/cancel", "POST"),
    ):
        answer = ask(relay.port, method, path)
        assert (answer.status, answer.error["code"], answer.headers["allow"]) == (405, "method_not_allowed", allowed)
