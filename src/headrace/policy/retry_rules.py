"""The retry table: what follows when an engine failed before its first token, unless the settings say otherwise.

::

    fault              same engine again                      elsewhere
    rate_limited       2, when nobody else is ready           yes, at once
    out_of_quota       0                                      yes
    server_error       2                                      yes
    unreachable        1                                      yes
    closed             2                                      yes
    silent             0                                      yes
    protocol           0                                      yes
    context_too_long   0                                      where the context is larger
    policy_refusal     0                                      no
    rejected           0                                      no
    unauthorized       0                                      no
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from headrace.policy.faults import Fault
from headrace.policy.units import PositiveSeconds, Seconds, without_seconds

Same = Annotated[int, msgspec.Meta(ge=0, le=10)]


class Elsewhere(enum.StrEnum):
    """Whether another engine is asked after a fault."""

    NO = "no"
    YES = "yes"
    LARGER = "larger"
    """Only one whose context is known to be larger."""


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows one kind of fault."""

    same: Same = 0
    """How often the same target is asked again."""
    elsewhere: Elsewhere = Elsewhere.NO
    """Whether another one is asked, then."""


class ElsewhereRule(RetryRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default of faults that are likely to last."""

    elsewhere: Elsewhere = Elsewhere.YES


class OnceRule(ElsewhereRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default of faults that may pass."""

    same: Same = 1


class TwiceRule(ElsewhereRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default of faults that are likely to pass."""

    same: Same = 2


class LargerRule(RetryRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default of what does not fit in."""

    elsewhere: Elsewhere = Elsewhere.LARGER


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=without_seconds):
    """How often, how soon and where a request is tried again.

    Before its first token, all of it lies within ``timeouts.first_token``.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 6
    """Of one request, all engines together, the first one included; 1 never tries again."""
    continuations: Annotated[int, msgspec.Meta(ge=0, le=100)] = 5
    """How often one answer that broke off is gone on with."""
    backoff_s: PositiveSeconds = 0.25
    """Longest wait before the first repetition; doubles with each further one of the same target."""
    backoff_max_s: PositiveSeconds = 8.0
    """It doubles up to this."""
    max_wait_s: Seconds = 10.0
    """An engine that wants to be left alone for longer is not waited for."""
    silence_s: PositiveSeconds = 20.0
    """How long an engine may take to its first token while there is another one to ask."""
    rate_limited: TwiceRule = TwiceRule()
    out_of_quota: ElsewhereRule = ElsewhereRule()
    server_error: TwiceRule = TwiceRule()
    unreachable: OnceRule = OnceRule()
    closed: TwiceRule = TwiceRule()
    silent: ElsewhereRule = ElsewhereRule()
    protocol: ElsewhereRule = ElsewhereRule()
    context_too_long: LargerRule = LargerRule()
    policy_refusal: RetryRule = RetryRule()
    rejected: RetryRule = RetryRule()
    unauthorized: RetryRule = RetryRule()

    def rule(self, fault: Fault) -> RetryRule:
        """Return what follows a fault."""
        rule: RetryRule = getattr(self, fault.value)
        return rule
