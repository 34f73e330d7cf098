"""Plays the faults against real relays and notes what everybody saw."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import trustme
from tests.processes import Relay, Simulator
from tests.system.faults import Case
from tests.system.sdk import Seen, blocked, streamed
from tests.system.wire import Log, read_log

from headrace.engines.scripted import SimulatorServer

TIMEOUTS = ("--first-token-timeout", "1", "--idle-timeout", "1")
HEAD_WAIT = "HEADRACE_TIMEOUTS__HEAD_WAIT"
ONCE = {"HEADRACE_RETRY__ATTEMPTS": "1", "HEADRACE_RETRY__CONTINUATIONS": "0"}
"""What one fault does is seen when nothing is tried again."""


@dataclass(kw_only=True)
class Call:
    """One call of the SDK, and what the relay and the engine say of it."""

    seen: Seen
    view: dict[str, Any]
    """``GET /v1/streams/{id}``."""
    log: Log
    engine_requests: int


@dataclass(kw_only=True)
class Observation:
    """A streaming and a blocking call of one case, made at the same time."""

    streaming: Call
    blocking: Call
    streams: int
    """Streams that the relay began for both."""
    growth_bytes: int
    """How far the relay's memory rose above what it was before."""
    printed: str
    """What the relay wrote to its outputs so far."""


class FaultBench:
    """Simulator and relays, each started when a case needs it. A context manager.

    The relays: ``plain``; ``immediate`` has no tick; ``strict`` ends streams at a malformed chunk; ``patient`` holds its
    response head back for longer than the first-token timeout; ``refused`` has an upstream that nobody listens on;
    ``tls`` one whose certificate nobody signed. All others send the head after half a second: surely before the timeout,
    as with the default settings. None tries anything again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._relays: dict[str, Relay] = {}

    def __enter__(self) -> Self:
        self.simulator = self._stack.enter_context(Simulator())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def relay(self, name: str) -> Relay:
        """Return a relay, started."""
        if name not in self._relays:
            environ = {**ONCE, HEAD_WAIT: "10" if name == "patient" else "500ms"}
            if name == "immediate":
                environ["HEADRACE_STREAM__FLUSH_INTERVAL_MS"] = "0"
            if name == "strict":
                environ["HEADRACE_ENGINE__ON_MALFORMED_CHUNK"] = "end"
            upstream = self._upstream(name)
            relay = Relay(upstream, self._folder / f"{name}.db", *TIMEOUTS, environ=environ)
            self._relays[name] = self._stack.enter_context(relay)
            relay.get("/readyz")
        return self._relays[name]

    def _upstream(self, name: str) -> str:
        if name == "refused":
            # Bound and not listening: nobody else can take the port.
            deaf = self._stack.enter_context(socket.socket())
            deaf.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        if name == "tls":
            return self._stack.enter_context(untrusted_engine())
        return self.simulator.url

    def observe(self, case: Case) -> Observation:
        """Play one case, streaming and blocking at once."""
        relay = self.relay(case.relay)
        before = relay.metric("headrace_streams_total")
        Path(f"/proc/{relay.pid}/clear_refs").write_text("5")  # proc(5): resets the peak of the resident memory
        rss_bytes = relay.rss_bytes()
        with ThreadPoolExecutor(2) as pool:
            streaming, blocking = pool.map(lambda call: self._call(relay, case, call), (streamed, blocked))
        return Observation(
            streaming=streaming,
            blocking=blocking,
            streams=int(relay.metric("headrace_streams_total") - before),
            growth_bytes=_peak_rss_bytes(relay.pid) - rss_bytes,
            printed=relay.output,
        )

    def _call(self, relay: Relay, case: Case, call: Callable[..., Seen]) -> Call:
        # Trace context is forwarded, so it tells which of the engine's requests come from this call.
        trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        seen = call(relay.url, headers={"traceparent": trace}, simulate=case.script)
        requests = [request["headers"].get("traceparent") for request in self.simulator.requests()]
        return Call(
            seen=seen,
            view=relay.stream(seen.stream_id),
            log=read_log(relay.port, seen.stream_id),
            engine_requests=requests.count(trace),
        )


@contextmanager
def untrusted_engine() -> Iterator[str]:
    """Serve a simulator over TLS, with a certificate from an authority of its own; yields its base URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = SimulatorServer(ssl=context)
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server.url
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _peak_rss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def table(rows: list[tuple[Case, Observation]]) -> str:
    """Return what was seen as a Markdown table."""
    lines = [
        "| The engine | The stream ends | The SDK sees, streaming | The SDK sees, blocking | The record |",
        "|---|---|---|---|---|",
    ]
    for case, observed in rows:
        view = observed.streaming.view
        text = len(observed.streaming.seen.text)
        read = f" after {text} characters" if observed.streaming.seen.error and text else ""
        malformed = f", {view['malformed_chunks']} malformed" if view["malformed_chunks"] else ""
        record = f"{view['last_offset']} entries, {view['usage']['completion_tokens']} tokens{malformed}"
        cells = (
            case.name,
            f"`{view['state']}`, `{view['cause']}`",
            observed.streaming.seen.words + read,
            observed.blocking.seen.words,
            record,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
