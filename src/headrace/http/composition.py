"""The composition of a node: the one place that builds concrete engines and stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from headrace.engines.embedded import MODEL_NAME, EmbeddedEngine
from headrace.engines.openai import OpenAIEngine
from headrace.engines.openai.keys import KeyRing
from headrace.errors import SettingsError
from headrace.http.assets import FOLDER, Assets
from headrace.http.identity import Gate
from headrace.http.lobby import Lobby
from headrace.http.node import Node, system_clocks
from headrace.http.terms import limits_of, recovered_bill
from headrace.http.upkeep import UpstreamKeys, look_after
from headrace.observe.metrics import Metrics
from headrace.policy.admission import Admission, QueueLimits
from headrace.policy.budgets import Ledger, since
from headrace.policy.prices import PriceBook
from headrace.policy.tickets import Tickets
from headrace.pump.committer import Committer
from headrace.pump.housekeeping import Housekeeper, Retention
from headrace.pump.pump import Clocks
from headrace.pump.recovery import recover
from headrace.pump.supervisor import Supervisor
from headrace.pump.tick import Tick
from headrace.settings import Settings
from headrace.settings.checks import check_exposure
from headrace.stores.url import Stores, open_stores
from headrace.stream.sweep import Sweep
from headrace.types.engine import Engine

NODE = "local"
"""Name under which this process holds its leases: one process serves a SQLite file."""

LEASE_S = 30.0
"""How long another node must not take over the streams of one that is silent."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The engine that the settings name."""

    engine: Engine
    models: tuple[str, ...] | None
    """Models served; None: its own list."""
    keys: UpstreamKeys | None = None
    """None for an engine that needs none."""


@asynccontextmanager
async def running_node(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Node]:
    """Open the stores and the engine that the settings name, and run a node with them until the block ends.

    Raises:
        SettingsError: The settings name something that does not exist here.
        StoreError: The store cannot be opened, or the streams that a crash left cannot be closed.
    """
    upstream = await _upstream(settings, environ)
    async with (
        open_stores(settings.store.url) as stores,
        assembled_node(settings, stores=stores, upstream=upstream) as node,
    ):
        yield node


@asynccontextmanager
async def assembled_node(settings: Settings, *, stores: Stores, upstream: Upstream) -> AsyncIterator[Node]:
    """Close what a crash left open, enter the engine, and run a node until the block ends.

    Args:
        settings: Of everything but stores and engine, which are given.
        stores: Open already.
        upstream: Its engine is entered here.

    Raises:
        SettingsError: Strangers could reach the relay without a key, or a price list does not exist.
        StoreError: The streams that a crash left cannot be closed, or the keys cannot be read.
    """
    store, records, keys = stores
    clocks, metrics, sweep = system_clocks(), Metrics(), Sweep()
    gate = await Gate.opened(
        keys,
        wall_time=clocks.wall_time,
        monotonic_s=clocks.monotonic_s,
        on_refused=lambda _: metrics.unauthorized(),
    )
    check_exposure(settings, has_keys=gate.is_shut)
    prices = await price_book(settings)
    for record in await recover(
        store,
        records,
        node=NODE,
        lease_s=LEASE_S,
        wall_time=clocks.wall_time,
        bill=partial(recovered_bill, settings, prices),
    ):
        if record.cause is not None:
            metrics.recovered(record.state, record.cause)
    # After the recovery, which charges for what a crash left.
    ledger = Ledger(await records.spent(since=since(clocks.wall_time())), clocks.wall_time)
    committer, tick = _driver(settings, stores, metrics, clocks)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(upstream.engine)
        supervisor = Supervisor(
            engine=upstream.engine,
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
            vendor_wait_s=settings.billing.drain_s,
        )
        await stack.enter_async_context(supervisor)
        housekeeper = Housekeeper(
            store=store,
            records=records,
            committer=committer,
            supervisor=supervisor,
            node=NODE,
            lease_s=LEASE_S,
            retention=retention_of(settings),
            wall_time=clocks.wall_time,
        )
        lobby = Lobby(Admission(queue_limits(settings), clocks.monotonic_s))
        sweep.add(lobby)
        metrics.watch_queue(lambda: lobby.admission.queued)
        if upstream.keys is not None:
            metrics.watch_upstream_keys(upstream.keys.states)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for task in (
            group.create_task(housekeeper.run(), name="housekeeping"),
            group.create_task(look_after(gate, upstream.keys), name="upkeep"),
        ):
            stack.callback(task.cancel)
        yield Node(
            settings=settings,
            supervisor=supervisor,
            housekeeper=housekeeper,
            store=store,
            records=records,
            keys=keys,
            sweep=sweep,
            metrics=metrics,
            clocks=clocks,
            models=upstream.models,
            upstream_keys=upstream.keys,
            gate=gate,
            lobby=lobby,
            ledger=ledger,
            prices=prices,
            tickets=Tickets(clocks.monotonic_s),
            assets=Assets.read(FOLDER),
        )


