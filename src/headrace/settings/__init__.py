"""All settings as one frozen tree, read once at start from a file, the environment and the command line."""

from headrace.settings.load import load_settings
from headrace.settings.tree import EngineSettings, LogSettings, ServerSettings, Settings, StoreSettings, StreamSettings

__all__ = [
    "EngineSettings",
    "LogSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "StreamSettings",
    "load_settings",
]
