"""Headrace makes LLM token streams durable: watched, resumed, stopped and explained."""

from headrace._version import __version__

__all__ = ["__version__"]
