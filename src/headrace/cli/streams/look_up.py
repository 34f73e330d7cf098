"""``headrace streams list``, ``show`` and ``cancel``: ask once, print once."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

from headrace.cli.remote import open_client, reached
from headrace.cli.streams.table import details, table
from headrace.cli.untrusted import json_text, one_line


def list_them(url: str, key_env: str, *, state: str | None, limit: int, as_json: bool) -> None:
    """Print a page of streams."""
    with open_client(url, key_env) as client, reached(url):
        page = client.streams(state=state, limit=limit)
    if as_json:
        _print_json({"object": "list", **msgspec.to_builtins(page)})
    else:
        _print(table(page.data, now=time.time()))


def show_it(url: str, key_env: str, stream_id: str, *, as_json: bool) -> None:
    """Print one stream."""
    with open_client(url, key_env) as client, reached(url):
        stream = client.show(stream_id)
    if as_json:
        _print_json(stream)
    else:
        _print(details(stream))


def cancel_it(url: str, key_env: str, stream_id: str, *, as_json: bool) -> None:
    """Stop one stream, and print how it stands."""
    with open_client(url, key_env) as client, reached(url):
        stream = client.cancel(stream_id)
    if as_json:
        _print_json(stream)
    else:
        how = "/".join(one_line(stream[key]) for key in ("state", "cause") if stream.get(key))
        _print([f"{one_line(stream.get('id', stream_id))}  {how}"])


def _print(lines: list[str]) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))


def _print_json(value: Any) -> None:
    sys.stdout.write(json_text(value) + "\n")
