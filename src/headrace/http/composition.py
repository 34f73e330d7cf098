"""The composition of a node: the one place that builds concrete engines and stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from headrace.delivery.options import DeliveryOptions
from headrace.engines.embedded import MODEL_NAME, EmbeddedEngine
from headrace.engines.openai import OpenAIEngine
from headrace.errors import SettingsError
from headrace.http.assets import FOLDER, Assets
from headrace.http.node import Node, system_clocks
from headrace.observe.metrics import Metrics
from headrace.policy.tickets import Tickets
from headrace.pump.committer import Committer
from headrace.pump.housekeeping import Housekeeper, Retention
from headrace.pump.pump import Clocks
from headrace.pump.recovery import recover
from headrace.pump.supervisor import Supervisor
from headrace.pump.tick import Tick
from headrace.settings import Settings
from headrace.stores.url import open_stores
from headrace.stream.store import Records, Store
from headrace.stream.sweep import Sweep
from headrace.types.engine import Engine

NODE = "local"
"""Name under which this process holds its leases: one process serves a SQLite file."""

LEASE_S = 30.0
"""How long another node must not take over the streams of one that is silent."""


@asynccontextmanager
async def running_node(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Node]:
    """Open the stores and the engine that the settings name, and run a node with them until the block ends.

    Raises:
        SettingsError: The settings name something that does not exist here.
        StoreError: The store cannot be opened, or the streams that a crash left cannot be closed.
    """
    engine, models = _engine(settings, environ)
    async with (
        open_stores(settings.store.url) as (store, records),
        assembled_node(settings, store=store, records=records, engine=engine, models=models) as node,
    ):
        yield node


@asynccontextmanager
async def assembled_node(
    settings: Settings, *, store: Store, records: Records, engine: Engine, models: Sequence[str] | None
) -> AsyncIterator[Node]:
    """Close what a crash left open, enter the engine, and run a node until the block ends.

    Args:
        settings: Of everything but store and engine, which are given.
        store: Open already.
        records: Open already.
        engine: Entered here.
        models: Models served; None for the engine's own list.

    Raises:
        StoreError: The streams that a crash left cannot be closed.
    """
    clocks, metrics, sweep = system_clocks(), Metrics(), Sweep()
    for record in await recover(store, records, node=NODE, lease_s=LEASE_S, wall_time=clocks.wall_time):
        if record.cause is not None:
            metrics.recovered(record.state, record.cause)
    committer, tick = _driver(settings, store, records, metrics, clocks)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(engine)
        supervisor = Supervisor(
            engine=engine,
            committer=committer,
            tick=tick,
            sweep=sweep,
            timeouts=settings.timeouts,
            limits=settings.limits,
            on_malformed=settings.engine.on_malformed_chunk,
            is_memory_only=store.is_bounded_by_readers,
            node=NODE,
            clocks=clocks,
            observer=metrics,
        )
        await stack.enter_async_context(supervisor)
        housekeeper = Housekeeper(
            store=store,
            records=records,
            committer=committer,
            supervisor=supervisor,
            node=NODE,
            lease_s=LEASE_S,
            retention=Retention(settings.store.retain_for_s, settings.store.max_bytes),
            wall_time=clocks.wall_time,
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        rounds = group.create_task(housekeeper.run(), name="housekeeping")
        stack.callback(rounds.cancel)
        yield Node(
            supervisor=supervisor,
            store=store,
            records=records,
            sweep=sweep,
            metrics=metrics,
            timeouts=settings.timeouts,
            limits=settings.limits,
            clocks=clocks,
            models=models,
            forward_headers=frozenset(name.lower().encode() for name in settings.engine.forward_headers),
            max_body_bytes=settings.server.max_body_bytes,
            body_timeout_s=settings.server.body_timeout_s,
            store_content=settings.store.store_content,
            tickets=Tickets(clocks.monotonic_s),
            options=DeliveryOptions(coalesce_tokens=settings.stream.coalesce_tokens, merge=settings.stream.merge),
            compress=settings.stream.compress,
            retry_ms=settings.stream.retry_ms,
            assets=Assets.read(FOLDER),
        )


def _driver(
    settings: Settings, store: Store, records: Records, metrics: Metrics, clocks: Clocks
) -> tuple[Committer, Tick]:
    """Build what moves all streams."""
    loop = asyncio.get_running_loop()
    committer = Committer(
        store,
        records,
        commit_wait_s=settings.timeouts.commit_wait_s,
        observer=metrics,
        clock=clocks.monotonic_s,
        wall_time=clocks.wall_time,
        loop=loop,
    )
    tick = Tick(
        committer,
        interval_s=settings.stream.flush_interval_ms / 1000,
        observer=metrics,
        clock=clocks.monotonic_s,
        loop=loop,
    )
    return committer, tick


def _engine(settings: Settings, environ: Mapping[str, str]) -> tuple[Engine, tuple[str, ...] | None]:
    """Build the engine that the settings name, with the models it serves (None: its own list).

    Raises:
        SettingsError: The upstream's URL or key cannot be used, or the embedded engine has another model.
    """
    engine = settings.engine
    if engine.upstream is not None:
        models = (engine.model,) if engine.model is not None else None
        try:
            return OpenAIEngine(
                engine.upstream,
                api_key=environ.get(engine.upstream_key_env) or None,
                models=models,
                connect_timeout_s=settings.timeouts.connect_s,
                max_event_bytes=engine.max_event_bytes,
                ends_at_malformed=engine.on_malformed_chunk == "end",
            ), models
        except SettingsError as error:
            raise SettingsError(f"engine.upstream: {error.message}") from error
    embedded = EmbeddedEngine(slots=engine.slots, max_queue=engine.queue)
    if engine.model not in (None, MODEL_NAME):
        raise SettingsError(f"engine.model: the embedded engine has {MODEL_NAME!r} only, not {engine.model!r}")
    return embedded, (MODEL_NAME,)
