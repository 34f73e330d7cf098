"""From a chat request to the body of ``POST /messages``.

=================================================  ================================================================
Field                                              Becomes
=================================================  ================================================================
``messages``                                       ``system``, ``messages``: see ``conversation``
``tools`` ``tool_choice`` ``parallel_tool_calls``  ``tools``, ``tool_choice``: see ``tools``
``max_completion_tokens``, else ``max_tokens``     ``max_tokens``, which must be there: else the engine's default
``stop``                                           ``stop_sequences``
``safety_identifier``, else ``user``               ``metadata.user_id``
``reasoning_effort``                               ``output_config.effort``; ``none`` is ``thinking`` disabled
``response_format`` with a schema                  ``output_config.format``
``temperature`` from 0 to 1, ``top_p``             the same; newer models refuse them
``thinking`` ``top_k`` and others of the API       the same (``PASSED_ON``)
``service_tier`` ``auto``, ``default``             ``auto``, ``standard_only``
``stream_options`` ``store`` ``metadata`` …        nothing: they say nothing about the answer (``_SILENT``)
``n`` ``seed`` ``logprobs`` ``logit_bias`` …       400 naming the field, unless it has its default (``_NEUTRAL``)
any other                                          400 naming the field, as the API itself answers
=================================================  ================================================================

Nothing that would change the answer is dropped: a temperature above 1 is refused, not clamped, and so is a seed. Sources:
https://platform.openai.com/docs/api-reference/chat/create and the SDK's ``MessageCreateParams``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from headrace.engines.anthropic.conversation import Conversation
from headrace.engines.anthropic.refusal import a_text, an_object, shown, unsupported, wrong
from headrace.engines.anthropic.tools import tool_choice_of, tools_of
from headrace.errors import ClientRequestError
from headrace.protocol.body import read_body

PASSED_ON = ("temperature", "top_p", "top_k", "thinking", "cache_control", "container", "inference_geo", "speed")
"""Fields that reach the API under the same name."""

_EFFORTS = {"minimal": "low", **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")}}
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "seed": (),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Values, beside null, of fields without an equivalent that ask for nothing."""


class _Silent(msgspec.Struct, kw_only=True):
    """Fields that say nothing about the answer."""

    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


class _Refused(_Silent, kw_only=True):
    """Fields without an equivalent; ``_NEUTRAL``."""

    n: int | None = None
    seed: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    verbosity: Any = None
    web_search_options: Any = None


class _Asked(_Refused, kw_only=True, forbid_unknown_fields=True):
    """A request."""

    model: str
    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    cache_control: dict[str, Any] | None = None
    container: Any = None
    inference_geo: str | None = None
    speed: str | None = None


_decoder = msgspec.json.Decoder(_Asked)


def messages_body(body: bytes, *, default_max_tokens: int) -> bytes:
    """Return the body of ``POST /messages`` that a chat request means.

    Args:
        body: JSON in OpenAI's shape.
        default_max_tokens: Bound of an answer whose request has none.

    Raises:
        ClientRequestError: The request is wrong, or asks for something that the API does not have; ``param`` names the
            field.
    """
    asked = read_body(body, _decoder, max_bytes=len(body))
    _check_neutral(asked)
    _check_numbers(asked)
    fields: dict[str, Any] = {
        "model": asked.model,
        "max_tokens": _max_tokens(asked, default_max_tokens),
        "stream": True,
        **_conversation(asked),
        **_tools(asked),
        **{field: value for field in PASSED_ON if (value := getattr(asked, field)) is not None},
        **_labels(asked),
    }
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    if stops:
        fields["stop_sequences"] = stops
    if asked.reasoning_effort == "none":
        fields.setdefault("thinking", {"type": "disabled"})
    output = _output_config(asked)
    if output:
        fields["output_config"] = output
    return _encoded(fields)


