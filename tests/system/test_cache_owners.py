"""The cache: whose answers are given to whom."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.processes import Simulator
from tests.system.caching import (
    MODELS,
    Generations,
    body_of,
    chat,
    is_kept,
    question,
    until_kept,
)
from tests.system.money import Till, bearer
from tests.system.wire import ask

from headrace.stream.sweep import SWEEP_S

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def till(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    """A relay with keys."""
    models = MODELS.partition("[models.kept]")
    tiers = f"""
[engines.second]
upstream = "{simulator.url}"
[models.tiered]
cache = "shared"
[models.tiered.engines.gold]
engine = "default"
model = "sim"
order = 1
owners = ["gold"]
[models.tiered.engines.second]
model = "sim"
order = 2
"""
    with Till(simulator, tmp_path_factory.mktemp("till"), models[1] + models[2] + tiers) as till:
        yield till


# --- to whom


def test_an_owners_answers_stay_the_owners(till: Till, simulator: Simulator) -> None:
    generations, asked = Generations(simulator), body_of(question(), model="kept")
    mine, colleague, stranger = (bearer(till.new_key(owner)["key"]) for owner in ("a", "a", "b"))
    original = chat(till.port, asked, mine)
    assert until_kept(till.port, asked, colleague).body == original.body
    assert not is_kept(till.port, asked, stranger)
    assert chat(till.port, asked, stranger).body != original.body
    assert generations() == 2


def test_a_shared_answer_gives_no_right_to_the_stream_it_comes_from(till: Till, simulator: Simulator) -> None:
    generations, asked = Generations(simulator), body_of(question(), model="common")
    mine, stranger = (bearer(till.new_key(owner)["key"]) for owner in ("a", "b"))
    original = chat(till.port, asked, mine)
    hit = until_kept(till.port, asked, stranger)
    assert hit.body == original.body
    assert generations() == 1

    def events(stream_id: str, who: dict[str, str]) -> tuple[int, str]:
        answer = ask(till.port, "GET", f"/v1/streams/{stream_id}/events?after=3", headers=who)
        return answer.status, answer.body.decode()

    for pause_s in (0.0, 5 * SWEEP_S):
        time.sleep(pause_s)  # a while after its end a stream is known from the store alone
        status, rest = events(hit.stream_id, stranger)
        assert status == 200
        assert rest.count("event: end") == 1
        assert events(original.stream_id, stranger)[0] == 404
        assert events(hit.stream_id, mine)[0] == 404
    for deed, path in (("GET", ""), ("GET", "/timeline"), ("DELETE", ""), ("POST", "/cancel")):
        answer = ask(till.port, deed, f"/v1/streams/{original.stream_id}{path}", headers=stranger)
        assert answer.status == 404, (deed, path)
    listed = ask(till.port, "GET", "/v1/streams", headers=stranger).json["data"]
    assert {view["owner"] for view in listed} == {"b"}
    assert original.stream_id not in {view["id"] for view in listed}
    assert is_kept(till.port, asked, mine)


def test_a_key_gets_no_answer_of_a_model_that_it_may_not_use(till: Till) -> None:
    asked = body_of(question(), model="common")
    may, may_not = bearer(till.new_key("a")["key"]), bearer(till.new_key("a", models=["kept"])["key"])
    chat(till.port, asked, may)
    until_kept(till.port, asked, may)
    got = chat(till.port, asked, may_not)
    assert (got.status, got.error["code"]) == (404, "model_not_found")


def test_an_answer_that_had_to_be_short_is_not_given_to_who_may_have_more(till: Till) -> None:
    asked = body_of(question(), model="common", max_tokens=None)
    free = bearer(till.new_key("a")["key"])
    bounded = bearer(till.new_key("b", limits={"max_output_tokens": 4})["key"])
    short = chat(till.port, asked, bounded)
    assert short.text.count(" ") < 5
    assert until_kept(till.port, asked, bounded).body == short.body
    assert not is_kept(till.port, asked, free)
    assert chat(till.port, asked, free).text.count(" ") == 11
    until_kept(till.port, asked, free)
    # And the other way round: a bound holds for what was generated for others, too.
    assert chat(till.port, asked, bounded).body == short.body
    wanted = body_of(question(), model="common", max_tokens=100)
    chat(till.port, wanted, free)
    until_kept(till.port, wanted, free)
    assert chat(till.port, wanted, bounded).status == 400


def test_who_is_led_to_other_engines_gets_no_answer_of_theirs(till: Till) -> None:
    asked = body_of(question(), model="tiered")
    gold, common, other = (bearer(till.new_key(owner)["key"]) for owner in ("gold", "common", "other"))
    chat(till.port, asked, gold)
    until_kept(till.port, asked, gold)
    assert not is_kept(till.port, asked, common)
    chat(till.port, asked, common)
    assert until_kept(till.port, asked, other).is_hit


def test_a_hit_costs_no_money_and_is_given_to_who_has_none_left(till: Till) -> None:
    asked = body_of(question(), model="common")
    rich, poor = till.new_key("rich"), till.new_key("poor", budget={"day_usd": "0"})
    chat(till.port, asked, bearer(rich["key"]))
    until_kept(till.port, asked, bearer(rich["key"]))
    assert chat(till.port, asked, bearer(poor["key"])).is_hit
    assert chat(till.port, body_of(question(), model="common"), bearer(poor["key"])).status == 429
