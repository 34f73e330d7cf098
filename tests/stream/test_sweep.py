"""The sweep: every member looks at the time, and may leave while it does."""

from __future__ import annotations

from headrace.stream.sweep import Sweep


class Member:
    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.seen: list[float] = []

    def expire(self, now_s: float) -> None:
        self.seen.append(now_s)
        self.sweep.discard(self)


def test_members_may_leave_during_a_sweep() -> None:
    sweep = Sweep()
    members = [Member(sweep) for _ in range(3)]
    for member in members:
        sweep.add(member)
    sweep.run(1.0)
    assert [member.seen for member in members] == [[1.0]] * 3
    assert len(sweep) == 0
    sweep.run(2.0)
    assert [member.seen for member in members] == [[1.0]] * 3
