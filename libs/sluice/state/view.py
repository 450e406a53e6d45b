"""A view: one partition of a compacted state topic, as a map in the local store. The map is complete up to the offset
of its checkpoint.

The writes of a batch stay in memory until the batch is committed. Then they are written to the store together with the
new checkpoint. So the store never contains anything that the Kafka topic does not contain.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from confluent_kafka import Message

from sluice.kafka.log import LogReader
from sluice.state.store import Store, Write

RESTORE_SLICE_RECORDS = 1_000
# Half of delete.retention.ms (30 days). If a checkpoint is older than delete.retention.ms, compaction may have deleted
# tombstones that the view has not read.
CHECKPOINT_AGE_MAX_S = 15 * 86_400.0

Stored = Callable[[], bytes | None]
Project = Callable[[bytes, Message, Stored], bytes | None]


class View:
    """One partition of a state topic as a map from keys to values.

    `project(key, message, stored)` returns the value to store for a message of the topic; None deletes the key. By
    default this is the value of the message. `stored()` returns the value that the store has for the key.
    """

    def __init__(self, store: Store, topic: str, partition: int, topic_id: str, project: Project | None = None) -> None:
        self.topic = topic
        self.partition = partition
        self._store = store
        self.topic_id = topic_id
        self._project = project
        self._prefix = f"{topic}/{partition}\0".encode()
        self._checkpoint_key = b"\0checkpoint\0" + self._prefix
        self._pending: dict[bytes, bytes | None] = {}
        self._order: list[bytes] = []  # the keys of `_pending` in their order
        self.restored_to = 0
        self._first = 0  # the partition's first offset when the checkpoint was written
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
            insort(self._order, key)
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
        """The keys written in the open batch that start with `prefix` and are greater than `after`. They are found by
        bisection, because a merger scans once for each entity."""
        first = bisect_left(self._order, max(prefix, after))
        last = first
        while last < len(self._order) and self._order[last].startswith(prefix):
            last += 1
        return [key for key in self._order[first:last] if key > after or not after]

    def restore(self, reader: LogReader, touched: Callable[[bytes], None] | None = None) -> Iterator[None]:
        """Read the state topic's partition from the checkpoint to its end into the store. Yields after each 1,000 keys.
        Call it only after the earlier owner of the partition is fenced, so that no record is added later.

        `touched` is called with each key that is read. The checkpoint moves only when the caller calls `advance`, after
        its work on these keys.
        """
        at = (self.topic, self.partition)
        end, begin = reader.ends([at])[at], reader.beginnings([at])[at]
        if self.checkpoint > end or (self.checkpoint and self._first != begin):
            # If the checkpoint is after the end, the partition lost records, and the store may contain some that no
            # longer exist. If the first offset changed, records at the start were deleted, and a new owner could not
            # restore them.
            self.forget()
        self._first = begin
        slice_: dict[bytes, bytes | None] = {}
        for message in reader.read({at: (max(self.checkpoint, begin), end)}):
            key = message.key()
            if key is None:
                continue
            slice_[self._prefix + key] = self._projected(key, message, slice_)
            if touched is not None:
                touched(key)
            if len(slice_) >= RESTORE_SLICE_RECORDS:
                self._store.write(slice_.items())
                slice_.clear()
                yield
        self._store.write(slice_.items())
        self.restored_to = end

    def _projected(self, key: bytes, message: Message, slice_: dict[bytes, bytes | None]) -> bytes | None:
        if self._project is None:
            return message.value()
        full = self._prefix + key
        return self._project(key, message, lambda: slice_[full] if full in slice_ else self._store.get(full))

    def advance(self, checkpoint: int | None = None) -> None:
        """Called when the open batch is committed: writes the batch's changes and the new `checkpoint` to the store.
        `checkpoint`: the offset up to which the store is now complete; None keeps the old checkpoint."""
        writes: list[Write] = [(self._prefix + key, value) for key, value in self._pending.items()]
        if checkpoint is not None and checkpoint > self.checkpoint:
            self.checkpoint = checkpoint
            stamp = {"offset": checkpoint, "first": self._first, "topic_id": self.topic_id, "at": time.time()}
            writes.append((self._checkpoint_key, orjson.dumps(stamp)))
        if writes:
            self._store.write(writes)
        self.rollback()

    def rollback(self) -> None:
        """Called when the open batch is given up: drops the writes of the batch."""
        self._pending.clear()
        self._order.clear()

    def forget(self) -> None:
        """Delete all data and the checkpoint of this partition from the local store. The next `restore` reads the whole
        partition from Kafka."""
        self.rollback()
        self._store.write([(self._checkpoint_key, None)])
        self._store.drop(self._prefix)
        self.checkpoint = 0

    def _read_checkpoint(self) -> int:
        raw = self._store.get(self._checkpoint_key)
        stamp: dict[str, Any] = orjson.loads(raw) if raw else {}
        fresh = time.time() - stamp.get("at", 0.0) < CHECKPOINT_AGE_MAX_S
        self._first = stamp.get("first", 0)
        if stamp.get("topic_id") == self.topic_id and fresh:
            return int(stamp["offset"])
        self.forget()
        return 0
