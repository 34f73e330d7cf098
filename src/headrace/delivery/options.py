"""What a client may ask of the delivery of its stream."""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_COALESCE_TOKENS = 1000


class DeliveryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often a client is written to, and how much of each chunk it gets."""

    coalesce_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_COALESCE_TOKENS)] = 1
    """Entries that are gathered before they are written. The first content and the end never wait, and nothing waits
    longer than a second."""
    merge: bool = False
    """Send chunks that differ in their text only as one."""
