"""What a client asks for, whichever door it came by."""

from __future__ import annotations

import msgspec

from headrace.protocol.request import GenerationRequest
from headrace.types.access import Caller
from headrace.types.engine import Endpoint
from headrace.types.ids import RequestId, StreamId


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for, read and checked as far as its door can."""

    caller: Caller
    request: GenerationRequest
    body: bytes
    """The request as it came."""
    endpoint: Endpoint
    stream_id: StreamId
    """A free one."""
    proposed_as: str | None = None
    """What the client calls the id that it proposes; None: the id is ours."""
    request_id: RequestId
    headers: dict[bytes, bytes]
    """All headers of the client, by lower-case name."""
    linger_s: float | None
    """How long the stream goes on without a consumer; None: not at all."""
    wants_usage: bool
    """Whether the usage chunk is shown."""
