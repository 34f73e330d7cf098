"""The command line of ``headrace chat``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.remote import KEY_ENV, URL, Json, KeyEnv, Url


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="One question; without it, standard input or a conversation."),
    ] = None,
    *,
    url: Url = URL,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model (the relay's own choice).")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="What the model is told first.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="Higher is more random (the engine's own).")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens (the engine's own).")] = None,
    key_env: KeyEnv = KEY_ENV,
    no_markdown: Annotated[bool, typer.Option("--no-markdown", help="Show text as it comes, without styles.")] = False,
    as_json: Json = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save what is said: JSON for FILE.json, else Markdown.")
    ] = None,
) -> None:
    """Talk to a model through the relay.

    Exits with 0 for a whole answer, 1 for one that is not whole, 2 when nothing could be asked.
    """
    from headrace.cli.chat.run import ChatOptions, run_chat  # noqa: PLC0415 (fast --help)

    options = ChatOptions(
        url=url,
        key_env=key_env,
        model=model,
        system=system,
        temperature=temperature,
        max_tokens=max_tokens,
        has_markdown=not no_markdown,
        as_json=as_json,
        save=save,
        prompt=prompt,
    )
    raise typer.Exit(run_chat(options))
