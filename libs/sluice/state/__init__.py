"""The keyed state of the mapper, the merger and the poller: a compacted Kafka topic, and a local store that is a copy
of it.

The topic is the durable state. The local store answers in microseconds and may be lost. A checkpoint in the store says
up to which offset of the topic the store is complete.
"""

from sluice.state.backend import StateBackend
from sluice.state.expiry import Expiry
from sluice.state.store import RocksStore, Store
from sluice.state.view import View

__all__ = ["Expiry", "RocksStore", "StateBackend", "Store", "View"]
