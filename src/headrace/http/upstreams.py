"""The engines that the settings name: built, with their keys. Part of the composition: it names concrete classes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from headrace.engines.anthropic import AnthropicEngine
from headrace.engines.embedded import MODEL_NAME, EmbeddedEngine
from headrace.engines.openai import OpenAIEngine
from headrace.engines.openai.keys import KeyRing
from headrace.errors import SettingsError
from headrace.http.node import system_clocks
from headrace.http.routes import capabilities_of
from headrace.http.upkeep import UpstreamKeys
from headrace.settings import DEFAULT_ENGINE, Settings, UpstreamSettings
from headrace.settings.engine_checks import engine_path
from headrace.types.engine import Capabilities, Engine

EMBEDDED = "embedded"
"""The kind of engine that runs in this process."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """One engine."""

    engine: Engine
    keys: UpstreamKeys | None = None
    """None for an engine that needs none."""


@dataclass(frozen=True, kw_only=True)
class Upstreams:
    """All engines of a node."""

    default: str
    """Name of the one that serves models without a route of their own."""
    by_name: Mapping[str, Upstream]
    models: tuple[str, ...] | None
    """Models of the default engine; None: its own list."""

    @classmethod
    def only(cls, engine: Engine, *, models: tuple[str, ...] | None) -> Upstreams:
        """Return one engine without keys as all there are."""
        return cls(default=engine.name, by_name={engine.name: Upstream(engine=engine)}, models=models)

    @property
    def keys(self) -> dict[str, UpstreamKeys]:
        """The keys of those that need any, by the engine's name."""
        return {name: upstream.keys for name, upstream in self.by_name.items() if upstream.keys is not None}

    def capabilities(self, settings: Settings) -> dict[str, Capabilities]:
        """Return what each can do, by name, as the settings say."""
        found: dict[str, Capabilities] = {}
        for name, upstream in self.by_name.items():
            own = settings.engine if name == self.default else settings.engines.get(name)
            known = upstream.engine.capabilities
            found[name] = known if own is None else capabilities_of(own, known if is_embedded(own) else None)
        return found


async def upstreams_of(settings: Settings, environ: Mapping[str, str]) -> Upstreams:
    """Build the engines that the settings name.

    Raises:
        SettingsError: An upstream's URL or a key cannot be used, or the embedded engine has another model.
    """
    engine = settings.engine
    built = {
        name: await _built(settings, one, engine_path(name), None, environ) for name, one in settings.engines.items()
    }
    models: tuple[str, ...] | None = None if engine.model is None else (engine.model,)
    if is_embedded(engine):
        if engine.model not in (None, MODEL_NAME):
            raise SettingsError(f"engine.model: the embedded engine has {MODEL_NAME!r} only, not {engine.model!r}")
        models = (MODEL_NAME,)
    default = await _built(settings, engine, engine_path(DEFAULT_ENGINE), models, environ)
    name = default.engine.name if default.engine.name not in built else DEFAULT_ENGINE
    return Upstreams(default=name, by_name={name: default, **built}, models=models)


def is_embedded(engine: UpstreamSettings) -> bool:
    """Return whether an engine is the one in this process."""
    return engine.actual_kind == EMBEDDED


async def prepared_keys(
    upstream_keys: Mapping[str, UpstreamKeys], default_engine: str, settings: Settings, environ: Mapping[str, str]
) -> Callable[[], None]:
    """Read all keys that new settings name; what is returned has the engines use them.

    Raises:
        SettingsError: One cannot be read.
    """
    uses = []
    for name, keys in upstream_keys.items():
        own = settings.engine if name == default_engine else settings.engines.get(name)
        if own is not None:
            path = engine_path(DEFAULT_ENGINE if own is settings.engine else name)
            uses.append(await _at(path, keys.prepare(key_references(own, environ))))

    def use() -> None:
        for each in uses:
            each()

    return use


def key_references(engine: UpstreamSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where an engine's keys are: the one of ``upstream_key_env``, if it is set, unless there is a list."""
    variable = engine.upstream_key_env
    if engine.upstream_keys or variable is None or not environ.get(variable, "").strip():
        return engine.upstream_keys
    return (f"env:{variable}",)


async def _built(
    settings: Settings, engine: UpstreamSettings, path: str, models: tuple[str, ...] | None, environ: Mapping[str, str]
) -> Upstream:
    if is_embedded(engine):
        return Upstream(engine=EmbeddedEngine(slots=engine.slots, max_queue=engine.queue))
    if engine.upstream is None:
        raise SettingsError(f"{path}.upstream: must be set, since {path}.kind is {engine.kind}")
    ring = KeyRing(clock=system_clocks().monotonic_s)
    keys = UpstreamKeys(ring, environ)
    (await _at(path, keys.prepare(key_references(engine, environ))))()
    ends_at_malformed = settings.engine.on_malformed_chunk == "end"
    try:
        if engine.actual_kind == "anthropic":
            built: Engine = AnthropicEngine(
                engine.upstream,
                keys=ring,
                models=models,
                capabilities=capabilities_of(engine),
                default_max_tokens=engine.default_max_tokens,
                connect_timeout_s=settings.timeouts.connect_s,
                max_event_bytes=engine.max_event_bytes,
                ends_at_malformed=ends_at_malformed,
            )
        else:
            built = OpenAIEngine(
                engine.upstream,
                keys=ring,
                models=models,
                capabilities=capabilities_of(engine),
                connect_timeout_s=settings.timeouts.connect_s,
                max_event_bytes=engine.max_event_bytes,
                ends_at_malformed=ends_at_malformed,
            )
    except SettingsError as error:
        raise SettingsError(f"{path}.upstream: {error.message}") from error
    return Upstream(engine=built, keys=keys)


async def _at(path: str, reading: Awaitable[Callable[[], None]]) -> Callable[[], None]:
    """Await the reading of an engine's keys; what is wrong is told with the path of the setting.

    Raises:
        SettingsError: A key cannot be read.
    """
    try:
        return await reading
    except SettingsError as error:
        raise SettingsError(f"{path}.upstream_keys: {error.message}") from error
