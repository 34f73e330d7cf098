"""llama.cpp's server inside this process, by way of ``xllamacpp``.

It insists on an HTTP listener. Ours is a unix socket in a private folder, behind a random key, and its name is removed
as soon as the server is up: nobody can ever connect, and nothing is left behind by a process that is killed.
"""

from __future__ import annotations

import importlib
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import msgspec

from headrace.engines.embedded.model import MODEL_NAME
from headrace.errors import SettingsError
from headrace.types.engine import Endpoint

BATCH_TOKENS = 64
"""Prompt tokens that are worked on in one go. Between two goes a prefill can be cancelled and other streams get their
token: llama.cpp's default of 2048 would make both wait for seconds."""

_SILENT = -1


class NativeRequest(msgspec.Struct, frozen=True):
    """A request as llama.cpp gets it."""

    body: bytes
    choices: int
    """Slots it takes."""
    is_short: bool
    """Whether its prompt is done within a batch or two."""
    again: int = 0
    """Characters that the answer begins with and that its reader already has; only with one choice."""
    endpoint: Endpoint = Endpoint.CHAT


class Server(Protocol):
    """What we use of ``xllamacpp.Server``."""

    def handle_completions(self, body: bytes, callback: Callable[[bytes], bool]) -> None:
        """As ``handle_chat_completions``, for a plain prompt."""

    def handle_chat_completions(self, body: bytes, callback: Callable[[bytes], bool]) -> None:
        """Generate, blocking the thread without the interpreter lock.

        Args:
            body: Request in OpenAI's shape, plus llama.cpp's own fields.
            callback: Called in this thread with the JSON of each chunk, or of an ``error`` object. True cancels; an
                exception in it cancels as well and is lost.

        Raises:
            ValueError: The request makes no sense to llama.cpp.
            RuntimeError: Likewise, found deeper inside.
        """


def open_server(model: Path, *, slots: int, context_tokens: int, threads: int) -> Server:
    """Load the model. Blocks for about half a second.

    The server ends when the last reference to it goes. Opening another one later in the same process works.

    Args:
        model: GGUF file.
        slots: Choices generated at the same time.
        context_tokens: Prompt and answer of one choice together.
        threads: Threads that compute.

    Raises:
        SettingsError: ``xllamacpp`` is not installed, or it could not load the model.
    """
    xllamacpp = _import_xllamacpp()
    params = _params(xllamacpp, model, slots=slots, context_tokens=context_tokens, threads=threads)
    with tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True) as folder:
        params.hostnames = [f"{folder}/llama.sock"]
        try:
            server: Server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise SettingsError(
                f"embedded: llama.cpp could not start with {model.name} ({error}); "
                f"is there enough memory, and is the folder for temporary files ({tempfile.gettempdir()}) "
                "writable and its path short?"
            ) from error
        return server


def _params(xllamacpp: ModuleType, model: Path, *, slots: int, context_tokens: int, threads: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL_NAME}
    params.n_parallel = slots
    params.n_ctx = slots * context_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_threads_http = 1
    params.api_keys = [secrets.token_hex(16)]
    # The default would keep up to 8 GiB of past prompts.
    params.cache_ram_mib = 0
    # Our sizes are meant as given: no shrinking them to what seems free.
    params.fit_params = False
    params.verbosity = _SILENT
    params.ui = False
    params.endpoint_slots = False
    # Chunks only: a comment line for idle connections has no place in a callback.
    params.sse_ping_interval = -1
    return params


def _import_xllamacpp() -> ModuleType:
    # Here and not above: a relay without this engine must not need, load or wait for 100 MB of native code.
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise SettingsError("embedded: xllamacpp is not installed; run `pip install 'headrace[local]'`") from error
