"""Who speaks on a WebSocket: told by the handshake or by the first message, and looked at again for every message."""

from __future__ import annotations

from collections.abc import Awaitable

from headrace.errors import ClientRequestError
from headrace.http.closing import Close, Closing
from headrace.http.node import Node
from headrace.protocol.duplex import Auth
from headrace.types.access import Caller
from headrace.types.ids import Credential


class SocketCaller:
    """The caller of one connection.

    Args:
        node: Knows the keys.
        headers: Of the handshake, by lower-case name.
    """

    def __init__(self, node: Node, headers: dict[bytes, bytes]) -> None:
        self._node = node
        self._headers = headers
        self._credential: Credential | None = None

    async def recognise(self, ticket: str | None) -> None:
        """Find out who calls as far as the handshake tells: by a ticket that is used up, or by the key in its headers.

        Without either the first message has to tell, unless nobody needs a key.

        Raises:
            Closing: What it tells is no good.
        """
        gate = self._node.gate
        if ticket is not None:
            self._redeem(ticket)
        elif b"authorization" in self._headers or not gate.is_shut:
            await self._admitted(gate.admit(self._headers))

    async def tell(self, message: Auth) -> None:
        """Take the word of the first message.

        Raises:
            Closing: It is no good.
        """
        if message.ticket is not None:
            self._redeem(message.ticket)
        else:
            await self._admitted(self._node.gate.admit_key(message.key))

    @property
    def is_known(self) -> bool:
        """Whether somebody has said who speaks."""
        return self._credential is not None

    def require_known(self) -> None:
        """Make sure that somebody has said who speaks.

        Raises:
            Closing: Nobody has.
        """
        if not self.is_known:
            raise Closing(Close.UNAUTHORIZED, "the first message must be auth, with a key or a ticket")

    def now(self) -> Caller:
        """Return who calls, as its secret stands now: one that was revoked or rotated meanwhile is good no more.

        Raises:
            Closing: Nobody has said, or the secret is good no more.
        """
        self.require_known()
        try:
            return self._node.gate.caller_of(self._credential or Credential(""))
        except ClientRequestError as error:
            raise Closing(Close.UNAUTHORIZED, error.message) from error

    def _redeem(self, ticket: str) -> None:
        try:
            self._credential = self._node.tickets.redeem(ticket)
        except ClientRequestError as error:
            raise Closing(Close.UNAUTHORIZED, error.message) from error
        self.now()

    async def _admitted(self, admitted: Awaitable[Caller]) -> None:
        try:
            self._credential = (await admitted).credential
        except ClientRequestError as error:
            raise Closing(Close.UNAUTHORIZED, error.message) from error
