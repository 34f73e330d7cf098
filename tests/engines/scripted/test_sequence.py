"""Scripts in sequence: alone, in process and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.scripted import Script, ScriptedEngine, ScriptSequence, SimulatorServer
from headrace.engines.scripted.sequence import MAX_SCRIPTS
from headrace.errors import ClientRequestError
from headrace.types.engine import EngineRequest

Ask = Callable[..., Awaitable[Any]]
Body = Callable[..., bytes]
DOWN = {"fault": {"kind": "status", "code": 503}}


def http(method: str, body: bytes = b"") -> bytes:
    return f"{method} /simulator/scripts HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def put(scripts: Any, **fields: Any) -> bytes:
    return http("PUT", json.dumps({"scripts": scripts, **fields}).encode())


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 20))
def test_each_is_taken_once_and_then_the_last_word_holds(tokens: list[int], more: int) -> None:
    sequence = ScriptSequence(Script(itl_ms=20, tokens=99))
    sequence.set([{"tokens": count} for count in tokens], {"itl_ms": 5})
    taken = [sequence.take() for _ in range(len(tokens) + more)]
    assert [number for number, _ in taken] == [*range(len(tokens)), *[None] * more]
    assert [(script.tokens, script.itl_ms) for _, script in taken] == [
        *((count, 20) for count in tokens),
        *[(99, 5)] * more,
    ]
    report = sequence.report()
    assert (report.scripts, report.taken, report.next) == (len(tokens), len(tokens), [])


def test_without_any_the_default_holds() -> None:
    default = Script(tokens=3)
    sequence = ScriptSequence(default)
    assert sequence.take() == (None, default)
    sequence.set([{"tokens": 1}, {"tokens": 2}])
    sequence.take()
    assert sequence.report().next == [Script(tokens=2)]
    sequence.forget()
    assert sequence.take() == (None, default)


def test_a_long_sequence_is_shown_in_part() -> None:
    sequence = ScriptSequence(Script())
    sequence.set([{"tokens": count} for count in range(500)])
    sequence.take()
    report = sequence.report()
    assert (report.scripts, report.taken) == (500, 1)
    assert [script.tokens for script in report.next] == list(range(1, 101))


def test_a_script_stands_for_itself() -> None:
    sequence = ScriptSequence(Script(itl_ms=20))
    sequence.set([Script(tokens=1)], Script(tokens=2))
    assert [sequence.take()[1] for _ in range(2)] == [Script(tokens=1), Script(tokens=2)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"scripts":[{"a":' + b"[" * 100_000, "scripts"),
        (b'{"scripts":[{},7]}', "scripts[1]"),
        (b'{"scripts":[{},{"tokens":-1}]}', "scripts[1].tokens"),
        (b'{"scripts":[{"fault":{"kind":"x"}}]}', "scripts[0].fault.kind"),
        (b'{"scripts":[],"then":{"speed":1}}', "then"),
        (b'{"scripts":[],"than":{}}', None),
        (json.dumps({"scripts": [{}] * (MAX_SCRIPTS + 1)}).encode(), "scripts"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_a_wrong_sequence_changes_nothing_and_names_the_path(body: bytes, param: str | None) -> None:
    sequence = ScriptSequence(Script())
    sequence.set([{"tokens": 1}])
    with pytest.raises(ClientRequestError) as caught:
        sequence.set_json(body)
    assert caught.value.param == param
    assert sequence.take() == (0, Script(tokens=1))


def test_too_many_scripts_are_refused_in_process_too() -> None:
    with pytest.raises(ClientRequestError, match="scripts"):
        ScriptedEngine(scripts=[{}] * (MAX_SCRIPTS + 1))


# Over HTTP


async def test_a_flapping_engine(ask: Ask) -> None:
    shown = await ask(raw=put([DOWN, {}, DOWN]))
    assert (shown.status, json.loads(shown.body)["scripts"]) == (200, 3)
    assert [(await ask()).status for _ in range(5)] == [503, 200, 503, 200, 200]
    report = json.loads((await ask(raw=http("GET"))).body)
    assert (report["scripts"], report["taken"], report["next"]) == (3, 3, [])


async def test_then_holds_until_it_is_forgotten(ask: Ask) -> None:
    await ask(raw=put([{}], then=DOWN))
    assert [(await ask()).status for _ in range(3)] == [200, 503, 503]
    assert (await ask(raw=http("DELETE"))).status == 204
    assert (await ask()).status == 200


async def test_a_request_has_the_last_word(ask: Ask) -> None:
    await ask(raw=put([{"text": "a b", "fault": {"kind": "rst", "at": 1}}] * 2))
    assert (await ask({"text": "x y"})).text == "x"
    assert (await ask({"fault": None})).text == "a b"


async def test_a_bad_sequence_is_refused(ask: Ask) -> None:
    response = await ask(raw=put([{}, {"itl_ms": "x"}]))
    assert (response.status, json.loads(response.body)["error"]["param"]) == (400, "scripts[1].itl_ms")


async def test_a_refused_key_takes_no_script_and_a_bad_request_does(ask: Ask, simulator: SimulatorServer) -> None:
    simulator.scripts.set([DOWN, DOWN])
    keys = b'{"keys":[{"name":"a","key":"sk-other"}]}'
    await ask(raw=http("PUT", keys).replace(b"/simulator/scripts", b"/simulator/keys"))
    assert (await ask()).status == 401
    simulator.keys.forget()
    assert (await ask(n=0)).status == 400
    assert [(await ask()).status for _ in range(2)] == [503, 200]
    assert [record.script for record in simulator.records.all()] == [None, 0, 1, None]


# In process


async def test_an_engine_plays_them_too(body_of: Body) -> None:
    async with ScriptedEngine(scripts=[DOWN, {"text": "a"}], manual=True) as engine:
        ends = []
        for _ in range(3):
            generation = engine.start(EngineRequest(body=body_of()), lambda: None)
            generation.read()
            ends.append(None if generation.end is None else generation.end.upstream_status)
        assert ends == [503, None, None]
        engine.scripts.set([{}, DOWN])
        assert [asked.script for asked in engine.requests()] == [0, 1, None]
        assert engine.scripts.report().taken == 0


async def test_an_engine_remembers_so_many_requests(body_of: Body) -> None:
    async with ScriptedEngine(manual=True, max_records=2, models=["a", "b", "c"]) as engine:
        for model in "abc":
            engine.start(EngineRequest(body=body_of(model=model)), lambda: None)
        assert [asked.model for asked in engine.requests()] == ["b", "c"]
