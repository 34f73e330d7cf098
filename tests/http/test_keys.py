"""The API for keys: admins make, see, rotate and revoke them; a key's text is in one answer only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.http.desk import MEMBER, NOW, Desk

from headrace.http import keys as routes
from headrace.http.keys import create_key, list_keys, revoke_key, rotate_key, show_key
from headrace.policy.budgets import Ledger
from headrace.policy.keys import MAX_OVERLAP_S, digest
from headrace.stores.memory import MemoryKeys
from headrace.stream.store import Spent
from headrace.types.access import ClientKey
from headrace.types.ids import KeyId

WISH = {
    "owner": "search",
    "name": "nightly",
    "role": "member",
    "models": ["gpt-4o"],
    "limits": {"tokens_per_minute": 1000, "concurrent_streams": 2},
    "budget": {"day_usd": "2.50", "month_usd": 30},
    "tags": {"team": "search"},
    "expires_in": 86400,
}


async def test_a_key_is_made_and_shown_this_once() -> None:
    desk = await Desk().open()
    reply = await desk.call(create_key, body=WISH)
    assert (reply.status, reply.headers["cache-control"]) == (201, "no-store")
    made = reply.json
    text = made.pop("key")
    assert made == {
        "object": "key",
        "id": made["id"],
        "name": "nightly",
        "owner": "search",
        "role": "member",
        "models": ["gpt-4o"],
        "limits": {"tokens_per_minute": 1000, "concurrent_streams": 2},
        "budget": {"day_usd": "2.5", "month_usd": "30"},
        "tags": {"team": "search"},
        "created_at": NOW,
        "expires_at": NOW + 86400,
        "revoked_at": None,
        "secrets": [{"hint": f"{text[:7]}...{text[-4:]}", "created_at": NOW, "expires_at": None}],
        "spent": {"day_usd": "0", "month_usd": "0"},
    }
    shown = await desk.call(show_key, key_id=made["id"])
    listed = await desk.call(list_keys)
    assert shown.json == made
    assert listed.json == {"object": "list", "data": [made]}
    for reply in (shown, listed):
        assert reply.headers["cache-control"] == "no-store"
        assert text.encode() not in reply.body
        assert digest(text).encode() not in reply.body


async def test_a_key_is_good_as_soon_as_it_is_answered() -> None:
    desk = await Desk().open()
    text = (await desk.call(create_key, body={"owner": "search"})).json["key"]
    assert desk.node.gate.is_shut
    assert desk.node.gate.caller_of_key(text).owner == "search"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "no owner"}, "owner"),
        ({"owner": "a b"}, "owner"),
        ({"owner": "a", "colour": "red"}, "colour"),
        ({"owner": "a", "limits": {"tokens_per_minute": -1}}, "limits.tokens_per_minute"),
        ({"owner": "a", "budget": {"day_usd": "NaN"}}, "budget"),
        ({"owner": "a", "expires_in": -1}, "expires_in"),
        ({"owner": "a", "role": "root"}, "role"),
        ({"owner": "a", "id": "key_mine"}, "id"),
        (b"{", None),
    ],
)
async def test_a_wrong_body_makes_no_key(body: Any, field: str | None) -> None:
    desk = await Desk().open()
    reply = await desk.call(create_key, body=body)
    assert reply.status == 400
    assert reply.json["error"]["param"] == field
    assert await desk.keys.all() == []
    assert not desk.node.gate.is_shut


async def test_there_are_only_so_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_KEYS", 2)
    desk = await Desk().open()
    await desk.key()
    await desk.key()
    reply = await desk.call(create_key, body={"owner": "search"})
    assert (reply.status, reply.json["error"]["code"]) == (409, "too_many_keys")
    assert len(await desk.keys.all()) == 2


async def test_keys_are_listed_oldest_first_revoked_ones_included() -> None:
    desk = await Desk().open()
    made = []
    for step in range(3):
        desk.now = NOW + step
        made.append((await desk.key(f"owner-{step}"))[0].id)
    await desk.call(revoke_key, key_id=made[1])
    data = (await desk.call(list_keys)).json["data"]
    assert [key["id"] for key in data] == made
    assert [key["revoked_at"] for key in data] == [None, NOW + 2, None]


async def test_a_rotation_shows_the_new_text_once_and_keeps_the_old_one_for_a_day() -> None:
    desk = await Desk().open()
    key, old = await desk.key()
    reply = await desk.call(rotate_key, key_id=key.id)
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    new = reply.json["key"]
    assert [secret["expires_at"] for secret in reply.json["secrets"]] == [NOW + 86400, None]
    gate = desk.node.gate
    assert gate.caller_of_key(old).key_id == gate.caller_of_key(new).key_id == key.id
    desk.now += 86400
    assert gate.table.find(old, desk.now) is None
    assert "key" not in (await desk.call(show_key, key_id=key.id)).json


async def test_a_rotation_can_end_the_old_secret_now() -> None:
    desk = await Desk().open()
    key, old = await desk.key()
    reply = await desk.call(rotate_key, key_id=key.id, body={"keep_old_for": 0})
    assert len(reply.json["secrets"]) == 1
    assert desk.node.gate.table.find(old, NOW) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [({"keep_old_for": -1}, "keep_old_for"), ({"keep_old_for": MAX_OVERLAP_S + 1}, "keep_old_for"), ({"x": 1}, "x")],
)
async def test_a_wrong_rotation_changes_nothing(body: Any, field: str) -> None:
    desk = await Desk().open()
    key, _ = await desk.key()
    reply = await desk.call(rotate_key, key_id=key.id, body=body)
    assert (reply.status, reply.json["error"]["param"]) == (400, field)
    assert await desk.keys.all() == [key]


async def test_a_revoked_key_is_good_no_more_and_cannot_be_rotated() -> None:
    desk = await Desk().open()
    key, text = await desk.key()
    first = await desk.call(revoke_key, key_id=key.id)
    desk.now += 5
    again = await desk.call(revoke_key, key_id=key.id)
    assert first.json == again.json
    assert first.json["revoked_at"] == NOW
    assert desk.node.gate.table.find(text, desk.now) is None
    reply = await desk.call(rotate_key, key_id=key.id)
    assert (reply.status, reply.json["error"]["code"]) == (409, "key_revoked")


@pytest.mark.parametrize("handler", [show_key, rotate_key, revoke_key])
async def test_a_key_that_is_not_there_is_not_found(handler: Any) -> None:
    desk = await Desk().open()
    reply = await desk.call(handler, key_id="key_" + "x" * 500)
    assert (reply.status, reply.json["error"]["code"]) == (404, "key_not_found")
    assert len(reply.json["error"]["message"]) < 200


@pytest.mark.parametrize("handler", [create_key, list_keys, show_key, rotate_key, revoke_key])
async def test_members_may_do_none_of_it(handler: Any) -> None:
    desk = await Desk().open()
    key, _ = await desk.key()
    reply = await desk.call(handler, caller=MEMBER, body=WISH, key_id=key.id)
    assert (reply.status, reply.json["error"]["code"]) == (403, "admin_required")
    assert await desk.keys.all() == [key]


async def test_what_was_spent_with_a_key_is_told() -> None:
    desk = await Desk().open()
    key, _ = await desk.key()
    desk.node.ledger = Ledger([Spent(key.owner, key.id, "2026-11-21", 3_487_500)], lambda: NOW)
    [listed] = (await desk.call(list_keys)).json["data"]
    assert listed["spent"] == {"day_usd": "0.0034875", "month_usd": "0.0034875"}


async def test_changes_side_by_side_are_all_kept() -> None:
    desk = await Desk().open()
    replies = await asyncio.gather(*(desk.call(create_key, body={"owner": f"o{number}"}) for number in range(20)))
    assert {reply.status for reply in replies} == {201}
    assert len(await desk.keys.all()) == len(desk.node.gate.table.keys) == 20


class TryingKeys(MemoryKeys):
    """Tries a change once in vain, as a store does that finds its row changed."""

    async def change(self, key_id: KeyId, change: Callable[[ClientKey], ClientKey]) -> ClientKey | None:
        change((await self.all())[0])
        return await super().change(key_id, change)


async def test_the_text_shown_is_of_the_change_that_was_kept() -> None:
    desk = await Desk(TryingKeys()).open()
    key, _ = await desk.key()
    text = (await desk.call(rotate_key, key_id=key.id)).json["key"]
    assert desk.node.gate.caller_of_key(text).key_id == key.id
