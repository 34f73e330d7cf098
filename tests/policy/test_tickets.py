"""Tickets: one use, a short life, and back to their own stream only."""

from __future__ import annotations

from functools import partial

import pytest

from headrace.errors import ClientRequestError
from headrace.policy.tickets import MAX_TICKETS, MAX_TICKETS_OF_ONE, SPENT_S, TICKET_S, Tickets
from headrace.types.ids import Credential, StreamId

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
    ticket = tickets.issue(Credential("ada"))
    assert tickets.redeem(ticket, STREAM) == "ada"
    assert refused(tickets, ticket)


def test_a_spent_ticket_attaches_to_the_stream_it_started_as_often_as_needed(tickets: Tickets, clock: Clock) -> None:
    ticket = tickets.issue(Credential("ada"))
    tickets.redeem(ticket, STREAM)
    clock.now_s += SPENT_S
    assert tickets.attach(ticket, STREAM) == "ada"
    assert tickets.attach(ticket, STREAM) == "ada"
    assert refused(tickets, ticket, StreamId("other"))
    clock.now_s += 1
    assert refused(tickets, ticket, STREAM)


def test_an_unused_ticket_attaches_to_nothing_and_runs_out(tickets: Tickets, clock: Clock) -> None:
    ticket = tickets.issue(Credential("ada"))
    assert refused(tickets, ticket, STREAM)
    clock.now_s += TICKET_S + 1
    assert refused(tickets, ticket)


def test_what_was_never_issued_is_refused(tickets: Tickets) -> None:
    assert refused(tickets, "tkt_guess")


def test_the_oldest_is_forgotten_when_there_are_too_many(tickets: Tickets) -> None:
    first, second = tickets.issue(Credential("ada")), tickets.issue(Credential("bob"))
    others = MAX_TICKETS // MAX_TICKETS_OF_ONE
    for number in range(MAX_TICKETS - 1):
        tickets.issue(Credential(f"other {number % others}"))
    assert refused(tickets, first)
    assert tickets.redeem(second) == "bob"


def test_who_asks_for_too_many_loses_its_own_and_nobody_elses(tickets: Tickets) -> None:
    ticket, own = tickets.issue(Credential("ada")), tickets.issue(Credential("greedy"))
    for _ in range(MAX_TICKETS_OF_ONE):
        tickets.issue(Credential("greedy"))
    assert refused(tickets, own)
    assert tickets.redeem(ticket) == "ada"


def test_a_ticket_that_ran_out_makes_room(tickets: Tickets, clock: Clock) -> None:
    old = tickets.issue(Credential("ada"))
    clock.now_s += TICKET_S + 1
    assert refused(tickets, old)
    kept = [tickets.issue(Credential("ada")) for _ in range(MAX_TICKETS_OF_ONE)]
    assert tickets.redeem(kept[0]) == "ada"
