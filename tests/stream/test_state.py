"""The life of a stream: every (state, event) pair, and which causes end in which state."""

from __future__ import annotations

import pytest

from headrace.stream.state import CAUSES, LIFE, Event, IllegalTransition, after, event_of
from headrace.types.outcome import Cause, State


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_pair_leads_where_the_table_says_or_raises(state: State, event: Event) -> None:
    if event in LIFE[state]:
        assert after(state, event) is LIFE[state][event]
    else:
        with pytest.raises(IllegalTransition, match=str(state)):
            after(state, event)


@pytest.mark.parametrize("state", [state for state in State if state.is_terminal])
def test_a_terminal_state_has_no_way_out(state: State) -> None:
    assert LIFE[state] == {}


def test_every_state_but_the_first_can_be_reached() -> None:
    reached = {target for steps in LIFE.values() for target in steps.values()}
    assert reached == set(State) - {State.QUEUED}


ONLY_BEFORE_CONTENT = CAUSES[State.FAILED] - CAUSES[State.TRUNCATED]
"""After content the pump gives these another name."""


@pytest.mark.parametrize(
    ("cause", "has_content"),
    [(cause, False) for cause in Cause] + [(cause, True) for cause in Cause if cause not in ONLY_BEFORE_CONTENT],
)
def test_a_cause_ends_a_running_stream_in_a_state_that_allows_it(cause: Cause, has_content: bool) -> None:
    state = after(State.IN_PROGRESS, event_of(cause, has_content=has_content))
    assert cause in CAUSES[state]


def test_every_cause_belongs_to_a_terminal_state() -> None:
    assert set.union(*map(set, CAUSES.values())) == set(Cause)
    assert set(CAUSES) == {state for state in State if state.is_terminal}
