"""Our errors as those of the ``openai`` package, on which its users' code acts."""

from __future__ import annotations

import httpx2
import openai

from headrace.errors import ConnectionLost, RelayError

_BY_STATUS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


def sdk_error(error: RelayError, request: httpx2.Request, *, is_mid_stream: bool) -> openai.APIError:
    """Return what the stock client would raise; its ``__cause__`` is ``error``, which carries the result.

    Args:
        error: Ours.
        request: Any request of the stream.
        is_mid_stream: Chunks have been given: the stock client then knows no status.
    """
    found = _translated(error, request, is_mid_stream=is_mid_stream)
    found.__cause__ = error
    return found


def _translated(error: RelayError, request: httpx2.Request, *, is_mid_stream: bool) -> openai.APIError:
    if isinstance(error, ConnectionLost):
        return openai.APIConnectionError(message=error.message, request=request)
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    if is_mid_stream:
        return openai.APIError(error.message, request, body=body)
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["retry-after"] = f"{error.retry_after_s:g}"
    response = httpx2.Response(error.status, request=request, headers=headers, json={"error": body})
    default = openai.InternalServerError if error.status >= 500 else openai.APIStatusError
    return _BY_STATUS.get(error.status, default)(error.message, response=response, body=body)
