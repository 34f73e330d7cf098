from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import SettingsError
from headrace.policy.health_settings import HealthSettings
from headrace.policy.prices import Price
from headrace.policy.retry import Elsewhere, RetryPolicy
from headrace.policy.timeouts import Timeouts
from headrace.settings import (
    BillingSettings,
    EngineSettings,
    KeysSettings,
    ModelSettings,
    OwnerSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    TargetSettings,
    UpstreamSettings,
    load_settings,
)
from headrace.settings.items import Item, items
from headrace.settings.names import MAX_NAMES
from headrace.types.access import Allowance, Budget
from headrace.types.bill import BillRule
from headrace.types.engine import Continuation

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
    ("servre.port = 1", "servre: unknown setting; known here: billing, "),
    ("server = 1", "server: expected a section"),
    ("server.port = 'x'", "server.port: expected int, got 'x'"),
    ("server.port = 65536", "server.port: expected int <= 65535"),
    ("server.port = true", "server.port: expected int, got bool"),
    ("server.port.number = 1", "server.port: expected int, got object"),
    ("server.host = ''", "server.host: expected str of length >= 1"),
    ("server.insecure = 1", "server.insecure: expected bool, got int"),
    ("server.allowed_hosts = 'a.example'", "server.allowed_hosts: expected array, got str"),
    ("server.allowed_hosts = ['http://a']", "server.allowed_hosts: expected a name or address"),
    ("server.cors_origins = ['*']", "server.cors_origins: expected an origin"),
    ("server.cors_origins = ['https://a/']", "server.cors_origins: expected an origin"),
    ("server.cors_origins = ['null']", "server.cors_origins: expected an origin"),
    ("server.tls_cert = 'cert.pem'", "server.tls_key: must be set, since server.tls_cert is"),
    ("server.tls_key = 'key.pem'", "server.tls_cert: must be set, since server.tls_key is"),
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
    ("server.port = 80.0", "server.port: expected int, got float"),
    ("timeouts.idle = 1e400", "timeouts.idle: expected seconds or a duration"),
    ("engine.upstream_keys = 'env:A'", "engine.upstream_keys: expected array, got str"),
    ("engine.upstream_keys = ['sk-123']", 'engine.upstream_keys: expected "env:NAME" or "file:/absolute/path"'),
    ("engine.upstream_keys = ['env:A', 'file:key']", "engine.upstream_keys: expected"),
    ("engine.upstream_keys = ['env:sk-123']", "engine.upstream_keys: expected"),
    ("engine.upstream_keys = ['env:A', 'env:A']", "engine.upstream_keys: env:A is listed twice"),
    ("engine.provider = ''", "engine.provider: expected str of length >= 1"),
    ("engine.limits.requests = 1", "engine.limits.requests: unknown setting; known here: concurrent_streams, "),
    ("keys.limits.concurrent_streams = 0", "keys.limits.concurrent_streams: expected int >= 1"),
    ("keys.limits.tokens_per_minute = 1e3", 'keys.limits.tokens_per_minute: expected int or "none", got float'),
    ("keys.budget.day_usd = -0.01", "keys.budget.day_usd: expected US dollars from 0 to 1000000000"),
    ("keys.budget.month_usd = nan", "keys.budget.month_usd: expected US dollars"),
    (
        "keys.budget.month_usd = '5 EUR'",
        "keys.budget.month_usd: expected US dollars from 0 to 1000000000, got the unit",
    ),
    ("owners = ['search']", "owners: expected a section with keys"),
    ("owners.search = 1", "owners.search: expected a section with keys"),
    ("owners.search.limit.x = 1", "owners.search.limit: unknown setting; known here: budget, limits"),
    (
        "owners.search.limits.requests_per_minute = 'x'",
        "owners.search.limits.requests_per_minute: expected int or \"none\", got 'x'",
    ),
    ("owners.'.x'.limits.max_output_tokens = 1", 'owners.".x": expected an owner\'s name: 1 to 64 of '),
    ("owners.''.limits.max_output_tokens = 1", 'owners."": expected an owner\'s name'),
    ('owners."x\\n".limits.max_output_tokens = 1', 'owners."x\\n": expected an owner\'s name'),
    (f"owners.{'x' * 65}.limits.max_output_tokens = 1", f"owners.{'x' * 65}: expected an owner's name"),
    ('models."\\u001b[2J".cancelled = "vendor"', 'models."\\u001b[2J": expected a model\'s name'),
    (f"models.{'x' * 9999}.cancelled = 'vendor'", f'models."{"x" * 300}…": expected a model\'s name: 1 to 256'),
    ("models.'gpt-4.1'.price.output = -1", 'models."gpt-4.1".price.output: expected US dollars from 0'),
    ("models.gpt-4o.price.input = 1e10", "models.gpt-4o.price.input: expected US dollars from 0 to 1000000000"),
    (
        "models.gpt-4o.price.input = true",
        "models.gpt-4o.price.input: expected US dollars from 0 to 1000000000, got bool",
    ),
    (
        "models.gpt-4o.price.input = 1e-21",
        "models.gpt-4o.price.input: expected US dollars from 0 to 1000000000 with at most",
    ),
    ("models.gpt-4o.price.prompt = 1", "models.gpt-4o.price.prompt: unknown setting; known here: cached_input, "),
    ("models.gpt-4o.truncated = 'all'", "models.gpt-4o.truncated: expected one of delivered, generated, vendor"),
    ("billing.cancelled = 'none'", "billing.cancelled: expected one of delivered, generated, vendor"),
    ("billing.cancelled = 1", "billing.cancelled: expected one of delivered, generated, vendor"),
    ("limits.max_queued = -1", "limits.max_queued: expected int >= 0"),
    ("timeouts.queue = -1", "timeouts.queue: expected float >= 0"),
    ("store.retain_usage_for = '1y'", "store.retain_usage_for: expected seconds or a duration"),
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
        ("HEADRACE_OWNERS__SEARCH", "1", "owners.search: expected a section"),
        ("HEADRACE_OWNERS__A B__LIMITS__REQUESTS_PER_MINUTE", "1", 'owners."a b": expected an owner\'s name'),
        ("HEADRACE_OWNERS__SEARCH__BUDGET__DAY_USD", "1e3", "owners.search.budget.day_usd: expected US dollars"),
        ("HEADRACE_OWNERS__SEARCH__BUDGET__DAY_USD", "much", "owners.search.budget.day_usd: expected US dollars"),
    ],
)
def test_a_bad_variable_is_refused_with_its_path(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=HOME | {name: value})
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("(from the environment)")


