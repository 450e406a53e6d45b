"""The store, readers and watch with which a stage keeps its state."""

from __future__ import annotations

from typing import NamedTuple

from sluice.kafka import LogReader, clients
from sluice.kafka.topic_watch import TopicWatch
from sluice.settings.stage import StageSettings
from sluice.state.expiry import Expiry
from sluice.state.store import RocksStore, Store


class StateBackend(NamedTuple):
    """`reader` restores views from Kafka; `watch` checks that the state's topics still have the same ids."""

    store: Store
    reader: LogReader
    expiry: Expiry
    watch: TopicWatch | None = None

    @classmethod
    def open(cls, settings: StageSettings, stage: str) -> StateBackend:
        """The backend of one process of `stage`, with its store on disk. Raises SettingsError or EnvironmentFault."""
        store = RocksStore(settings.state_dir / f"{stage}-{settings.instance}")
        watch = TopicWatch(clients.admin(settings.kafka))
        return cls(store, LogReader(settings.kafka), Expiry(LogReader(settings.kafka)), watch)
