from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.errors import SettingsError
from headrace.settings import OwnerSettings, Settings, load_settings
from headrace.settings.names import MAX_NAMES
from headrace.settings.reader import merge
from headrace.settings.reload import MAX_SHOWN, RESTART, RESTART_NAMES, Change, adopted, changes
from headrace.settings.shape import ANY_NAME, paths, shape_of
from headrace.types.access import Allowance

KEYS = {".".join(path) for path in paths(shape_of(Settings))}

OTHER_VALUES: dict[str, Any] = {
    "server.host": "::1",
    "server.insecure": True,
    "server.http2": True,
    "server.tls_cert": "/cert.pem",
    "server.tls_key": "/key.pem",
    "engine.upstream": "http://127.0.0.1:9/v1",
    "engine.model": "other",
    "engine.on_malformed_chunk": "end",
    "engine.kind": "embedded",
    "engines.NAME.kind": "vllm",
    "engines.NAME.upstream": "http://127.0.0.1:8/v1",
    "store.url": "sqlite:///other.db",
}
"""Of keys that need a restart and are no numbers."""


def loaded(**sections: Any) -> Settings:
    return load_settings(environ={"HEADRACE_STORE__URL": "memory:"}, overrides=sections)


def test_the_table_names_only_keys_that_exist() -> None:
    assert RESTART <= KEYS
    assert {key.split(".")[0] for key in RESTART if ANY_NAME in key.split(".")} == RESTART_NAMES


def test_the_same_settings_change_nothing() -> None:
    settings = loaded(
        owners={"a": {"limits": {"max_output_tokens": 1}}}, models={"b": {"price": {"input": 1, "output": 0}}}
    )
    assert changes(settings, settings) == []
    assert adopted(settings, settings) == settings


def nested(path: str, value: object) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("path", sorted(RESTART))
def test_what_needs_a_restart_stays_as_it_was(path: str) -> None:
    engines = {"NAME": {"upstream": "http://127.0.0.1:9/v1"}}
    old = loaded(engines=engines)
    pair = {"server.tls_cert": "server.tls_key", "server.tls_key": "server.tls_cert"}
    names = [path, pair[path]] if path in pair else [path]
    overrides: dict[str, Any] = {"engines": engines, "log": {"level": "debug"}}
    for name in names:
        overrides = merge(overrides, nested(name, OTHER_VALUES.get(name, 7)))
    new = loaded(**overrides)
    assert {(change.path, change.applies) for change in changes(old, new)} == {
        *((name, "restart") for name in names),
        ("log.level", "now"),
    }
    assert changes(old, adopted(old, new)) == [Change("log.level", '"info"', '"debug"', "now")]
    assert new != adopted(old, new)


def test_what_applies_now_is_taken_over_whole() -> None:
    old = loaded(
        owners={"gone": {"limits": {"concurrent_streams": 1}}}, models={"m": {"price": {"input": 1, "output": 0}}}
    )
    new = loaded(
        server={"cors_origins": ["https://a.example"], "max_body_bytes": 1},
        engine={"upstream_keys": ["env:A"], "limits": {"concurrent_streams": 2}},
        keys={"budget": {"day_usd": "0.10"}},
        owners={"new": {"limits": {"tokens_per_minute": 5}}},
        models={"m": {"cancelled": "vendor"}},
        timeouts={"queue": "5s"},
        store={"retain_usage_for": "1d"},
    )
    assert adopted(old, new) == new
    assert adopted(old, new).owners == {"new": OwnerSettings(limits=Allowance(tokens_per_minute=5))}
    assert [(change.path, change.old, change.new) for change in changes(old, new)] == [
        ("server.cors_origins", "[]", '["https://a.example"]'),
        ("server.max_body_bytes", '"16MiB"', "1"),
        ("engine.upstream_keys", "[]", '["env:A"]'),
        ("engine.limits.concurrent_streams", '"none"', "2"),
        ("timeouts.queue", '"10s"', '"5s"'),
        ("keys.budget.day_usd", '"none"', "0.10"),
        ("owners.gone.limits.concurrent_streams", "1", '"none"'),
        ("models.m.cancelled", '"none"', '"vendor"'),
        ("models.m.price.input", "1", '"none"'),
        ("models.m.price.output", "0", '"none"'),
        ("models.m.price.request", "0", '"none"'),
        ("store.retain_usage_for", '"400d"', '"1d"'),
        ("owners.new.limits.tokens_per_minute", '"none"', "5"),
    ]
    assert {change.applies for change in changes(old, new)} == {"now"}