def test_a_variable_cannot_be_value_and_section() -> None:
    with pytest.raises(SettingsError, match=r"server: is a section, but HEADRACE_SERVER is set too"):
        load(HEADRACE_SERVER="1", HEADRACE_SERVER__PORT="2")
    with pytest.raises(SettingsError, match=r"owners\.a: is a section, but HEADRACE_OWNERS__A is set too"):
        load(HEADRACE_OWNERS__A="1", HEADRACE_OWNERS__A__LIMITS__MAX_OUTPUT_TOKENS="2")


@pytest.mark.parametrize("name", ["UPSTREAM_KEY_ENV", "UPSTREAM_KEYS"])
@pytest.mark.parametrize("secret", ["sk-secret", "env:sk-secret", "file:sk-secret", "file:/sk-secret\n"])
def test_secrets_in_the_wrong_place_are_not_repeated(name: str, secret: str, tmp_path: Path) -> None:
    for value in (json.dumps(secret), json.dumps([secret, secret])):
        with pytest.raises(SettingsError) as caught:
            load(f"[engine]\n{name.lower()} = {value}", tmp_path=tmp_path)
        assert "sk-secret" not in str(caught.value) or (name, value[0]) == ("UPSTREAM_KEY_ENV", "[")
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=HOME | {f"HEADRACE_ENGINE__{name}": f"{secret},sk-secret"})
    assert "sk-secret" not in str(caught.value)


NOT_TOML = {
    "missing": None,
    "no toml": b"port",
    "no utf-8": b"a = '\xff'",
    "endless number": b"a = " + b"9" * 5000,
    "endless exponent": b"a = 1e9999999999999999999",
    "deep": b"a = " + b"[" * 10_000,
}


