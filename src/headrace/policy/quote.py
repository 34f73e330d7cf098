"""A quote: what tokens of one model cost at one time."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from headrace.types.access import MAX_DOLLARS
from headrace.types.bill import NANO, nano_usd

NANO_PER_TOKEN = 1000
"""A dollar per million tokens, in nano-dollars per token."""

MAX_COST = int(MAX_DOLLARS) * NANO
"""Nano-dollars that one request costs at most, whatever an engine claims to have counted: it fits into 64 bits."""


class Rate(msgspec.Struct, frozen=True):
    """Dollars per million tokens of one kind."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()
    """Starts and rates, by start: what all tokens of that kind cost once the prompt has more tokens than the start."""

    def at(self, prompt_tokens: int) -> Decimal:
        """Return the rate for a request with a prompt of that length."""
        rate = self.base
        for start, above in self.tiers:
            if prompt_tokens <= start:
                break
            rate = above
        return rate


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The prices that one request pays."""

    input: Rate
    cached_input: Rate
    """Of those tokens of the prompt that the engine takes from a cache."""
    output: Rate
    request: Decimal = Decimal(0)
    """Dollars for each request, beside its tokens."""

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        """Return the cost in nano-dollars, half of one rounded up once, at the end; at most ``MAX_COST``.

        Args:
            prompt_tokens: All of the prompt; it decides the tier of all three rates.
            cached_tokens: Those of them that came from a cache; more than the prompt has count as all.
            completion_tokens: The answer.
        """
        cached = min(cached_tokens, prompt_tokens)
        millionths = (
            self.input.at(prompt_tokens) * (prompt_tokens - cached)
            + self.cached_input.at(prompt_tokens) * cached
            + self.output.at(prompt_tokens) * completion_tokens
        )
        return nano_usd(min(self.request + millionths.scaleb(-6), MAX_DOLLARS))

    def output_nano(self, prompt_tokens: int) -> float:
        """Return what one more token of the answer costs after such a prompt, in nano-dollars."""
        return float(self.output.at(prompt_tokens) * NANO_PER_TOKEN)


FREE = Quote(input=Rate(Decimal(0)), cached_input=Rate(Decimal(0)), output=Rate(Decimal(0)))
"""What tokens of our own engine cost, unless the settings say otherwise."""
