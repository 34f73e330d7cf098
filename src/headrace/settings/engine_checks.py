"""Rules of engines, and of the models that use them; see ``checks``. Messages repeat no value that may hold a secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from headrace.settings.engines import DEFAULT_ENGINE, TargetSettings, UpstreamSettings
from headrace.settings.names import MAX_ENGINES, check_owner
from headrace.settings.toml import toml_path
from headrace.settings.tree import Settings
from headrace.types.access import MAX_TAG_CHARACTERS, MAX_TAGS, TAG_NAME_PATTERN

MAX_SHOWN_NAMES = 10
"""Engines that a message lists."""

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TAG_NAME = re.compile(TAG_NAME_PATTERN)


def engine_path(name: str) -> str:
    """Return the path of an engine's section: ``engine``, or ``engines.NAME``."""
    return "engine" if name == DEFAULT_ENGINE else toml_path(("engines", name))


def target_path(model: str, target: str) -> str:
    """Return the path of a target's section."""
    return toml_path(("models", model, "engines", target))


def shown_names(engines: Iterable[str]) -> str:
    """Return the names of engines for a message, no more than one reads."""
    names = list(engines)
    return ", ".join(names[:MAX_SHOWN_NAMES]) + (", …" if len(names) > MAX_SHOWN_NAMES else "")


def _names(settings: Settings) -> Iterator[str]:
    if len(settings.engines) > MAX_ENGINES:
        yield f"engines: expected at most {MAX_ENGINES}, got {len(settings.engines)}"
    if DEFAULT_ENGINE in settings.engines:
        yield f"engines.{DEFAULT_ENGINE}: is what the engine of [engine] is called; choose another name"


def _each_engine(settings: Settings) -> Iterator[str]:
    for name, engine in settings.all_engines.items():
        path = engine_path(name)
        if engine.kind is None and engine.upstream is None and name != DEFAULT_ENGINE:
            # The one of [engine] may be left out as a whole. Here it is a mistake, or it is meant and can be said.
            yield f'{path}.upstream: must be set, unless {path}.kind is "embedded"'
        yield from _kind(path, engine)
        yield from _key_variable(path, engine)
        yield from _key_references(path, engine)


def _kind(path: str, engine: UpstreamSettings) -> Iterator[str]:
    if engine.actual_kind == "embedded" and engine.upstream is not None:
        yield f'{path}.upstream: must not be set, since {path}.kind is "embedded"; leave out one of them'
    elif engine.actual_kind != "embedded" and engine.upstream is None:
        yield f'{path}.upstream: must be set, since {path}.kind is "{engine.kind}"'


def _key_variable(path: str, engine: UpstreamSettings) -> Iterator[str]:
    name = engine.upstream_key_env
    if name is not None and _ENVIRONMENT_NAME.fullmatch(name) is None:
        yield f"{path}.upstream_key_env: expected the name of an environment variable, not a key"


def _key_references(path: str, engine: UpstreamSettings) -> Iterator[str]:
    for reference in engine.upstream_keys:
        kind, _, place = reference.partition(":")
        is_variable = kind == "env" and _ENVIRONMENT_NAME.fullmatch(place) is not None
        is_file = kind == "file" and place.startswith("/") and place.isprintable()
        if not (is_variable or is_file):
            # It may be a key, so it is not repeated.
            yield f'{path}.upstream_keys: expected "env:NAME" or "file:/absolute/path" for each, not a key'
        elif engine.upstream_keys.count(reference) > 1:
            yield f"{path}.upstream_keys: {reference} is listed twice"


def _each_model(settings: Settings) -> Iterator[str]:
    engines = settings.all_engines
    for name, model in settings.models.items():
        path = toml_path(("models", name))
        if model.cache != "off" and not settings.store.store_content:
            yield f"{path}.cache: needs store.store_content, since only answers that are kept can be given again"
        if len(model.engines) > MAX_ENGINES:
            yield f"{path}.engines: expected at most {MAX_ENGINES}, got {len(model.engines)}"
        if model.engines and not any(target.weight for target in model.engines.values()):
            yield f"{path}.engines: every weight is 0, so that nothing could serve the model; set one to 1 or more"
        for target_name, target in model.engines.items():
            yield from _target(engines, target_path(name, target_name), target_name, target)
        yield from _twins(name, model.engines)


def _target(engines: Collection[str], path: str, name: str, target: TargetSettings) -> Iterator[str]:
    if target.engine_of(name) not in engines:
        known = f"no engine is called so; known: {shown_names(engines)}"
        yield (
            f"{path}: {known}; say which one it is with `engine`"
            if target.engine is None
            else f"{path}.engine: {known}"
        )
    least, most = target.min_prompt_tokens, target.max_prompt_tokens
    if least is not None and most is not None and least > most:
        yield f"{path}.max_prompt_tokens: must not be below min_prompt_tokens ({least}), got {most}"
    for owner in target.owners:
        try:
            check_owner(owner)
        except ValueError as error:
            yield f"{path}.owners: {error}"
    yield from _tags(f"{path}.tags", target.tags)


def _tags(path: str, tags: tuple[str, ...]) -> Iterator[str]:
    if len(tags) > MAX_TAGS:
        yield f"{path}: expected at most {MAX_TAGS}, which is what a request may have, got {len(tags)}"
    names = set()
    for tag in tags:
        name, equals, value = tag.partition("=")
        if not equals or _TAG_NAME.fullmatch(name) is None:
            yield f"{path}: expected name=value for each, such as tier=gold, got {tag[:80]!r}"
        if len(value) > MAX_TAG_CHARACTERS or not value.isprintable():
            yield f"{path}: expected at most {MAX_TAG_CHARACTERS} printable characters as the value of {name}"
        if name in names:
            yield f"{path}: {name} is listed twice, but a request has one value of it"
        names.add(name)


def _twins(model: str, targets: dict[str, TargetSettings]) -> Iterator[str]:
    """Complain of targets that are the same one: whoever fails as the one would be asked again as the other."""
    seen: dict[tuple[str, str], str] = {}
    for name, target in targets.items():
        first = seen.setdefault((target.engine_of(name), target.model_of(model)), name)
        if first != name:
            yield f"{target_path(model, name)}: is the same engine and model as {target_path(model, first)}; leave out one"


ENGINE_RULES: tuple[Callable[[Settings], Iterator[str]], ...] = (_names, _each_engine, _each_model)