@pytest.mark.parametrize("content", NOT_TOML.values(), ids=NOT_TOML)
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=HOME, file=file)
    assert str(caught.value).startswith(f"{file}: ")


LIMITS_AND_MONEY = """
[engine]
upstream_keys = ["env:FIRST_KEY", "file:/run/secrets/second"]
provider = "openai"
continuous_usage = true
[engine.limits]
concurrent_streams = 4
[keys]
limits.requests_per_minute = 60
budget.day_usd = 0.1
[owners."ada@example.org"]
budget.month_usd = "none"
[owners.search]
limits.tokens_per_minute = 100_000
budget = { day_usd = 3, month_usd = "49.90" }
[models."gpt-4.1"]
cancelled = "vendor"
price = { input = 2.00, cached_input = 0.12345678901234567890, output = 8, request = 1e-3 }
[models."o 3"]
truncated = "delivered"
[billing]
cancelled = "delivered"
drain = "2m"
"""


def test_limits_prices_and_budgets_of_a_file(tmp_path: Path) -> None:
    settings = load(LIMITS_AND_MONEY, tmp_path=tmp_path)
    assert settings.engine == EngineSettings(
        upstream_keys=("env:FIRST_KEY", "file:/run/secrets/second"),
        provider="openai",
        continuous_usage=True,
        limits=Allowance(concurrent_streams=4),
    )
    assert settings.keys == KeysSettings(
        limits=Allowance(requests_per_minute=60), budget=Budget(day_usd=Decimal("0.1"))
    )
    assert settings.owners == {
        "ada@example.org": OwnerSettings(),
        "search": OwnerSettings(
            limits=Allowance(tokens_per_minute=100_000), budget=Budget(day_usd=Decimal(3), month_usd=Decimal("49.9"))
        ),
    }
    assert settings.models == {
        "gpt-4.1": ModelSettings(
            cancelled=BillRule.VENDOR,
            price=Price(
                input=Decimal(2),
                # More digits than a float holds.
                cached_input=Decimal("0.12345678901234567890"),
                output=Decimal(8),
                request=Decimal("0.001"),
            ),
        ),
        "o 3": ModelSettings(truncated=BillRule.DELIVERED),
    }
    assert settings.billing == BillingSettings(cancelled=BillRule.DELIVERED, drain_s=120)


def test_the_environment_adds_to_the_sections_of_a_file_name_by_name(tmp_path: Path) -> None:
    settings = load(
        LIMITS_AND_MONEY.replace("gpt-4.1", "m"),
        tmp_path=tmp_path,
        HEADRACE_OWNERS__SEARCH__LIMITS__TOKENS_PER_MINUTE="5",
        HEADRACE_OWNERS__SEARCH__BUDGET__MONTH_USD="none",
        HEADRACE_OWNERS__CHAT__BUDGET__DAY_USD="0.1",
        HEADRACE_ENGINE__UPSTREAM_KEYS="env:THIRD_KEY, file:/run/fourth",
        HEADRACE_BILLING__TRUNCATED="vendor",
        HEADRACE_MODELS__M__PRICE="none",
    )
    assert settings.owners["search"] == OwnerSettings(
        limits=Allowance(tokens_per_minute=5), budget=Budget(day_usd=Decimal(3))
    )
    assert settings.owners["chat"].budget.day_usd == Decimal("0.1")
    assert settings.engine.upstream_keys == ("env:THIRD_KEY", "file:/run/fourth")
    assert settings.billing == BillingSettings(cancelled=BillRule.DELIVERED, truncated=BillRule.VENDOR, drain_s=120)
    assert settings.models["m"] == ModelSettings(cancelled=BillRule.VENDOR)


@pytest.mark.parametrize("section", ["owners", "models"])
def test_names_are_counted(section: str) -> None:
    names: dict[str, dict[str, Any]] = {f"n{number}": {} for number in range(MAX_NAMES)}
    assert len(getattr(load(flags={section: names}), section)) == MAX_NAMES
    with pytest.raises(SettingsError, match=f"^{section}: expected at most 10000, got 10001"):
        load(flags={section: names | {"more": {}}})


