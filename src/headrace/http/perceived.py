"""``POST /v1/streams/{id}/perceived``: what a client perceived of a stream that has ended."""

from __future__ import annotations

import msgspec

from headrace.errors import ClientRequestError, StoreError
from headrace.http.exchange import Exchange
from headrace.http.node import Node
from headrace.http.visible import no_such_stream, require_visible, stream_id_in_path
from headrace.protocol.body import read_body
from headrace.types.ids import StreamId
from headrace.types.record import Perceived

MAX_REPORT_BYTES = 4096

RETRY_AFTER_S = 1.0
"""When to come back while the store lacks the end: about as often it is offered what it missed."""


class Report(Perceived, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report as it must be sent. What is stored is read with more patience: a later version may know more fields."""


_decoder = msgspec.json.Decoder(Report)


async def report_perceived(exchange: Exchange) -> None:
    """Keep what a client perceived, once a stream: a second report changes nothing, so a client may send it again.

    Raises:
        ClientRequestError: The body is too large or no report (``param`` names the field), or the stream has not ended.
        StreamNotFound: There is no such stream.
        StoreError: The report is not kept.
    """
    node, stream_id = exchange.node, stream_id_in_path(exchange)
    report = parse_report(await exchange.body())
    await require_visible(node, exchange.caller, stream_id)
    _require_kept_end(node, stream_id)
    record = await node.records.add_perceived(stream_id, report)
    if record is None:
        raise no_such_stream(stream_id)
    if not record.state.is_terminal:
        raise _still_running(stream_id)
    if record.perceived is None:
        node.metrics.perceived(report)
    await exchange.start(204, [])
    await exchange.finish()


def parse_report(body: bytes) -> Report:
    """Read a report.

    Raises:
        ClientRequestError: It is too large, not JSON, or a field is wrong; ``param`` names the field.
    """
    return read_body(body, _decoder, max_bytes=MAX_REPORT_BYTES)


def _require_kept_end(node: Node, stream_id: StreamId) -> None:
    """Make sure that nothing of the pump comes after a report: its record is saved, and is not saved again.

    Raises:
        ClientRequestError: The stream runs.
        StoreError: It has ended, but the store does not have its end yet.
    """
    pump = node.supervisor.find(stream_id)
    if pump is not None and pump.log.published_end is None:
        raise _still_running(stream_id)
    if node.supervisor.late(stream_id) is not None:
        raise StoreError(
            f"the store does not have the end of {stream_id} yet; send this again", retry_after_s=RETRY_AFTER_S
        )


def _still_running(stream_id: StreamId) -> ClientRequestError:
    return ClientRequestError(
        f"{stream_id} has not ended; send this after its end", status=409, code="stream_running", param="stream_id"
    )
