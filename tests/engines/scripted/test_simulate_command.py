"""The command ``headrace simulate`` with a whole script."""

from __future__ import annotations

from tests.processes import Served, Simulator


def test_a_script_is_the_default_and_options_go_over_it() -> None:
    with Simulator("--script", '{"continues": "prefix", "tokens": 9}', "--tokens", "3") as simulator:
        then = simulator.get_json("/simulator/scripts")["then"]
    assert (then["continues"], then["tokens"], then["itl_ms"]) == ("prefix", 3, 0)


def test_a_wrong_script_is_one_line() -> None:
    code, output = Served(["simulate", "--port", "0", "--script", '{"tokens": -1}']).run_to_end()
    assert (code, output.count("\n"), "$.tokens" in output) == (2, 1, True)
