"""The charge of one stream: what it may still take, and what it costs in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headrace.policy.billing import BillingRules, Counts, bill_of, sum_of
from headrace.policy.meter import Meter
from headrace.policy.quote import Quote
from headrace.types.bill import Bill, BillRule
from headrace.types.outcome import State


class Charge:
    """Meter, rules and price of one stream. Made without arguments nothing bounds it, and no price is known.

    Args:
        meter: What it pays with as tokens come.
        rules: What is charged for an answer that was cut off.
        quote: The price of the model that answers; None when it is not known.
    """

    __slots__ = ("_meter", "_quotes", "_rules", "is_metered")

    def __init__(
        self, meter: Meter | None = None, *, rules: BillingRules | None = None, quote: Quote | None = None
    ) -> None:
        self.is_metered = meter is not None
        self._meter = meter
        self._rules = rules or BillingRules()
        self._quotes = [quote]

    @property
    def quote(self) -> Quote | None:
        """The price of the model that answers now; None when it is not known."""
        return self._quotes[-1]

    def next_part(self, quote: Quote | None, *, keeps_last: bool) -> None:
        """Pay another model from now on.

        Args:
            quote: Its price.
            keeps_last: Whether the one before it has answered, and so is paid too.
        """
        if not keeps_last:
            self._quotes.pop()
        self._quotes.append(quote)
        if self._meter is not None:
            self._meter.requote(quote, pays_prompt=keeps_last)

    def tokens_left(self, now_s: float) -> float:
        """Return what the scarcest of its rates of tokens has left, below zero while it is overdrawn; infinity without any."""
        return math.inf if self._meter is None else self._meter.tokens_left(now_s)

    def spend(self, tokens: int, now_s: float) -> str | None:
        """Pay for tokens that came. Returns why the stream must end now, None when it need not."""
        return None if self._meter is None else self._meter.spend(tokens, now_s)

    def bill(self, state: State, counts: Sequence[Counts], *, was_accepted: bool) -> Bill:
        """Return the bill of a stream that has ended.

        Args:
            state: How.
            counts: Of each part of the answer.
            was_accepted: Whether the last engine that was asked worked on it; those that have answered before it did.
        """
        *earlier, last = [
            bill_of(state, part, self._rules, quote, was_accepted=True)
            for part, quote in zip(counts, self._quotes, strict=True)
        ]
        if was_accepted:
            return sum_of([*earlier, last])
        return sum_of(earlier)

    def settle(self, bill: Bill, now_s: float) -> None:
        """Give back what is held, and pay exactly what the bill says. Again: correct that."""
        if self._meter is not None:
            self._meter.settle(bill.prompt_tokens, bill.completion_tokens, bill.nano_usd, now_s)

    def asks_vendor(self, state: State) -> bool:
        """Return whether the engine is read to its end for its usage, although the stream has ended so."""
        return self._rules.rule(state) is BillRule.VENDOR
