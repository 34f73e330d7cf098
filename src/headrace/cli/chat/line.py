"""The connection behind an answer: tells when it is lost, and when it is there again."""

from __future__ import annotations

from collections.abc import Callable

import httpx2


class Line:
    """Sees the requests that a client makes for one answer: every one behind the first means that a connection broke.

    Args:
        tell: Shows a notice.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._was_used = False
        self._was_answered = False
        self._is_lost = False

    @property
    def hooks(self) -> dict[str, list[Callable[..., object]]]:
        """For ``httpx2.AsyncClient(event_hooks=…)``."""
        return {"request": [self._on_request], "response": [self._on_response]}

    async def _on_request(self, request: httpx2.Request) -> None:
        if _is_stop(request):
            return
        if self._was_used and not self._is_lost:
            self._is_lost = True
            self._tell("connection lost, resuming …" if self._was_answered else "no relay answers, trying again …")
        self._was_used = True

    async def _on_response(self, response: httpx2.Response) -> None:
        if _is_stop(response.request) or not response.is_success:
            return
        if self._is_lost:
            self._is_lost = False
            self._tell("resumed" if self._was_answered else "connected")
        self._was_answered = True


def _is_stop(request: httpx2.Request) -> bool:
    return request.url.path.endswith("/cancel")
