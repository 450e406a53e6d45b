"""Known keys: the content hash of each key's newest record. With it only changes are published, and deletes are found.

It is a view of the raw topic, which keeps the newest record of each key forever. A lost local state is restored from
there, and nothing is stored here that Kafka does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from confluent_kafka import Message

from sluice.kafka import LogReader, murmur2_partition
from sluice.kafka.topics import Pinned
from sluice.state import Store, View
from sluice.state.view import Stored
from sluice_ingress_poller.page import content_hash


class KnownKeys(Protocol):
    """What a `StreamPoll` needs of them."""

    def get(self, key: bytes) -> bytes | None:
        """The content hash of the key's newest record; None if there is none or it was deleted."""

    def keys(self) -> Iterator[bytes]:
        """All keys that are not deleted."""

    def learn(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Store the hashes (None: deleted) of records whose transaction is committed."""


class RawTopicKeys:
    """The known keys of one stream in `store`, restored from all partitions of its raw topic."""

    def __init__(self, store: Store, topic: str, pinned: Pinned) -> None:
        self._partitions = pinned.partitions
        self._views = [View(store, topic, p, pinned.topic_id, _hash_of) for p in range(pinned.partitions)]
        self.records_read = 0

    def restore(self, reader: LogReader) -> Iterator[None]:
        """Read the raw topic to its end, in slices; call after fencing. `records_read` counts what was read."""
        for view in self._views:
            yield from view.restore(reader, self._count)
            view.advance(view.restored_to)

    def restore_all(self, reader: LogReader) -> Iterator[None]:
        """The same from the topic's first offset; the local state is dropped."""
        for view in self._views:
            view.forget()
        self.records_read = 0
        yield from self.restore(reader)

    def get(self, key: bytes) -> bytes | None:
        return self._view(key).get(key)

    def keys(self) -> Iterator[bytes]:
        for view in self._views:
            for key, _ in view.scan():
                yield key

    def learn(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, fingerprint in changes.items():
            self._view(key).put(key, fingerprint)
        for view in self._views:
            view.advance()

    def _view(self, key: bytes) -> View:
        return self._views[murmur2_partition(key, self._partitions)]

    def _count(self, _: bytes) -> None:
        self.records_read += 1


def _hash_of(_: bytes, message: Message, stored: Stored) -> bytes | None:
    value = message.value()
    # No value is a delete, an empty value a sweep marker: neither is a record of its key.
    return content_hash(bytes(value)) if value else None
