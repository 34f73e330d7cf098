from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

SETTINGS = "[engine]\nupstream = 'http://127.0.0.1:9100/v1'\n[store]\nurl = 'memory:'\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "headrace.toml"
    path.write_text(SETTINGS)
    return str(path)


def test_check_says_what_would_be_served(
    file: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "8081")
    assert run("config", "check", "--config", file) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok",
        "  listens on  127.0.0.1:8081",
        "  engine      http://127.0.0.1:9100/v1",
        "  store       memory:",
        "  settings    2 from the file, 1 from the environment",
    ]


def test_check_lists_all_engines(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "headrace.toml").write_text(
        "[engines.claude]\nkind = 'anthropic'\nupstream = 'https://api.anthropic.com/v1'\n[engines.'a.b']\nkind = 'embedded'\n"
    )
    assert run("config", "check", "--config", str(tmp_path / "headrace.toml")) == 0
    assert capsys.readouterr().out.splitlines()[2:5] == [
        "  engine      default  the embedded engine (smollm2)",
        "              claude   https://api.anthropic.com/v1 (anthropic)",
        "              a.b      the embedded engine (smollm2)",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[server]\nprot = 1", "server.prot: unknown setting"),
        ("[timeouts]\nidle = 'soon'", "timeouts.idle: expected seconds"),
        ("[store]\nurl = 'redis://user:secret@host'", "store: 'redis://***@host' is not a store URL"),
        ("[engine]\nupstream = 'localhost:9100'", "engine.upstream: base_url: must begin with http"),
        ("[engine]\nmodel = 'gpt-4o'", "engine.model: the embedded engine has"),
        ("[engines.a]\nupstream = 'localhost:9100'", "engines.a.upstream: base_url: must begin with http"),
        (
            "[engines.'a.b']\nkind = 'anthropic'\nupstream = 'https://x:secret@a/v1'",
            'engines."a.b".upstream: base_url: must not',
        ),
        ("[engines.a]\nkind = 'vllm'", "engines.a.upstream: must be set"),
        ("[engines.a]\nupstream = 'http://a'\nupstream_keys = ['sk-secret']", "engines.a.upstream_keys: expected"),
        ("[models.m.engines.a]", "models.m.engines.a: no engine is called so; known: default"),
        ("[retry.silent]\nelsewhere = 'maybe'", "retry.silent.elsewhere: expected one of no, yes, larger"),
        ("[server", "headrace.toml: is not TOML"),
        ("[engine]\nupstream_keys = ['sk-secret']", "engine.upstream_keys: expected"),
        ("[owners.search.budget]\nday_usd = -1", "owners.search.budget.day_usd: expected US dollars"),
    ],
)
def test_check_names_the_first_bad_key(
    tmp_path: Path, settings: str, message: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "headrace.toml").write_text(settings)
    assert run("config", "check", "--config", str(tmp_path / "headrace.toml")) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "secret" not in captured.err


def test_check_says_when_a_key_is_needed(
    file: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_SERVER__HOST", "0.0.0.0")
    assert run("config", "check", "--config", file) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "  listens on  0.0.0.0:8080",
        "              needs a client key in the store (headrace keys create), or server.insecure",
    ]
    monkeypatch.setenv("HEADRACE_SERVER__INSECURE", "true")
    assert run("config", "check", "--config", file) == 0
    assert "client key" not in capsys.readouterr().out


def test_show_prints_toml_and_its_changes_alone(file: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "show", "--config", file) == 0
    assert '[server]\nhost = "127.0.0.1"\nport = 8080\n' in capsys.readouterr().out
    assert run("config", "show", "--config", file, "--changed") == 0
    assert capsys.readouterr().out == (
        '[engine]\nupstream = "http://127.0.0.1:9100/v1"  # from the file\n\n[store]\nurl = "memory:"  # from the file\n'
    )


def test_show_prints_json_with_sources(file: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "show", "--config", file, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["store"]["url"] == {"value": "memory:", "source": "file"}
    assert shown["timeouts"]["idle"] == {"value": 30.0, "source": "default"}


def test_show_prints_money_as_text_in_json(
    file: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_MODELS__GPT-4.1__PRICE__INPUT", "0.10")
    monkeypatch.setenv("HEADRACE_MODELS__GPT-4.1__PRICE__OUTPUT", "0.20")
    assert run("config", "show", "--config", file, "--changed", "--json") == 0
    assert json.loads(capsys.readouterr().out)['models."gpt-4.1".price'] == {
        "input": {"value": "0.10", "source": "environment"},
        "output": {"value": "0.20", "source": "environment"},
    }
