from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import SettingsError
from headrace.settings import Settings, load_settings
from headrace.settings.names import MAX_ENGINES
from headrace.types.access import MAX_TAGS

URL = "http://127.0.0.1:9/v1"


def loaded(**sections: Any) -> Settings:
    return load_settings(environ={"HEADRACE_STORE__URL": "memory:"}, overrides=sections)


def complaint(**sections: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(**sections)
    return str(caught.value)


def complaint_of(target: dict[str, Any]) -> str:
    """Return what is wrong with a target of an engine that exists."""
    return complaint(engines={"a": {"upstream": URL}}, models={"m.1": {"engines": {"a": target}}})


def section(path: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"engine": values} if path == "engine" else {"engines": {"one": values}}


PATHS = pytest.mark.parametrize("path", ["engine", "engines.one"])


@PATHS
@pytest.mark.parametrize("kind", ["openai", "anthropic", "vllm", "llama.cpp"])
def test_an_engine_elsewhere_needs_its_address(path: str, kind: str) -> None:
    message = f'{path}.upstream: must be set, since {path}.kind is "{kind}"'
    assert complaint(**section(path, {"kind": kind})) == message
    assert loaded(**section(path, {"kind": kind, "upstream": URL}))


@PATHS
def test_the_embedded_engine_has_no_address(path: str) -> None:
    found = complaint(**section(path, {"kind": "embedded", "upstream": "http://ada:secret@host/v1"}))
    assert found == f'{path}.upstream: must not be set, since {path}.kind is "embedded"; leave out one of them'
    assert loaded(**section(path, {"kind": "embedded"}))


def test_an_engine_is_not_the_embedded_one_by_mistake() -> None:
    some: list[dict[str, Any]] = [{}, {"limits": {"concurrent_streams": 1}}, {"upstream_keys": ["env:A"]}]
    for values in some:
        assert (
            complaint(engines={"a": values}) == 'engines.a.upstream: must be set, unless engines.a.kind is "embedded"'
        )
    assert loaded(engine={"limits": {"concurrent_streams": 1}}).engine.actual_kind == "embedded"


@PATHS
def test_a_key_is_no_setting_of_any_engine(path: str) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"upstream_key_env": "sk-123"}, "upstream_key_env: expected the name of an environment variable, not a key"),
        (
            {"upstream_keys": ["env:A", "sk-123"]},
            'upstream_keys: expected "env:NAME" or "file:/absolute/path" for each',
        ),
        ({"upstream_keys": ["env:A", "env:A"]}, "upstream_keys: env:A is listed twice"),
    ]
    for values, message in cases:
        found = complaint(**section(path, {"upstream": URL, **values}))
        assert found.startswith(f"{path}.{message}")
        assert "sk-123" not in found


def test_the_default_engine_may_go_without_a_variable_for_its_key() -> None:
    assert loaded(engine={"upstream_key_env": "none"}).engine.upstream_key_env is None


def test_one_name_is_taken() -> None:
    found = complaint(engines={"default": {"upstream": URL}})
    assert found == "engines.default: is what the engine of [engine] is called; choose another name"


@pytest.mark.parametrize("name", ["", ".a", "a b", "a/b", "é", "a\n", "x" * 65])
def test_names_of_engines_and_targets_are_plain(name: str) -> None:
    expected = "expected a name: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
    assert expected in complaint(engines={name: {"upstream": URL}})
    assert expected in complaint(models={"m": {"engines": {name: {"engine": "default"}}}})


def test_the_one_model_is_a_setting_of_the_default_engine_only() -> None:
    assert complaint(engines={"a": {"model": "m"}}).startswith("engines.a.model: unknown setting; known here: ")


def test_engines_and_targets_are_counted() -> None:
    engines: dict[str, Any] = {f"e{number}": {"upstream": URL} for number in range(MAX_ENGINES)}
    targets: dict[str, Any] = {name: {} for name in engines}
    assert len(loaded(engines=engines, models={"m": {"engines": targets}}).engines) == MAX_ENGINES
    assert complaint(engines={**engines, "more": {}}) == "engines: expected at most 100, got 101"
    many = {**targets, "default": {}}
    assert (
        complaint(engines=engines, models={"m": {"engines": many}}) == "models.m.engines: expected at most 100, got 101"
    )


def test_a_target_names_an_engine_that_exists() -> None:
    engines = {"b": {"upstream": URL}, "a": {"upstream": URL}}
    known = "no engine is called so; known: default, b, a"
    assert complaint(engines=engines, models={"m.1": {"engines": {"A": {}}}}) == (
        f'models."m.1".engines.A: {known}; say which one it is with `engine`'
    )
    assert complaint(engines=engines, models={"m": {"engines": {"a": {"engine": "c"}}}}) == (
        f"models.m.engines.a.engine: {known}"
    )
    targets = {"default": {}, "a": {}, "other": {"engine": "b"}, "again": {"engine": "default", "model": "x"}}
    assert loaded(engines=engines, models={"m": {"engines": targets}})


