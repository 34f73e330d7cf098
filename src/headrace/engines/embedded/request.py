"""From a request to what llama.cpp gets, by the contract that it follows."""

from __future__ import annotations

from headrace.engines.embedded.chat import native_chat
from headrace.engines.embedded.completion import native_completion
from headrace.engines.embedded.native import NativeRequest
from headrace.types.engine import Endpoint, EngineRequest


def native_request(request: EngineRequest, *, slots: int, context_tokens: int) -> NativeRequest:
    """Check a request and translate it; see ``native_chat`` and ``native_completion``.

    Raises:
        ClientRequestError: The request can never be served; ``param`` names the field.
    """
    translate = native_chat if request.endpoint is Endpoint.CHAT else native_completion
    return translate(request.body, slots=slots, context_tokens=context_tokens)