async def prepared_node(node: Node, environ: Mapping[str, str], settings: Settings) -> Callable[[], None]:
    """Make what new settings need of a node; what is returned has it go by them.

    Raises:
        SettingsError: A key cannot be read, or there is no such vendor of prices.
    """
    prices = await price_book(settings)
    use_keys = None
    if node.upstream_keys is not None:
        use_keys = await node.upstream_keys.prepare(key_references(settings, environ))

    def adopt() -> None:
        node.settings = settings
        node.prices = prices
        node.supervisor.adopt(settings.timeouts, settings.limits, vendor_wait_s=settings.billing.drain_s)
        node.housekeeper.retention = retention_of(settings)
        node.lobby.admission.revise(queue_limits(settings), partial(limits_of, node))
        if use_keys is not None:
            use_keys()

    return adopt


async def price_book(settings: Settings) -> PriceBook:
    """Return the prices that the settings name, loaded.

    Raises:
        SettingsError: There is no such vendor.
    """
    overrides = {name: model.price for name, model in settings.models.items() if model.price is not None}
    prices = PriceBook(settings.engine.provider, settings.engine.upstream, overrides)
    await asyncio.to_thread(prices.load)
    return prices


def queue_limits(settings: Settings) -> QueueLimits:
    limits = settings.limits
    return QueueLimits(
        max_queued=limits.max_queued,
        max_queued_per_owner=limits.max_queued_per_owner,
        queue_s=settings.timeouts.queue_s,
    )


def retention_of(settings: Settings) -> Retention:
    store = settings.store
    return Retention(store.retain_for_s, store.max_bytes, store.retain_usage_for_s)


def _driver(settings: Settings, stores: Stores, metrics: Metrics, clocks: Clocks) -> tuple[Committer, Tick]:
    """Build what moves all streams."""
    loop = asyncio.get_running_loop()
    committer = Committer(
        stores.store,
        stores.records,
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


def key_references(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where the engine's keys are: the one of ``engine.upstream_key_env``, if it is set, unless there is a list."""
    engine = settings.engine
    if engine.upstream_keys or not environ.get(engine.upstream_key_env, "").strip():
        return engine.upstream_keys
    return (f"env:{engine.upstream_key_env}",)


async def _upstream(settings: Settings, environ: Mapping[str, str]) -> Upstream:
    """Build the engine that the settings name.

    Raises:
        SettingsError: The upstream's URL or a key cannot be used, or the embedded engine has another model.
    """
    engine = settings.engine
    if engine.upstream is None:
        if engine.model not in (None, MODEL_NAME):
            raise SettingsError(f"engine.model: the embedded engine has {MODEL_NAME!r} only, not {engine.model!r}")
        return Upstream(engine=EmbeddedEngine(slots=engine.slots, max_queue=engine.queue), models=(MODEL_NAME,))
    ring = KeyRing(clock=system_clocks().monotonic_s)
    keys = UpstreamKeys(ring, environ)
    (await keys.prepare(key_references(settings, environ)))()
    models = (engine.model,) if engine.model is not None else None
    try:
        built = OpenAIEngine(
            engine.upstream,
            keys=ring,
            models=models,
            connect_timeout_s=settings.timeouts.connect_s,
            max_event_bytes=engine.max_event_bytes,
            ends_at_malformed=engine.on_malformed_chunk == "end",
        )
    except SettingsError as error:
        raise SettingsError(f"engine.upstream: {error.message}") from error
    return Upstream(engine=built, models=models, keys=keys)
