"""Errors, by whose fault they are.

::

    RelayError
    ├── ClientRequestError         the client asked for something that cannot be (400 and relatives)
    │   ├── Unauthorized           no key, or one that is not good (401)
    │   ├── Forbidden              the key may not do this (403)
    │   ├── StreamNotFound         no such stream, or not this owner's (404)
    │   ├── StreamExists           the proposed stream id is taken (409)
    │   └── StreamGone             the entries asked for are no longer kept (410)
    ├── Overloaded                 a queue or limit is full; try again later (429 or 503)
    │   ├── RateLimited            a limit of a key, owner, model or engine (429)
    │   └── BudgetExhausted        the money is spent; trying again soon is no use (429)
    ├── UpstreamError              the engine's fault (502)
    │   ├── UpstreamRejected       it answered with an error status
    │   ├── UpstreamTimeout        it did not answer in time (504)
    │   └── UpstreamProtocolError  it broke the protocol
    ├── StoreError                 the store failed (503)
    ├── StreamCancelled            somebody else stopped the stream
    ├── ConnectionLost             the network's fault: no relay could be reached any more
    └── SettingsError              the settings are wrong; names the key's path

Each class carries its HTTP status and its OpenAI error ``type``; no call site chooses one. The relay raises them, and so
does the client, which turns answers back into them.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RelayError(Exception):
    """Base of all errors raised by Headrace. ``str(error)`` is safe to show to a client."""

    status: int = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    """Stable machine-readable word."""
    result: Any = None
    """In the client, of an error that ended a stream: what had come by then, as ``headrace.client.Result``."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = headers
        """More headers for the answer, lower-case names."""


class ClientRequestError(RelayError):
    """The client's request is at fault; ``param`` names the field."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(ClientRequestError):
    """No key came with the request, or none that is good. Which of these is not said."""

    status = 401
    code = "invalid_api_key"


class Forbidden(ClientRequestError):
    """The key is good, but may not do this."""

    status = 403
    code = "admin_required"


class StreamNotFound(ClientRequestError):
    """No such stream, or not this owner's."""

    status = 404
    code = "stream_not_found"


class StreamExists(ClientRequestError):
    """The stream id that the client proposed is taken."""

    status = 409
    code = "stream_exists"


class StreamGone(ClientRequestError):
    """The entries asked for are no longer kept."""

    status = 410
    code = "stream_gone"


class Overloaded(RelayError):
    """A queue or limit is full. ``retry_after_s`` says when to come back, in seconds."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"


class RateLimited(Overloaded):
    """A key, an owner, a model or an engine is at its limit. ``headers`` say which and when to come back."""

    code = "rate_limit_exceeded"


class BudgetExhausted(Overloaded):
    """A key's or an owner's money for the day or the month is spent."""

    type = "insufficient_quota"
    code = "insufficient_quota"


class UpstreamError(RelayError):
    """The engine's fault."""

    status = 502
    type = "upstream_error"


class UpstreamRejected(UpstreamError):
    """The engine answered with an error status."""

    code = "upstream_rejected"


class UpstreamTimeout(UpstreamError):
    """The engine did not answer in time."""

    status = 504
    code = "upstream_timeout"


class UpstreamProtocolError(UpstreamError):
    """The engine broke the protocol."""

    code = "upstream_protocol"


class StoreError(RelayError):
    """The store failed; the cause is chained."""

    status = 503
    code = "store_error"


class StreamCancelled(RelayError):
    """Somebody else stopped the stream, or it waited too long for its client; ``code`` says which."""

    status = 499
    type = "stream_cancelled"
    code = "client_stop"


class ConnectionLost(RelayError):
    """No relay could be reached, or not any more. The stream may be running still; attaching to it later may work."""

    status = 503
    type = "connection_error"
    code = "connection_lost"


class SettingsError(RelayError):
    """The settings are wrong; the message begins with the path of the key."""
