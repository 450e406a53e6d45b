"""Keyed state of mapper, merger and poller: a compacted topic, a local store, and a checkpoint.

The topic is the truth. The store answers in microseconds and may be lost. The checkpoint says up to which offset of the
topic the store is complete.
"""

from sluice.state.backend import StateBackend
from sluice.state.expiry import Expiry
from sluice.state.store import RocksStore, Store
from sluice.state.view import View

__all__ = ["Expiry", "RocksStore", "StateBackend", "Store", "View"]
