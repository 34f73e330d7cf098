"""Identifiers that must not be mixed up."""

from __future__ import annotations

from typing import NewType

StreamId = NewType("StreamId", str)
"""Names one log: ``[A-Za-z0-9_-]{1,64}``."""

RequestId = NewType("RequestId", str)
"""Names one request; several requests may refer to one log."""

Offset = NewType("Offset", int)
"""Position of an entry in its log: 0, 1, 2, … without gaps. Clients treat it as opaque but ordered."""

KeyId = NewType("KeyId", str)
"""Names one client key; no secret."""

Credential = NewType("Credential", str)
"""Digest of the secret that a caller has shown, by which it is known later; no secret itself. Empty without a key."""
