"""What nginx alone does, or could do, to the relay behind it with ``deploy/nginx.conf``."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from tests.nginx import Nginx
from tests.processes import Relay, Simulator
from tests.system.gaps import Waiting
from tests.system.proxied import (
    ENVIRON,
    PACED,
    HangingUp,
    ask_for_health,
    assert_one_by_one,
    post,
    text_of_tokens,
    tokens_of,
    unzipped,
)
from tests.system.wire import chat_body, wait_for

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def relay(
    simulator: Simulator, require: Callable[[object, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Relay]:
    require(Nginx.binary(), "nginx")
    store = tmp_path_factory.mktemp("relay") / "streams.db"
    with Relay(simulator.url, store, "--flush-interval", "0", environ=ENVIRON) as relay:
        yield relay


@pytest.fixture(scope="module")
def nginx(relay: Relay) -> Iterator[Nginx]:
    with Nginx(relay.port) as nginx:
        yield nginx


def test_answers_with_gaps_are_under_way(waiting: Waiting) -> None:
    assert not any(answer.done() for answer in (*waiting.beaten, *waiting.silent))


def test_gzip_by_nginx_lets_tokens_through_one_by_one(relay: Relay) -> None:
    edits = {"gzip off;": "gzip on; gzip_types text/event-stream application/x-ndjson;"}
    body = chat_body(simulate={**PACED, "seed": 7})
    with Nginx(relay.port, edits=edits) as nginx:
        with post(nginx, body) as exchange:
            plain = tokens_of(exchange.pieces())
            plain_bytes = len(exchange.received)
            assert "content-encoding" not in exchange.headers
        with post(nginx, body, headers={"accept-encoding": "gzip"}) as exchange:
            assert exchange.headers["content-encoding"] == "gzip"
            tokens = tokens_of(unzipped(exchange.pieces()))
            print(f"gzip by nginx: {plain_bytes} bytes become {len(exchange.received)}")  # noqa: T201 (a measurement)
    assert_one_by_one(tokens)
    assert text_of_tokens(tokens) == text_of_tokens(plain)


def test_a_request_that_reached_nobody_may_be_sent_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Nginx(port) as nginx, post(nginx, chat_body()) as exchange:
        assert exchange.status == 502
        assert "x-should-retry" not in exchange.headers


def test_a_prompt_is_written_into_no_file(simulator: Simulator, nginx: Nginx) -> None:
    """Nginx would have the file open, its name removed, until the response head comes."""
    simulator.forget()
    with post(nginx, chat_body(content="x" * 2_000_000, simulate={"fault": {"kind": "silence_before"}})):
        wait_for(simulator.requests, what="the request")
        assert not [name for name in nginx.open_files() if name.startswith(f"{nginx.folder}/body/")]


def test_connections_to_the_relay_are_used_again() -> None:
    with HangingUp() as upstream, Nginx(upstream.port) as nginx:
        for _ in range(5):
            ask_for_health(nginx)
    assert upstream.connections == 1
