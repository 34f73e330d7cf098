"""What the commands do to the store, a relay that serves it knows at once or within a moment."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cli.conftest import Run
from tests.processes import Relay, Simulator
from tests.waiting import until

NOTICED_S = 10.0
"""A second by itself; machines that are busy with other tests take longer."""


@pytest.fixture
def own_relay(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    with Relay(simulator.url, tmp_path / "keys.db") as relay:
        yield relay


def asked(relay: Relay, path: str, key: str | None, *, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
    data = None if body is None else msgspec.json.encode(body)
    request = urllib.request.Request(relay.origin + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, msgspec.json.decode(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, msgspec.json.decode(error.read())


async def test_keys_of_the_command_open_and_shut_a_running_relay(
    own_relay: Relay, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, store = own_relay, f"sqlite:///{own_relay.store}"

    async def headrace(*arguments: str) -> list[str]:
        """Run a command, which has an event loop of its own, and return what it prints."""
        capsys.readouterr()
        assert await asyncio.to_thread(run, *arguments) == 0
        return capsys.readouterr().out.splitlines()

    assert asked(relay, "/v1/me", None)[1]["keys_required"] is False
    admin = (await headrace("keys", "create", "--owner", "ops", "--admin", "--store", store))[-1]
    assert asked(relay, "/v1/me", admin)[1]["owner"] == "ops"
    assert asked(relay, "/v1/me", None)[0] == 401

    status, made = asked(relay, "/v1/keys", admin, method="POST", body={"owner": "search", "tags": {"team": "a"}})
    assert status == 201
    chat = {"model": "sim", "messages": [{"role": "user", "content": "?"}]}
    assert asked(relay, "/v1/chat/completions", made["key"], method="POST", body=chat)[0] == 200
    assert asked(relay, "/v1/keys", made["key"])[0] == 403
    monkeypatch.setenv("HEADRACE_API_KEY", made["key"])
    usage = await headrace("usage", "--by", "owner,tag:team", "--url", relay.origin)
    assert [line.split()[:3] for line in usage[1:]] == [["search", "a", "1"], ["total", "1", usage[2].split()[2]]]

    new = (await headrace("keys", "rotate", made["id"], "--store", store))[-1]
    assert [asked(relay, "/v1/me", key)[0] for key in (new, made["key"])] == [200, 200]
    await headrace("keys", "revoke", made["id"], "--store", store)
    await until(lambda: asked(relay, "/v1/me", new)[0] == 401, within_s=NOTICED_S)
    assert asked(relay, "/v1/me", made["key"])[0] == 401
    assert asked(relay, "/v1/me", admin)[0] == 200
    for text in (admin, made["key"], new):
        assert text not in relay.output
