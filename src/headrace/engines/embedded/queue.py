"""Who may run, who waits, who is turned away.

A request that llama.cpp has queued cannot be taken back, so it never queues there: this queue hands over only what
begins to run at once. That takes two things:

- *Slots*: a request with ``n`` choices takes ``n``.
- *The turn to prefill*: llama.cpp fills its batches with one prompt before it looks at the next, and a prompt that is not
  worked on cannot be cancelled: behind a prompt of 1000 tokens for seconds. So a long prompt goes in alone, which takes
  no longer; short ones, done within a batch or two, go in together.

First come, first served: a request that needs many slots is not overtaken by those behind it, or it might wait for ever.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from headrace.errors import Overloaded

RETRY_AFTER_S = 1.0
"""What a refused client is told to wait, in seconds. A short answer of the small model takes about that long."""

Item = TypeVar("Item")


class Need(NamedTuple):
    """What an item takes."""

    slots: int
    is_short: bool
    """Whether its prompt goes in together with others."""


class AdmissionQueue(Generic[Item]):
    """Bounded queue in front of a number of slots. Decides only: the caller starts what is admitted.

    Args:
        slots: What can run at once.
        max_waiting: How many may be in here beyond ``slots``, 0 or more.
    """

    def __init__(self, *, slots: int, max_waiting: int) -> None:
        self._free = slots
        self._max_items = slots + max_waiting
        # Dictionaries, for the order of a list and the look-up of a set.
        self._waiting: dict[Item, Need] = {}
        self._running: dict[Item, Need] = {}
        self._prefilling: dict[Item, Need] = {}

    def items(self) -> list[Item]:
        """Return all that run or wait."""
        return [*self._running, *self._waiting]

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    @property
    def free_slots(self) -> int:
        return self._free

    def enter(self, item: Item, need: Need) -> list[Item]:
        """Let an item in.

        Args:
            item: Anything hashable that is not in here yet.
            need: What it takes, at most as many slots as there are.

        Returns:
            The item when it may run now; nothing when it waits.

        Raises:
            Overloaded: Slots and queue are full; nothing changed.
        """
        if len(self) >= self._max_items:
            raise Overloaded(
                "The embedded engine is busy and its queue is full. Please try again later.",
                retry_after_s=RETRY_AFTER_S,
            )
        self._waiting[item] = need
        return self._admit()

    def prefilled(self, item: Item) -> list[Item]:
        """Take note that an item's prompt is done. Returns those who may run now."""
        self._prefilling.pop(item, None)
        return self._admit()

    def withdraw(self, item: Item) -> list[Item]:
        """Forget an item that waits; one that runs keeps its slots. Returns those who may run now."""
        self._waiting.pop(item, None)
        return self._admit()

    def release(self, item: Item) -> list[Item]:
        """Take back the slots of an item that ran. Returns those who may run now."""
        self._free += self._running.pop(item).slots
        return self.prefilled(item)

    def _admit(self) -> list[Item]:
        admitted: list[Item] = []
        for item, need in self._waiting.items():
            if need.slots > self._free or not self._is_turn_of(need):
                break
            self._free -= need.slots
            self._running[item] = self._prefilling[item] = need
            admitted.append(item)
        for item in admitted:
            del self._waiting[item]
        return admitted

    def _is_turn_of(self, need: Need) -> bool:
        return not self._prefilling or (need.is_short and all(other.is_short for other in self._prefilling.values()))
