"""Who the relay takes its caller for."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from tests.http.desk import NOW, Desk

from headrace.http.identity import caller_with
from headrace.http.me import show_caller
from headrace.settings.tree import KeysSettings
from headrace.types.access import Allowance, Budget, Role
from headrace.types.ids import Credential


async def test_without_keys_the_caller_is_everybody() -> None:
    desk = await Desk().open()
    reply = await desk.call(show_caller)
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json == {
        "object": "caller",
        "owner": "",
        "role": "admin",
        "key_id": None,
        "name": None,
        "keys_required": False,
        "models": None,
        "tags": {},
        "limits": {},
        "budget": {},
        "spent": {"day_usd": "0", "month_usd": "0"},
        "expires_at": None,
    }


async def test_a_key_says_what_it_may_do_and_the_settings_fill_the_rest() -> None:
    desk = Desk()
    key, _ = await desk.key(
        name="nightly",
        models=("gpt-4o",),
        tags={"team": "search"},
        limits=Allowance(tokens_per_minute=5),
        budget=Budget(day_usd=Decimal("1.50")),
        expires_in=60.0,
    )
    desk.node.settings = msgspec.structs.replace(
        desk.settings,
        keys=KeysSettings(
            limits=Allowance(tokens_per_minute=9, concurrent_streams=3), budget=Budget(month_usd=Decimal(7))
        ),
    )
    await desk.open()
    me = (await desk.call(show_caller, caller=caller_with(key, Credential("shown")))).json
    assert (me["owner"], me["role"], me["key_id"], me["name"]) == ("search", Role.MEMBER, key.id, "nightly")
    assert (me["keys_required"], me["models"], me["tags"]) == (True, ["gpt-4o"], {"team": "search"})
    assert me["limits"] == {"tokens_per_minute": 5, "concurrent_streams": 3}
    assert me["budget"] == {"day_usd": "1.5", "month_usd": "7"}
    assert me["expires_at"] == NOW + 60