def test_no_more_engines_are_listed_than_one_reads() -> None:
    engines = {f"e{number}": {"upstream": URL} for number in range(50)}
    found = complaint(engines=engines, models={"m": {"engines": {"x": {}}}})
    assert "known: default, e0, e1, e2, e3, e4, e5, e6, e7, e8, …; say" in found


@pytest.mark.parametrize(
    "tags", [["gold"], ["=gold"], ["a b=c"], [".a=b"], ["tier=gold", "x" * 200], ["tier: gold"], ["a\n=b"]]
)
def test_tags_are_names_and_values(tags: list[str]) -> None:
    path = 'models."m.1".engines.a.tags'
    assert complaint_of({"tags": tags}).startswith(f"{path}: expected name=value for each, such as tier=gold, got ")


def test_tags_are_such_as_a_request_may_have() -> None:
    path = 'models."m.1".engines.a.tags'
    assert complaint_of({"tags": ["a=" + "x" * 129]}).startswith(f"{path}: expected at most 128 printable characters")
    assert complaint_of({"tags": ["a=\x1b"]}).startswith(f"{path}: expected at most 128 printable characters")
    assert complaint_of({"tags": ["a=1", "a=2"]}) == f"{path}: a is listed twice, but a request has one value of it"
    many = [f"t{number}=1" for number in range(MAX_TAGS + 1)]
    assert complaint_of({"tags": many}).startswith(
        f"{path}: expected at most 16, which is what a request may have, got 17"
    )
    tags = ["tier=gold", "formula=a=b", "empty="]
    settings = loaded(models={"m": {"engines": {"default": {"tags": tags}}}})
    assert settings.models["m"].engines["default"].tags == tuple(tags)


def test_owners_are_names_of_owners() -> None:
    assert complaint_of({"owners": ["a b"]}).startswith('models."m.1".engines.a.owners: expected an owner\'s name')


def test_no_prompt_is_both_longer_and_shorter() -> None:
    found = complaint_of({"min_prompt_tokens": 5, "max_prompt_tokens": 4})
    assert found == 'models."m.1".engines.a.max_prompt_tokens: must not be below min_prompt_tokens (5), got 4'
    assert loaded(models={"m": {"engines": {"default": {"min_prompt_tokens": 5, "max_prompt_tokens": 5}}}})


def test_somebody_must_serve_a_model() -> None:
    engines = {"a": {"upstream": URL}}
    found = complaint(engines=engines, models={"m": {"engines": {"a": {"weight": 0}, "default": {"weight": 0}}}})
    assert found == "models.m.engines: every weight is 0, so that nothing could serve the model; set one to 1 or more"
    assert loaded(engines=engines, models={"m": {"engines": {"a": {"weight": 0}, "default": {}}}})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"engine": "a"}),
        ({"model": "x"}, {"engine": "a", "model": "x", "order": 2, "tags": ["tier=gold"]}),
        ({}, {"engine": "a", "model": "m"}),
    ],
)
def test_two_targets_are_not_the_same_one(first: dict[str, Any], second: dict[str, Any]) -> None:
    found = complaint(engines={"a": {"upstream": URL}}, models={"m": {"engines": {"a": first, "b": second}}})
    assert found == "models.m.engines.b: is the same engine and model as models.m.engines.a; leave out one"


def test_a_model_without_targets_may_share_and_keep_answers() -> None:
    model = loaded(models={"m": {"shares": True, "cache": "owner", "replays": True}}).models["m"]
    assert (model.engines, model.shares, model.cache) == ({}, True, "owner")


@pytest.mark.parametrize("cache", ["owner", "shared"])
def test_what_is_not_kept_cannot_be_given_again(cache: str) -> None:
    found = complaint(models={"m": {"cache": cache}}, store={"store_content": False})
    assert found == "models.m.cache: needs store.store_content, since only answers that are kept can be given again"
    assert loaded(models={"m": {"cache": "off"}}, store={"store_content": False})


def test_the_longest_wait_is_not_below_the_first() -> None:
    assert complaint(retry={"backoff": "9s"}) == "retry.backoff_max: must not be below retry.backoff (9 s)"
    assert complaint(health={"rest": "2m"}) == "health.rest_max: must not be below health.rest (120 s)"
    assert loaded(retry={"backoff": "9s", "backoff_max": "9s"}, health={"rest": "2m", "rest_max": "2m"})
