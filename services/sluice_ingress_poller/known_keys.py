"""The known keys of a stream, with the content hash of each key's newest record.

A record with a known hash is unchanged, and is not published again. A known key that an enumeration does not list may
be deleted. The known keys are a view of the raw topic, which keeps the newest record of each key forever. Lost local
state is restored from the topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

from confluent_kafka import Message

from sluice.kafka import LogReader, murmur2_partition
from sluice.kafka.topics import Pinned
from sluice.state import Store, View
from sluice_ingress_poller.page import content_hash


class KnownKeys(Protocol):
    """The known keys of a stream, as its state machine `StreamPoll` uses them."""

    def get(self, key: bytes) -> bytes | None:
        """The content hash of the newest record of `key`; None if `key` has no record or was deleted."""

    def keys(self) -> Iterator[bytes]:
        """All keys of the stream that are not deleted."""

    def learn(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Store the content hashes of published records (None: deleted) after their transaction is committed."""


class RawTopicKeys:
    """The known keys of one stream in `store`, restored from all partitions of its raw topic."""

    def __init__(self, store: Store, topic: str, pinned: Pinned) -> None:
        self._partitions = pinned.partitions
        self._views = [View(store, topic, p, pinned.topic_id) for p in range(pinned.partitions)]
        self.records_read = 0

    def restore(self, reader: LogReader) -> Iterator[None]:
        """Read the raw topic to its end, in slices. Call it after the previous owner is fenced.

        `records_read` counts the records that were read.
        """
        for view in self._views:
            yield from view.restore(reader, partial(self._restore_hashes, view))
            view.advance(view.restored_to)

    def restore_all(self, reader: LogReader) -> Iterator[None]:
        """Drop the local state and read the raw topic from its first offset to its end, in slices."""
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

    def _restore_hashes(self, view: View, messages: list[Message]) -> None:
        self.records_read += len(messages)
        for message in messages:
            value = message.value()
            # A record without a value is a delete, and one with an empty value is a sweep marker. Neither has a content
            # hash.
            view.put(message.key() or b"", content_hash(bytes(value)) if value else None)
