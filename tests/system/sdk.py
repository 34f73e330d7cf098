"""The stock ``openai`` SDK for Python, with its defaults, and what a user of it sees."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai
from tests.system.wire import TIMEOUT_S

MESSAGES: Any = [{"role": "user", "content": "one two"}]


@dataclass(kw_only=True)
class Seen:
    """What one call showed its user."""

    text: str = ""
    """Text of choice 0: streamed before the end, or of the whole answer."""
    chunks: list[Any] = field(default_factory=list)
    completion: Any = None
    """The blocking answer."""
    finish_reason: str | None = None
    error: str | None = None
    """Class of the exception."""
    status: int | None = None
    """HTTP status of an ``APIStatusError``."""
    body: dict[str, Any] = field(default_factory=dict)
    """The error object."""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def stream_id(self) -> str:
        return self.headers["headrace-stream-id"]

    @property
    def words(self) -> str:
        """In a few words, for a table."""
        if self.error is None:
            return f"whole answer, `finish_reason` {self.finish_reason}"
        status = f" {self.status}" if self.status is not None else ""
        code = self.body.get("code")
        return f"`{self.error}`{status}" + (f", `code` {code}" if code else "")

    def note(self, error: openai.APIError) -> None:
        self.error = type(error).__name__
        self.message = error.message
        self.body = error.body if isinstance(error.body, dict) else {}
        if isinstance(error, openai.APIStatusError):
            self.status = error.status_code
            self.headers = dict(error.response.headers)


def client_of(base_url: str) -> openai.OpenAI:
    """Return a client as users make it: default retries. Use it as a context manager."""
    return openai.OpenAI(base_url=base_url, api_key="none", timeout=TIMEOUT_S)


def streamed(base_url: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Seen:
    """Make one streaming call and read it to its end."""
    seen, began_s = Seen(), time.monotonic()
    parts: list[str] = []
    with client_of(base_url) as client:
        try:
            with client.chat.completions.create(stream=True, extra_headers=headers, **_full(fields)) as stream:
                seen.headers = dict(stream.response.headers)
                for chunk in stream:
                    seen.chunks.append(chunk)
                    for choice in chunk.choices:
                        if choice.index == 0:
                            parts.append(choice.delta.content or "")
                            seen.finish_reason = choice.finish_reason or seen.finish_reason
        except openai.APIError as error:
            seen.note(error)
    seen.text = "".join(parts)
    seen.elapsed_s = time.monotonic() - began_s
    return seen


def blocked(base_url: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Seen:
    """Make one blocking call."""
    seen, began_s = Seen(), time.monotonic()
    with client_of(base_url) as client:
        try:
            raw = client.chat.completions.with_raw_response.create(extra_headers=headers, **_full(fields))
            seen.headers = dict(raw.headers)
            seen.completion = raw.parse()
            choice = seen.completion.choices[0]
            seen.text, seen.finish_reason = choice.message.content or "", choice.finish_reason
        except openai.APIError as error:
            seen.note(error)
    seen.elapsed_s = time.monotonic() - began_s
    return seen


def _full(fields: dict[str, Any]) -> dict[str, Any]:
    simulate = fields.pop("simulate", None)
    extra = {} if simulate is None else {"extra_body": {"simulate": simulate}}
    return {"model": "sim", "messages": MESSAGES, **extra, **fields}
