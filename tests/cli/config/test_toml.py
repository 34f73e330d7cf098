from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.cli.config.effective import Setting, effective
from headrace.cli.config.toml import toml
from headrace.settings import load_settings
from headrace.types.bill import BillRule


def setting(key: str, value: Any, unit: str | None = None, **fields: Any) -> Setting:
    return Setting("section", key, value, unit, fields.pop("source", "default"), **fields)


def test_values_read_well() -> None:
    lines = toml(
        [
            setting("a", None),
            setting("b", True),
            setting("c", ("x", "y")),
            setting("d", 86400.0, "seconds"),
            setting("e", 90.0, "seconds"),
            setting("f", 0.25, "seconds", source="file"),
            setting("g", 0.0, "seconds"),
            setting("h", 16 * 2**20, "bytes"),
            setting("i", 1000, "bytes"),
            setting("j", 'a"\\\x7f'),
            setting("l", Decimal("0.50"), "dollars"),
            setting("m", BillRule.VENDOR),
            setting("n", None, nothing="default"),
            setting("k", "***", source="environment", is_hidden=True),
        ]
    )
    assert lines == (
        "[section]\n"
        'a = "none"\n'
        "b = true\n"
        'c = ["x", "y"]\n'
        'd = "1d"\n'
        'e = "90s"\n'
        'f = "250ms"  # from the file\n'
        "g = 0.0\n"
        'h = "16MiB"\n'
        "i = 1000\n"
        'j = "a\\"\\\\\\u007f"\n'
        "l = 0.50\n"
        'm = "vendor"\n'
        'n = "default"\n'
        '# k = "***"  # hidden; from the environment\n'
    )


def texts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return values.map(str)


SECONDS = st.floats(0.001, 1e6)

DOLLARS = st.decimals(0, 10**9, allow_nan=False, places=6)

ENVIRONS = st.fixed_dictionaries(
    {
        "HEADRACE_STORE__URL": st.just("memory:"),
        'HEADRACE_MODELS__A "B" É__PRICE__INPUT': texts(DOLLARS),
        'HEADRACE_MODELS__A "B" É__PRICE__OUTPUT': texts(DOLLARS),
        "HEADRACE_ENGINES__A.B__UPSTREAM": st.just("http://127.0.0.1:9/v1"),
        "HEADRACE_MODELS__M__ENGINES__X.Y__ENGINE": st.just("a.b"),
    },
    optional={
        "HEADRACE_TIMEOUTS__IDLE": texts(SECONDS),
        "HEADRACE_TIMEOUTS__LINGER": texts(st.sampled_from([0, 0.001, 1, 90, 86400, 0.1 + 0.2])),
        "HEADRACE_TIMEOUTS__DEADLINE": st.just("none") | texts(SECONDS),
        "HEADRACE_LIMITS__TAIL_BYTES": texts(st.integers(1, 2**62) | st.integers(1, 2**20).map(lambda n: n * 1024)),
        "HEADRACE_SERVER__ALLOWED_HOSTS": st.lists(st.sampled_from(["a.example", "b:80", "[::1]"])).map(",".join),
        "HEADRACE_SERVER__INSECURE": st.sampled_from(["true", "false"]),
        "HEADRACE_LIMITS__MAX_QUEUED": texts(st.integers(0, 10)),
        "HEADRACE_ENGINE__LIMITS__TOKENS_PER_MINUTE": texts(st.integers(1, 10)),
        "HEADRACE_ENGINE__CONTINUATION": st.sampled_from(["default", "none", "assistant"]),
        "HEADRACE_ENGINES__A.B__LIMITS__TOKENS_PER_MINUTE": texts(st.integers(1, 10)),
        "HEADRACE_MODELS__GPT-4O__ENGINES__DEFAULT__WEIGHT": texts(st.integers(1, 10)),
        "HEADRACE_MODELS__GPT-4O__ENGINES__DEFAULT__TAGS": st.sampled_from(["", "a=b", "a=b,c=d"]),
        "HEADRACE_RETRY__SILENT__ELSEWHERE": st.sampled_from(["yes", "no", "larger"]),
        "HEADRACE_HEALTH__FAILURE_RATE": texts(st.floats(0.01, 1)),
        "HEADRACE_HEALTH__SLOW_GAP": st.just("none") | texts(SECONDS),
        "HEADRACE_KEYS__BUDGET__DAY_USD": texts(DOLLARS),
        "HEADRACE_OWNERS__A@B.C__LIMITS__CONCURRENT_STREAMS": texts(st.integers(1, 10)),
        "HEADRACE_MODELS__GPT-4O__LIMITS__TOKENS_PER_MINUTE": texts(st.integers(1, 10)),
        "HEADRACE_MODELS__GPT-4O__LIMITS__REQUESTS_PER_MINUTE": texts(st.integers(1, 10)),
        "HEADRACE_MODELS__GPT-4O__CANCELLED": st.sampled_from(["delivered", "generated", "vendor", "none"]),
        "HEADRACE_MODELS__GPT-4O__PRICE": st.just("none"),
        "HEADRACE_ENGINE__MODEL": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(environ=ENVIRONS)
def test_what_is_shown_can_be_read_back(tmp_path: Path, environ: dict[str, str]) -> None:
    given_settings, shown = effective(environ, None)
    (tmp_path / "shown.toml").write_text(toml(shown), encoding="utf-8")
    assert load_settings(environ={}, file=tmp_path / "shown.toml") == given_settings
