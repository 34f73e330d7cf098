"""The engine inside: llama.cpp and a small model in this process, so that everything runs without an account."""

from headrace.engines.embedded.engine import EmbeddedEngine
from headrace.engines.embedded.model import MODEL_NAME, find_model

__all__ = ["MODEL_NAME", "EmbeddedEngine", "find_model"]
