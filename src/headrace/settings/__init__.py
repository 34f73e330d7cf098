"""All settings as one frozen tree, read at start from a file, the environment and the command line; see ``reload``."""

from headrace.settings.load import load_settings
from headrace.settings.tree import (
    BillingSettings,
    EngineSettings,
    KeysSettings,
    LogSettings,
    ModelSettings,
    OwnerSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    StreamSettings,
)

__all__ = [
    "BillingSettings",
    "EngineSettings",
    "KeysSettings",
    "LogSettings",
    "ModelSettings",
    "OwnerSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "StreamSettings",
    "load_settings",
]
