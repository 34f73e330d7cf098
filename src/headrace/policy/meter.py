"""The meter: what one running stream takes of its rates and of its money.

Tokens are counted as they arrive, in our unit, and paid at once. The bill has the last word: the first ``settle``
corrects the rates to what it says, so that all that the stream ever took is its prompt and its answer; money is
corrected by later ones as well.
"""

from __future__ import annotations

from typing import Protocol

from headrace.policy.slots import Slot


class Shortage(Protocol):
    """An account without money."""

    def explain(self) -> str:
        """Return, for the client, that it is spent."""


class Purse(Protocol):
    """What a meter asks of ``headrace.policy.purse.Purse``."""

    @property
    def short_of(self) -> Shortage | None: ...

    def charge(self, nano: int) -> bool: ...

    def settle(self, total_nano: int) -> None: ...


class Quote(Protocol):
    """What a meter asks of ``headrace.policy.quote.Quote``."""

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int: ...

    def output_nano(self, prompt_tokens: int) -> float: ...


class Meter:
    """Meters one stream. It must be settled or closed in the end; after that its slot is free.

    Args:
        slot: From ``Admission.ask``.
        purse: Its reservations, if any, are made.
        quote: None when no price is known: then no money is charged on the way.
        max_output_tokens: Of all choices together; None bounds nothing.
    """

    __slots__ = ("_is_settled", "_most_tokens", "_owed_nano", "_purse", "_slot", "_token_nano", "tokens")

    def __init__(self, slot: Slot, purse: Purse, quote: Quote | None, *, max_output_tokens: int | None) -> None:
        self.tokens = 0
        """Of the answer so far."""
        self._slot = slot
        self._purse = purse
        self._most_tokens = max_output_tokens
        prompt_tokens = slot.prompt_tokens
        self._token_nano = 0.0 if quote is None else quote.output_nano(prompt_tokens)
        self._owed_nano = 0.0 if quote is None else float(quote.cost(prompt_tokens, 0, 0))
        """Not charged yet: the prompt until the first token, then less than one nano-dollar."""
        self._is_settled = False

    def tokens_left(self, now_s: float) -> float:
        """Return what the scarcest of its buckets of tokens has left; infinity without any.

        Below zero while one is overdrawn: then reading on has to wait, which paces the stream.
        """
        return self._slot.tokens_left(now_s)

    def spend(self, tokens: int, now_s: float) -> str | None:
        """Pay for tokens that have come.

        Returns:
            None; or why the stream has to end now, as text for its client. What has come is paid all the same.
        """
        if self._is_settled:
            return None
        self.tokens += tokens
        self._slot.take(tokens, now_s)
        reason = None
        if self._token_nano or self._owed_nano:
            reason = self._charge(tokens)
        # An engine that keeps to the limit ends by itself with just as many, and says so: that answer is whole.
        if self._most_tokens is not None and self.tokens > self._most_tokens and reason is None:
            reason = f"the answer is longer than max_output_tokens = {self._most_tokens}"
        return reason

    def requote(self, quote: Quote | None, *, pays_prompt: bool) -> None:
        """Pay another model's price from now on.

        Args:
            quote: None when it is not known.
            pays_prompt: Whether its prompt is paid beside what was paid before; else instead of it, if nothing was yet.
        """
        prompt_tokens = self._slot.prompt_tokens
        self._token_nano = 0.0 if quote is None else quote.output_nano(prompt_tokens)
        if pays_prompt or not self.tokens:
            prompt_nano = 0.0 if quote is None else float(quote.cost(prompt_tokens, 0, 0))
            self._owed_nano = prompt_nano + (self._owed_nano if pays_prompt else 0.0)

    def settle(self, prompt_tokens: int, completion_tokens: int, nano_usd: int | None, now_s: float) -> None:
        """Enter the bill. The first call ends the slot; later ones correct the money and nothing else.

        Args:
            prompt_tokens: As the bill says; 0 for a stream that failed.
            completion_tokens: As the bill says.
            nano_usd: The cost; None when it is not known, which counts as nothing.
            now_s: Monotonic seconds.
        """
        self._is_settled = True
        # Money first: freeing the slot admits others, who look at the same accounts.
        self._purse.settle(nano_usd or 0)
        self._slot.settle(prompt_tokens + completion_tokens, now_s)

    def close(self) -> None:
        """End without a bill: the engine took nothing. After ``settle`` it does nothing."""
        if not self._is_settled:
            self._is_settled = True
            self._purse.settle(0)
            self._slot.release()

    def _charge(self, tokens: int) -> str | None:
        self._owed_nano += tokens * self._token_nano
        whole_nano = int(self._owed_nano)
        self._owed_nano -= whole_nano
        if not whole_nano or self._purse.charge(whole_nano):
            return None
        account = self._purse.short_of
        return "the budget is spent" if account is None else account.explain()
