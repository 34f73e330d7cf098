"""What a client ordered: one request, validated, before there is a stream."""

from __future__ import annotations

import msgspec

from headrace.pump.party import Requester
from headrace.types.chunk import BYTES_PER_TOKEN
from headrace.types.engine import EngineRequest
from headrace.types.ids import KeyId, RequestId, StreamId


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One request on one new stream."""

    stream_id: StreamId
    request_id: RequestId
    owner: str
    model: str
    engine_request: EngineRequest
    choices: int = 1
    """How many choices the client asked for (``n``); the answer is whole when each has a finish_reason."""
    wants_usage: bool = False
    """Whether the client asked for the usage chunk; otherwise it is read and hidden."""
    keeps_content: bool = True
    """False: the store keeps no text after the end."""
    hides_running_usage: bool = False
    """Whether the engine was asked for its usage with every chunk, which the client did not ask for."""
    key_id: KeyId = KeyId("")
    tags: dict[str, str] = {}
    linger_s: float | None = None
    """How long the stream goes on without a consumer, in seconds; None: not at all."""

    share_key: str | None = None
    """Digest that identical requests have, which may join while it runs; None: none may."""
    cache_key: str | None = None
    """Digest under which the whole answer may be given again; None: it may not."""

    @property
    def requester(self) -> Requester:
        """Who asks."""
        return Requester(
            stream_id=self.stream_id,
            request_id=self.request_id,
            owner=self.owner,
            key_id=self.key_id,
            tags=self.tags,
            linger_s=self.linger_s,
        )

    @property
    def prompt_tokens(self) -> int:
        """A rough count, before any engine counts."""
        return len(self.engine_request.body) // BYTES_PER_TOKEN
