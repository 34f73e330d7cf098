"""Answers with a gap of 90 s in them, waited for beside all other tests: a gap is no end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.caddy import Caddy
from tests.envoy import Envoy
from tests.nginx import Nginx
from tests.processes import Relay, Simulator
from tests.proxy import Proxy, TimedExchange
from tests.system.proxied import CHAT, ENVIRON
from tests.system.wire import JSON, chat_body, chat_events, text_of

PROXIES: list[type[Proxy]] = [Nginx, Caddy, Envoy]

GAP_S = 90
"""Longer than the 60 s after which many proxies give up by default."""
GAP: dict[str, Any] = {"text": "one two three four", "fault": {"kind": "silence", "at": 2, "ms": 1000 * GAP_S}}


class Waited(NamedTuple):
    """What a client has of an answer with a gap in it."""

    text: str
    heartbeats: int
    took_s: float


def wait_streaming(proxy: Proxy) -> Waited:
    with TimedExchange(proxy.connect(), "POST", CHAT, headers=JSON, body=chat_body(simulate=GAP)) as exchange:
        exchange.wait_for(GAP_S + 20)
        events = chat_events(exchange.read())
        assert events.pop() == b"[DONE]"
        text = text_of([json.loads(event) for event in events])
        return Waited(text, exchange.received.count(b": ping\n\n"), time.monotonic() - exchange.sent_at)


def wait_blocking(proxy: Proxy) -> Waited:
    body = chat_body(stream=False, simulate=GAP)
    with TimedExchange(proxy.connect(), "POST", CHAT, headers=JSON, body=body) as exchange:
        exchange.wait_for(GAP_S + 20)
        text = json.loads(exchange.read())["choices"][0]["message"]["content"]
        return Waited(text, 0, time.monotonic() - exchange.sent_at)


class Waiting(NamedTuple):
    """Answers that are waited for, of every proxy that is here."""

    beaten: list[Future[Waited]]
    """Streams with heartbeats as they come by default."""
    silent: list[Future[Waited]]
    """Without any: the proxy's own patience is all there is."""


@contextmanager
def waiting_answers(kinds: Sequence[type[Proxy]], folder: Path) -> Iterator[Waiting]:
    """Begin to wait, through each of the proxies; what is not there at the end of the block is given up."""
    patient = {**ENVIRON, "HEADRACE_TIMEOUTS__IDLE": "120s"}

    def proxied(name: str, environ: Mapping[str, str]) -> list[Proxy]:
        relay = stack.enter_context(Relay(simulator.url, folder / name, environ=environ))
        return [stack.enter_context(kind(relay.port)) for kind in kinds]

    with ExitStack() as stack:
        # Left last: by then its threads have lost their connections.
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=3 * len(kinds)))
        simulator = stack.enter_context(Simulator("--ttft-ms", "10", "--itl-ms", "20"))
        with_heartbeats = proxied("heartbeats.db", patient)
        without = proxied("silent.db", {**patient, "HEADRACE_TIMEOUTS__HEARTBEAT": "200s"})
        yield Waiting(
            beaten=[pool.submit(wait_streaming, proxy) for proxy in with_heartbeats],
            silent=[pool.submit(wait, proxy) for proxy in without for wait in (wait_streaming, wait_blocking)],
        )
