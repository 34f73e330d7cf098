from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest

from headrace.engines.scripted.faults import Fault
from headrace.engines.scripted.plan import Plan, plan_of
from headrace.engines.scripted.request import read_request
from headrace.engines.scripted.script import Script
from headrace.errors import ClientRequestError

REQUIRED = {"status": {"code": 500}}


def body(simulate: Any = None, **fields: Any) -> bytes:
    request = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "a b c"}], **fields}
    return json.dumps(request if simulate is None else {**request, "simulate": simulate}).encode()


def plan(simulate: Any = None, default: Script | None = None, serial: int = 1, **fields: Any) -> Plan:
    request, script = read_request(body(simulate, **fields), default or Script())
    return plan_of(request, script, serial=serial, created=0)


@pytest.mark.parametrize(
    ("simulate", "param"),
    [
        ({"itl_ms": "x"}, "simulate.itl_ms"),
        ({"itl_ms": -1}, "simulate.itl_ms"),
        ({"tokens": 1_000_001}, "simulate.tokens"),
        ({"speed": 1}, "simulate"),
        ({"tool_calls": [{"name": 1}]}, "simulate.tool_calls[0].name"),
        ({"fault": {"kind": "nonsense"}}, "simulate.fault.kind"),
        ({"fault": {"kind": "rst", "at": -1}}, "simulate.fault.at"),
        ({"fault": {"kind": "status"}}, "simulate.fault"),
        ({"text": "a", "deltas": ["b"]}, "simulate"),
        ({"framing": "close", "fault": {"kind": "cut_chunked"}}, "simulate"),
        ({"framing": "length", "fault": {"kind": "keepalive"}}, "simulate"),
        ({"continues": "maybe"}, "simulate.continues"),
        ({"context_tokens": 0}, "simulate.context_tokens"),
        ({"fault": {"kind": "status", "code": 400, "body": "x", "error_code": "y"}}, "simulate.fault"),
        (7, "simulate"),
    ],
)
def test_a_wrong_script_names_the_path(simulate: Any, param: str) -> None:
    with pytest.raises(ClientRequestError) as caught:
        read_request(body(simulate), Script())
    assert caught.value.param == param
    assert f"`$.{param}`" in caught.value.message


@pytest.mark.parametrize("wrong", [{"messages": []}, {"model": 1}, {"n": 0}, {"max_tokens": 0}])
def test_a_wrong_request_names_the_path(wrong: dict[str, Any]) -> None:
    with pytest.raises(ClientRequestError) as caught:
        read_request(body(**wrong), Script())
    assert caught.value.param == next(iter(wrong))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"\xff"', b'{"model":"m","messages":' + b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ClientRequestError):
        read_request(data, Script())


def test_the_request_is_laid_over_the_default() -> None:
    _, script = read_request(body({"tokens": 3}), Script(itl_ms=20, tokens=9))
    assert (script.tokens, script.itl_ms) == (3, 20)


def test_a_default_fault_can_be_taken_away() -> None:
    default = msgspec.convert({"fault": {"kind": "rst"}}, Script)
    assert read_request(body({"fault": None}), default)[1].fault is None
    assert read_request(body({"tokens": 1}), default)[1].fault == default.fault


@pytest.mark.parametrize("fault", get_args(Fault), ids=lambda fault: str(fault.__struct_config__.tag))
def test_every_fault_survives_json(fault: Any) -> None:
    kind = fault.__struct_config__.tag
    made = msgspec.convert({"kind": kind, **REQUIRED.get(kind, {})}, Fault)
    assert made.kind == kind
    assert msgspec.json.decode(msgspec.json.encode(made), type=Fault) == made


def test_stream_faults_need_a_stream() -> None:
    with pytest.raises(ClientRequestError, match="stream: true"):
        read_request(body({"fault": {"kind": "rst"}}, stream=False), Script())


@pytest.mark.parametrize(
    ("simulate", "fields", "rounds", "finish"),
    [
        ({}, {}, 64, "stop"),
        ({}, {"max_tokens": 5}, 5, "length"),
        ({}, {"max_tokens": 5, "max_completion_tokens": 7}, 7, "length"),
        ({}, {"max_tokens": 64}, 64, "stop"),
        ({"tokens": 9}, {"max_tokens": 5}, 5, "length"),
        ({"text": "a b c"}, {}, 3, "stop"),
        ({"text": "a b c", "tokens": 7}, {}, 7, "stop"),
        ({"deltas": ["a", "b"], "tokens": 1}, {}, 1, "stop"),
        ({"text": ""}, {}, 0, "stop"),
        ({"reasoning": "a b", "tokens": 1}, {}, 3, "stop"),
        ({"tool_calls": [{"name": "f", "arguments": "123456789"}]}, {}, 3, "tool_calls"),
        ({"finish_reason": None}, {}, 64, None),
        ({"finish_reason": "content_filter"}, {"max_tokens": 1}, 1, "content_filter"),
    ],
)
def test_length_and_finish_reason(simulate: Any, fields: Any, rounds: int, finish: str | None) -> None:
    made = plan(simulate, **fields)
    assert (made.rounds, made.finish_reason) == (rounds, finish)


def test_the_seed_comes_from_script_then_request_then_temperature() -> None:
    assert plan({"seed": 3}, seed=4, temperature=0).seed == 3
    assert plan(seed=4, temperature=0).seed == 4
    assert plan(temperature=0, serial=9).seed == 0
    assert plan(serial=9).seed == 9


def test_usage_follows_the_request_unless_the_script_says_otherwise() -> None:
    asked: dict[str, Any] = {"stream_options": {"include_usage": True}}
    assert not plan().has_usage
    assert plan(**asked).has_usage
    assert plan({"usage": "always"}).has_usage
    assert not plan({"usage": "never"}, **asked).has_usage
