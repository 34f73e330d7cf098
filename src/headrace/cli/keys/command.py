"""The command line of ``headrace keys``. It works on the store itself, also while a relay serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.remote import Json

Store = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="The relay's store: sqlite:///PATH (as serve's).")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The relay's settings, for their store.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The key: key_...")]

commands = typer.Typer(help="The keys that clients show to a relay.", no_args_is_help=True, rich_markup_mode=None)


# Options are text and None when left out: one place says what is wrong with them, for the API and for the command.
@commands.command()
def create(
    *,
    owner: Annotated[str, typer.Option(metavar="NAME", help="Whose streams its streams are.")],
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may see all owners, and make keys.")] = False,
    models: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="A model it may ask for; several times (all).")
    ] = None,
    requests_per_minute: Annotated[str | None, typer.Option(metavar="N", help="Requests a minute.")] = None,
    tokens_per_minute: Annotated[str | None, typer.Option(metavar="N", help="Tokens a minute, in and out.")] = None,
    concurrent: Annotated[str | None, typer.Option(metavar="N", help="Streams at once.")] = None,
    max_prompt_tokens: Annotated[str | None, typer.Option(metavar="N", help="Tokens of one prompt.")] = None,
    max_output_tokens: Annotated[str | None, typer.Option(metavar="N", help="Tokens of one answer.")] = None,
    day_usd: Annotated[str | None, typer.Option(metavar="USD", help="Dollars a day (UTC).")] = None,
    month_usd: Annotated[str | None, typer.Option(metavar="USD", help="Dollars a month (UTC).")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A tag of its requests; several times.")
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it is good: 12h, 30d (for ever).")
    ] = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """Make a key, and print it on the last line. It is shown this once."""
    from headrace.cli.keys.run import create_it  # noqa: PLC0415 (fast --help)
    from headrace.cli.keys.wish import wish_of  # noqa: PLC0415 (fast --help)

    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_streams": concurrent,
        "max_prompt_tokens": max_prompt_tokens,
        "max_output_tokens": max_output_tokens,
    }
    wish = wish_of(
        owner=owner,
        name=name,
        is_admin=admin,
        models=models or [],
        limits=limits,
        budget={"day_usd": day_usd, "month_usd": month_usd},
        tags=tags or [],
        expires_in=expires_in,
    )
    create_it(wish, store=store, config=config)


@commands.command("list")
def list_keys(*, store: Store = None, config: Config = None, as_json: Json = False) -> None:
    """List all keys, oldest first; never the keys themselves."""
    from headrace.cli.keys.run import list_them  # noqa: PLC0415 (fast --help)

    list_them(store=store, config=config, as_json=as_json)


@commands.command()
def rotate(
    key_id: Id,
    *,
    keep_old_for: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old one stays good beside it; 0: not at all.")
    ] = "24h",
    store: Store = None,
    config: Config = None,
) -> None:
    """Give a key a new secret, and print it on the last line. It is shown this once."""
    from headrace.cli.keys.run import rotate_it  # noqa: PLC0415 (fast --help)

    rotate_it(key_id, keep_old_for=keep_old_for, store=store, config=config)


@commands.command()
def revoke(key_id: Id, *, store: Store = None, config: Config = None) -> None:
    """End a key, within a second where a relay serves."""
    from headrace.cli.keys.run import revoke_it  # noqa: PLC0415 (fast --help)

    revoke_it(key_id, store=store, config=config)
