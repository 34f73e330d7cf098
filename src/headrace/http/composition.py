"""The composition of a node: with ``upstreams``, the one place that builds concrete engines and stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from headrace.http.assets import FOLDER, Assets
from headrace.http.departures import Departures
from headrace.http.identity import Gate
from headrace.http.lobby import Lobby
from headrace.http.node import Node, system_clocks
from headrace.http.prices import prices_of
from headrace.http.replays import Replays
from headrace.http.routes import Routes
from headrace.http.sharing import keep
from headrace.http.terms import limits_of, recovered_bill
from headrace.http.upkeep import look_after
from headrace.http.upstreams import Upstreams, prepared_keys, upstreams_of
from headrace.observe.metrics import Metrics
from headrace.policy.admission import Admission, QueueLimits
from headrace.policy.budgets import Ledger, since
from headrace.policy.health import Health
from headrace.policy.tickets import Tickets
from headrace.pump.clocks import Clocks
from headrace.pump.committer import Committer
from headrace.pump.engines import Engines
from headrace.pump.housekeeping import Housekeeper, Retention
from headrace.pump.recovery import recover
from headrace.pump.supervisor import Supervisor
from headrace.pump.tick import Tick
from headrace.settings import Settings
from headrace.settings.checks import check_exposure
from headrace.stores.url import Stores, open_stores
from headrace.stream.sweep import Sweep

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
    upstreams = await upstreams_of(settings, environ)
    async with (
        open_stores(
            settings.store.url, cache_max_entries=settings.cache.max_entries, cache_max_bytes=settings.cache.max_bytes
        ) as stores,
        assembled_node(settings, stores=stores, upstreams=upstreams) as node,
    ):
        yield node


@asynccontextmanager
async def assembled_node(settings: Settings, *, stores: Stores, upstreams: Upstreams) -> AsyncIterator[Node]:
    """Close what a crash left open, enter the engines, and run a node until the block ends.

    Args:
        settings: Of everything but stores and engines, which are given.
        stores: Open already.
        upstreams: Their engines are entered here.

    Raises:
        SettingsError: Strangers could reach the relay without a key, or a price list does not exist.
        StoreError: The streams that a crash left cannot be closed, or the keys cannot be read.
    """
    store, records = stores.store, stores.records
    clocks, metrics, sweep = system_clocks(), Metrics(), Sweep()
    gate = await Gate.opened(
        stores.keys,
        wall_time=clocks.wall_time,
        monotonic_s=clocks.monotonic_s,
        on_refused=lambda _: metrics.unauthorized(),
    )
    check_exposure(settings, has_keys=gate.is_shut)
    prices = await prices_of(settings, default_engine=upstreams.default)
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
        for upstream in upstreams.by_name.values():
            await stack.enter_async_context(upstream.engine)
        departures, cache = Departures(), stores.cache
        supervisor = Supervisor(
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
            on_ended=lambda pump: keep(pump, departures, cache, clocks),
            vendor_wait_s=settings.billing.drain_s,
        )
        await stack.enter_async_context(supervisor)
        housekeeper = Housekeeper(
            store=store,
            records=records,
            claims=stores.claims,
            cache=cache,
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
        upstream_keys = upstreams.keys
        metrics.watch_upstream_keys(
            lambda: [(name, state) for name, keys in upstream_keys.items() for state in keys.states()]
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for task in (
            group.create_task(housekeeper.run(), name="housekeeping"),
            group.create_task(look_after(gate, upstream_keys), name="upkeep"),
        ):
            stack.callback(task.cancel)
        yield Node(
            settings=settings,
            supervisor=supervisor,
            housekeeper=housekeeper,
            store=store,
            records=records,
            keys=stores.keys,
            claims=stores.claims,
            cache=cache,
            sweep=sweep,
            metrics=metrics,
            clocks=clocks,
            models=upstreams.models,
            engines=Engines(
                {name: upstream.engine for name, upstream in upstreams.by_name.items()},
                default=upstreams.default,
                capabilities=upstreams.capabilities(settings),
                health=Health(settings.health),
                policy=settings.retry,
            ),
            routes=Routes(settings, default_engine=upstreams.default),
            upstream_keys=upstream_keys,
            departures=departures,
            replays=Replays(clocks.wall_time),
            capabilities=upstreams.capabilities,
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
    default = node.engines.default
    prices = await prices_of(settings, default_engine=default)
    routes = Routes(settings, default_engine=default)
    use_keys = await prepared_keys(node.upstream_keys, default, settings, environ)

    def adopt() -> None:
        node.settings = settings
        node.prices = prices
        node.routes = routes
        node.engines.adopt(settings.retry, node.capabilities(settings))
        node.engines.health.adopt(settings.health)
        node.supervisor.adopt(settings.timeouts, settings.limits, vendor_wait_s=settings.billing.drain_s)
        node.housekeeper.retention = retention_of(settings)
        node.lobby.admission.revise(queue_limits(settings), partial(limits_of, node))
        use_keys()

    return adopt


def queue_limits(settings: Settings) -> QueueLimits:
    limits = settings.limits
    return QueueLimits(
        max_queued=limits.max_queued,
        max_queued_per_owner=limits.max_queued_per_owner,
        queue_s=settings.timeouts.queue_s,
    )


def retention_of(settings: Settings) -> Retention:
    store = settings.store
    return Retention(
        store.retain_for_s,
        store.max_bytes,
        store.retain_usage_for_s,
        cache_for_s=max((model.cache_for_s for model in settings.models.values() if model.cache != "off"), default=0.0),
        cache_entries=settings.cache.max_entries,
        cache_bytes=settings.cache.max_bytes,
    )


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
