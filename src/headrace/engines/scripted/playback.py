"""Plays packets onto a transport, each at its time, as fast as the client takes them."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator

from headrace.engines.scripted.chunks import SENT_AT, stamp
from headrace.engines.scripted.records import Records, RequestRecord
from headrace.engines.scripted.steps import Close, How
from headrace.engines.scripted.timetable import EPSILON_MS, Timetable
from headrace.engines.scripted.wire import Packet

WRITE_BYTES = 64 * 1024
"""Upper bound on one write, give or take one packet; then other streams have their turn."""


class Playback:
    """One answer on its way out.

    The transport must call ``pause`` as soon as it buffers anything. A write then goes to the kernel at once, and what
    waits in this process is one write at most.
    """

    def __init__(
        self,
        packets: Iterator[Packet],
        transport: asyncio.Transport,
        *,
        timetable: Timetable,
        loop: asyncio.AbstractEventLoop,
        records: Records,
        record: RequestRecord | None,
        is_stamped: bool,
        on_end: Callable[[], None],
    ) -> None:
        """Prepare; nothing is sent before ``start``.

        Args:
            packets: The answer.
            transport: Where it goes.
            timetable: Wakes this stream up.
            loop: The running loop.
            records: Where ``record`` belongs.
            record: Is kept up to date; None for answers that nobody counts.
            is_stamped: Whether chunks have a place for a timestamp.
            on_end: Called when the answer ended and the connection is open for the next request.
        """
        self._packets = packets
        self._transport = transport
        self._timetable = timetable
        self._loop = loop
        self._records = records
        self._record = record
        self._is_stamped = is_stamped
        self._on_end = on_end
        self._started_s = 0.0
        self._next: Packet | None = None
        self._closing: Close | None = None
        self._is_paused = False
        self._is_waiting = False
        self._is_over = False

    def start(self, started_s: float) -> None:
        """Begin; the answer's times count from ``started_s``, of CLOCK_MONOTONIC."""
        self._started_s = started_s
        self._next = next(self._packets, None)
        self._run()

    def pause(self) -> None:
        """Write nothing until ``resume``."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        if not self._is_waiting:
            self._run()

    def client_closed(self) -> None:
        """Stop: the client is gone. Idempotent, and without effect on an answer that has ended."""
        self._stop("client_closed")

    def _wake(self) -> None:
        self._is_waiting = False
        self._run()

    def _run(self) -> None:
        """Write what is due, in one write."""
        if self._is_paused or self._is_over:
            return
        now_s = time.monotonic()
        due_ms = (now_s - self._started_s) * 1000 + EPSILON_MS
        taken = self._take(due_ms)
        if taken:
            self._closing = taken[-1].close
            self._write(taken, now_s)
        self._go_on(due_ms)

    def _go_on(self, due_ms: float) -> None:
        """End, or arrange to be called again; the last write may have paused this stream."""
        if self._is_paused or self._is_over:
            return
        if self._closing is not None:
            self._end(self._closing)
        elif self._next is not None:
            self._is_waiting = True
            if self._next.due_ms <= due_ms:
                self._loop.call_soon(self._wake)
            else:
                self._timetable.at(self._started_s + self._next.due_ms / 1000, self._wake)

    def _take(self, due_ms: float) -> list[Packet]:
        """Return the packets of the next write."""
        taken: list[Packet] = []
        size = 0
        packet = self._next
        while packet is not None and packet.due_ms <= due_ms and size < WRITE_BYTES:
            if packet.is_alone and taken:
                break
            taken.append(packet)
            size += len(packet.data)
            is_last = packet.is_alone or packet.close is not None
            packet = next(self._packets, None)
            if is_last:
                break
        self._next = packet
        return taken

    def _write(self, taken: list[Packet], now_s: float) -> None:
        data = taken[0].data if len(taken) == 1 else b"".join([packet.data for packet in taken])
        if self._is_stamped:
            data = data.replace(SENT_AT, stamp(now_s))
        record = self._record
        if record is not None:
            # The status line is in the first packet, which is always the first of its write.
            record.status = record.status or taken[0].status or None
            record.tokens_sent += sum([packet.tokens for packet in taken])
            if record.first_token_at is None and record.tokens_sent:
                record.first_token_at = now_s
        if data:
            self._transport.write(data)

    def _end(self, close: Close) -> None:
        self._stop(close.outcome)
        if close.how is How.END:
            self._on_end()
        elif close.how is How.FIN:
            self._transport.close()
        else:
            # Linger for no time: closing then resets the connection (socket(7), SO_LINGER).
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def _stop(self, outcome: str) -> None:
        """Let go of the answer, and close its record."""
        if self._is_over:
            return
        self._is_over = True
        self._next, self._packets = None, iter(())
        if self._record is not None:
            now_s = time.monotonic()
            if outcome == "client_closed":
                self._record.client_closed_at = now_s
            self._records.end(self._record, outcome, now_s=now_s)
