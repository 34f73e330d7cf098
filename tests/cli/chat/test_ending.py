from __future__ import annotations

import pytest

from headrace.cli.chat.ending import summary, tokens_per_s, trouble
from headrace.client import Result
from headrace.errors import ConnectionLost, UpstreamError
from headrace.types.outcome import State


def result(state: State = State.COMPLETED, cause: str | None = "stop", **fields: object) -> Result:
    told = {"ttft_s": 0.25, "tpot_s": 0.02, "usage": {"completion_tokens": 12}, **fields}
    return Result(text="text", state=state, cause=cause, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "line"),
    [
        (result(), "first token after 0.25 s · 12 tokens · 50.0 tokens/s"),
        (result(cause="length"), "cut at the limit of tokens · first token after 0.25 s · 12 tokens · 50.0 tokens/s"),
        (result(reconnects=1, tpot_s=None), "first token after 0.25 s · 12 tokens · 1 reconnect"),
        (result(reconnects=2, usage={"completion_tokens": 1}, tpot_s=None), "first token after 0.25 s · 1 token · 2 reconnects"),
        (result(State.FAILED, "upstream_closed", ttft_s=None, tpot_s=None, usage=None), ""),
        (result(cause="a newer one", usage={"completion_tokens": "\x1b"}, ttft_s=None), "50.0 tokens/s"),
    ],
)  # fmt: skip
def test_one_line_says_how_it_ended_and_how_fast_it_came(of: Result, line: str) -> None:
    assert summary(of, was_stopped=False) == line


def test_a_stop_is_told() -> None:
    stopped = result(State.CANCELLED, "client_stop", usage=None, tpot_s=None)
    assert summary(stopped, was_stopped=True) == "stopped · first token after 0.25 s"


def test_no_speed_for_too_few_tokens() -> None:
    assert tokens_per_s(result(tpot_s=None)) is None
    assert tokens_per_s(result(tpot_s=0.0)) is None
    assert tokens_per_s(result()) == 50


def test_trouble_is_one_line_with_state_and_cause_where_they_are_known() -> None:
    cut = result(State.TRUNCATED, "upstream_closed")
    assert trouble(UpstreamError("it\x1b[2J\nbroke"), cut) == "it broke (truncated, upstream_closed)"
    assert trouble(ConnectionLost("gone"), result(State.IN_PROGRESS, None)) == "gone"
