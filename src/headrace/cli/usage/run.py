"""``headrace usage``: ask a relay once, print once."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import msgspec

from headrace.cli.remote import open_client, reached
from headrace.cli.untrusted import json_text, stripped
from headrace.cli.usage.table import table
from headrace.errors import ClientRequestError
from headrace.protocol.usage import Usage, usage_csv


@dataclass(frozen=True, kw_only=True)
class UsageQuery:
    """What the options ask for, as text; None asks for nothing in particular."""

    by: str
    since: str | None
    until: str | None
    owner: str | None
    key: str | None
    model: str | None
    tag: str | None


def print_usage(query: UsageQuery, url: str, key_env: str, *, as_json: bool, as_csv: bool) -> None:
    """Print usage as a table, as JSON or as CSV.

    Raises:
        RelayError: The relay cannot be asked, or refuses.
    """
    if as_json and as_csv:
        raise ClientRequestError("--json or --csv, not both")
    with open_client(url, key_env) as client, reached(url):
        usage = client.usage(
            by=[part for part in query.by.split(",") if part],
            since=query.since,
            until=query.until,
            owner=query.owner,
            key=query.key,
            model=query.model,
            tag=None if query.tag is None else _tag_of(query.tag),
        )
    if as_json:
        sys.stdout.write(json_text(msgspec.to_builtins(usage)) + "\n")
    elif as_csv:
        sys.stdout.write(usage_csv(_printable(usage)).decode())
    else:
        sys.stdout.write("".join(line + "\n" for line in table(usage)))


def _printable(usage: Usage) -> Usage:
    """Return usage whose groups have no control characters: names in them come from clients."""
    data = [
        msgspec.structs.replace(line, group={name: stripped(value) for name, value in line.group.items()})
        for line in usage.data
    ]
    return msgspec.structs.replace(usage, data=data)


def _tag_of(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise ClientRequestError(f"--tag: {option[:80]!r} must be NAME=VALUE")
    return name, value
