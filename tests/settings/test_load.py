from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import SettingsError
from headrace.policy.timeouts import Timeouts
from headrace.settings import ServerSettings, Settings, StoreSettings, load_settings

HOME = {"HOME": "/home/someone"}


def load(
    toml: str | None = None, *, tmp_path: Path | None = None, flags: dict[str, Any] | None = None, **env: str
) -> Settings:
    file = None
    if toml is not None:
        assert tmp_path is not None
        file = tmp_path / "headrace.toml"
        file.write_text(toml)
    return load_settings(environ=HOME | env, file=file, overrides=flags)


def test_defaults_need_nothing_but_a_home() -> None:
    settings = load()
    assert settings == Settings(store=StoreSettings(url="sqlite:////home/someone/.local/state/headrace/headrace.db"))
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)


def test_state_home_wins_over_home_unless_it_is_relative() -> None:
    assert load(XDG_STATE_HOME="/state").store.url == "sqlite:////state/headrace/headrace.db"
    assert load(XDG_STATE_HOME="state").store.url == "sqlite:////home/someone/.local/state/headrace/headrace.db"


def test_without_a_home_the_store_must_be_named() -> None:
    with pytest.raises(SettingsError, match=r"^store\.url: "):
        load_settings(environ={})
    assert load_settings(environ={"HEADRACE_STORE__URL": "memory:"}).store.url == "memory:"


def test_command_line_wins_over_environment_wins_over_file(tmp_path: Path) -> None:
    toml = 'server.host = "localhost"\nserver.port = 1\n[timeouts]\nidle = 1\nlinger = "1m"\nfirst_token = 1\n'
    settings = load(
        toml,
        tmp_path=tmp_path,
        flags={"server": {"port": 3}, "timeouts": {"idle": "3s"}},
        HEADRACE_SERVER__PORT="2",
        HEADRACE_TIMEOUTS__IDLE="2",
        HEADRACE_TIMEOUTS__FIRST_TOKEN="2s",
    )
    assert (settings.server.host, settings.server.port) == ("localhost", 3)
    assert settings.timeouts == Timeouts(idle_s=3, first_token_s=2, linger_s=60)


def test_environment_reads_every_kind_of_value() -> None:
    settings = load(
        HEADRACE_SERVER__INSECURE="true",
        HEADRACE_SERVER__ALLOWED_HOSTS="a.example, b.example:8080,",
        HEADRACE_SERVER__MAX_BODY_BYTES="1MiB",
        HEADRACE_STORE__RETAIN_FOR="36h",
        HEADRACE_STORE__STORE_CONTENT="false",
        HEADRACE_LIMITS__MAX_LEAD_ENTRIES="7",
        HEADRACE_ENGINE__UPSTREAM="http://127.0.0.1:9100/v1",
        HEADRACE_LOG__LEVEL="debug",
    )
    assert settings.server == ServerSettings(
        insecure=True, allowed_hosts=("a.example", "b.example:8080"), max_body_bytes=2**20
    )
    assert (settings.store.retain_for_s, settings.store.store_content) == (36 * 3600, False)
    assert settings.limits.max_lead_entries == 7
    assert settings.engine.upstream == "http://127.0.0.1:9100/v1"
    assert settings.log.level == "debug"


def test_none_undoes_what_the_file_sets(tmp_path: Path) -> None:
    settings = load("timeouts.deadline = 5", tmp_path=tmp_path, HEADRACE_TIMEOUTS__DEADLINE="none")
    assert settings.timeouts.deadline_s is None


