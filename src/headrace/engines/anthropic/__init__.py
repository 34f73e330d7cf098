"""The engine for Anthropic's Messages API, behind OpenAI's contract."""

from headrace.engines.anthropic.dialect import CAPABILITIES
from headrace.engines.anthropic.engine import AnthropicEngine

__all__ = ["CAPABILITIES", "AnthropicEngine"]
