"""The server around a node: its socket, its limits on files, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import uvicorn
import uvloop

from headrace._version import __version__
from headrace.errors import SettingsError
from headrace.http.app import App
from headrace.http.banner import banner
from headrace.http.composition import prepared_node, running_node
from headrace.http.guard import Guard, GuardedApp
from headrace.http.node import Node
from headrace.http.protocol import Connections, RelayProtocol, relay_protocol
from headrace.http.reload import Reloader
from headrace.http.tls import server_tls
from headrace.http.websocket import relay_websocket
from headrace.settings import Settings

logger = logging.getLogger(__name__)

SEND_BUFFER_BYTES = 64 * 1024
"""Kernel send buffer of a client's connection (the kernel doubles it). By default a loopback peer that never reads
still swallows over 4 MB, so that nobody would see that it takes nothing."""

NOTSENT_LOWAT_BYTES = 16 * 1024
"""Unsent bytes up to which the kernel asks for more (``tcp(7)``, TCP_NOTSENT_LOWAT)."""

MAX_USER_TIMEOUT_MS = 2**31 - 1
"""What the kernel takes."""

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted."""

RESERVED_FILES = 256
"""Descriptors kept for the store, the engine's idle connections and the process itself."""


def serve(
    settings: Settings, *, environ: Mapping[str, str] | None = None, load: Callable[[], Settings] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return. SIGHUP reloads the settings.

    Args:
        settings: What to serve.
        environ: Where keys are looked up; None: this process's environment.
        load: Reads the settings again, on SIGHUP; None: they stay as they are.

    Raises:
        SettingsError: The settings name something that does not exist here.
        StoreError: The store cannot be opened.
    """
    logging.basicConfig(
        level=settings.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # What uvicorn says of its own life is said here already.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, os.environ if environ is None else environ, load or (lambda: settings)))


async def _serve(settings: Settings, environ: Mapping[str, str], load: Callable[[], Settings]) -> None:
    # First of all: until there is a handler, the signal ends the process.
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    tls, protocol_for = _tls(settings), _protocol(settings)
    max_connections = settings.server.max_connections or _raise_open_files() // 2
    # Bound first, so that an address in use is found out before anything is opened; it listens once recovery is done.
    with contextlib.closing(bind(settings)) as bound:
        async with running_node(settings, environ) as node:
            connections = Connections(
                max_connections=max_connections,
                max_head_bytes=settings.server.max_head_bytes,
                head_timeout_s=settings.server.head_timeout_s,
                on_refused=node.metrics.rejected,
            )
            guard = Guard(
                allowed_hosts=settings.server.allowed_hosts,
                cors_origins=settings.server.cors_origins,
                needs_keys=lambda: node.gate.is_shut,
            )
            reloader = Reloader(
                settings, load, [partial(prepared_node, node, environ), partial(_prepared_server, guard)]
            )
            app = GuardedApp(App(node), guard, on_refused=node.metrics.rejected)
            protocol = protocol_for(connections)
            async with _reloading(reloader, asked):
                await _listen(
                    app, connections, bound, node, drain_s=settings.timeouts.drain_s, protocol=protocol, tls=tls
                )


async def _prepared_server(guard: Guard, settings: Settings) -> Callable[[], None]:
    """Return what has the server go by new settings."""

    def adopt() -> None:
        guard.adopt(allowed_hosts=settings.server.allowed_hosts, cors_origins=settings.server.cors_origins)
        logging.getLogger().setLevel(settings.log.level.upper())

    return adopt


@asynccontextmanager
async def _reloading(reloader: Reloader, asked: asyncio.Event) -> AsyncIterator[None]:
    """Reload when asked, until the block ends. Who asks while a reload runs causes one more."""

    async def reload_for_ever() -> None:
        while True:
            await asked.wait()
            asked.clear()
            await reloader.reload()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(reload_for_ever(), name="reload on signal")
        yield
        task.cancel()


async def _listen(
    app: GuardedApp,
    connections: Connections,
    bound: socket.socket,
    node: Node,
    *,
    drain_s: float,
    protocol: type[RelayProtocol],
    tls: ssl.SSLContext | None,
) -> None:
    """Answer requests until a signal comes and what runs has been drained."""
    config = uvicorn.Config(
        app,
        http=protocol,
        ssl_context_factory=(lambda *_: tls) if tls is not None else None,
        ws=relay_websocket(connections),
        ws_max_size=node.limits.max_frame_bytes,
        ws_per_message_deflate=False,
        # Pings are the heartbeats of this protocol; a peer that answers none is gone.
        ws_ping_interval=node.timeouts.heartbeat_s,
        ws_ping_timeout=node.timeouts.slow_client_s,
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
        backlog=BACKLOG,
    )
    host, port = bound.getsockname()[:2]
    model = node.models[0] if node.models else None
    scheme = "http" if tls is None else "https"
    server = _Server(
        config, greeting=banner(host, port, model, version=__version__, scheme=scheme, needs_key=node.gate.is_shut)
    )
    # What lives as long as the process need not be looked at by every collection.
    gc.collect()
    gc.freeze()
    async with asyncio.TaskGroup() as group:
        group.create_task(_drain_on_signal(server, node, drain_s), name="drain on signal")
        await server.serve(sockets=[bound])


def _protocol(settings: Settings) -> Callable[[Connections], type[RelayProtocol]]:
    """Return what makes the protocol that connections speak.

    Raises:
        SettingsError: HTTP/2 is wanted, and its library is not installed.
    """
    if not settings.server.http2:
        return relay_protocol
    try:
        from headrace.http.negotiation import negotiating_protocol  # noqa: PLC0415 (needs an extra)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"server.http2: the package {error.name} is missing; install the extra: pip install 'headrace[http2]'"
        ) from error
    return partial(negotiating_protocol, head_timeout_s=settings.server.head_timeout_s)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS that the settings name, if any.

    Raises:
        SettingsError: A file cannot be used.
    """
    server = settings.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    protocols = ["h2", "http/1.1"] if server.http2 else ["http/1.1"]
    return server_tls(server.tls_cert, server.tls_key, protocols=protocols)


def bind(settings: Settings) -> socket.socket:
    """Return a bound socket that does not listen yet. Accepted connections inherit its options: small kernel buffers.

    Raises:
        SettingsError: The address cannot be listened on.
    """
    server = settings.server
    infos = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, number, _, address = infos[0]
    bound = socket.socket(family, kind, number)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
        user_timeout_ms = min(int(settings.timeouts.slow_client_s * 1000), MAX_USER_TIMEOUT_MS)
        # tcp(7): how long sent data may stay unacknowledged; finds phones that vanished.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        bound.bind(address)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise SettingsError(f"server.port: cannot listen on {server.host}:{server.port}: {error.strerror}") from error
    return bound


def _raise_open_files() -> int:
    """Raise this process's limit on open files as far as it may go; returns how many peers may use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(2, min(soft, 1 << 20) - RESERVED_FILES)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, since a signal drains first, and with a greeting once it listens."""

    def __init__(self, config: uvicorn.Config, *, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(self._greeting)
        sys.stdout.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _drain_on_signal(server: _Server, node: Node, drain_s: float) -> None:
    """Wait for SIGTERM or SIGINT; let streams finish, then end the server. A second signal waits no longer."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _put(signals, number))
    try:
        await signals.get()
        logger.info("draining %d streams for at most %g s", len(node.supervisor), drain_s)
        async with asyncio.TaskGroup() as group:
            drain = group.create_task(node.supervisor.drain(timeout_s=drain_s), name="drain")
            impatience = group.create_task(signals.get(), name="second signal")
            await asyncio.wait((drain, impatience), return_when=asyncio.FIRST_COMPLETED)
            drain.cancel()
            impatience.cancel()
        node.supervisor.end_all()
        server.should_exit = True
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _put(signals: asyncio.Queue[int], number: int) -> Callable[[], None]:
    return lambda: signals.put_nowait(number)
