from __future__ import annotations

from headrace.settings import DEFAULT_ENGINE, EngineSettings, Settings, StoreSettings, TargetSettings, UpstreamSettings


def test_the_kind_is_told_by_the_upstream_unless_it_is_set() -> None:
    assert UpstreamSettings().actual_kind == "embedded"
    assert UpstreamSettings(upstream="http://a/v1").actual_kind == "openai"
    assert UpstreamSettings(upstream="http://a/v1", kind="sglang").actual_kind == "sglang"


def test_only_the_default_engine_has_a_variable_for_its_key() -> None:
    assert (EngineSettings().upstream_key_env, UpstreamSettings().upstream_key_env) == ("LLM_API_KEY", None)


def test_a_target_is_called_like_its_engine_unless_it_says_otherwise() -> None:
    assert TargetSettings().engine_of("claude") == "claude"
    assert TargetSettings(engine=DEFAULT_ENGINE).engine_of("claude") == DEFAULT_ENGINE


def test_a_target_has_the_clients_name_of_the_model_unless_it_says_otherwise() -> None:
    assert TargetSettings().model_of("chat") == "chat"
    assert TargetSettings(model="gpt-4.1").model_of("chat") == "gpt-4.1"


def test_the_default_engine_comes_first() -> None:
    more = {"b": UpstreamSettings(), "a": UpstreamSettings()}
    settings = Settings(engines=more, store=StoreSettings(url="memory:"))
    assert list(settings.all_engines) == [DEFAULT_ENGINE, "b", "a"]
    assert settings.all_engines[DEFAULT_ENGINE] is settings.engine
