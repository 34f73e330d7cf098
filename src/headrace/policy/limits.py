"""How much anything may take. Every size and count that a peer controls has its name here."""

from __future__ import annotations

from typing import Annotated

import msgspec

from headrace.policy.units import Bytes, Count, Seconds, without_seconds


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=without_seconds):
    """Bounds on what clients and engines send, and on what is kept in memory."""

    max_streams: Count = 10_000
    """Streams running at once; more are refused with 503."""
    max_queued: Annotated[int, msgspec.Meta(ge=0)] = 1_000
    """Requests that wait until a limit of their key, owner, model or engine lets them in; more are refused with 429."""
    max_queued_per_owner: Annotated[int, msgspec.Meta(ge=0)] = 250
    """The same of one owner; 0 lets nobody wait."""
    max_choices: Count = 16
    """Largest ``n`` of a request."""
    max_followers: Count = 1_000
    """Consumers of one stream at once; more are refused with 429."""
    tail_bytes: Bytes = 256 * 1024
    """Entries of a running stream kept in memory for consumers that lag; older ones are read from the store."""
    write_bytes: Bytes = 64 * 1024
    """Upper bound on one write to a client, give or take one segment."""
    max_lead_entries: Count | None = None
    """Pause the engine when the foremost consumer is this many entries behind; None never does, but for streams that
    only memory holds (a memory store, a degraded stream), which stop at ``memory_lead_entries`` and ``tail_bytes``."""
    memory_lead_entries: Count = 4096
    """``max_lead_entries`` of streams that only memory holds."""
    max_connection_streams: Count = 256
    """Streams that one WebSocket follows at once; more are refused."""
    max_frame_bytes: Bytes = 1024 * 1024
    """One message of a WebSocket client; a larger one closes the connection with 1009."""
    max_linger_s: Seconds = 3600.0
    """Largest ``Headrace-Linger`` a client may ask for."""
