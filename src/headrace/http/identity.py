"""Who calls: the keys of the store, kept in memory, and looked up for each request.

As long as the store has no key, whoever calls is ``ANYBODY``. From the first one on every request needs a good key, and so it
stays until the process ends, even if the keys vanish from the store: what is shut must not open by accident.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from headrace.errors import Forbidden, StoreError, Unauthorized
from headrace.policy.keys import KEY_PREFIX, KeyTable, Refusal, digest
from headrace.policy.rates import Bucket
from headrace.stream.store import Keys
from headrace.types.access import ANYBODY, Caller, ClientKey
from headrace.types.ids import Credential

logger = logging.getLogger(__name__)

UNKNOWN_PER_MINUTE = 60
"""How often keys that are not known may make the gate look into the store: so many at once, and one a second on average."""

HOW_TO_CALL = (
    "this request needs a key that is good: send the header 'Authorization: Bearer hr_...'"
    " (an admin makes keys with: headrace keys create)"
)
"""One text, whatever was wrong: nothing tells which keys there are."""

_SCHEME = b"bearer "


class Gate:
    """Tells who calls. Made by ``opened``, so that it never stands open because the store could not be read.

    Args:
        keys: The store of keys.
        wall_time: Unix seconds.
        monotonic_s: For how often to look.
        on_refused: Told of every request that has no caller, for counting.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        wall_time: Callable[[], float],
        monotonic_s: Callable[[], float],
        on_refused: Callable[[Refusal], None] = lambda _: None,
    ) -> None:
        self._keys = keys
        self._wall_time = wall_time
        self._monotonic_s = monotonic_s
        self._on_refused = on_refused
        self._table = KeyTable()
        self._version: int | None = None
        self._is_shut = True
        self._loading = asyncio.Lock()
        self._looks = Bucket(UNKNOWN_PER_MINUTE, monotonic_s())
        self._is_failing = False

    @classmethod
    async def opened(
        cls,
        keys: Keys,
        *,
        wall_time: Callable[[], float],
        monotonic_s: Callable[[], float],
        on_refused: Callable[[Refusal], None] = lambda _: None,
    ) -> Gate:
        """Return a gate that knows the keys of the store.

        Raises:
            StoreError: They cannot be read.
        """
        gate = cls(keys, wall_time=wall_time, monotonic_s=monotonic_s, on_refused=on_refused)
        await gate.load()
        return gate

    @property
    def is_shut(self) -> bool:
        """Whether requests need a key."""
        return self._is_shut

    @property
    def table(self) -> KeyTable:
        """The keys, as they were when they were last read."""
        return self._table

    async def load(self) -> None:
        """Read the keys if any process has changed them. Cancelled, it leaves the table as it was.

        Raises:
            StoreError: They cannot be read; the table stays as it was.
        """
        async with self._loading:
            # The version first: a change between the two makes the next look read once more.
            version = await self._keys.version()
            if version == self._version:
                return
            # In a thread: thousands of keys take a while, and streams must not wait for that.
            table = await asyncio.to_thread(KeyTable, await self._keys.all())
            is_first = self._version is None
            self._table, self._version = table, version
            self._is_shut = not table.is_empty or (self._is_shut and not is_first)

    async def refresh(self) -> None:
        """As ``load``, but a store that fails leaves the table as it is; the log says so once."""
        try:
            await self.load()
        except StoreError as error:
            if not self._is_failing:
                logger.warning("the keys cannot be read, those known stay in use: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False

    async def admit(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Return who sends a request, also with a key that another process made a moment ago.

        Args:
            headers: Names in lower case.

        Raises:
            Unauthorized: It needs a good key and has none.
        """
        return await self.admit_key(_bearer(headers))

    async def admit_key(self, text: str | None) -> Caller:
        """As ``admit``, with what was sent as a key; None for nothing.

        Raises:
            Unauthorized: It needs a good key and has none.
        """
        if text is not None and self._is_unknown(text):
            await self._look_again()
        return self.caller_of_key(text)

    def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """As ``admit``, but knowing the keys of the last look only.

        Raises:
            Unauthorized: It needs a good key and has none.
        """
        return self.caller_of_key(_bearer(headers))

    def caller_of_key(self, text: str | None) -> Caller:
        """As ``admit_key``, but knowing the keys of the last look only.

        Raises:
            Unauthorized: It needs a good key and has none.
        """
        if not self._is_shut:
            return ANYBODY
        found = Refusal.MISSING if text is None else self._table.judge(text, self._wall_time())
        if text is None or isinstance(found, Refusal):
            raise self._refused(found if isinstance(found, Refusal) else Refusal.MISSING)
        return caller_with(found, Credential(digest(text)))

    def caller_of(self, credential: Credential) -> Caller:
        """Return who showed a secret before, as it stands now; ``ANYBODY`` showed none.

        Raises:
            Unauthorized: The secret is good no more, or one is needed by now.
        """
        if not self._is_shut:
            return ANYBODY
        found = self._table.judge_digest(credential, self._wall_time()) if credential else Refusal.MISSING
        if isinstance(found, Refusal):
            raise self._refused(found)
        return caller_with(found, credential)

    def _is_unknown(self, text: str) -> bool:
        """Whether a text may be a key that was made since the last look; what SDKs send for want of a key is none."""
        return text.startswith(KEY_PREFIX) and self._table.judge(text, self._wall_time()) is Refusal.UNKNOWN

    async def _look_again(self) -> None:
        """Read the keys for one that is not known, so often and no more; then at least wait for a look under way."""
        now_s = self._monotonic_s()
        if self._looks.wait_s(1, now_s) == 0:
            self._looks.take(1, now_s)
            await self.refresh()
        elif self._loading.locked():
            async with self._loading:
                return

    def _refused(self, refusal: Refusal) -> Unauthorized:
        self._on_refused(refusal)
        # RFC 9110 15.5.2: a 401 names the scheme to come back with.
        return Unauthorized(HOW_TO_CALL, headers=(("www-authenticate", 'Bearer realm="headrace"'),))


def caller_with(key: ClientKey, credential: Credential) -> Caller:
    """Return the caller who shows a good key, by the digest of one of its secrets."""
    return Caller(owner=key.owner, role=key.role, key=key, credential=credential)


def require_admin(caller: Caller) -> None:
    """Make sure that a caller is an admin.

    Raises:
        Forbidden: It is none.
    """
    if not caller.is_admin:
        raise Forbidden("this needs a key with the role admin")


def _bearer(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the bearer token of a request (RFC 6750 2.1); None without one. An empty one is one that is not known."""
    value = headers.get(b"authorization")
    # RFC 9110 11.1: the scheme's case does not matter.
    if value is None or value[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return value[len(_SCHEME) :].strip(b" \t").decode("latin-1")
