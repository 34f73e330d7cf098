from __future__ import annotations

from headrace.client.backoff import BASE_S, MAX_S, Backoff


def test_ceiling_doubles_up_to_a_limit() -> None:
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.next_s() for _ in range(2000)]
    assert waits[:3] == [BASE_S, 2 * BASE_S, 4 * BASE_S]
    assert waits[-1] == max(waits) == MAX_S


def test_jitter_is_full() -> None:
    chances = iter([0.0, 0.5])
    backoff = Backoff(lambda: next(chances))
    assert [backoff.next_s(), backoff.next_s()] == [0.0, BASE_S]


def test_progress_begins_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == BASE_S


def test_wish_of_the_server_comes_on_top_so_that_clients_do_not_come_back_together() -> None:
    assert Backoff(lambda: 1.0).next_s(at_least_s=7.0) == 7.0 + BASE_S
