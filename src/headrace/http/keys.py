"""``/v1/keys``: make, look at, rotate and revoke client keys. For admins only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from headrace.errors import ClientRequestError
from headrace.http.asgi import Headers
from headrace.http.exchange import Exchange
from headrace.http.identity import require_admin
from headrace.http.node import Node
from headrace.policy.keys import MAX_KEYS, KeyWish, new_key, revoked, rotated
from headrace.protocol.body import read_body
from headrace.protocol.key_object import KeyList, KeyObject, key_object
from headrace.types.access import ClientKey
from headrace.types.ids import KeyId

MAX_KEY_BODY_BYTES = 256 * 1024
"""Of a request to make a key: the longest list of models that a key may have, and room."""

NO_STORE: Headers = [(b"cache-control", b"no-store")]


class RotationWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/keys/{key_id}/rotate``; it may be left out."""

    keep_old_for: float = 24 * 3600.0
    """How long the old secret goes on, in seconds; 0 ends it now."""


_wishes = msgspec.json.Decoder(KeyWish)
_rotations = msgspec.json.Decoder(RotationWish)


async def create_key(exchange: Exchange) -> None:
    """``POST /v1/keys``: makes a key, and shows it this once.

    Raises:
        Forbidden: The caller is no admin.
        ClientRequestError: The body is not right (``param`` names the field), or there are too many keys.
        StoreError: The key is not kept.
    """
    require_admin(exchange.caller)
    node = exchange.node
    wish = read_body(await exchange.body(), _wishes, max_bytes=MAX_KEY_BODY_BYTES)
    await node.gate.load()
    if len(node.gate.table.keys) >= MAX_KEYS:
        raise ClientRequestError(f"a relay has at most {MAX_KEYS} keys", status=409, code="too_many_keys")
    key, text = new_key(wish, now=node.clocks.wall_time())
    await node.keys.insert(key)
    await node.gate.refresh()
    await _respond_with_text(exchange, key, text, status=201)


async def list_keys(exchange: Exchange) -> None:
    """``GET /v1/keys``: all of them, oldest first, revoked and expired ones included.

    Raises:
        Forbidden: The caller is no admin.
        StoreError: The keys cannot be read.
    """
    require_admin(exchange.caller)
    node = exchange.node
    await node.gate.load()
    keys = node.gate.table.keys
    spent = [_spent(node, key) for key in keys]
    # Thousands of keys take a while to write down, and streams must not wait for that.
    body = await asyncio.to_thread(_list_body, keys, spent)
    await exchange.respond(200, body, headers=NO_STORE)


async def show_key(exchange: Exchange) -> None:
    """``GET /v1/keys/{key_id}``.

    Raises:
        Forbidden: The caller is no admin.
        ClientRequestError: There is no such key (404).
        StoreError: The keys cannot be read.
    """
    require_admin(exchange.caller)
    await exchange.node.gate.load()
    key = _found(exchange, exchange.node.gate.table.of_id(exchange.params["key_id"]))
    await exchange.respond_json(_view(exchange.node, key), headers=NO_STORE)


async def rotate_key(exchange: Exchange) -> None:
    """``POST /v1/keys/{key_id}/rotate``: gives a key a new secret, and shows it this once.

    Raises:
        Forbidden: The caller is no admin.
        ClientRequestError: There is no such key (404), it is good no more (409), or the body is not right.
        StoreError: The new secret is not kept; the old one stays.
    """
    require_admin(exchange.caller)
    node = exchange.node
    body = await exchange.body()
    wish = read_body(body, _rotations, max_bytes=MAX_KEY_BODY_BYTES) if body else RotationWish()
    now = node.clocks.wall_time()
    texts: list[str] = []

    def rotate(key: ClientKey) -> ClientKey:
        changed, text = rotated(key, now=now, keep_old_for_s=wish.keep_old_for)
        texts.append(text)
        return changed

    key = await _changed(exchange, rotate)
    # The last one: a store that tries a change again calls it again.
    await _respond_with_text(exchange, key, texts[-1], status=200)


async def revoke_key(exchange: Exchange) -> None:
    """``DELETE /v1/keys/{key_id}``: ends a key now. It stays in the list; revoking it again changes nothing.

    Raises:
        Forbidden: The caller is no admin.
        ClientRequestError: There is no such key (404).
        StoreError: The key is as good as before.
    """
    require_admin(exchange.caller)
    now = exchange.node.clocks.wall_time()
    key = await _changed(exchange, lambda key: revoked(key, now=now))
    await exchange.respond_json(_view(exchange.node, key), headers=NO_STORE)


async def _changed(exchange: Exchange, change: Callable[[ClientKey], ClientKey]) -> ClientKey:
    """Change the key that the path names, in the store and for the next request.

    Raises:
        ClientRequestError: There is no such key, or what ``change`` raises.
        StoreError: It is not changed.
    """
    node = exchange.node
    key = _found(exchange, await node.keys.change(KeyId(exchange.params["key_id"]), change))
    await node.gate.refresh()
    return key


async def _respond_with_text(exchange: Exchange, key: ClientKey, text: str, *, status: int) -> None:
    """Send a key with its text: the one answer that ever holds it."""
    body = {**msgspec.to_builtins(_view(exchange.node, key)), "key": text}
    await exchange.respond_json(body, status=status, headers=NO_STORE)


def _found(exchange: Exchange, key: ClientKey | None) -> ClientKey:
    if key is None:
        shown = exchange.params["key_id"][:100]
        raise ClientRequestError(f"there is no key {shown!r}", status=404, code="key_not_found", param="key_id")
    return key


def _view(node: Node, key: ClientKey) -> KeyObject:
    return key_object(key, spent=_spent(node, key))


def _spent(node: Node, key: ClientKey) -> tuple[int, int]:
    return node.ledger.spent_of(key.owner, key.id)


def _list_body(keys: tuple[ClientKey, ...], spent: list[tuple[int, int]]) -> bytes:
    views = [key_object(key, spent=sums) for key, sums in zip(keys, spent, strict=True)]
    return msgspec.json.encode(KeyList(data=views))