DOLLARS = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=6)
OWNERS = st.dictionaries(
    # The environment has no capitals, and two underscores end a name.
    st.from_regex(r"[a-z0-9][a-z0-9.@-]{0,20}", fullmatch=True),
    st.builds(OwnerSettings, budget=st.builds(Budget, day_usd=DOLLARS, month_usd=st.none() | DOLLARS)),
    max_size=2,
)
TARGETS = st.builds(
    TargetSettings,
    model=st.none() | st.from_regex(r"[A-Za-z0-9./-]{1,20}", fullmatch=True),
    order=st.integers(0, 1000),
    weight=st.integers(1, 10**6),
    tags=st.sampled_from([(), ("tier=gold",), ("tier=gold", "team=a b")]),
    max_prompt_tokens=st.none() | st.integers(1, 10**6),
)
ENGINES = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True).filter(lambda name: name != "default"),
    st.builds(
        UpstreamSettings,
        kind=st.none() | st.sampled_from(["vllm", "llama.cpp"]),
        upstream=st.just("http://127.0.0.1:9/v1"),
        upstream_keys=st.sampled_from([(), ("env:A", "file:/b")]),
        continuation=st.none() | st.sampled_from(Continuation),
        takes_tools=st.none() | st.booleans(),
    ),
    max_size=2,
)
MODELS = st.dictionaries(
    st.from_regex(r"[a-z0-9. é]{1,20}", fullmatch=True),
    st.builds(
        ModelSettings,
        engines=st.dictionaries(st.just("default"), TARGETS),
        replays=st.booleans(),
        cache_for_s=st.integers(1, 10**6).map(float),
        price=st.none() | st.builds(Price, input=DOLLARS, output=DOLLARS),
        cancelled=st.none() | st.sampled_from(BillRule),
    ),
    max_size=2,
)
SETTINGS = st.builds(
    Settings,
    server=st.builds(
        ServerSettings,
        port=st.integers(0, 65535),
        max_body_bytes=st.integers(1, 2**40),
        allowed_hosts=st.lists(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True), max_size=3).map(tuple),
    ),
    engines=ENGINES,
    retry=st.builds(RetryPolicy, attempts=st.integers(1, 100)),
    health=st.builds(HealthSettings, failure_rate=st.floats(0.01, 1)),
    store=st.builds(StoreSettings, url=st.just("memory:"), store_content=st.booleans()),
    owners=OWNERS,
    models=MODELS,
)


@settings(max_examples=40)
@given(others=SETTINGS, idle_ms=st.integers(1, 10**9))
def test_what_settings_say_reads_back_from_every_source(others: Settings, idle_ms: int) -> None:
    wanted = msgspec.structs.replace(others, timeouts=Timeouts(idle_s=idle_ms / 1000))
    tree = msgspec.to_builtins(wanted)
    environ = {f"HEADRACE_{'__'.join(item.path)}".upper(): _text(item) for item in items(wanted)}
    assert load_settings(environ={}, overrides=_without_none(tree)) == wanted
    assert load_settings(environ=environ) == wanted
    assert load_settings(environ=environ | {"HEADRACE_TIMEOUTS__IDLE": f"{idle_ms}ms"}) == wanted


def _without_none(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }


def _text(item: Item) -> str:
    if isinstance(item.value, tuple):
        return ",".join(item.value)
    if item.value is None:
        return item.nothing
    return str(item.value).lower() if isinstance(item.value, bool) else str(item.value)


ROUTES = """
[engine]
kind = "vllm"
upstream = "http://127.0.0.1:8000/v1"
[engines.claude]
kind = "anthropic"
upstream = "https://api.anthropic.com/v1"
upstream_keys = ["env:ANTHROPIC_API_KEY"]
continuation = "assistant"
context_tokens = 200_000
[models.chat]
replays = true
cache = "shared"
cache_for = "90m"
[models.chat.engines]
default = { weight = 3 }
claude = { model = "claude-sonnet-4-5", order = 2, tags = ["tier=gold"], owners = ["search"] }
[retry]
attempts = 3
rate_limited = { same = 0 }
[health]
failure_rate = 0.25
"""


