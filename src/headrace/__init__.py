"""Headrace makes LLM token streams durable: watched, resumed, stopped and explained."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace._version import __version__

if TYPE_CHECKING:
    from headrace.client import AsyncClient, AsyncStream, Client, Entry, Patience, Result, Stream
    from headrace.client.sdk import resumable

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "Client",
    "Entry",
    "Patience",
    "Result",
    "Stream",
    "__version__",
    "resumable",
]


def __getattr__(name: str) -> Any:
    """Import the client when it is first used: the relay and its commands must not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "headrace.client.sdk" if name == "resumable" else "headrace.client"
    return getattr(import_module(home), name)