def chat_by(*engines: str) -> dict[str, Any]:
    return {"chat": {"engines": {engine: {} for engine in engines}}}


def test_what_an_engine_can_do_and_how_it_is_used_apply_now() -> None:
    old = loaded(
        engines={"a": {"upstream": "http://a/v1"}, "b": {"upstream": "http://b/v1"}}, models=chat_by("default", "a")
    )
    new = loaded(
        engine={"context_tokens": 8192},
        engines={
            "a": {
                "upstream": "http://a/v1",
                "upstream_keys": ["env:A"],
                "upstream_key_env": "B",
                "provider": "openai",
                "continuous_usage": True,
                "continuation": "none",
                "context_tokens": 1,
                "max_choices": 1,
                "takes_tools": False,
                "takes_images": False,
                "takes_schemas": False,
                "takes_logprobs": False,
                "limits": {"concurrent_streams": 1},
            },
            "b": {"upstream": "http://b/v1"},
        },
        models={"chat": {"engines": {"a": {"weight": 2, "tags": ["tier=gold"]}, "b": {"order": 2}}, "cache": "owner"}},
        retry={"attempts": 2, "silent": {"elsewhere": "no"}},
        health={"failure_rate": 0.1},
        cache={"max_entries": 5},
    )
    found = changes(old, new)
    assert {change.applies for change in found} == {"now"}
    assert len([change for change in found if change.path.startswith("engines.a.")]) == 12
    assert adopted(old, new) == new


def test_a_new_engine_waits_for_the_restart() -> None:
    old = loaded(engines={"a": {"upstream": "http://a/v1"}}, models=chat_by("a"))
    new = loaded(
        engines={
            "a": {"upstream": "http://a/v1"},
            "b": {"upstream": "http://b/v1", "limits": {"concurrent_streams": 1}},
        },
        models=chat_by("default"),
    )
    assert {(change.path, change.applies) for change in changes(old, new) if change.path.startswith("engines.b.")} >= {
        ("engines.b.upstream", "restart"),
        ("engines.b.limits.concurrent_streams", "restart"),
    }
    going_on = adopted(old, new)
    assert (going_on.engines, going_on.models) == (old.engines, new.models)


@pytest.mark.parametrize("targets", [{"b": {}}, {"a": {}, "x": {"engine": "b", "order": 2}}])
def test_a_model_cannot_be_served_by_an_engine_that_waits_for_the_restart(targets: dict[str, Any]) -> None:
    old = loaded(engines={"a": {"upstream": "http://a/v1"}}, models=chat_by("a"))
    new = loaded(
        engines={name: {"upstream": f"http://{name}/v1"} for name in ("a", "b")}, models={"chat": {"engines": targets}}
    )
    with pytest.raises(SettingsError) as caught:
        adopted(old, new)
    assert str(caught.value) == (
        f"models.chat.engines.{list(targets)[-1]}: the engine b does not run yet; engines start with the relay, so restart"
        " it. Running: default, a"
    )


def test_an_engine_that_is_gone_stays_as_it_was_until_the_restart() -> None:
    engines = {name: {"upstream": f"http://{name}/v1", "limits": {"concurrent_streams": 2}} for name in ("a", "b")}
    old = loaded(engines=engines, models=chat_by("a", "b"))
    new = loaded(engines={"b": engines["b"]}, models=chat_by("b"))
    assert {change.applies for change in changes(old, new) if change.path.startswith("engines.a.")} == {"restart"}
    going_on = adopted(old, new)
    assert going_on.engines == old.engines
    assert going_on.models == new.models
    # Nor does the next reload forget it.
    assert adopted(going_on, loaded(engines=engines, models=chat_by("a"))).engines == old.engines


