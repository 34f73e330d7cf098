"""All stream cases that this client speaks, through both of its forms."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.client.scripted_server import ScriptedServer

from headrace.client import AsyncClient, Client, Patience, Result
from headrace.errors import (
    ClientRequestError,
    ConnectionLost,
    Overloaded,
    RelayError,
    StreamCancelled,
    StreamExists,
    StreamGone,
    StreamNotFound,
    UpstreamError,
    UpstreamProtocolError,
)

FOLDER = Path(__file__).parent.parent / "cases"
CASES = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
SPOKEN = {name: case for name, case in CASES.items() if case["dialect"] == "chat"}

ERRORS: dict[str, type[RelayError]] = {
    "request": ClientRequestError,
    "not_found": StreamNotFound,
    "exists": StreamExists,
    "gone": StreamGone,
    "overloaded": Overloaded,
    "engine": UpstreamError,
    "protocol": UpstreamProtocolError,
    "cancelled": StreamCancelled,
    "relay": RelayError,
    "lost": ConnectionLost,
}

pytestmark = pytest.mark.timeout(20)


class Told:
    """What a client told of a case."""

    def __init__(self) -> None:
        self.text = ""
        self.offsets: list[int] = []
        self.error: RelayError | None = None


def patience_of(case: dict[str, Any]) -> Patience:
    client = case["client"]
    return Patience(idle_s=client.get("idle_ms", 5000) / 1000, resume_for_s=client.get("resume_for_ms", 5000) / 1000)


def soon() -> float:
    """Stands in for chance: waits are short, but not so short that giving up takes a thousand tries."""
    return 0.02


def attach_arguments(client: dict[str, Any]) -> dict[str, Any]:
    return {"after": client["after"], "merge": client.get("merge", False)}


def test_every_case_has_a_dialect_that_some_client_speaks() -> None:
    assert {case["dialect"] for case in CASES.values()} == {"chat", "eventsource"}
    assert len(SPOKEN) > 40


@pytest.mark.parametrize("name", SPOKEN)
def test_client_reports_what_the_case_says(name: str) -> None:
    case, told, started_s = CASES[name], Told(), time.monotonic()
    call = case["client"]
    with (
        ScriptedServer(case["connections"], stream_id=call.get("stream_id")) as server,
        Client(server.origin, patience=patience_of(case), random=soon) as client,
    ):
        is_chat = call["call"] == "chat"
        stream = client.chat("hi") if is_chat else client.attach(call["stream_id"], **attach_arguments(call))
        try:
            with stream:
                for entry in stream.entries():
                    told.text += entry.text
                    told.offsets.append(entry.offset)
                    if entry.offset == call.get("stop_after"):
                        stream.stop()
        except RelayError as error:
            told.error = error
        check(case["report"], told, stream.result, server, took_s=time.monotonic() - started_s)


@pytest.mark.parametrize("name", SPOKEN)
async def test_async_client_reports_what_the_case_says(name: str) -> None:
    case, told, started_s = CASES[name], Told(), time.monotonic()
    call = case["client"]
    with ScriptedServer(case["connections"], stream_id=call.get("stream_id")) as server:
        async with AsyncClient(server.origin, patience=patience_of(case), random=soon) as client:
            is_chat = call["call"] == "chat"
            stream = client.chat("hi") if is_chat else client.attach(call["stream_id"], **attach_arguments(call))
            try:
                async with stream:
                    async for entry in stream.entries():
                        told.text += entry.text
                        told.offsets.append(entry.offset)
                        if entry.offset == call.get("stop_after"):
                            await stream.stop()
            except RelayError as error:
                told.error = error
            check(case["report"], told, stream.result, server, took_s=time.monotonic() - started_s)


def check(report: dict[str, Any], told: Told, result: Result, server: ScriptedServer, *, took_s: float) -> None:
    server.check()
    assert told.text == result.text == report["text"]
    assert told.offsets == report["offsets"]
    assert (result.state, result.cause) == (report["state"], report.get("cause"))
    assert result.reconnects == report["reconnects"]
    assert server.cancels == report.get("cancels", 0)
    assert took_s * 1000 >= report.get("at_least_ms", 0)
    check_error(report, told.error, result)


def check_error(report: dict[str, Any], error: RelayError | None, result: Result) -> None:
    if "error" not in report:
        assert error is None
        return
    assert error is not None, "no error came"
    expected = ERRORS[report["error"]]
    assert type(error) is RelayError if expected is RelayError else isinstance(error, expected)
    assert error.result.text == result.text
    assert error.status == report.get("status", error.status)
    assert error.retry_after_s == report.get("retry_after_s", error.retry_after_s)
