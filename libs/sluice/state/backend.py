"""What a stage process needs to keep its state: the local store, the readers of the state's topics, and the check of
the topics' ids."""

from __future__ import annotations

from typing import NamedTuple

from sluice.kafka import LogReader, clients
from sluice.kafka.topic_watch import TopicWatch
from sluice.settings.stage import StageSettings
from sluice.state.expiry import Expiry
from sluice.state.store import RocksStore, Store


class StateBackend(NamedTuple):
    """The local store of a stage process and its Kafka clients. `reader` restores the store from the state's topics.
    `watch` checks that these topics keep their topic ids; None: no check."""

    store: Store
    reader: LogReader
    expiry: Expiry
    watch: TopicWatch | None = None

    @classmethod
    def open(cls, settings: StageSettings, stage: str) -> StateBackend:
        """Open the store on disk and the Kafka clients of one process of `stage`. Raises SettingsError or
        EnvironmentFault if the store's folder cannot be used."""
        store = RocksStore(settings.state_dir / f"{stage}-{settings.instance}", settings.state_memory_bytes)
        watch = TopicWatch(clients.admin(settings.kafka))
        return cls(store, LogReader(settings.kafka), Expiry(LogReader(settings.kafka)), watch)

    def __enter__(self) -> StateBackend:
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the store, which writes its memory to disk. The next start need not read it from Kafka."""
        self.store.close()
