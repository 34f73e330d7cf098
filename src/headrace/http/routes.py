"""Routes by model name, as the settings say."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.policy.kinds import KINDS
from headrace.policy.routing import Conditions, Route, Target
from headrace.settings import DEFAULT_ENGINE, ModelSettings, Settings, TargetSettings, UpstreamSettings
from headrace.types.engine import Capabilities


class Routes:
    """All routes of a node.

    Args:
        settings: Name them.
        default_engine: What the default engine is called in records.
    """

    def __init__(self, settings: Settings, *, default_engine: str) -> None:
        self._default_engine = default_engine
        self._routes = {name: self._route(name, model) for name, model in settings.models.items()}
        self.names = tuple(name for name, model in settings.models.items() if model.engines)
        """Models that have engines of their own."""

    def of(self, model: str) -> Route:
        """Return the route of a model; one without settings is served by the default engine."""
        return self._routes.get(model) or Route.implicit(model, self._default_engine)

    def _route(self, name: str, model: ModelSettings) -> Route:
        targets = tuple(self._target(name, target, settings) for target, settings in model.engines.items())
        return Route(
            name=name,
            targets=targets or Route.implicit(name, self._default_engine).targets,
            continues=model.continues,
            replays=model.replays,
            shares=model.shares,
            cache=model.cache,
            cache_for_s=model.cache_for_s,
            cache_pace=model.cache_pace,
            caches_sampled=model.caches_sampled,
        )

    def _target(self, model: str, name: str, settings: TargetSettings) -> Target:
        engine = settings.engine_of(name)
        return Target(
            name=name,
            engine=self._default_engine if engine == DEFAULT_ENGINE else engine,
            model=settings.model_of(model),
            order=settings.order,
            weight=settings.weight,
            conditions=Conditions(
                tags=settings.tags,
                owners=settings.owners,
                min_prompt_tokens=settings.min_prompt_tokens,
                max_prompt_tokens=settings.max_prompt_tokens,
            ),
        )


def capabilities_of(settings: UpstreamSettings, known: Capabilities | None = None) -> Capabilities:
    """Return what an engine can do: what its kind says, overruled by the settings.

    Args:
        settings: The engine's.
        known: What the engine says of itself, which then counts instead of its kind.
    """
    base = known or KINDS[settings.actual_kind]
    said: Mapping[str, object] = {
        "continuation": settings.continuation,
        "context_tokens": settings.context_tokens,
        "max_choices": settings.max_choices,
        "takes_tools": settings.takes_tools,
        "takes_images": settings.takes_images,
        "takes_schemas": settings.takes_schemas,
        "takes_logprobs": settings.takes_logprobs,
    }
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    return Capabilities(**{**fields, **{name: value for name, value in said.items() if value is not None}})
