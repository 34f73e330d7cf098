"""Bills: which tokens of a request are charged.

======================  =================  ==============================================================
State                   Rule               Charged
======================  =================  ==============================================================
completed               none needed        the engine's usage; our count where it reports none
failed                  none needed        nothing
cancelled or truncated  ``delivered``      the part that clients were given of what ``generated`` charges
cancelled or truncated  ``generated``      the engine's usage as far as it had come; else our count
cancelled or truncated  ``vendor``         the same, after the engine was read to its end for its usage
======================  =================  ==============================================================

A request that the engine never accepted costs nothing. The prompt of one that it accepted is charged in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from headrace.policy.quote import Quote
from headrace.types.bill import Basis, Bill, BillRule
from headrace.types.outcome import State

MAX_TOKENS = 10**9
"""Tokens of one kind on one bill: an engine that claims more would make sums over bills overflow."""


class Counts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a request's tokens."""

    prompt_tokens: int
    """The engine's, or our estimate."""
    cached_tokens: int
    """Those of the prompt that the engine took from a cache."""
    completion_tokens: int
    """The engine's; without a report of it not looked at."""
    generated_tokens: int
    """Our count of what the engine sent."""
    delivered_tokens: int
    """Our count of what clients were given."""
    is_reported: bool
    """Whether the first three are the engine's own."""


class BillingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is charged for answers that were cut off."""

    cancelled: BillRule = BillRule.GENERATED
    truncated: BillRule = BillRule.GENERATED

    def rule(self, state: State) -> BillRule | None:
        """Return the rule of streams that ended so; None for those that need none."""
        return {State.CANCELLED: self.cancelled, State.TRUNCATED: self.truncated}.get(state)


class _Completion(NamedTuple):
    """Tokens of the answer that are charged, and whether they are the engine's own number."""

    tokens: int
    is_reported: bool


def _generated(counts: Counts) -> _Completion:
    return _Completion(counts.completion_tokens if counts.is_reported else counts.generated_tokens, counts.is_reported)


def _delivered(counts: Counts) -> _Completion:
    """Charge the delivered part, by our count, of what was generated; of the engine's number a part rounded up."""
    delivered = min(counts.delivered_tokens, counts.generated_tokens)
    if not delivered:
        return _Completion(0, counts.is_reported)
    part = -(-_generated(counts).tokens * delivered // counts.generated_tokens)
    return _Completion(part, is_reported=counts.is_reported and delivered == counts.generated_tokens)


_COMPLETION: dict[BillRule | None, Callable[[Counts], _Completion]] = {
    None: _generated,
    BillRule.DELIVERED: _delivered,
    BillRule.GENERATED: _generated,
    BillRule.VENDOR: _generated,
}


def bill_of(state: State, counts: Counts, rules: BillingRules, quote: Quote | None, *, was_accepted: bool) -> Bill:
    """Return what a request is charged.

    Args:
        state: How it ended.
        counts: Its tokens.
        rules: What is charged for answers that were cut off.
        quote: What its model costs; None when that is not known, and then neither is what the request costs.
        was_accepted: Whether the engine worked on it.

    Raises:
        ValueError: It has not ended.
    """
    if not state.is_terminal:
        raise ValueError(f"a stream that is {state} has no bill yet")
    if state is State.FAILED or not was_accepted:
        return Bill()
    rule = rules.rule(state)
    completion = _COMPLETION[rule](counts)
    prompt = min(counts.prompt_tokens, MAX_TOKENS)
    cached = min(counts.cached_tokens, prompt)
    tokens = min(completion.tokens, MAX_TOKENS)
    return Bill(
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=tokens,
        nano_usd=None if quote is None else quote.cost(prompt, cached, tokens),
        basis=Basis.REPORTED if completion.is_reported else Basis.ESTIMATED,
        rule=rule,
    )


def sum_of(bills: Sequence[Bill]) -> Bill:
    """Return the bill of an answer whose parts have these: no parts cost nothing, and an unknown price makes all unknown."""
    if len(bills) == 1:
        return bills[0]
    if not bills:
        return Bill()
    costs = [bill.nano_usd for bill in bills if bill.nano_usd is not None]
    is_reported = all(bill.basis is Basis.REPORTED for bill in bills)
    return Bill(
        prompt_tokens=sum(bill.prompt_tokens for bill in bills),
        cached_tokens=sum(bill.cached_tokens for bill in bills),
        completion_tokens=sum(bill.completion_tokens for bill in bills),
        nano_usd=sum(costs) if len(costs) == len(bills) else None,
        basis=Basis.REPORTED if is_reported else Basis.ESTIMATED,
        rule=bills[-1].rule,
    )
