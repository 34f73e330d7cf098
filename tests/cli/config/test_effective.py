from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from headrace.cli.config.effective import effective

HOME = {"HOME": "/home/someone"}


def values(environ: dict[str, str], file: Path | None = None) -> dict[str, tuple[object, str, bool]]:
    _, settings = effective(HOME | environ, file)
    return {f"{s.section}.{s.key}": (s.value, s.source, s.is_hidden) for s in settings}


def test_every_setting_has_its_source(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text("[server]\nport = 1\nmax_body_bytes = '1KiB'\n[timeouts]\nidle = '1s'\n")
    found = values({"HEADRACE_SERVER__PORT": "2"}, file)
    assert found["server.port"] == (2, "environment", False)
    assert found["server.max_body_bytes"] == (1024, "file", False)
    assert found["timeouts.idle"] == (1.0, "file", False)
    assert found["timeouts.first_token"] == (120.0, "default", False)
    assert found["store.url"] == ("sqlite:////home/someone/.local/state/headrace/headrace.db", "default", False)


def test_sections_under_names_have_their_sources(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(
        "[owners.search]\nlimits.tokens_per_minute = 1\n[models.'gpt-4.1']\nprice = { input = 0.1, output = 0.2 }\n[models.m]\nprice = { input = 1, output = 1 }\n"
    )
    environ = {
        "HEADRACE_OWNERS__SEARCH__LIMITS__REQUESTS_PER_MINUTE": "2",
        "HEADRACE_MODELS__M__PRICE": "none",
        "HEADRACE_ENGINE__UPSTREAM_KEYS": "env:A,file:/run//b@c",
    }
    found = values(environ, file)
    assert found["owners.search.limits.tokens_per_minute"] == (1, "file", False)
    assert found["owners.search.limits.requests_per_minute"] == (2, "environment", False)
    assert found["owners.search.budget.day_usd"] == (None, "default", False)
    assert found['models."gpt-4.1".price.input'] == (Decimal("0.1"), "file", False)
    assert found['models."gpt-4.1".price.request'] == (Decimal(0), "default", False)
    assert found["models.m.price"] == (None, "environment", False)
    assert found["engine.limits.concurrent_streams"] == (None, "default", False)
    assert found["engine.upstream_keys"] == (("env:A", "file:/run//b@c"), "environment", False)


def test_sections_under_names_in_sections_under_names_have_their_sources(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(
        "[engines.claude]\nupstream = 'https://a/v1'\n[models.'gpt-4.1'.engines]\nclaude = { weight = 2 }\n[models.m]\n"
    )
    found = values({"HEADRACE_MODELS__M__ENGINES__CLAUDE__TAGS": "tier=gold"}, file)
    assert found["engines.claude.upstream"] == ("https://a/v1", "file", False)
    assert found["engines.claude.continuation"] == (None, "default", False)
    assert found['models."gpt-4.1".engines.claude.weight'] == (2, "file", False)
    assert found['models."gpt-4.1".engines.claude.order'] == (1, "default", False)
    assert found["models.m.engines.claude.tags"] == (("tier=gold",), "environment", False)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host/v1", "https://***@host/v1"),
        ("https://secret@host:1/v1", "https://***@host:1/v1"),
        ("https://user:se@cret@host/v1", "https://***@host/v1"),
        ("https://user:sec/ret@host/v1", "https://***@host/v1"),
        ("https://host/v1?api_key=secret&a=b", "https://host/v1?api_key=***&a=b"),
        ("https://host/v1?a=b&TOKEN=secret", "https://host/v1?a=b&TOKEN=***"),
    ],
)
def test_secrets_in_urls_are_hidden(url: str, shown: str) -> None:
    assert values({"HEADRACE_ENGINE__UPSTREAM": url})["engine.upstream"] == (shown, "environment", True)
    found = values({"HEADRACE_ENGINES__A.B__UPSTREAM": url})
    assert found['engines."a.b".upstream'] == (shown, "environment", True)
    assert "secret" not in str(found)


def test_a_path_with_an_at_sign_holds_no_secret() -> None:
    url = "sqlite:////home/a@b/headrace.db"
    assert values({"HEADRACE_STORE__URL": url})["store.url"] == (url, "environment", False)


def test_the_key_of_the_engine_is_not_read() -> None:
    found = values({"LLM_API_KEY": "sk-secret"})
    assert found["engine.upstream_key_env"] == ("LLM_API_KEY", "default", False)
    assert "sk-secret" not in str(found)
