"""The uptake: a peer that takes something, however little, is not stuck."""

from __future__ import annotations

from headrace.delivery.uptake import Uptake


class Peer:
    waiting_bytes = 0

    def abort(self) -> None:
        raise AssertionError("nobody asked for it")

    def is_gone(self) -> bool:
        return False

    def write_buffer_bytes(self) -> int:
        return self.waiting_bytes


def test_a_peer_that_takes_everything_is_never_stuck() -> None:
    uptake = Uptake(Peer(), 0)
    uptake.written_bytes = 100
    assert uptake.stuck_s(50) == 0


def test_a_peer_that_takes_nothing_is_stuck_since_it_last_took_something() -> None:
    peer = Peer()
    uptake = Uptake(peer, 0)
    uptake.written_bytes, peer.waiting_bytes = 100, 60
    assert uptake.stuck_s(10) == 0
    uptake.written_bytes, peer.waiting_bytes = 120, 80
    assert uptake.stuck_s(25) == 15
    peer.waiting_bytes = 79
    assert uptake.stuck_s(30) == 0
