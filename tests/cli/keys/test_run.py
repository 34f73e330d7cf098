"""``headrace keys`` on a store file of its own."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run

from headrace.cli.keys import run as commands
from headrace.policy.keys import digest
from headrace.stores.url import open_keys
from headrace.types.access import ClientKey

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/folder/keys.db"


async def kept(store: str) -> list[ClientKey]:
    async with open_keys(store) as keys:
        return await keys.all()


def listed(run: Run, store: str, capsys: Captured) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run("keys", "list", "--json", "--store", store) == 0
    listing = json.loads(capsys.readouterr().out)
    assert listing["object"] == "list"
    data: list[dict[str, Any]] = listing["data"]
    return data


def made(run: Run, store: str, capsys: Captured, *options: str) -> tuple[str, str]:
    """Make a key; returns its id and its text."""
    capsys.readouterr()
    assert run("keys", "create", "--owner", "search", *options, "--store", store) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines[0].split()[0], lines[-1]


def test_create_prints_the_key_alone_on_its_last_line_and_nowhere_else(run: Run, store: str, capsys: Captured) -> None:
    assert run("keys", "create", "--owner", "search", "--name", "night\x1b[31mly", "--store", store) == 2
    assert "name: " in capsys.readouterr().err
    assert run("keys", "create", "--owner", "search", "--name", "nightly", "--store", store) == 0
    captured = capsys.readouterr()
    *before, text = captured.out.splitlines()
    assert re.fullmatch(r"hr_[A-Za-z0-9_-]{43}", text)
    assert captured.out.count(text[3:9]) == captured.out.count(text[-6:]) == 1
    assert captured.err == ""
    assert re.match(r"key_\S{16} of search \(nightly, member, good\)", before[0])
    assert store in before[1]
    [key] = listed(run, store, capsys)
    assert key["secrets"][0]["hint"] == f"{text[:7]}...{text[-4:]}"
    assert text not in json.dumps(key)


def test_create_keeps_what_its_options_say(run: Run, store: str, capsys: Captured) -> None:
    options = {
        "--name": "nightly",
        "--model": "gpt-4o",
        "--requests-per-minute": "10",
        "--tokens-per-minute": "1000",
        "--concurrent": "2",
        "--max-prompt-tokens": "300",
        "--max-output-tokens": "400",
        "--day-usd": "2.50",
        "--month-usd": "30",
        "--tag": "team=search",
        "--expires-in": "30d",
    }
    arguments = [word for option in options.items() for word in option]
    _, text = made(run, store, capsys, *arguments, "--admin", "--model", "sim", "--tag", "feature=a=b")
    [key] = asyncio.run(kept(store))
    assert (key.owner, key.name, key.role) == ("search", "nightly", "admin")
    assert key.models == ("gpt-4o", "sim")
    limits = key.limits
    assert (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_streams) == (10, 1000, 2)
    assert (limits.max_prompt_tokens, limits.max_output_tokens) == (300, 400)
    assert (str(key.budget.day_usd), str(key.budget.month_usd)) == ("2.50", "30")
    assert key.tags == {"team": "search", "feature": "a=b"}
    assert key.expires_at == pytest.approx(key.created_at + 30 * 86400)
    assert [secret.digest for secret in key.secrets] == [digest(text)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--owner", "a b"], "owner: must be 1 to 64 letters"),
        (["--tokens-per-minute", "many"], "limits.tokens_per_minute: must be a whole number, not 'many'"),
        (["--concurrent", "0"], "limits.concurrent_streams: Expected `int` >= 1"),
        (["--day-usd", "ten"], "budget.day_usd: "),
        (["--month-usd", "-1"], "budget: expected US dollars"),
        (["--tag", "team"], "--tag: 'team' must be NAME=VALUE"),
        (["--tag", "a=1", "--tag", "a=2"], "--tag: 'a=2' must be NAME=VALUE, each name once"),
        (["--expires-in", "3y"], "--expires-in: expected seconds or a duration"),
        (["--expires-in", "0"], "expires_in: must be seconds, more than 0"),
        (["--store", "memory:"], "store: 'memory:' is"),
        (["--store", "postgres://a"], "store: 'postgres://a' is not a store URL"),
        (["--config", "/nowhere/headrace.toml"], "/nowhere/headrace.toml: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    *, options: list[str], told: str, run: Run, store: str, tmp_path: Path, capsys: Captured
) -> None:
    defaults = ["--owner", "search"] * ("--owner" not in options) + ["--store", store] * ("--store" not in options)
    assert run("keys", "create", *defaults, *options) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"headrace: {told}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_the_first_key_and_the_lack_of_an_admin_are_told(run: Run, store: str, capsys: Captured) -> None:
    outputs = []
    for options in ([], [], ["--admin"], []):
        assert run("keys", "create", "--owner", "search", *options, "--store", store) == 0
        outputs.append(capsys.readouterr().out)
    assert ["every request to the relay needs one" in output for output in outputs] == [True, False, False, False]
    assert ["No key of an admin is good" in output for output in outputs] == [True, True, False, False]


def test_there_are_only_so_many_keys(run: Run, store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MAX_KEYS", 1)
    made(run, store, capsys)
    assert run("keys", "create", "--owner", "search", "--store", store) == 2
    assert capsys.readouterr().err == "headrace: a store has at most 1 keys\n"


def test_list_is_a_table(run: Run, store: str, capsys: Captured) -> None:
    first, text = made(run, store, capsys, "--name", "nightly")
    second, _ = made(run, store, capsys, "--admin")
    assert run("keys", "revoke", second, "--store", store) == 0
    capsys.readouterr()
    assert run("keys", "list", "--store", store) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["ID", "OWNER", "NAME", "ROLE", "KEY", "STATE", "EXPIRES"],
        [first, "search", "nightly", "member", f"{text[:7]}...{text[-4:]}", "good", "never"],
        [second, "search", "admin", lines[2][3], "revoked", "never"],
    ]


def test_rotate_prints_a_new_key_and_keeps_the_old_one_for_a_while(run: Run, store: str, capsys: Captured) -> None:
    key_id, old = made(run, store, capsys)
    assert run("keys", "rotate", key_id, "--keep-old-for", "2h", "--store", store) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"hr_[A-Za-z0-9_-]{43}", lines[-1])
    assert lines[-1] != old
    assert "The old one is good for 2h more." in lines
    [key] = listed(run, store, capsys)
    before, after = key["secrets"]
    assert before["expires_at"] == pytest.approx(after["created_at"] + 7200)
    assert run("keys", "rotate", key_id, "--keep-old-for", "0", "--store", store) == 0
    assert "The old one is good no more." in capsys.readouterr().out
    assert len(listed(run, store, capsys)[0]["secrets"]) == 1


def test_a_revoked_key_stays_so(run: Run, store: str, capsys: Captured) -> None:
    key_id, _ = made(run, store, capsys)
    for _ in range(2):
        assert run("keys", "revoke", key_id, "--store", store) == 0
        assert capsys.readouterr().out == f"{key_id} of search (member, revoked)\n"
    assert run("keys", "rotate", key_id, "--store", store) == 2
    assert capsys.readouterr().err == f"headrace: {key_id} is revoked and stays so; make a new key\n"


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_key_that_is_not_there_is_told_with_the_store(command: str, run: Run, store: str, capsys: Captured) -> None:
    assert run("keys", command, "key_none", "--store", store) == 2
    assert capsys.readouterr().err == f"headrace: there is no key 'key_none' in {store}\n"


@pytest.mark.parametrize("time", ["soon", "-1", "400d"])
def test_a_time_that_is_none_rotates_nothing(time: str, run: Run, store: str, capsys: Captured) -> None:
    key_id, _ = made(run, store, capsys)
    before = listed(run, store, capsys)
    assert run("keys", "rotate", key_id, f"--keep-old-for={time}", "--store", store) == 2
    assert capsys.readouterr().err.startswith(("headrace: --keep-old-for: ", "headrace: keep_old_for: "))
    assert listed(run, store, capsys) == before
