"""All settings as one frozen tree, read at start from a file, the environment and the command line; see ``reload``."""

from headrace.settings.engines import (
    DEFAULT_ENGINE,
    CapabilitySettings,
    EngineKind,
    EngineSettings,
    TargetSettings,
    UpstreamSettings,
)
from headrace.settings.load import load_settings
from headrace.settings.tree import (
    BillingSettings,
    CacheSettings,
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
    "DEFAULT_ENGINE",
    "BillingSettings",
    "CacheSettings",
    "CapabilitySettings",
    "EngineKind",
    "EngineSettings",
    "KeysSettings",
    "LogSettings",
    "ModelSettings",
    "OwnerSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "StreamSettings",
    "TargetSettings",
    "UpstreamSettings",
    "load_settings",
]