def test_engines_and_routes_of_a_file(tmp_path: Path) -> None:
    settings = load(ROUTES, tmp_path=tmp_path)
    claude = UpstreamSettings(
        kind="anthropic",
        upstream="https://api.anthropic.com/v1",
        upstream_keys=("env:ANTHROPIC_API_KEY",),
        continuation=Continuation.ASSISTANT,
        context_tokens=200_000,
    )
    assert settings.all_engines == {
        "default": EngineSettings(kind="vllm", upstream="http://127.0.0.1:8000/v1"),
        "claude": claude,
    }
    assert settings.models["chat"] == ModelSettings(
        replays=True,
        cache="shared",
        cache_for_s=5400,
        engines={
            "default": TargetSettings(weight=3),
            "claude": TargetSettings(model="claude-sonnet-4-5", order=2, tags=("tier=gold",), owners=("search",)),
        },
    )
    assert (settings.retry.attempts, settings.retry.rate_limited.same) == (3, 0)
    assert settings.retry.rate_limited.elsewhere is Elsewhere.YES
    assert settings.health.failure_rate == 0.25


def test_the_environment_reaches_sections_under_names_in_sections_under_names(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text(ROUTES)
    environ = {
        "HEADRACE_ENGINES__CLAUDE__UPSTREAM": "https://proxy.example/v1",
        "HEADRACE_ENGINES__CLAUDE__UPSTREAM_KEYS": "env:A, file:/b",
        "HEADRACE_MODELS__CHAT__ENGINES__CLAUDE__WEIGHT": "3",
        "HEADRACE_MODELS__CHAT__ENGINES__CLAUDE__TAGS": "tier=gold, team=a",
        "HEADRACE_MODELS__CHAT__ENGINES__CLAUDE__MODEL": "none",
        "HEADRACE_RETRY__CONTEXT_TOO_LONG__ELSEWHERE": "no",
        # Names in the environment are lower case, as those of owners and models are.
        "HEADRACE_ENGINES__GPU-1.B__UPSTREAM": "http://gpu/v1",
        "HEADRACE_MODELS__O1__ENGINES__GPU-1.B__ORDER": "0",
    }
    settings = load_settings(environ=HOME | environ, file=tmp_path / "headrace.toml")
    claude = settings.engines["claude"]
    assert (claude.kind, claude.upstream) == ("anthropic", "https://proxy.example/v1")
    assert claude.upstream_keys == ("env:A", "file:/b")
    target = settings.models["chat"].engines["claude"]
    assert target == TargetSettings(weight=3, order=2, tags=("tier=gold", "team=a"), owners=("search",))
    assert target.model_of("chat") == "chat"
    assert settings.models["chat"].engines["default"] == TargetSettings(weight=3)
    assert settings.retry.context_too_long.elsewhere is Elsewhere.NO
    assert settings.engines["gpu-1.b"].actual_kind == "openai"
    assert settings.models["o1"].engines == {"gpu-1.b": TargetSettings(order=0)}


def test_a_name_in_the_environment_is_not_one_in_capitals_of_the_file(tmp_path: Path) -> None:
    toml = "[engines.Big]\nupstream = 'http://a/v1'\n[models.m.engines.Big]\n"
    with pytest.raises(SettingsError, match=r"^models\.m\.engines\.big: no engine is called so; known: default, Big;"):
        load(toml, tmp_path=tmp_path, HEADRACE_MODELS__M__ENGINES__BIG__WEIGHT="2")


def test_an_engine_that_does_not_continue_is_not_one_that_does_as_its_kind(tmp_path: Path) -> None:
    toml = "engine.continuation = 'none'"
    assert load(toml, tmp_path=tmp_path).engine.continuation is Continuation.NONE
    for value, expected in [("default", None), ("none", Continuation.NONE), ("prefix", Continuation.PREFIX)]:
        assert load(toml, tmp_path=tmp_path, HEADRACE_ENGINE__CONTINUATION=value).engine.continuation is expected


def test_the_key_of_a_user_of_the_relay_is_no_setting() -> None:
    assert load_settings(environ={"HOME": "/home/ada", "HEADRACE_API_KEY": "secret"}).server.port == 8080
