"""``headrace keys create``, ``list``, ``rotate`` and ``revoke``: open the store, do one thing, print what came of it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.cli.keys.place import store_url
from headrace.cli.keys.table import line_of, state_of, table
from headrace.cli.keys.wish import seconds_of
from headrace.cli.untrusted import json_text, one_line
from headrace.errors import ClientRequestError
from headrace.policy.keys import MAX_KEYS, KeyWish, new_key, revoked, rotated
from headrace.protocol.key_object import KeyList, key_object
from headrace.stores.url import open_keys
from headrace.stream.store import Keys
from headrace.types.access import ClientKey, Role
from headrace.types.ids import KeyId

T = TypeVar("T")

SHOWN_ONCE = "The key is on the next line. It is shown this once, and kept nowhere: put it where its programs find it."


def create_it(wish: KeyWish, *, store: str | None, config: Path | None) -> None:
    """Make a key, and print it.

    Raises:
        ClientRequestError: There are too many keys.
        StoreError: The store cannot be opened, or does not keep it.
    """
    now = time.time()
    key, text = new_key(wish, now=now)

    async def insert(keys: Keys) -> list[ClientKey]:
        known = await keys.all()
        if len(known) >= MAX_KEYS:
            raise ClientRequestError(f"a store has at most {MAX_KEYS} keys")
        await keys.insert(key)
        return known

    url = store_url(store, config, os.environ)
    known = _with_keys(insert, url)
    _print([line_of(key, now=now), f"It is in {one_line(url)}.", *_notes(key, known, now), SHOWN_ONCE, text])


def list_them(*, store: str | None, config: Path | None, as_json: bool) -> None:
    """Print all keys.

    Raises:
        StoreError: The store cannot be opened.
    """
    keys = _with_keys(lambda keys: keys.all(), store_url(store, config, os.environ))
    if as_json:
        _print([json_text(msgspec.to_builtins(KeyList(data=[key_object(key) for key in keys])))])
    else:
        _print(table(keys, now=time.time()))


def rotate_it(key_id: str, *, keep_old_for: str, store: str | None, config: Path | None) -> None:
    """Give a key a new secret, and print it.

    Raises:
        ClientRequestError: There is no such key, or it is good no more, or the time is none.
        StoreError: The store cannot be opened, or does not keep it.
    """
    now, keep_s = time.time(), seconds_of(keep_old_for, "--keep-old-for")
    texts: list[str] = []

    def rotate(key: ClientKey) -> ClientKey:
        changed, text = rotated(key, now=now, keep_old_for_s=keep_s)
        texts.append(text)
        return changed

    key = _changed(key_id, rotate, store_url(store, config, os.environ))
    old = f"The old one is good for {keep_old_for} more." if keep_s else "The old one is good no more."
    _print([line_of(key, now=now), old, SHOWN_ONCE, texts[-1]])


def revoke_it(key_id: str, *, store: str | None, config: Path | None) -> None:
    """End a key.

    Raises:
        ClientRequestError: There is no such key.
        StoreError: The store cannot be opened, or does not keep it.
    """
    now = time.time()
    key = _changed(key_id, lambda key: revoked(key, now=now), store_url(store, config, os.environ))
    _print([line_of(key, now=now)])


def _changed(key_id: str, change: Callable[[ClientKey], ClientKey], url: str) -> ClientKey:
    key = _with_keys(lambda keys: keys.change(KeyId(key_id), change), url)
    if key is None:
        raise ClientRequestError(f"there is no key {one_line(key_id, most=100)!r} in {one_line(url)}")
    return key


def _with_keys(work: Callable[[Keys], Awaitable[T]], url: str) -> T:
    async def opened() -> T:
        async with open_keys(url) as keys:
            return await work(keys)

    return asyncio.run(opened())


def _notes(key: ClientKey, known: list[ClientKey], now: float) -> list[str]:
    """Return what somebody should know who made this key beside those that were there."""
    notes = [] if known else ["It is the first key: from now on every request to the relay needs one."]
    if not any(one.role is Role.ADMIN and state_of(one, now) == "good" for one in (*known, key)):
        notes.append("No key of an admin is good: metrics, all usage and the API for keys need one (--admin).")
    return notes


def _print(lines: list[str]) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))
