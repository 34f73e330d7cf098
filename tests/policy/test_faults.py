"""Faults: what engines say when they give no answer, in their own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.faults import MAX_LOOKED_AT, Fault, fault_of
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause

OF_ENGINES = (
    Cause.UPSTREAM_REJECTED,
    Cause.UPSTREAM_UNREACHABLE,
    Cause.UPSTREAM_CLOSED,
    Cause.UPSTREAM_STALLED,
    Cause.UPSTREAM_PROTOCOL,
    Cause.EVENT_TOO_LARGE,
    Cause.FIRST_TOKEN_TIMEOUT,
)


def rejected(
    status: int | None = None, message: str | None = None, *, code: str | None = None, kind: str | None = None
) -> EngineEnd:
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED, upstream_status=status, message=message, error_code=code, error_type=kind
    )


@pytest.mark.parametrize(
    ("cause", "fault"),
    [
        (None, Fault.CLOSED),
        (Cause.UPSTREAM_CLOSED, Fault.CLOSED),
        (Cause.UPSTREAM_UNREACHABLE, Fault.UNREACHABLE),
        (Cause.UPSTREAM_STALLED, Fault.SILENT),
        (Cause.FIRST_TOKEN_TIMEOUT, Fault.SILENT),
        (Cause.UPSTREAM_PROTOCOL, Fault.PROTOCOL),
        (Cause.EVENT_TOO_LARGE, Fault.PROTOCOL),
    ],
)
def test_tells_ends_without_an_answer_by_their_cause(cause: Cause | None, fault: Fault) -> None:
    assert fault_of(EngineEnd(cause=cause)) is fault


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in OF_ENGINES])
def test_an_end_that_is_not_the_engines_doing_is_no_fault(cause: Cause) -> None:
    with pytest.raises(ValueError, match=cause):
        fault_of(EngineEnd(cause=cause))


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (302, Fault.PROTOCOL),
        (400, Fault.REJECTED),
        (401, Fault.UNAUTHORIZED),
        (402, Fault.OUT_OF_QUOTA),
        (403, Fault.UNAUTHORIZED),
        (404, Fault.REJECTED),
        (408, Fault.SERVER_ERROR),
        (409, Fault.REJECTED),
        (413, Fault.CONTEXT_TOO_LONG),
        (422, Fault.REJECTED),
        (429, Fault.RATE_LIMITED),
        (500, Fault.SERVER_ERROR),
        (503, Fault.SERVER_ERROR),
        (529, Fault.SERVER_ERROR),
    ],
)
def test_tells_bare_answers_by_their_status(status: int, fault: Fault) -> None:
    assert fault_of(rejected(status)) is fault
    assert fault_of(rejected(status, "something went wrong")) is fault


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        pytest.param(rejected(429, code="insufficient_quota"), Fault.OUT_OF_QUOTA, id="openai-money"),
        pytest.param(rejected(429, kind="insufficient_quota"), Fault.OUT_OF_QUOTA, id="openai-money-type"),
        pytest.param(rejected(429, code="rate_limit_exceeded", kind="tokens"), Fault.RATE_LIMITED, id="openai-rate"),
        pytest.param(
            rejected(413, code="rate_limit_exceeded", kind="tokens"), Fault.OUT_OF_QUOTA, id="groq-one-minute"
        ),
        pytest.param(rejected(413, kind="request_too_large"), Fault.CONTEXT_TOO_LONG, id="anthropic-bytes"),
        pytest.param(rejected(529, kind="overloaded_error"), Fault.SERVER_ERROR, id="anthropic-overloaded"),
        pytest.param(
            rejected(400, code="context_length_exceeded", kind="invalid_request_error"),
            Fault.CONTEXT_TOO_LONG,
            id="openai-context",
        ),
        pytest.param(
            rejected(400, code="400", kind="exceed_context_size_error"), Fault.CONTEXT_TOO_LONG, id="llama.cpp-context"
        ),
        pytest.param(rejected(400, code="content_filter"), Fault.POLICY_REFUSAL, id="azure-policy"),
        pytest.param(rejected(400, code="ResponsibleAIPolicyViolation"), Fault.POLICY_REFUSAL, id="azure-inner"),
        pytest.param(rejected(400, code="content_policy_violation"), Fault.POLICY_REFUSAL, id="openai-policy"),
        pytest.param(rejected(400, code="model_not_found"), Fault.REJECTED, id="openai-model"),
    ],
)
def test_a_code_says_more_than_its_status(end: EngineEnd, fault: Fault) -> None:
    assert fault_of(end) is fault


TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 tokens.",
    "This model's maximum context length is 4097 tokens, however you requested 4120 tokens",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "prompt is too long: 213462 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "Please reduce the length of the messages or completion.",
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "prompt too long; exceeded max context length by 4096 tokens",
    "Input is too long for requested model.",
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens",
]
REFUSED = [
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "Content Exists Risk",
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    "Your request was rejected as a result of our safety system.",
    "Output blocked by content filtering policy",
]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    ("message", "fault"),
    [(text, Fault.CONTEXT_TOO_LONG) for text in TOO_LONG]
    + [(text, Fault.POLICY_REFUSAL) for text in REFUSED]
    + [("Your credit balance is too low to access the Anthropic API.", Fault.OUT_OF_QUOTA)],
)
def test_knows_the_words_of_providers_whatever_their_case(status: int, message: str, fault: Fault) -> None:
    assert fault_of(rejected(status, message, kind="invalid_request_error")) is fault
    assert fault_of(rejected(status, message.upper())) is fault


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("message", TOO_LONG + REFUSED)
def test_messages_of_other_answers_decide_nothing(status: int, message: str) -> None:
    assert fault_of(rejected(status, message)) is fault_of(rejected(status))


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 5000. This model supports at most 4096 completion tokens",
        "temperature must be at most 2",
        "Invalid schema for response_format 'answer': context of the filter is required",
        "tools.0.name: string too long",
    ],
)
def test_other_mistakes_of_a_request_stay_what_they_are(message: str) -> None:
    assert fault_of(rejected(400, message, kind="invalid_request_error")) is Fault.REJECTED


@pytest.mark.parametrize(
    ("code", "kind", "fault"),
    [
        ("rate_limit_exceeded", "tokens", Fault.RATE_LIMITED),
        (None, "rate_limit_error", Fault.RATE_LIMITED),
        ("429", None, Fault.RATE_LIMITED),
        (None, "overloaded_error", Fault.SERVER_ERROR),
        (None, "server_error", Fault.SERVER_ERROR),
        (None, "api_error", Fault.SERVER_ERROR),
        ("500", "InternalServerError", Fault.SERVER_ERROR),
        ("503", "unavailable_error", Fault.SERVER_ERROR),
        (None, "invalid_request_error", Fault.REJECTED),
        ("400", "BadRequestError", Fault.REJECTED),
        (None, "authentication_error", Fault.UNAUTHORIZED),
        (None, "permission_error", Fault.UNAUTHORIZED),
        ("insufficient_quota", "insufficient_quota", Fault.OUT_OF_QUOTA),
        ("context_length_exceeded", "invalid_request_error", Fault.CONTEXT_TOO_LONG),
        ("content_filter", None, Fault.POLICY_REFUSAL),
        ("something new", "never heard of", Fault.SERVER_ERROR),
        (None, None, Fault.SERVER_ERROR),
        ("٤٢٩", None, Fault.SERVER_ERROR),
    ],
)
def test_error_events_within_a_stream_are_told_by_what_they_are_called(
    code: str | None, kind: str | None, fault: Fault
) -> None:
    assert fault_of(rejected(None, code=code, kind=kind)) is fault


def test_a_refusal_of_our_own_that_names_no_error_is_told_by_what_the_client_gets() -> None:
    for status, fault in ((400, Fault.REJECTED), (429, Fault.RATE_LIMITED), (502, Fault.SERVER_ERROR)):
        assert fault_of(EngineEnd(cause=Cause.UPSTREAM_REJECTED, status=status)) is fault


@given(
    st.none() | st.integers(100, 999),
    st.none() | st.text(max_size=40),
    st.none() | st.text(max_size=40),
    st.none() | st.text(),
    st.sampled_from((None, *OF_ENGINES)),
)
def test_every_end_of_an_engine_has_a_fault(
    status: int | None, code: str | None, kind: str | None, message: str | None, cause: Cause | None
) -> None:
    end = EngineEnd(cause=cause, upstream_status=status, message=message, error_code=code, error_type=kind)
    assert fault_of(end) in Fault


def test_looks_at_no_more_of_a_message_than_its_beginning() -> None:
    told = "maximum context length"
    assert fault_of(rejected(400, "x" * (MAX_LOOKED_AT - len(told)) + told)) is Fault.CONTEXT_TOO_LONG
    assert fault_of(rejected(400, "x" * MAX_LOOKED_AT + told)) is Fault.REJECTED