BAD_FILES = [
    ("server.prot = 1", "server.prot: unknown setting; known here: allowed_hosts, "),
    ("servre.port = 1", "servre: unknown setting; known here: engine, "),
    ("server = 1", "server: expected a section"),
    ("server.port = 'x'", "server.port: expected int, got 'x'"),
    ("server.port = 65536", "server.port: expected int <= 65535"),
    ("server.port = true", "server.port: expected int, got bool"),
    ("server.port.number = 1", "server.port: expected int, got object"),
    ("server.host = ''", "server.host: expected str of length >= 1"),
    ("server.host = '0.0.0.0'", "server.host: 0.0.0.0 is not loopback"),
    ("server.insecure = 1", "server.insecure: expected bool, got int"),
    ("server.allowed_hosts = 'a.example'", "server.allowed_hosts: expected array, got 'a.example'"),
    ("server.allowed_hosts = ['http://a']", "server.allowed_hosts: expected a name or address"),
    ("server.cors_origins = ['*']", "server.cors_origins: expected an origin"),
    ("server.cors_origins = ['https://a/']", "server.cors_origins: expected an origin"),
    ("server.cors_origins = ['null']", "server.cors_origins: expected an origin"),
    ("server.max_body_bytes = '16 megs'", "server.max_body_bytes: expected bytes or a size"),
    ("server.max_body_bytes = 0", "server.max_body_bytes: expected int >= 1"),
    ("server.head_timeout = '30 parsecs'", "server.head_timeout: expected seconds or a duration"),
    ("server.head_timeout_s = 30", "server.head_timeout_s: unknown setting"),
    ("timeouts.idle = -1", "timeouts.idle: expected float > 0"),
    ("timeouts.idle = 0", "timeouts.idle: expected float > 0"),
    ("timeouts.idle = nan", "timeouts.idle: expected seconds or a duration"),
    ("timeouts.idle = inf", "timeouts.idle: expected seconds or a duration"),
    ("timeouts.idle = '5000d'", "timeouts.idle: expected float <= "),
    ("timeouts.linger = -0.5", "timeouts.linger: expected float >= 0"),
    ("timeouts.deadline = '1y'", "timeouts.deadline: expected seconds or a duration"),
    ("stream.flush_interval_ms = 1001", "stream.flush_interval_ms: expected int <= 1000"),
    ("stream.flush_interval_ms = 2.5", "stream.flush_interval_ms: expected int, got float"),
    ("engine.on_malformed_chunk = 'retry'", "engine.on_malformed_chunk: expected one of end, skip"),
    ("engine.upstream_key_env = 'sk-123'", "engine.upstream_key_env: expected the name of"),
    ("engine.forward_headers = ['Authorization']", "engine.forward_headers: Authorization carries credentials"),
    ("engine.forward_headers = ['a b']", "engine.forward_headers: expected header names"),
    ("log.level = 'loud'", "log.level: expected one of debug, error, info, warning"),
]


@pytest.mark.parametrize(("toml", "message"), BAD_FILES, ids=[toml for toml, _ in BAD_FILES])
def test_a_bad_value_is_refused_with_its_path(toml: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(toml, tmp_path=tmp_path)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HEADRACE_SERVER__PROT", "1", "server.prot: unknown setting"),
        ("HEADRACE_PORT", "1", "port: unknown setting"),
        ("HEADRACE_SERVER", "1", "server: expected a section"),
        ("HEADRACE_SERVER__PORT", "x", "server.port: expected int, got 'x'"),
        ("HEADRACE_SERVER__INSECURE", "perhaps", "server.insecure: expected bool, got 'perhaps'"),
        ("HEADRACE_TIMEOUTS__IDLE", "soon", "timeouts.idle: expected seconds or a duration"),
    ],
)
def test_a_bad_variable_is_refused_with_its_path(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=HOME | {name: value})
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("(from the environment)")


def test_a_variable_cannot_be_value_and_section() -> None:
    with pytest.raises(SettingsError, match="is a section"):
        load(HEADRACE_SERVER="1", HEADRACE_SERVER__PORT="2")


def test_secrets_in_the_wrong_place_are_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        load(HEADRACE_ENGINE__UPSTREAM_KEY_ENV="sk-secret")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"port", b"a = '\xff'"], ids=["missing", "no toml", "no utf-8"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=HOME, file=file)
    assert str(caught.value).startswith(f"{file}: ")


@given(
    port=st.integers(0, 65535),
    idle_ms=st.integers(1, 10**9),
    body=st.integers(1, 2**40),
    hosts=st.lists(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True), max_size=3),
    store_content=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_settings_say_reads_back_from_every_source(
    port: int, idle_ms: int, body: int, hosts: list[str], store_content: bool
) -> None:
    wanted = Settings(
        server=ServerSettings(port=port, max_body_bytes=body, allowed_hosts=tuple(hosts)),
        timeouts=Timeouts(idle_s=idle_ms / 1000),
        store=StoreSettings(url="memory:", store_content=store_content),
    )
    tree = msgspec.to_builtins(wanted)
    given_values = {section: {k: v for k, v in table.items() if v is not None} for section, table in tree.items()}
    environ = {f"HEADRACE_{s}__{k}".upper(): _text(v) for s, table in tree.items() for k, v in table.items()}
    assert load_settings(environ={}, overrides=given_values) == wanted
    assert load_settings(environ=environ) == wanted
    assert load_settings(environ=environ | {"HEADRACE_TIMEOUTS__IDLE": f"{idle_ms}ms"}) == wanted


def _text(value: object) -> str:
    if isinstance(value, tuple | list):
        return ",".join(value)
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_key_of_a_user_of_the_relay_is_no_setting() -> None:
    assert load_settings(environ={"HOME": "/home/ada", "HEADRACE_API_KEY": "secret"}).server.port == 8080
