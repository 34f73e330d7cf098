"""What can go wrong with a scripted answer: one struct a kind, chosen by the field ``kind``.

``at`` counts deltas: the fault comes before delta number ``at`` (from 0) is sent, and 0 is before the role chunk too.
None, or a number past the end, is after the last delta and before the chunk with the finish reason. With several
choices, delta number *k* means the *k*-th delta of every choice.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

MAX_BYTES = 1 << 32
"""Largest event or decompressed body that a fault may ask for; it is streamed, never held."""
MAX_BURST_EVENTS = 100_000
"""Largest number of events in one write; these are held, about 25 MB."""

Ms = Annotated[float, msgspec.Meta(ge=0, le=86_400_000)]
"""Milliseconds, at most a day."""
EveryMs = Annotated[float, msgspec.Meta(ge=1, le=86_400_000)]
Index = Annotated[int, msgspec.Meta(ge=0)]
Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_BYTES)]


def _kind(class_name: str) -> str:
    """Return ``cut_chunked`` for ``CutChunked``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


class BaseFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=_kind):
    """Base of all faults."""

    @property
    def kind(self) -> str:
        """The name of the fault in JSON and in records."""
        return str(self.__struct_config__.tag)


class MidFault(BaseFault, frozen=True, kw_only=True):
    """Base of the faults that happen at one place of the stream."""

    at: Index | None = None


# Before the head


class CloseBeforeHead(BaseFault, frozen=True):
    """The request is read, then the connection is closed without a byte."""


class ResetBeforeHead(BaseFault, frozen=True):
    """As ``close_before_head``, with RST."""


class EarlyEofHead(BaseFault, frozen=True):
    """Half a response head, then FIN."""


class SilenceBefore(BaseFault, frozen=True, kw_only=True):
    """Nothing for ``ms``, or for ever, then the answer."""

    ms: Ms | None = None
    head: bool = False
    """Send the response head at once, and keep silent after it."""


class Status(BaseFault, frozen=True, kw_only=True):
    """A whole answer with another status."""

    code: Annotated[int, msgspec.Meta(ge=200, le=599)]
    retry_after: Annotated[float, msgspec.Meta(ge=0)] | str | None = None
    """Value of ``Retry-After``: seconds, or text such as an HTTP date."""
    message: str | None = None
    """Of the error in OpenAI's shape, like the next three. None says which status it is."""
    error_type: str | None = None
    """None is what OpenAI says with this status."""
    error_code: str | None = None
    """For example ``content_policy_violation``."""
    error_param: str | None = None
    body: str | None = None
    """The body as it is, instead of such an error."""
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        if self.body is not None and any((self.message, self.error_type, self.error_code, self.error_param)):
            raise ValueError("`body` excludes `message`, `error_type`, `error_code` and `error_param`")


class Redirect(BaseFault, frozen=True, kw_only=True):
    """A redirect to ``location``."""

    location: str = "http://127.0.0.1:9/v1/chat/completions"
    code: Annotated[int, msgspec.Meta(ge=300, le=399)] = 302


# The stream is cut


class Fin(MidFault, frozen=True):
    """FIN after a whole event: with chunked framing the last chunk is missing, with a length bytes are."""


class Rst(MidFault, frozen=True):
    """RST after a whole event."""


class CleanEnd(MidFault, frozen=True):
    """A well-terminated body with neither a finish reason nor ``[DONE]``."""


class CutChunked(MidFault, frozen=True):
    """FIN in the middle of an HTTP chunk."""


class CutCloseFramed(MidFault, frozen=True, kw_only=True):
    """A body framed by the connection's close ends before its finish reason."""

    inside: bool = False
    """Cut in the middle of an event instead of after one."""


class BrokenFraming(MidFault, frozen=True):
    """A chunk-size line that is no hexadecimal number, then FIN."""


class ErrorEvent(MidFault, frozen=True, kw_only=True):
    """An error object in the stream, as engines report what breaks after their 200; then an orderly end."""

    message: str = "simulated error"
    type: str = "server_error"
    code: str | None = None


class CompressedBomb(BaseFault, frozen=True, kw_only=True):
    """A gzip body nobody asked for, ``bytes`` long when unpacked."""

    bytes: Size = 100_000_000


# The stream goes on


class Silence(MidFault, frozen=True, kw_only=True):
    """Nothing for ``ms``, or for ever."""

    ms: Ms | None = None


class Keepalive(MidFault, frozen=True, kw_only=True):
    """SSE comments instead of deltas, for ``for_ms`` or for ever. ``at`` 0 begins with the response head."""

    every_ms: EveryMs = 1000
    for_ms: Ms | None = None


class MalformedJson(MidFault, frozen=True):
    """One more event, whose data is half a chunk."""


class NoDone(BaseFault, frozen=True):
    """Everything but ``[DONE]``."""


class SplitUtf8(BaseFault, frozen=True, kw_only=True):
    """Every packet but the last ends inside a character; the default text has multi-byte characters in every delta.

    The rest of an event therefore travels in the packet of the next one.
    """

    bytes_per_packet: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Cut after so many bytes instead, wherever that is."""
    gap_ms: Ms = 0
    """Pause between packets."""


class RepeatEventId(BaseFault, frozen=True, kw_only=True):
    """Every event has an ``id:`` line; the event of delta number ``at``, all choices counted, comes twice: id and bytes the same."""

    at: Index = 1


class RepeatText(MidFault, frozen=True, kw_only=True):
    """``times`` more deltas with equal text and equal bytes: a legal answer."""

    text: str = "ha"
    times: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2


class HugeEvent(MidFault, frozen=True, kw_only=True):
    """One more delta, whose text has ``bytes`` bytes."""

    bytes: Size = 100_000_000


class Burst(MidFault, frozen=True, kw_only=True):
    """``events`` more deltas in one write."""

    events: Annotated[int, msgspec.Meta(ge=1, le=MAX_BURST_EVENTS)] = 10_000


Fault = (
    CloseBeforeHead
    | ResetBeforeHead
    | EarlyEofHead
    | SilenceBefore
    | Status
    | Redirect
    | Fin
    | Rst
    | CleanEnd
    | CutChunked
    | CutCloseFramed
    | BrokenFraming
    | ErrorEvent
    | CompressedBomb
    | Silence
    | Keepalive
    | MalformedJson
    | NoDone
    | SplitUtf8
    | RepeatEventId
    | RepeatText
    | HugeEvent
    | Burst
)

BEFORE_HEAD = (CloseBeforeHead, ResetBeforeHead, EarlyEofHead, SilenceBefore, Status, Redirect)
"""Faults that make sense for a blocking answer too."""
NEED_CHUNKED = (CutChunked, BrokenFraming)
FIXED_LENGTH = (*BEFORE_HEAD, Fin, Rst, CleanEnd, Silence, NoDone, RepeatEventId, SplitUtf8)
"""Faults whose body has a length that is known before it is sent."""
