"""The engine for every server that speaks OpenAI's chat completions over HTTP/1.1 or TLS."""

from headrace.engines.openai.engine import OpenAIEngine

__all__ = ["OpenAIEngine"]
