from __future__ import annotations

from headrace.client.stopwatch import Stopwatch


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def measured() -> tuple[Stopwatch, Clock]:
    clock = Clock()
    stopwatch = Stopwatch(clock)
    stopwatch.start()
    for _ in range(3):
        clock.now_s += 2
        stopwatch.start()
        stopwatch.content()
    clock.now_s += 1
    stopwatch.end()
    clock.now_s += 50
    stopwatch.end()
    return stopwatch, clock


def test_times_run_from_the_first_request_to_the_first_end() -> None:
    stopwatch, _ = measured()
    assert stopwatch.ttft_s() == 2
    assert stopwatch.duration_s() == 7


def test_time_per_token_leaves_out_the_first() -> None:
    stopwatch, _ = measured()
    assert stopwatch.tpot_s(5) == 1
    assert stopwatch.tpot_s(None) == 2
    assert stopwatch.tpot_s(1) is None


def test_nothing_is_known_before_anything_happens() -> None:
    clock = Clock()
    stopwatch = Stopwatch(clock)
    assert (stopwatch.ttft_s(), stopwatch.tpot_s(9), stopwatch.duration_s()) == (None, None, 0.0)
    stopwatch.start()
    clock.now_s += 3
    assert (stopwatch.ttft_s(), stopwatch.duration_s()) == (None, 3)
