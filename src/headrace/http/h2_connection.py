"""The h2 library's side of a connection, with our numbers and two of its rules changed.

h2 takes GOAWAY for the end of a connection, whoever sends it; RFC 9113 6.8 lets the streams that are open go on. And it
ends a connection whose peer opens one stream too many; RFC 9113 5.1.2 asks to refuse that stream alone.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.events import Event
from h2.settings import SettingCodes, Settings

from headrace.http.protocol import MAX_HEADERS

MAX_STREAMS = 100
"""Requests of one connection at once. What browsers and SDKs expect."""

STREAM_WINDOW_BYTES = 256 * 1024
"""Request body that a peer may send before the application reads it."""

CONNECTION_WINDOW_BYTES = 1024 * 1024
"""The same for all streams of a connection together."""

FRAME_BYTES = 16 * 1024
"""Largest frame sent and taken; what every peer takes (RFC 9113 4.2)."""

_UNBOUNDED = 2**31 - 1


class _StateMachine(H2ConnectionStateMachine):
    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        if input_ in (ConnectionInputs.SEND_GOAWAY, ConnectionInputs.RECV_GOAWAY):
            return []
        return super().process_input(input_)


class _Connection(H2Connection):
    # Kept to tell late frames of a closed stream from nonsense.
    MAX_CLOSED_STREAMS = 4096


def server_connection(max_head_bytes: int) -> H2Connection:
    """Return a connection whose first frames are ready to be sent. How many streams are open is the caller's to bound.

    Args:
        max_head_bytes: What peers are told that a request head may have. Up to ``most_head_bytes`` they are heard.
    """
    connection = _Connection(H2Configuration(client_side=False, header_encoding=None))
    connection.state_machine = _StateMachine()
    told = {
        SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
        SettingCodes.MAX_HEADER_LIST_SIZE: max_head_bytes,
    }
    connection.local_settings = Settings(client=False, initial_values=told)
    connection.initiate_connection()
    connection.increment_flow_control_window(CONNECTION_WINDOW_BYTES - connection.inbound_flow_control_window)
    kept = told | {SettingCodes.MAX_CONCURRENT_STREAMS: _UNBOUNDED}
    connection.local_settings = Settings(client=False, initial_values=kept)
    connection.decoder.max_header_list_size = most_head_bytes(max_head_bytes)
    return connection


def most_head_bytes(max_head_bytes: int) -> int:
    """Return up to where a head that is too large is read, so that its sender can be told, as HPACK counts."""
    return 2 * max_head_bytes + 64 * MAX_HEADERS
