"""Stores in this process's memory: nothing to set up, and nothing that survives.

All are bounded. Logs give way to new ones by bytes, records and usage by count; a key too many is refused.
"""

from headrace.stores.memory.keys import MemoryKeys
from headrace.stores.memory.logs import MemoryStore
from headrace.stores.memory.records import MemoryRecords

__all__ = ["MemoryKeys", "MemoryRecords", "MemoryStore"]
