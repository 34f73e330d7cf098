"""The command line of ``headrace streams``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from headrace.cli.remote import KEY_ENV, URL, Json, KeyEnv, Url

StateName = Literal["queued", "in_progress", "completed", "cancelled", "failed", "truncated"]
"""The states of ``headrace.types.outcome``, which loads too much for a shell that completes a word."""

Id = Annotated[str, typer.Argument(metavar="ID", help="The stream.")]

commands = typer.Typer(help="The streams that a relay holds.", no_args_is_help=True, rich_markup_mode=None)


@commands.command("list")
def list_streams(
    *,
    state: Annotated[StateName | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Most streams listed.")] = 20,
    url: Url = URL,
    key_env: KeyEnv = KEY_ENV,
    as_json: Json = False,
) -> None:
    """List streams, newest first."""
    from headrace.cli.streams.look_up import list_them  # noqa: PLC0415 (fast --help)

    list_them(url, key_env, state=state, limit=limit, as_json=as_json)


@commands.command()
def show(stream_id: Id, *, url: Url = URL, key_env: KeyEnv = KEY_ENV, as_json: Json = False) -> None:
    """Show one stream."""
    from headrace.cli.streams.look_up import show_it  # noqa: PLC0415 (fast --help)

    show_it(url, key_env, stream_id, as_json=as_json)


@commands.command()
def tail(
    stream_id: Id,
    *,
    after: Annotated[int, typer.Option(min=-1, metavar="OFFSET", help="Begin behind this entry (the start).")] = -1,
    url: Url = URL,
    key_env: KeyEnv = KEY_ENV,
    as_json: Annotated[bool, typer.Option("--json", help="Print entries as JSON, one a line.")] = False,
) -> None:
    """Follow a stream to its end: its text, or its entries.

    Leaving does not stop it. Exits with 0 for a whole answer, 1 for one that is not whole, 2 when it cannot be followed.
    """
    from headrace.cli.streams.tail import tail_it  # noqa: PLC0415 (fast --help)

    raise typer.Exit(tail_it(url, key_env, stream_id, after=after, as_json=as_json))


@commands.command()
def cancel(stream_id: Id, *, url: Url = URL, key_env: KeyEnv = KEY_ENV, as_json: Json = False) -> None:
    """Stop a stream now; one that has ended stays as it is."""
    from headrace.cli.streams.look_up import cancel_it  # noqa: PLC0415 (fast --help)

    cancel_it(url, key_env, stream_id, as_json=as_json)
