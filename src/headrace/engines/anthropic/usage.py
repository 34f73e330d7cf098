"""Usage: the counts of the Messages API as OpenAI's ``usage`` object.

The API tells what the prompt took with the first event and the whole with the last one; its numbers are totals so far, so
later ones replace earlier ones (the SDK's ``accumulate_event``). ``input_tokens`` leaves out what went into the cache or
came from it, which ``prompt_tokens`` includes.
"""

from __future__ import annotations

from typing import Any

_FIELDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class UsageCount:
    """What the events of one answer have said about tokens."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._thinking: int | None = None

    def add(self, usage: Any) -> None:
        """Take over what an event says; what is no count is not looked at."""
        if not isinstance(usage, dict):
            return
        for field in _FIELDS:
            if _is_count(usage.get(field)):
                self._counts[field] = usage[field]
        details = usage.get("output_tokens_details")
        if isinstance(details, dict) and _is_count(details.get("thinking_tokens")):
            self._thinking = details["thinking_tokens"]

    def usage(self, *, least_output_tokens: int = 0) -> dict[str, Any] | None:
        """Return OpenAI's object; None while nothing is known.

        Args:
            least_output_tokens: What has come by another count, for as long as the API has not told the whole.
        """
        counts = self._counts
        if not counts:
            return None
        created, read = counts.get("cache_creation_input_tokens", 0), counts.get("cache_read_input_tokens", 0)
        prompt = counts.get("input_tokens", 0) + created + read
        completion = max(counts.get("output_tokens", 0), least_output_tokens)
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": created},
        }
        if self._thinking is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": self._thinking}
        return usage


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
