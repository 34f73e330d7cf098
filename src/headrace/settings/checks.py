"""Rules that a type cannot say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from headrace.errors import SettingsError
from headrace.policy.loopback import is_loopback
from headrace.settings.engine_checks import ENGINE_RULES
from headrace.settings.names import MAX_NAMES
from headrace.settings.tree import Settings

# RFC 6454 6.1 and 7: an origin as browsers send it, so without a path and in lower case. "null" stands for too many.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
# RFC 9110 5.1: a field name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


def check(settings: Settings) -> None:
    """Check what concerns more than one key, or the form of a text.

    Raises:
        SettingsError: A rule is broken; the message begins with the path of the key. Values are not repeated where
            somebody may have put a secret in the wrong place.
    """
    complaint = next((complaint for rule in _RULES for complaint in rule(settings)), None)
    if complaint is not None:
        raise SettingsError(complaint)


def is_exposed(settings: Settings) -> bool:
    """Return whether others than this machine could use the relay freely if there were no client keys."""
    return not settings.server.insecure and not is_loopback(settings.server.host)


def check_exposure(settings: Settings, *, has_keys: bool) -> None:
    """Make sure that strangers who can reach the relay have to show a key, unless the settings say otherwise.

    Args:
        settings: Those to serve with.
        has_keys: The store holds a client key, though it be revoked: then every caller has to show one.

    Raises:
        SettingsError: Nobody would have to.
    """
    if is_exposed(settings) and not has_keys:
        raise SettingsError(
            f"server.host: {settings.server.host} is not loopback, and nobody would have to show a key there; make a key"
            " with `headrace keys create --owner NAME --store URL`, or set server.insecure (--insecure) if that is meant"
        )


def _allowed_hosts(settings: Settings) -> Iterator[str]:
    for host in settings.server.allowed_hosts:
        if _HOST.fullmatch(host) is None:
            yield f"server.allowed_hosts: expected a name or address with or without a port, got {host!r}"


def _cors_origins(settings: Settings) -> Iterator[str]:
    for origin in settings.server.cors_origins:
        if _ORIGIN.fullmatch(origin) is None:
            yield (
                "server.cors_origins: expected an origin in lower case and without a path,"
                f' such as "https://app.example", got {origin!r}'
            )


def _tls_files(settings: Settings) -> Iterator[str]:
    server = settings.server
    if (server.tls_cert is None) != (server.tls_key is None):
        given, missing = ("tls_key", "tls_cert") if server.tls_cert is None else ("tls_cert", "tls_key")
        yield f"server.{missing}: must be set, since server.{given} is"


def _how_many_names(settings: Settings) -> Iterator[str]:
    for section, names in (("owners", settings.owners), ("models", settings.models)):
        if len(names) > MAX_NAMES:
            yield f"{section}: expected at most {MAX_NAMES}, got {len(names)}"


def _forwarded_headers(settings: Settings) -> Iterator[str]:
    for name in settings.engine.forward_headers:
        if _HEADER_NAME.fullmatch(name) is None:
            yield "engine.forward_headers: expected header names"
        if name.lower() in _CREDENTIALS:
            yield f"engine.forward_headers: {name} carries credentials of clients, which are never passed on"


def _longest_and_shortest(settings: Settings) -> Iterator[str]:
    retry, health = settings.retry, settings.health
    if retry.backoff_max_s < retry.backoff_s:
        yield f"retry.backoff_max: must not be below retry.backoff ({retry.backoff_s:g} s)"
    if health.rest_max_s < health.rest_s:
        yield f"health.rest_max: must not be below health.rest ({health.rest_s:g} s)"


_RULES: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _allowed_hosts,
    _cors_origins,
    _tls_files,
    _how_many_names,
    _forwarded_headers,
    _longest_and_shortest,
    *ENGINE_RULES,
)