def test_an_engine_that_moves_keeps_its_address_and_takes_over_the_rest() -> None:
    old = loaded(engines={"a.b": {"upstream": "http://a/v1"}})
    new = loaded(engines={"a.b": {"upstream": "http://b/v1", "kind": "vllm", "upstream_keys": ["env:A"]}})
    assert [(change.path, change.applies) for change in changes(old, new)] == [
        ('engines."a.b".kind', "restart"),
        ('engines."a.b".upstream', "restart"),
        ('engines."a.b".upstream_keys', "now"),
    ]
    assert adopted(old, new) == loaded(engines={"a.b": {"upstream": "http://a/v1", "upstream_keys": ["env:A"]}})


def test_changes_of_continuation_tell_none_from_the_default() -> None:
    old, new = loaded(), loaded(engine={"continuation": "none"})
    assert changes(old, new) == [Change("engine.continuation", '"default"', '"none"', "now")]


def test_changes_of_engines_hold_no_password() -> None:
    old = loaded()
    new = loaded(engines={"a": {"upstream": "https://ada:secret@host/v1?api_key=secret"}})
    (upstream,) = (change for change in changes(old, new) if change.path == "engines.a.upstream")
    assert upstream == Change("engines.a.upstream", '"none"', '"https://***@host/v1?api_key=***"', "restart")
    assert "secret" not in str(changes(old, new) + changes(new, old))


def test_one_change_among_many_names_is_found() -> None:
    many: dict[str, dict[str, Any]] = {f"m{number}": {} for number in range(MAX_NAMES)}
    old, new = loaded(models=many), loaded(models={**many, "m5": {"shares": True}})
    assert changes(old, new) == [Change("models.m5.shares", "false", "true", "now")]


def test_changes_are_short_and_hold_no_password() -> None:
    old = loaded(engine={"upstream": "https://ada:secret@host/v1"})
    new = loaded(engine={"upstream": "https://ada:secret2@host/v1"}, server={"allowed_hosts": ["a" * 1000]})
    hosts, upstream = changes(old, new)
    assert upstream == Change("engine.upstream", '"https://***@host/v1"', '"https://***@host/v1"', "restart")
    assert hosts.new == '["' + "a" * (MAX_SHOWN - 3) + "…"


BAD_FILES = {
    "[server": "is not TOML",
    "[serve]\nport = 1": "serve: unknown setting",
    "[server]\nprot = 1": "server.prot: unknown setting",
    "[server]\nport = true": "server.port: expected int, got bool",
    "[server]\nport = 65536": "server.port: expected int <= 65535",
    "[timeouts]\nidle = '3 weeks'": "timeouts.idle: expected seconds or a duration",
    "[models.m.price]\ninput = 1\noutput = -1": "models.m.price.output: expected US dollars",
    "[owners.'a b'.limits]\nmax_output_tokens = 1": 'owners."a b": expected an owner',
    "[billing]\ncancelled = 'free'": "billing.cancelled: expected one of delivered, generated, vendor",
    "[engine]\nupstream_keys = ['sk-123']": "engine.upstream_keys: expected",
    "[keys.limits]\nconcurrent_streams = 0": "keys.limits.concurrent_streams: expected int >= 1",
}


@pytest.mark.parametrize(("content", "complaint"), BAD_FILES.items(), ids=BAD_FILES)
def test_a_bad_file_is_refused_by_field(content: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    environ = {"HEADRACE_STORE__URL": "memory:"}
    file.write_text("[owners.search.limits]\ntokens_per_minute = 5\n")
    assert load_settings(environ=environ, file=file).owners["search"].limits.tokens_per_minute == 5
    file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=environ, file=file)
    assert complaint in str(caught.value)
    assert str(file) in str(caught.value) or content.startswith("[engine]"), "the rule is of no one source"
    assert "sk-123" not in str(caught.value)
