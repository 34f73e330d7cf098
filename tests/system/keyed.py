"""Relays that ask for keys: keys of every kind, and what a caller may send as one."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.wire import JSON, Answer, ask, wait_for

MOMENT_S = 0.05
"""How long what is to expire is good."""


@dataclass(frozen=True)
class Key:
    """A client key, with its text."""

    id: str
    text: str

    @property
    def header(self) -> dict[str, str]:
        return bearer(self.text)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def made_up_key() -> str:
    """Return what has the form of a key, and is none."""
    return f"hr_{secrets.token_urlsafe(32)}"


def headrace(*arguments: str, environ: Mapping[str, str] | None = None, is_well: bool = True) -> bytes:
    """Run a command to its end, and return all that it prints.

    Raises:
        AssertionError: It fails though it should not, or the other way round.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        env={**inherited, **(environ or {})}, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) is is_well, done.stdout + done.stderr
    return done.stdout + done.stderr


def first_key(store: Path) -> str:
    """Make the first key of a store, an admin's, as a person does, and return its text."""
    printed = headrace("keys", "create", "--owner", "ops", "--admin", "--store", f"sqlite:///{store}")
    return printed.decode().splitlines()[-1]


class Keyring:
    """Makes and ends keys over the API.

    Args:
        port: Of the relay.
        admin: Text of an admin's key.
    """

    def __init__(self, port: int, admin: str) -> None:
        self._port = port
        self.admin = admin
        self.texts = {"admin": admin}
        """Every key there ever was, by a name for people."""

    def make(self, name: str, owner: str, **wish: Any) -> Key:
        key = self._key(self._ask("POST", "/v1/keys", {"owner": owner, "name": name, **wish}, status=201))
        self.texts[name] = key.text
        return key

    def revoke(self, key: Key) -> None:
        self._ask("DELETE", f"/v1/keys/{key.id}", None, status=200)

    def rotate(self, name: str, key: Key, *, keep_old_for: float) -> Key:
        path = f"/v1/keys/{key.id}/rotate"
        new = self._key(self._ask("POST", path, {"keep_old_for": keep_old_for}, status=200))
        self.texts[name] = new.text
        return new

    def revoked(self, name: str, owner: str) -> Key:
        """Return a key that was good, and is revoked."""
        key = self.make(name, owner)
        assert self.is_good(key.text)
        self.revoke(key)
        return key

    def expired(self, name: str, owner: str) -> Key:
        key = self.make(name, owner, expires_in=MOMENT_S)
        wait_for(lambda: not self.is_good(key.text), what="the end of a key")
        return key

    def outlived(self, name: str, owner: str) -> Key:
        """Return the old secret of a key that was rotated and is good; the time for which it went on is over."""
        key = self.make(name, owner)
        self.rotate(f"{name}, the new one", key, keep_old_for=MOMENT_S)
        wait_for(lambda: not self.is_good(key.text), what="the end of an old secret")
        return key

    def is_good(self, text: str) -> bool:
        status = ask(self._port, "GET", "/v1/me", headers=bearer(text)).status
        assert status in {200, 401}
        return status == 200

    def ticket(self, text: str) -> str:
        answer = ask(self._port, "POST", "/v1/tickets", headers=bearer(text))
        assert answer.status == 201, answer.body
        ticket: str = answer.json["ticket"]
        return ticket

    def _ask(self, method: str, path: str, body: Any, *, status: int) -> Answer:
        sent = b"" if body is None else json.dumps(body).encode()
        answer = ask(self._port, method, path, headers={**JSON, **bearer(self.admin)}, body=sent)
        assert answer.status == status, answer.body
        return answer

    @staticmethod
    def _key(answer: Answer) -> Key:
        return Key(answer.json["id"], answer.json["key"])


def bad_callers(keyring: Keyring, *, owner: str, good: str) -> dict[str, dict[str, str]]:
    """Return what callers send who have no good key, though some of them know one or had one.

    Args:
        keyring: Makes the keys.
        owner: Whose keys they are or were.
        good: A good key, for those who send it in a way that counts for nothing.
    """
    basic = base64.b64encode(f"{good}:".encode()).decode()
    return {
        "no key": {},
        "wrong": bearer(made_up_key()),
        "nearly": bearer(good[:-1] + ("A" if good[-1] != "A" else "B")),
        "in capitals": bearer(good.upper()),
        "empty": {"authorization": "Bearer "},
        "over-long": bearer(good + "x" * 8000),
        "non-ASCII": bearer(good[:-1] + "é"),
        "two in one": bearer(f"{good}, {good}"),
        "Basic": {"authorization": f"Basic {basic}"},
        "no scheme": {"authorization": good},
        "other header": {"x-api-key": good, "cookie": f"key={good}"},
        "expired": keyring.expired("expired", owner).header,
        "revoked": keyring.revoked("revoked", owner).header,
        "outlived": keyring.outlived("outlived", owner).header,
    }
