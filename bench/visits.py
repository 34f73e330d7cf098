"""Many clients at one door: when each comes, and how long all of them may take."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
from bench.clients import Client, Http1Client, Received, Request, http1_request
from bench.load import GRACE_S, Load


class Visit(Protocol):
    """Opens a connection to a port and makes requests on it."""

    async def __call__(self, port: int, request: Request, delays_s: Sequence[float], result: Received) -> None:
        """Make a request after each delay, in rising order, and wait until all are answered.

        What breaks is counted in ``result``; nothing is raised.
        """


def visiting(kind: Callable[[str, Received], Client]) -> Visit:
    """Return a visit with clients of one kind."""

    async def visit(port: int, request: Request, delays_s: Sequence[float], result: Received) -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        await asyncio.sleep(delays_s[0])
        try:
            transport, client = await loop.create_connection(lambda: kind(request.authority, result), "127.0.0.1", port)
        except OSError as error:
            for _ in delays_s:
                result.fail(f"connecting: {error}")
            return
        try:
            await client.ready.wait()
            answers = []
            for delay_s in delays_s:
                await asyncio.sleep(begin_s + delay_s - loop.time())
                answers.append(client.start(request))
            for answer in answers:
                await answer.over.wait()
        finally:
            transport.abort()

    return visit


async def follow(port: int, request: Request, delays_s: Sequence[float], result: Received) -> None:
    """Start a stream that lingers, leave it, and follow it by the events route with the request's headers.

    A visit of one request. What the start receives is not counted.
    """
    name = f"bench-{os.urandom(12).hex()}"
    lingering = {"Headrace-Stream-Id": name, "Headrace-Linger": "true"}
    await asyncio.sleep(delays_s[0])
    try:
        await _start(port, msgspec.structs.replace(request, headers=lingering))
    except (OSError, asyncio.IncompleteReadError) as error:
        result.fail(f"starting: {error}")
        return
    followed = msgspec.structs.replace(request, path=f"/v1/streams/{name}/events", body=b"")
    await visiting(Http1Client)(port, followed, [0.0], result)


async def _start(port: int, request: Request) -> None:
    """Make a request and leave at the end of the response head, which comes at once when a stream lingers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(http1_request(request))
        await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


def grouped(delays_s: Iterable[float], size: int) -> list[list[float]]:
    """Return delays in groups of up to ``size``, each in rising order."""
    all_s = list(delays_s)
    return [sorted(all_s[start : start + size]) for start in range(0, len(all_s), size)]


async def run_visits(
    port: int, load: Load, request: Request, visit: Visit, *, groups: Iterable[Sequence[float]], result: Received
) -> Received:
    """Let all visitors come, and wait until they have been served, or until it is far too late.

    Args:
        port: Where the server listens, on loopback.
        load: What all of them ask together; says how long it may take.
        request: What each asks.
        visit: How.
        groups: Delays of the requests on each connection.
        result: Where everything is counted; also returned.
    """
    started_s = time.perf_counter()
    timeout_s = load.planned_s * 2 + GRACE_S
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as tasks:
            for delays_s in groups:
                tasks.create_task(visit(port, request, delays_s, result))
    except TimeoutError:
        missing = load.streams - result.completed - result.failed
        result.fail(f"{missing} streams did not end within {timeout_s:.0f} s")
        result.failed += missing - 1
    result.elapsed_s = time.perf_counter() - started_s
    return result
