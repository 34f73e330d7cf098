"""Tickets: one-use words that stand in a URL where a key must never stand."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec

from headrace.errors import ClientRequestError
from headrace.types.ids import Credential, StreamId

TICKET_S = 60.0
"""How long a ticket may wait for its use."""

SPENT_S = 24 * 3600.0
"""How long a spent ticket still attaches to the stream it started: an EventSource comes back with the same URL."""

MAX_TICKETS = 100_000
"""Tickets known at once, spent ones included; beyond it the oldest is forgotten."""

MAX_TICKETS_OF_ONE = 1_000
"""Those of one credential; beyond it its oldest is forgotten, so that nobody can use up the tickets of others."""


class _Ticket(msgspec.Struct):
    credential: Credential
    until_s: float
    stream_id: StreamId | None = None
    is_spent: bool = False


class Tickets:
    """Issues tickets and takes them back.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tickets: dict[str, _Ticket] = {}
        self._of_one: dict[Credential, dict[str, None]] = {}

    def issue(self, credential: Credential) -> str:
        """Return a new ticket of who has shown that credential, good for one use within ``TICKET_S``."""
        own = self._of_one.get(credential, {})
        if len(own) >= MAX_TICKETS_OF_ONE:
            self._forget(next(iter(own)))
        elif len(self._tickets) >= MAX_TICKETS:
            self._forget(next(iter(self._tickets)))
        ticket = f"tkt_{secrets.token_urlsafe(24)}"
        self._tickets[ticket] = _Ticket(credential, self._clock() + TICKET_S)
        self._of_one.setdefault(credential, {})[ticket] = None
        return ticket

    def redeem(self, ticket: str, stream_id: StreamId | None = None) -> Credential:
        """Use a ticket up, and return the credential that it stands for.

        Args:
            ticket: What a client sent.
            stream_id: The stream that it starts; later the ticket attaches to that one only.

        Raises:
            ClientRequestError: There is no such ticket, or it was used before (401).
        """
        found = self._known(ticket)
        if found.is_spent:
            raise _refused("the ticket was used before; a ticket starts one stream")
        found.is_spent = True
        found.stream_id = stream_id
        found.until_s = self._clock() + SPENT_S
        return found.credential

    def attach(self, ticket: str, stream_id: StreamId) -> Credential:
        """Return the credential that the ticket stands for which started ``stream_id``.

        Raises:
            ClientRequestError: It started another stream, or none (401).
        """
        found = self._known(ticket)
        if not found.is_spent or found.stream_id != stream_id:
            raise _refused("the ticket belongs to another stream")
        return found.credential

    def _forget(self, ticket: str) -> None:
        credential = self._tickets.pop(ticket).credential
        own = self._of_one[credential]
        del own[ticket]
        if not own:
            del self._of_one[credential]

    def _known(self, ticket: str) -> _Ticket:
        found = self._tickets.get(ticket)
        if found is not None and found.until_s < self._clock():
            self._forget(ticket)
            found = None
        if found is None:
            raise _refused("the ticket is not known, or its time is over")
        return found


def _refused(message: str) -> ClientRequestError:
    return ClientRequestError(message, status=401, code="ticket_invalid", param="ticket")
