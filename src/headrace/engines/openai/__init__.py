"""The engine for every server that speaks OpenAI's chat completions over HTTP/1.1 or TLS."""

from headrace.engines.openai.engine import OpenAIEngine
from headrace.engines.openai.http_engine import HTTPEngine
from headrace.engines.openai.keys import KeyRing, KeyState, UpstreamKey
from headrace.engines.openai.references import KeyFiles, read_keys

__all__ = ["HTTPEngine", "KeyFiles", "KeyRing", "KeyState", "OpenAIEngine", "UpstreamKey", "read_keys"]
