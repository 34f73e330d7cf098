"""Kinds of engines, and what each is known to be able to do. The settings overrule it, engine by engine.

How engines take partial answers is documented by vLLM and SGLang (``continue_final_message``), Mistral and DeepSeek (``prefix``),
and llama.cpp, Ollama and Groq (a trailing assistant message). Anthropic's newer models refuse them.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.types.engine import Capabilities, Continuation, Endpoint

KINDS: Mapping[str, Capabilities] = {
    "openai": Capabilities(),
    "anthropic": Capabilities(endpoints=(Endpoint.CHAT,), takes_logprobs=False, max_choices=1),
    "vllm": Capabilities(continuation=Continuation.FLAG),
    "sglang": Capabilities(continuation=Continuation.FLAG),
    "llama.cpp": Capabilities(continuation=Continuation.ASSISTANT),
    "ollama": Capabilities(continuation=Continuation.ASSISTANT, max_choices=1),
    "groq": Capabilities(continuation=Continuation.ASSISTANT, max_choices=1),
    "deepseek": Capabilities(continuation=Continuation.PREFIX, max_choices=1),
    "mistral": Capabilities(continuation=Continuation.PREFIX, takes_logprobs=False),
}
"""Of engines behind a URL, by ``kind``."""
