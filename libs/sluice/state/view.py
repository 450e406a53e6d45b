"""A view: one partition of a compacted state topic, as a map in the local store. The map is complete up to the offset
of its checkpoint.

The writes of a batch stay in memory until the batch is committed. Then they are written to the store together with the
new checkpoint. So the store never contains anything that the Kafka topic does not contain.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import orjson
from confluent_kafka import Message

from sluice.kafka.log import LogReader
from sluice.state.store import Store, Write

RESTORE_SLICE_RECORDS = 1_000
# Half of delete.retention.ms (30 days). If a checkpoint is older than delete.retention.ms, compaction may have deleted
# tombstones that the view has not read.
CHECKPOINT_AGE_MAX_S = 15 * 86_400.0


class View:
    """One partition of a state topic as a map from keys to values.

    `layout`: the name of the form in which the caller stores what the topic contains; empty if it stores the topic's
    keys and values as they are. Each layout has its own data and checkpoint in the store. A view with a layout deletes
    what a view without one stored for the partition, so a process with older or newer code restores its own layout.
    """

    def __init__(self, store: Store, topic: str, partition: int, topic_id: str, layout: str = "") -> None:
        self.topic = topic
        self.partition = partition
        self._store = store
        self.topic_id = topic_id
        without_layout = f"{topic}/{partition}\0".encode()
        if layout:
            _forget(store, without_layout)
        self._prefix = f"{topic}/{partition}/{layout}\0".encode() if layout else without_layout
        self._checkpoint_key = _checkpoint_key(self._prefix)
        self._pending: dict[bytes, bytes | None] = {}
        self._order: list[bytes] | None = None  # the keys of `_pending` in their order; None: to be sorted again
        self.restored_to = 0
        self._first = 0  # the partition's first offset when the checkpoint was written
        self._complete_at_s = 0.0  # Unix time when the checkpoint was reached
        self._exact = False  # whether the store contains no record at or above the checkpoint
        self.checkpoint = self._read_checkpoint()

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, including the writes of the open batch; None if there is none."""
        if key in self._pending:
            return self._pending[key]
        return self._store.get(self._prefix + key)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The value of each of `keys`, in their order, like `get`, but read at once. Sorted keys are read fastest."""
        prefix, pending = self._prefix, self._pending
        stored = self._store.get_many([prefix + key for key in keys])
        return [pending.get(key, value) for key, value in zip(keys, stored, strict=True)]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write `value` for `key` in the open batch; None deletes the key."""
        if key not in self._pending:
            self._order = None
        self._pending[key] = value

    def scan(self, prefix: bytes = b"", after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The pairs of key and value whose key starts with `prefix` and is greater than `after`, in the order of the
        keys. They include the writes of the open batch."""
        start = len(self._prefix)
        beyond = self._prefix + after if after else b""
        stored = ((k[start:], 1, v) for k, v in self._store.scan(self._prefix + prefix, beyond))
        changed = [(k, 0, self._pending[k]) for k in self._pending_keys(prefix, after)]
        last: bytes | None = None
        for key, _, value in heapq.merge(stored, changed, key=lambda item: item[:2]):
            if key != last and value is not None:
                yield key, value
            last = key

    def _pending_keys(self, prefix: bytes, after: bytes) -> list[bytes]:
        """The keys written in the open batch that start with `prefix` and are greater than `after`.

        They are found by bisection, because a merger scans once for each entity with many claims. In a batch of 12,000
        such entities, to filter all keys instead costs 60 µs more for each entity.
        """
        if self._order is None:
            self._order = sorted(self._pending)
        order = self._order
        first = bisect_left(order, max(prefix, after))
        last = first
        while last < len(order) and order[last].startswith(prefix):
            last += 1
        return [key for key in order[first:last] if key > after or not after]

    def restore(
        self, reader: LogReader, apply: Callable[[list[Message]], None] | None = None, enough: int | None = None
    ) -> Iterator[None]:
        """Read the state topic's partition from the checkpoint to its end into the store. Yields after each 1,000
        messages. Call it only after the earlier owner of the partition is fenced, so that no record is added later.

        `enough`: an offset. Nothing is read if the store contains all records below it and no others. An empty view
        satisfies this at the first offset of the partition.

        `apply` is called with the next messages that have a key, and puts their contents into this view. By default,
        each message's value is put under its key. The checkpoint moves only when the caller calls `advance`, after its
        work on these messages.
        """
        at = (self.topic, self.partition)
        end, begin = reader.ends([at])[at], reader.beginnings([at])[at]
        if self.checkpoint > end or (self.checkpoint and self._first != begin):
            # If the checkpoint is after the end, the partition lost records, and the store may contain some that no
            # longer exist. If the first offset changed, records at the start were deleted, and a new owner could not
            # restore them.
            self.forget()
        self._first = begin
        if self._exact and max(self.checkpoint, begin) == enough:
            self.restored_to = enough
            return
        if self.checkpoint < end and self._exact:
            self._exact = False
            self._store.write([self._checkpoint_write()])
        apply = apply or self._put_all
        messages = (one for one in reader.read({at: (max(self.checkpoint, begin), end)}) if one.key() is not None)
        while slice_ := list(islice(messages, RESTORE_SLICE_RECORDS)):
            apply(slice_)
            self.advance()
            yield
        self.restored_to = end

    def _put_all(self, messages: list[Message]) -> None:
        for message in messages:
            self.put(message.key() or b"", message.value())

    def advance(self, checkpoint: int | None = None) -> None:
        """Called when the open batch is committed: writes the batch's changes and the new `checkpoint` to the store.
        `checkpoint`: the offset up to which the store is now complete; None keeps the old checkpoint."""
        writes: list[Write] = [(self._prefix + key, value) for key, value in self._pending.items()]
        if checkpoint is not None and (checkpoint > self.checkpoint or not self._exact):
            self.checkpoint, self._exact, self._complete_at_s = max(checkpoint, self.checkpoint), True, time.time()
            writes.append(self._checkpoint_write())
        if writes:
            self._store.write(writes)
        self.rollback()

    def rollback(self) -> None:
        """Called when the open batch is given up: drops the writes of the batch."""
        self._pending.clear()
        self._order = None

    def forget(self) -> None:
        """Delete all data and the checkpoint of this partition from the local store. The next `restore` reads the whole
        partition from Kafka."""
        self.rollback()
        _forget(self._store, self._prefix)
        self.checkpoint, self._exact, self._complete_at_s = 0, True, 0.0

    def _checkpoint_write(self) -> Write:
        """The write that stores the checkpoint."""
        stored = {
            "offset": self.checkpoint,
            "exact": self._exact,
            "first": self._first,
            "topic_id": self.topic_id,
            "at": self._complete_at_s,
        }
        return self._checkpoint_key, orjson.dumps(stored)

    def _read_checkpoint(self) -> int:
        raw = self._store.get(self._checkpoint_key)
        stored: dict[str, Any] = orjson.loads(raw) if raw else {}
        self._complete_at_s = stored.get("at", 0.0)
        fresh = time.time() - self._complete_at_s < CHECKPOINT_AGE_MAX_S
        self._first, self._exact = stored.get("first", 0), stored.get("exact", False)
        if stored.get("topic_id") == self.topic_id and fresh:
            return int(stored["offset"])
        self.forget()
        return 0


def _checkpoint_key(prefix: bytes) -> bytes:
    return b"\0checkpoint\0" + prefix


def _forget(store: Store, prefix: bytes) -> None:
    """Delete the checkpoint first: without it, data that is left behind by a crash is not used."""
    store.write([(_checkpoint_key(prefix), None)])
    store.drop(prefix)
