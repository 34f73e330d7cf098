"""An admission with a clock that stands still, for tests."""

from __future__ import annotations

from headrace.errors import RelayError
from headrace.policy.admission import Admission, QueueLimits
from headrace.policy.queueing import Waiting
from headrace.policy.scopes import Scope, ScopeKind
from headrace.policy.slots import Slot
from headrace.types.access import Allowance

FREE = Allowance()
ENOUGH = QueueLimits(max_queued=1000, max_queued_per_owner=1000, queue_s=10.0)


class Gate:
    """Asks on behalf of many."""

    def __init__(self, limits: QueueLimits = ENOUGH) -> None:
        self.now_s = 0.0
        self.admission = Admission(limits, lambda: self.now_s)
        self.decided: list[Waiting] = []
        """In the order in which they were told."""

    def scopes(
        self,
        owner: str,
        *,
        key: tuple[str, Allowance] = ("", FREE),
        own: Allowance = FREE,
        model: tuple[str, Allowance] = ("m", FREE),
        engine: Allowance = FREE,
    ) -> list[Scope]:
        """Return the four scopes of a request; a key without a name is its owner's only one."""
        find = self.admission.scope
        return [
            find(ScopeKind.KEY, key[0] or f"key of {owner}", key[1]),
            find(ScopeKind.OWNER, owner, own),
            find(ScopeKind.MODEL, *model),
            find(ScopeKind.ENGINE, "e", engine),
        ]

    def ask(
        self,
        owner: str = "ann",
        *,
        prompt: int = 0,
        key: tuple[str, Allowance] = ("", FREE),
        own: Allowance = FREE,
        model: tuple[str, Allowance] = ("m", FREE),
        engine: Allowance = FREE,
    ) -> Slot | Waiting:
        """Ask for a slot."""
        scopes = self.scopes(owner, key=key, own=own, model=model, engine=engine)
        answer = self.admission.ask(owner, scopes, prompt)
        if isinstance(answer, Waiting):
            answer.on_decided = lambda: self.decided.append(answer)
        return answer

    def later(self, seconds: float) -> None:
        """Let time pass, and dispatch once."""
        self.now_s += seconds
        self.admission.dispatch(self.now_s)


def slot(answer: Slot | Waiting) -> Slot:
    """Return the slot, which there must be by now."""
    found = answer.outcome if isinstance(answer, Waiting) else answer
    assert isinstance(found, Slot)
    return found


def waiting(answer: Slot | Waiting) -> Waiting:
    """Return the place in the queue, which it must still be."""
    assert isinstance(answer, Waiting)
    assert answer.outcome is None
    return answer


def refused(answer: Slot | Waiting) -> RelayError:
    """Return why it was refused after waiting."""
    assert isinstance(answer, Waiting)
    assert isinstance(answer.outcome, RelayError)
    return answer.outcome
