"""Settings of engines, and of what models make of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.policy.units import Bytes, Count
from headrace.settings.section import NonEmpty, Section
from headrace.types.access import Allowance
from headrace.types.engine import Continuation

DEFAULT_ENGINE = "default"
"""What targets call the engine of ``engine``."""

EngineKind = Literal[
    "openai", "anthropic", "embedded", "vllm", "sglang", "llama.cpp", "ollama", "groq", "deepseek", "mistral"
]


class CapabilitySettings(Section, frozen=True, kw_only=True):
    """What an engine can do, where it is not what its ``kind`` says. None: as the kind says."""

    continuation: Continuation | None = None
    """How it takes the beginning of an answer to go on with: ``assistant``, ``prefix``, ``continue_final_message``, or
    ``none``: not at all. None (written ``default``): as its kind does."""
    context_tokens: Count | None = None
    """Tokens of prompt and answer together that it holds."""
    max_choices: Count | None = None
    """Largest ``n`` it takes."""
    takes_tools: bool | None = None
    """Whether it takes tools."""
    takes_images: bool | None = None
    """Whether it takes content that is not text: images, audio, files."""
    takes_schemas: bool | None = None
    """Whether it takes a ``response_format`` with a JSON schema."""
    takes_logprobs: bool | None = None
    """Whether it sends ``logprobs``."""


class UpstreamSettings(CapabilitySettings, frozen=True, kw_only=True):
    """One engine."""

    kind: EngineKind | None = None
    """What it is: ``openai`` for any server that speaks OpenAI's protocol, ``anthropic`` for Anthropic's Messages,
    ``embedded`` for the model in this process; ``vllm``, ``sglang``, ``llama.cpp``, ``ollama``, ``groq``, ``deepseek`` and
    ``mistral`` speak OpenAI's protocol and are known to take the beginning of an answer. None: ``openai`` with an
    ``upstream``, else ``embedded``, which only ``engine`` may leave to be understood."""
    upstream: NonEmpty | None = None
    """Base URL, up to what stands before ``/chat/completions`` (``/messages`` of Anthropic's); None runs the embedded
    engine."""
    upstream_key_env: NonEmpty | None = None
    """Name of the environment variable that holds the upstream's API key. Unset or empty sends no key."""
    upstream_keys: tuple[str, ...] = ()
    """Where the upstream's API keys are, when there are several: ``env:NAME`` or ``file:/absolute/path`` each; white
    space around a key is cut off. Requests are spread over them. None: the one of ``upstream_key_env``."""
    provider: NonEmpty | None = None
    """Vendor whose price list applies, as genai-prices calls it (``openai``); None: told by the upstream's URL."""
    continuous_usage: bool = False
    """Ask for usage with every chunk (vLLM's ``stream_options.continuous_usage_stats``), so that answers which are cut
    off are billed as counted by the engine."""
    max_event_bytes: Bytes = 8 * 1024 * 1024
    """One event of the engine's answer; a larger one ends the stream as ``event_too_large``."""
    default_max_tokens: Count = 4096
    """Length of answers of Anthropic's models to requests that name none: the protocol needs one."""
    slots: Count = 4
    """Requests that the embedded engine works on at once."""
    queue: Annotated[int, msgspec.Meta(ge=0)] = 64
    """Requests that wait for a slot of the embedded engine; more are answered with 429."""
    limits: Allowance = Allowance()
    """Of the engine as a whole, whoever asks."""

    @property
    def actual_kind(self) -> EngineKind:
        """``kind``, or what stands for None."""
        return self.kind or ("embedded" if self.upstream is None else "openai")


class EngineSettings(UpstreamSettings, frozen=True, kw_only=True):
    """The engine that serves models without a route of their own, and what holds for all engines."""

    upstream_key_env: NonEmpty | None = "LLM_API_KEY"
    """Name of the environment variable that holds the upstream's API key. Unset or empty sends no key."""
    model: NonEmpty | None = None
    """The one model served; None serves what the engine lists."""
    on_malformed_chunk: Literal["skip", "end"] = "skip"
    """What a chunk does that is no JSON object, of whatever engine: it is skipped and counted, or it ends the stream."""
    forward_headers: tuple[str, ...] = ("traceparent", "tracestate")
    """Client headers that engines get (the default is W3C Trace Context). Credentials cannot be among them."""


class TargetSettings(Section, frozen=True, kw_only=True):
    """One engine as one model uses it. It takes the requests for which all of its conditions hold."""

    engine: NonEmpty | None = None
    """Name of the engine: one of ``engines``, or ``default`` for the one of ``engine``; None: the target is called like
    it."""
    model: NonEmpty | None = None
    """What the engine calls the model; None: as clients do."""
    order: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 1
    """Targets with a lower one are asked first."""
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    """Its share of the requests among targets of the same order; 0 takes it out."""
    tags: tuple[str, ...] = ()
    """Condition: requests with all of these tags, ``name=value`` each."""
    owners: tuple[str, ...] = ()
    """Condition: requests of one of these owners."""
    min_prompt_tokens: Count | None = None
    """Condition: prompts of so many tokens or more, as estimated before an engine counts."""
    max_prompt_tokens: Count | None = None
    """Condition: prompts of so many tokens or fewer."""

    def engine_of(self, name: str) -> str:
        """Return which engine it is, the target being called ``name``: a name of ``engines``, or ``DEFAULT_ENGINE``."""
        return self.engine or name

    def model_of(self, name: str) -> str:
        """Return what the engine calls the model that clients call ``name``."""
        return self.model or name
