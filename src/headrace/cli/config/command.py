"""The command line of ``headrace config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.remote import Json

File = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")]

commands = typer.Typer(help="The settings.", no_args_is_help=True, rich_markup_mode=None)


@commands.command()
def check(*, config: File = None) -> None:
    """Check the settings in a file and in the environment: exits with 0, or says what is wrong and exits with 2."""
    from headrace.cli.config.report import report_check  # noqa: PLC0415 (fast --help)

    report_check(config)


@commands.command()
def show(
    *,
    config: File = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not as by default.")] = False,
    as_json: Json = False,
) -> None:
    """Print all settings as TOML that --config reads; secrets are hidden."""
    from headrace.cli.config.report import report_settings  # noqa: PLC0415 (fast --help)

    report_settings(config, changed=changed, as_json=as_json)
