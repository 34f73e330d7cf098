"""Tickets: one use, a short life, and back to their own stream only."""

from __future__ import annotations

from functools import partial

import pytest

from headrace.errors import ClientRequestError
from headrace.policy.tickets import MAX_TICKETS, SPENT_S, TICKET_S, Tickets
from headrace.types.ids import KeyId, StreamId

STREAM = StreamId("s")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(clock)


def refused(tickets: Tickets, ticket: str, stream_id: StreamId | None = None) -> bool:
    use = partial(tickets.redeem, ticket) if stream_id is None else partial(tickets.attach, ticket, stream_id)
    with pytest.raises(ClientRequestError) as caught:
        use()
    return (caught.value.status, caught.value.code) == (401, "ticket_invalid")


def test_a_ticket_starts_one_stream(tickets: Tickets) -> None:
    ticket = tickets.issue(KeyId("ada"))
    assert tickets.redeem(ticket, STREAM) == "ada"
    assert refused(tickets, ticket)


def test_a_spent_ticket_attaches_to_the_stream_it_started_as_often_as_needed(tickets: Tickets, clock: Clock) -> None:
    ticket = tickets.issue(KeyId("ada"))
    tickets.redeem(ticket, STREAM)
    clock.now_s += SPENT_S
    assert tickets.attach(ticket, STREAM) == "ada"
    assert tickets.attach(ticket, STREAM) == "ada"
    assert refused(tickets, ticket, StreamId("other"))
    clock.now_s += 1
    assert refused(tickets, ticket, STREAM)


def test_an_unused_ticket_attaches_to_nothing_and_runs_out(tickets: Tickets, clock: Clock) -> None:
    ticket = tickets.issue(KeyId("ada"))
    assert refused(tickets, ticket, STREAM)
    clock.now_s += TICKET_S + 1
    assert refused(tickets, ticket)


def test_what_was_never_issued_is_refused(tickets: Tickets) -> None:
    assert refused(tickets, "tkt_guess")


def test_the_oldest_is_forgotten_when_there_are_too_many(tickets: Tickets) -> None:
    first, second = tickets.issue(KeyId("")), tickets.issue(KeyId(""))
    for _ in range(MAX_TICKETS - 1):
        tickets.issue(KeyId(""))
    assert refused(tickets, first)
    assert tickets.redeem(second) == ""
