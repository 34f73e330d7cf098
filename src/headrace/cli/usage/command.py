"""The command line of ``headrace usage``."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.remote import KEY_ENV, URL, Json, KeyEnv, Url


def usage(
    *,
    by: Annotated[
        str, typer.Option(metavar="LIST", help="Up to 4 of owner,key,model,engine,state,day,tag:NAME.")
    ] = "model",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this date or time, UTC (the first of this month).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this date or time, UTC (now).")] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this owner.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Only with this key.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this model.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="Only with this tag.")] = None,
    url: Url = URL,
    key_env: KeyEnv = KEY_ENV,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
) -> None:
    """Print what requests used and cost, by when they were accepted."""
    from headrace.cli.usage.run import UsageQuery, print_usage  # noqa: PLC0415 (fast --help)

    query = UsageQuery(by=by, since=since, until=until, owner=owner, key=key, model=model, tag=tag)
    print_usage(query, url, key_env, as_json=as_json, as_csv=as_csv)
