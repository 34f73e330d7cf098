"""Engines as the settings name them: what each is, by which name, with which keys, and what is wrong by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.engines.anthropic import AnthropicEngine
from headrace.engines.embedded import MODEL_NAME, EmbeddedEngine
from headrace.engines.openai import OpenAIEngine
from headrace.errors import SettingsError
from headrace.http.upstreams import Upstreams, prepared_keys, upstreams_of
from headrace.settings import EngineSettings, Settings, StoreSettings, UpstreamSettings
from headrace.settings.engines import DEFAULT_ENGINE
from headrace.types.engine import Continuation

URL = "http://127.0.0.1:9/v1"
ENVIRON = {"LLM_API_KEY": "sk-default", "A": "sk-a", "B": "sk-b"}


def settings_with(*, engine: EngineSettings | None = None, **engines: UpstreamSettings) -> Settings:
    return Settings(
        store=StoreSettings(url="memory:"), engine=engine or EngineSettings(upstream=URL), engines=dict(engines)
    )


def keys_of(upstreams: Upstreams) -> dict[str, list[str]]:
    """Return the references of all keys, by engine."""
    return {name: [state.name for state in keys.states()] for name, keys in upstreams.keys.items()}


async def test_each_kind_is_its_own_engine_with_keys_of_its_own() -> None:
    settings = settings_with(
        claude=UpstreamSettings(kind="anthropic", upstream=URL, upstream_keys=("env:A",)),
        near=UpstreamSettings(kind="vllm", upstream=URL),
        here=UpstreamSettings(kind="embedded"),
    )
    upstreams = await upstreams_of(settings, ENVIRON)
    kinds = {name: type(upstream.engine) for name, upstream in upstreams.by_name.items()}
    assert kinds == {"openai": OpenAIEngine, "claude": AnthropicEngine, "near": OpenAIEngine, "here": EmbeddedEngine}
    assert upstreams.default == "openai"
    # The default variable is the default engine's only: no other one may get its key.
    assert keys_of(upstreams) == {"openai": ["env:LLM_API_KEY"], "claude": ["env:A"], "near": []}


async def test_what_engines_can_do_is_told_by_their_kind_and_overruled_by_the_settings() -> None:
    settings = settings_with(
        near=UpstreamSettings(kind="vllm", upstream=URL),
        claude=UpstreamSettings(kind="anthropic", upstream=URL, continuation=Continuation.ASSISTANT),
    )
    upstreams = await upstreams_of(settings, ENVIRON)
    found = {name: able.continuation for name, able in upstreams.capabilities(settings).items()}
    assert found == {"openai": Continuation.NONE, "near": Continuation.FLAG, "claude": Continuation.ASSISTANT}


async def test_an_engine_that_is_called_like_the_default_one_does_not_hide_it() -> None:
    upstreams = await upstreams_of(settings_with(openai=UpstreamSettings(upstream=URL)), ENVIRON)
    assert upstreams.default == DEFAULT_ENGINE
    assert set(upstreams.by_name) == {DEFAULT_ENGINE, "openai"}


async def test_the_embedded_engine_has_one_model() -> None:
    assert (await upstreams_of(settings_with(engine=EngineSettings()), {})).models == (MODEL_NAME,)
    with pytest.raises(SettingsError, match=r"^engine\.model: the embedded engine has"):
        await upstreams_of(settings_with(engine=EngineSettings(model="other")), {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (settings_with(engine=EngineSettings(upstream=URL, upstream_keys=("env:C",))), "engine.upstream_keys: env:C: "),
        (
            settings_with(one=UpstreamSettings(upstream=URL, upstream_keys=("env:C",))),
            "engines.one.upstream_keys: env:C: ",
        ),
        (settings_with(one=UpstreamSettings(upstream="ftp://x/v1")), "engines.one.upstream: "),
        (settings_with(engine=EngineSettings(upstream="ftp://x/v1")), "engine.upstream: "),
        (settings_with(one=UpstreamSettings(kind="groq")), "engines.one.upstream: must be set"),
    ],
)
async def test_what_cannot_be_used_is_named_by_its_path(settings: Settings, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        await upstreams_of(settings, ENVIRON)
    assert raised.value.message.startswith(message)


async def test_a_reload_reads_all_keys_before_any_is_used(tmp_path: Path) -> None:
    def with_keys(first: str, second: str) -> Settings:
        engine = EngineSettings(upstream=URL, upstream_keys=(first,))
        return settings_with(engine=engine, two=UpstreamSettings(upstream=URL, upstream_keys=(second,)))

    upstreams = await upstreams_of(with_keys("env:A", "env:A"), ENVIRON)
    missing = f"file:{tmp_path}/none"
    with pytest.raises(SettingsError, match=r"^engines\.two\.upstream_keys: file:"):
        await prepared_keys(upstreams.keys, upstreams.default, with_keys("env:B", missing), ENVIRON)
    assert keys_of(upstreams) == {"openai": ["env:A"], "two": ["env:A"]}
    use = await prepared_keys(upstreams.keys, upstreams.default, with_keys("env:A", "env:B"), ENVIRON)
    assert keys_of(upstreams) == {"openai": ["env:A"], "two": ["env:A"]}
    use()
    assert keys_of(upstreams) == {"openai": ["env:A"], "two": ["env:B"]}
