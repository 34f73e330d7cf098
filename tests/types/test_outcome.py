"""Outcomes: how a stream ended."""

from __future__ import annotations

import pytest

from headrace.types.outcome import Cause, cause_of_finish


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("stop", Cause.STOP),
        ("length", Cause.LENGTH),
        ("tool_calls", Cause.TOOL_CALLS),
        ("function_call", Cause.TOOL_CALLS),
        ("content_filter", Cause.CONTENT_FILTER),
        ("a vendor's own word", Cause.STOP),
    ],
)
def test_finish_reasons_have_causes(word: str, cause: Cause) -> None:
    assert cause_of_finish(word) is cause
