"""Stores in this process's memory: nothing to set up, and nothing that survives.

All are bounded. Logs give way to new ones by bytes, records and usage by count, cache entries by both; a key or claim too
many is refused.
"""

from headrace.stores.memory.cache import MemoryCacheIndex
from headrace.stores.memory.claims import MemoryClaims
from headrace.stores.memory.keys import MemoryKeys
from headrace.stores.memory.logs import MemoryStore
from headrace.stores.memory.records import MemoryRecords

__all__ = ["MemoryCacheIndex", "MemoryClaims", "MemoryKeys", "MemoryRecords", "MemoryStore"]
