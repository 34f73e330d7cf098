"""The relay that a command talks to: where it is, and with which key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from headrace.errors import ClientRequestError, ConnectionLost
from headrace.policy.loopback import is_loopback

if TYPE_CHECKING:
    import httpx2

    from headrace.client import AsyncClient, Client

DEFAULT_PORT = 8080
URL = f"http://127.0.0.1:{DEFAULT_PORT}"
KEY_ENV = "HEADRACE_API_KEY"

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where the relay is.")]
KeyEnv = Annotated[str, typer.Option("--key-env", metavar="VAR", help="Variable that holds the relay's API key.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def open_client(url: str, key_env: str) -> Client:
    """Return a client for commands that ask one thing.

    Raises:
        ClientRequestError: The URL or the key cannot be used.
    """
    from headrace.client import Client  # noqa: PLC0415 (fast --help)

    try:
        return Client(url, api_key=os.environ.get(key_env) or None)
    except ValueError as error:
        raise ClientRequestError(f"--url or --key-env: {error}") from error


def open_async_client(url: str, key_env: str, connections: httpx2.AsyncClient) -> AsyncClient:
    """As ``open_client``, over connections whose owner closes them."""
    from headrace.client import AsyncClient, Patience  # noqa: PLC0415 (fast --help)

    # Somebody sits and waits: a relay that is not there is told at once.
    patience = Patience(start_for_s=0)
    try:
        return AsyncClient(url, api_key=os.environ.get(key_env) or None, patience=patience, http_client=connections)
    except ValueError as error:
        raise ClientRequestError(f"--url or --key-env: {error}") from error


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Say what to do when no relay answers.

    Raises:
        ConnectionLost: None does.
    """
    try:
        yield
    except ConnectionLost as error:
        raise unreachable(url) from error


def unreachable(url: str) -> ConnectionLost:
    """Return the error for a relay that is not there, with what to do about it."""
    parts = urlsplit(url)
    told = f"no relay answers at {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.hostname is None or not is_loopback(parts.hostname):
        return ConnectionLost(told)
    port = "" if parts.port in {None, DEFAULT_PORT} else f" --port {parts.port}"
    return ConnectionLost(f"{told}; start one with: headrace serve{port}")