def _check_neutral(asked: _Asked) -> None:
    for field, values in _NEUTRAL.items():
        value = getattr(asked, field)
        if value is not None and value not in values:
            raise unsupported(field, "has no equivalent in this engine; leave it out")


def _check_numbers(asked: _Asked) -> None:
    for field in ("max_tokens", "max_completion_tokens"):
        value = getattr(asked, field)
        if value is not None and value < 1:
            raise wrong(field, "must be 1 or more")
    if asked.temperature is not None and not 0 <= asked.temperature <= 1:
        raise wrong("temperature", f"must be from 0 to 1 for this engine, not {asked.temperature:g}")
    if asked.top_p is not None and not 0 <= asked.top_p <= 1:
        raise wrong("top_p", "must be from 0 to 1")


def _max_tokens(asked: _Asked, default: int) -> int:
    if asked.max_completion_tokens is not None:
        return asked.max_completion_tokens
    return default if asked.max_tokens is None else asked.max_tokens


def _conversation(asked: _Asked) -> dict[str, Any]:
    conversation = Conversation()
    for index, message in enumerate(asked.messages):
        conversation.add(message, f"messages[{index}]")
    if not conversation.messages:
        raise wrong("messages", "must hold at least one message that says something, beside those of the system")
    system = {"system": conversation.system} if conversation.system else {}
    return {**system, "messages": conversation.messages}


def _tools(asked: _Asked) -> dict[str, Any]:
    choice = tool_choice_of(asked.tool_choice, is_parallel=asked.parallel_tool_calls)
    if not asked.tools:
        if choice is not None and choice["type"] in ("any", "tool"):
            raise wrong("tool_choice", "asks for a tool, and tools has none")
        return {}
    tools = {"tools": tools_of(asked.tools)}
    return tools if choice is None else {**tools, "tool_choice": choice}


def _labels(asked: _Asked) -> dict[str, Any]:
    """Return what is said about the request rather than the answer."""
    found: dict[str, Any] = {}
    user = asked.safety_identifier or asked.user
    if user:
        found["metadata"] = {"user_id": user}
    if asked.service_tier is not None:
        if asked.service_tier not in _TIERS:
            raise unsupported("service_tier", f"{shown(asked.service_tier)} is none of auto, default")
        found["service_tier"] = _TIERS[asked.service_tier]
    return found


def _output_config(asked: _Asked) -> dict[str, Any]:
    found: dict[str, Any] = {}
    effort = asked.reasoning_effort
    if effort not in (None, "none"):
        if effort not in _EFFORTS:
            raise wrong("reasoning_effort", f"{shown(effort)} is none of none, {', '.join(_EFFORTS)}")
        found["effort"] = _EFFORTS[effort]
    schema = _schema(asked.response_format)
    if schema is not None:
        found["format"] = {"type": "json_schema", "schema": schema}
    own = asked.output_config or {}
    for name, field in (("effort", "reasoning_effort"), ("format", "response_format")):
        if name in own and name in found:
            raise wrong(field, f"output_config.{name} says it too; leave one of them out")
    return {**own, **found}


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    if response_format is None:
        return None
    match response_format.get("type"):
        case "text":
            return None
        case "json_schema":
            described = an_object(response_format.get("json_schema"), "response_format.json_schema")
            return an_object(described.get("schema"), "response_format.json_schema.schema")
        case kind:
            a_text(kind, "response_format.type")
            raise unsupported(
                "response_format.type", f"{shown(kind)} has no equivalent in this engine; use json_schema"
            )


def _encoded(fields: dict[str, Any]) -> bytes:
    try:
        try:
            return msgspec.json.encode(fields)
        except UnicodeEncodeError:
            # Half a surrogate pair in the arguments of a call: JSON by RFC 8259 8.2, as an escape.
            return json.dumps(fields, separators=(",", ":")).encode()
    except RecursionError as error:
        raise ClientRequestError("messages: the arguments of a call are nested too deeply", param="messages") from error
