"""Who calls: nobody is asked before the first key, and everybody from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Forbidden, StoreError, Unauthorized
from headrace.http.identity import HOW_TO_CALL, UNKNOWN_PER_MINUTE, Gate, require_admin
from headrace.policy.keys import KeyWish, Refusal, new_key, revoked, rotated
from headrace.stores.memory import MemoryKeys
from headrace.types.access import ANYBODY, Caller, ClientKey, Owner, Role
from headrace.types.ids import Credential

NOW = 1_800_000_000.0


class CountingKeys(MemoryKeys):
    """Counts looks, and fails or waits when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.reads = 0
        self.fails = False
        self.before_version: Callable[[], asyncio.Future[None]] | None = None

    async def version(self) -> int:
        self.looks += 1
        if self.before_version is not None:
            await self.before_version()
        if self.fails:
            raise StoreError("the disk is away")
        return await super().version()

    async def all(self) -> list[ClientKey]:
        self.reads += 1
        return await super().all()


class House:
    """A store, a gate before it, and a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.keys = CountingKeys()
        self.refused: list[Refusal] = []

    async def gate(self) -> Gate:
        return await Gate.opened(
            self.keys, wall_time=lambda: self.now, monotonic_s=lambda: self.now, on_refused=self.refused.append
        )

    async def key(self, owner: str = "search", *, role: Role = Role.MEMBER, expires_in: float | None = None) -> str:
        """Make a key as another process does; returns its text."""
        key, text = new_key(KeyWish(owner=owner, role=role, expires_in=expires_in), now=self.now)
        await self.keys.insert(key)
        return text


def shown(text: str, scheme: str = "Bearer") -> dict[bytes, bytes]:
    return {b"authorization": f"{scheme} {text}".encode("latin-1")}


def refusal(gate: Gate, headers: dict[bytes, bytes]) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        gate.caller(headers)
    return caught.value


async def test_without_keys_everybody_is_the_same_admin() -> None:
    house = House()
    gate = await house.gate()
    assert not gate.is_shut
    for headers in ({}, shown("none"), shown("hr_wrong"), {b"authorization": b"\xff"}):
        assert await gate.admit(headers) is ANYBODY
        assert gate.caller(headers) is ANYBODY
    assert gate.caller_of(Credential("")) is ANYBODY
    assert house.refused == []


async def test_a_good_key_tells_who_calls() -> None:
    house = House()
    text = await house.key("search")
    gate = await house.gate()
    caller = await gate.admit(shown(text))
    assert (caller.owner, caller.role, caller.is_admin) == ("search", Role.MEMBER, False)
    assert gate.caller_of_key(text) == gate.caller_of(caller.credential) == gate.caller(shown(text)) == caller


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_is_read_as_http_says(scheme: str) -> None:
    house = House()
    text = await house.key()
    gate = await house.gate()
    assert gate.caller(shown(text, scheme)).owner == "search"
    for other in ("Basic", "Bearers", ""):
        assert refusal(gate, shown(text, other)).code == "invalid_api_key"


async def test_every_refusal_reads_the_same_and_is_counted_by_its_kind() -> None:
    house = House()
    short = await house.key(expires_in=10)
    ended = await house.key()
    gate = await house.gate()
    found = gate.table.find(ended, NOW)
    assert found is not None
    await house.keys.change(found.id, lambda key: revoked(key, now=NOW))
    await gate.refresh()
    house.now += 10
    errors = [refusal(gate, headers) for headers in ({}, shown("hr_wrong"), shown(short), shown(ended))]
    assert {(error.message, error.code, error.status, error.headers) for error in errors} == {
        (HOW_TO_CALL, "invalid_api_key", 401, (("www-authenticate", 'Bearer realm="headrace"'),))
    }
    assert house.refused == [Refusal.MISSING, Refusal.UNKNOWN, Refusal.EXPIRED, Refusal.REVOKED]


async def test_revoked_and_expired_keys_still_keep_the_gate_shut() -> None:
    house = House()
    text = await house.key(expires_in=1)
    house.now += 2
    gate = await house.gate()
    assert gate.is_shut
    assert refusal(gate, {}).status == refusal(gate, shown(text)).status == 401


async def test_who_showed_a_secret_is_known_by_it_as_long_as_it_is_good() -> None:
    house = House()
    text = await house.key(expires_in=10)
    gate = await house.gate()
    credential = gate.caller_of_key(text).credential
    house.now += 10
    for wrong in (credential, Credential("none"), Credential("")):
        with pytest.raises(Unauthorized):
            gate.caller_of(wrong)
    assert house.refused == [Refusal.EXPIRED, Refusal.UNKNOWN, Refusal.MISSING]


async def test_a_secret_that_a_rotation_ended_is_known_no_more_though_the_key_is_good() -> None:
    house = House()
    text = await house.key()
    gate = await house.gate()
    caller = gate.caller_of_key(text)
    await house.keys.change(caller.key_id, lambda key: rotated(key, now=house.now, keep_old_for_s=0)[0])
    await gate.refresh()
    with pytest.raises(Unauthorized):
        gate.caller_of(caller.credential)


async def test_a_key_made_a_moment_ago_elsewhere_works_at_once() -> None:
    house = House()
    gate = await house.gate()
    first = await house.key("first")
    assert (await gate.admit(shown(first))).owner == "first"
    second = await house.key("second")
    assert refusal(gate, shown(second)).status == 401
    assert (await gate.admit(shown(second))).owner == "second"


async def test_a_secret_rotated_elsewhere_works_at_once_and_the_old_one_ends() -> None:
    house = House()
    old = await house.key()
    gate = await house.gate()
    texts: list[str] = []

    def rotate(key: ClientKey) -> ClientKey:
        changed, text = rotated(key, now=house.now, keep_old_for_s=0)
        texts.append(text)
        return changed

    await house.keys.change(gate.caller_of_key(old).key_id, rotate)
    assert (await gate.admit(shown(texts[0]))).owner == "search"
    assert refusal(gate, shown(old)).status == 401


async def use_up_looks(house: House, gate: Gate) -> None:
    """Show keys that are not known until the gate looks for them no more."""
    for number in range(UNKNOWN_PER_MINUTE):
        with pytest.raises(Unauthorized):
            await gate.admit(shown(f"hr_{number}"))


async def test_keys_made_one_after_the_other_all_work_at_once() -> None:
    house = House()
    gate = await house.gate()
    for number in range(10):
        text = await house.key(f"owner-{number}")
        assert (await gate.admit(shown(text))).owner == f"owner-{number}"


async def test_unknown_keys_make_the_gate_look_once_a_second_in_the_long_run() -> None:
    house = House()
    good = await house.key()
    gate = await house.gate()
    await use_up_looks(house, gate)
    before = house.keys.looks
    assert before == 1 + UNKNOWN_PER_MINUTE
    for step in range(1, 31):
        house.now = NOW + step / 10
        with pytest.raises(Unauthorized):
            await gate.admit(shown(f"hr_{step}"))
        await gate.admit(shown(good))
        with pytest.raises(Unauthorized):
            await gate.admit({})
    assert house.keys.looks - before == 3
    assert house.keys.reads == 1


async def test_what_sdks_send_for_want_of_a_key_is_not_looked_for() -> None:
    house = House()
    gate = await house.gate()
    for text in ("none", "sk-1234", "", "hr"):
        await gate.admit(shown(text))
    assert house.keys.looks == 1


async def test_a_request_that_may_not_look_waits_for_the_look_under_way() -> None:
    house = House()
    await house.key("other")
    gate = await house.gate()
    await use_up_looks(house, gate)
    house.now += 1
    text = await house.key("search")
    looks = house.keys.looks
    hold: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    house.keys.before_version = lambda: asyncio.shield(hold)
    asking = [asyncio.ensure_future(gate.admit(shown(text))) for _ in range(5)]
    while house.keys.looks == looks:  # noqa: ASYNC110 (the loop's next rounds, not time)
        await asyncio.sleep(0)
    hold.set_result(None)
    callers = await asyncio.gather(*asking)
    assert {caller.owner for caller in callers} == {"search"}
    assert house.keys.looks == looks + 1


async def test_a_refresh_that_was_cancelled_changes_nothing() -> None:
    house = House()
    gate = await house.gate()
    text = await house.key()
    hold: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    house.keys.before_version = lambda: asyncio.shield(hold)
    asking = asyncio.ensure_future(gate.refresh())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not gate.is_shut
    hold.set_result(None)
    await gate.refresh()
    assert gate.caller(shown(text)).owner == "search"


async def test_a_store_that_fails_leaves_the_known_keys_in_use(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    text = await house.key()
    gate = await house.gate()
    house.keys.fails = True
    with caplog.at_level(logging.WARNING):
        await gate.refresh()
        await gate.refresh()
        with pytest.raises(Unauthorized):
            await gate.admit(shown("hr_secret"))
    assert (await gate.admit(shown(text))).owner == "search"
    assert [record.getMessage() for record in caplog.records] == [
        "the keys cannot be read, those known stay in use: the disk is away"
    ]
    with pytest.raises(StoreError):
        await gate.load()


async def test_a_store_that_fails_at_the_start_opens_no_gate() -> None:
    house = House()
    house.keys.fails = True
    with pytest.raises(StoreError):
        await house.gate()
    unread = Gate(house.keys, wall_time=lambda: NOW, monotonic_s=lambda: NOW)
    assert refusal(unread, {}).status == 401


async def test_what_is_shut_stays_shut_though_the_keys_vanish() -> None:
    house = House()
    text = await house.key()
    gate = await house.gate()
    house.keys._keys.clear()
    house.keys._version += 1
    await gate.refresh()
    assert gate.table.is_empty
    assert refusal(gate, shown(text)).status == refusal(gate, {}).status == 401


@given(st.binary(max_size=400))
async def test_any_header_is_refused_without_another_error(value: bytes) -> None:
    house = House()
    await house.key()
    gate = await house.gate()
    for header in (value, b"Bearer " + value):
        assert refusal(gate, {b"authorization": header}).message == HOW_TO_CALL


def test_only_admins_pass_as_admins() -> None:
    require_admin(ANYBODY)
    require_admin(Caller(owner=Owner("ops"), role=Role.ADMIN, key=None))
    with pytest.raises(Forbidden):
        require_admin(Caller(owner=Owner("search"), role=Role.MEMBER, key=None))
