"""What every store of claims promises (``headrace.stream.store.Claims``)."""

from __future__ import annotations

import asyncio

import pytest
from tests.stores.kit import claim

from headrace.stores.url import Stores
from headrace.stream.store import Claim, Claims
from headrace.types.ids import StreamId

S = StreamId("s")


class TestClaims:
    async def test_the_first_to_claim_a_key_holds_it(self, claims: Claims) -> None:
        first = claim("k", "s", fingerprint="f1", at=1.5)
        assert await claims.find("ann", "k") is None
        assert await claims.claim(first) == first
        assert await claims.claim(claim("k", "t", fingerprint="f2", at=2.5)) == first
        assert await claims.find("ann", "k") == first

    async def test_of_many_at_once_one_holds_it_and_all_are_told_which(self, claims: Claims) -> None:
        holders = await asyncio.gather(*[claims.claim(claim("k", f"s{number}")) for number in range(100)])
        assert len({holder.log_id for holder in holders}) == 1
        assert await claims.find("ann", "k") == holders[0]

    async def test_a_key_is_its_owners_alone(self, claims: Claims) -> None:
        anns, bobs = claim("k", "s", owner="ann"), claim("k", "t", owner="bob")
        assert await claims.claim(anns) == anns
        assert await claims.claim(bobs) == bobs
        assert (await claims.find("ann", "k"), await claims.find("bob", "k")) == (anns, bobs)
        assert await claims.find("", "k") is None

    @pytest.mark.parametrize("name", ["", " k ", "K", "ключ 🔑", "'; DROP TABLE claim; --", "a\0b", "x" * 255])
    async def test_keys_are_kept_as_they_are(self, claims: Claims, name: str) -> None:
        await claims.claim(claim("k"))
        assert await claims.claim(claim(name, "t")) == claim(name, "t")
        assert await claims.find("ann", name) == claim(name, "t")
        assert await claims.find("ann", "k") == claim("k")

    async def test_a_claim_is_replaced_only_where_it_is_the_one_that_is_to_be(self, claims: Claims) -> None:
        await claims.claim(claim("k", "s"))
        assert await claims.claim(claim("k", "t"), instead_of=StreamId("other")) == claim("k", "s")
        new = claim("k", "t", fingerprint="g", at=9.0)
        assert await claims.claim(new, instead_of=S) == new
        assert await claims.find("ann", "k") == new
        await claims.forget(S)
        assert await claims.find("ann", "k") == new
        await claims.forget(StreamId("t"))
        assert await claims.find("ann", "k") is None

    async def test_nobodys_key_can_be_claimed_instead_of_a_claim_that_is_gone(self, claims: Claims) -> None:
        assert await claims.claim(claim("k", "t"), instead_of=S) == claim("k", "t")

    async def test_of_many_that_replace_one_claim_at_once_one_holds_the_key(self, claims: Claims) -> None:
        await claims.claim(claim("k", "s"))
        tries = [claims.claim(claim("k", f"t{number}"), instead_of=S) for number in range(50)]
        holders = await asyncio.gather(*tries)
        assert len({holder.log_id for holder in holders}) == 1
        assert holders[0].log_id != S

    async def test_a_cancelled_call_does_not_take_the_claim_back(self, claims: Claims) -> None:
        calling = asyncio.ensure_future(claims.claim(claim("k")))
        await asyncio.sleep(0)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        assert await claims.claim(claim("k", "t")) == claim("k")

    async def test_all_claims_to_a_log_are_forgotten_and_no_others(self, claims: Claims) -> None:
        for made in (claim("a"), claim("b", owner="bob"), claim("c", "t")):
            await claims.claim(made)
        await claims.forget(S)
        assert await found(claims, "ann/a", "bob/b", "ann/c") == [None, None, claim("c", "t")]
        await claims.forget(StreamId("unknown"))
        assert await claims.claim(claim("a", "t")) == claim("a", "t")

    async def test_old_claims_are_dropped_and_the_keys_are_free_again(self, claims: Claims) -> None:
        await asyncio.gather(*[claims.claim(claim(f"k{at}", f"s{at}", at=float(at))) for at in range(1200)])
        last = claim("last", at=1200.0)
        await claims.claim(last)
        assert await claims.trim(claimed_before=1100.0) == 1100
        assert await claims.trim(claimed_before=1100.0) == 0
        kept = claim("k1100", "s1100", at=1100.0)
        assert await found(claims, "ann/k1099", "ann/k1100", "ann/last") == [None, kept, last]
        assert await claims.claim(claim("k3", "new", at=2000.0)) == claim("k3", "new", at=2000.0)

    async def test_erasing_a_log_leaves_its_claims_to_whoever_finds_them(self, stores: Stores) -> None:
        await stores.claims.claim(claim("k"))
        assert not await stores.store.erase(S)
        assert await stores.claims.find("ann", "k") == claim("k")
        assert await stores.store.find(S) is None


async def found(claims: Claims, *names: str) -> list[Claim | None]:
    return [await claims.find(*name.split("/")) for name in names]
