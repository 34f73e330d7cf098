"""Errors for what the Messages API cannot serve, or what is not as OpenAI's API describes it."""

from __future__ import annotations

from typing import Any

from headrace.errors import ClientRequestError

MAX_NAME = 100
"""Characters of a client's own words that an error repeats."""


def unsupported(param: str, why: str) -> ClientRequestError:
    """Return the error for something right that this engine has no equivalent for; ``why`` says what to do."""
    return ClientRequestError(f"{param}: {why}", param=param, code="unsupported_parameter")


def wrong(param: str, what: str) -> ClientRequestError:
    """Return the error for a value that nobody could serve; ``what`` says what it must be."""
    return ClientRequestError(f"{param}: {what}", param=param, code="invalid_value")


def an_object(value: Any, param: str) -> dict[str, Any]:
    """Return ``value``, which must be a JSON object.

    Raises:
        ClientRequestError: It is something else.
    """
    if not isinstance(value, dict):
        raise wrong(param, "must be an object")
    return value


def a_text(value: Any, param: str) -> str:
    """Return ``value``, which must be text.

    Raises:
        ClientRequestError: It is something else.
    """
    if not isinstance(value, str):
        raise wrong(param, "must be a string")
    return value


def shown(value: Any) -> str:
    """Return a client's value for an error message, cut off where it is long."""
    return repr(value)[:MAX_NAME]
