"""Keyed state, one library for mapper, merger and poller: a compacted topic, a local store, a checkpoint.

The topic is the truth; the store answers in microseconds and may be lost; the checkpoint says how far it has read.
"""

from sluice.state.backend import StateBackend
from sluice.state.expiry import Expiry
from sluice.state.store import MemoryStore, RocksStore, Store
from sluice.state.view import View

__all__ = ["Expiry", "MemoryStore", "RocksStore", "StateBackend", "Store", "View"]
