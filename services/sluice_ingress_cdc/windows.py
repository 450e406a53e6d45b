"""Decides which rows of a table that is read during the stream are published, and when. Pure; decision record 0061.

A table is read in chunks. A chunk is read in a REPEATABLE READ transaction with snapshot S, while the stream goes on.
Transactions become visible in another order than their commit records have in the log. Therefore the snapshot itself
decides, and no place in the log does:

* A chunk is published between two transactions of the stream, when the stream has passed the log's end as it was when S
  was taken. Its rows get the position `(epoch, LSN of the stream's mark, 0)`.
* A row is dropped if a streamed transaction that S does not see changed its key: the stream has a newer state of it.
* S must see every transaction that had ended in the log, or was open, at the barrier: these have changed keys that this
  process does not know.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

_XIDS = 1 << 32
_KEYS_MAX: Final = 500_000
_ALL: Final = b""  # stands for every key of a table; no record has an empty key


class SourceSnapshot(NamedTuple):
    """A snapshot of the source (`pg_snapshot`): transactions below `xmin` have ended, those from `xmax` on and those of
    `xip` have not. Ids have 64 bits. The ids of subtransactions are not in it, and the stream does not name them."""

    xmin: int
    xmax: int
    xip: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> SourceSnapshot:
        """The snapshot that Postgres prints as `xmin:xmax:xip,xip`. Raises ValueError for another text."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, xip.split(","))) if xip else frozenset())

    def sees(self, xid: int) -> bool:
        """Whether transaction `xid` had ended. `xid`: its lower 32 bits, as the stream names it."""
        # The stream never names a transaction that is 2^31 ids away from the newest one: Postgres stops before.
        distance = (xid - self.xmax) % _XIDS
        full = self.xmax + (distance if distance < _XIDS // 2 else distance - _XIDS)
        return full < self.xmax and full not in self.xip


class StreamedKeys:
    """The keys that streamed transactions changed in the tables that are read now.

    The stream's thread calls `begin`, `changed` or `emptied` for each event that it publishes, and `end`. `keys_max`:
    above this number the keys are dropped and `barrier_due` is set: no chunk may be published before a new barrier.
    """

    def __init__(self, keys_max: int = _KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._reading: set[str] = set()
        self._transactions: deque[tuple[int, dict[str, set[bytes]]]] = deque()
        self._count = 0
        self.open: dict[str, set[bytes]] = {}
        """The changed keys of the newest transaction, by table; only of the tables that are read."""
        self.barrier_due = False

    def start(self, stream: str) -> None:
        """Record the changed keys of table `stream` from the next transaction on."""
        self._reading.add(stream)

    def stop(self, stream: str) -> None:
        self._reading.discard(stream)
        for _, changed in self._transactions:
            changed.pop(stream, None)

    def begin(self, xid: int) -> None:
        if self._reading:
            self.open = {stream: set() for stream in self._reading}
            self._transactions.append((xid, self.open))

    def end(self) -> None:
        """The newest transaction is complete."""
        keys = self._open_keys
        if not keys and self._transactions and self._transactions[-1][1] is self.open:
            self._transactions.pop()
        self._count += keys
        self.open = {}
        self.limit()

    def limit(self) -> None:
        """Drop all keys if there are too many. Call it now and then within a transaction: it may be of any size."""
        if self._count + self._open_keys > self._keys_max:
            self._transactions.clear()
            self._count, self.open, self.barrier_due = 0, {}, True

    def streamed(self, stream: str) -> list[tuple[int, set[bytes]]]:
        """The changed keys of table `stream` by transaction, oldest first."""
        return [(xid, keys) for xid, changed in self._transactions if (keys := changed.get(stream))]

    def changed(self, stream: str, key: bytes) -> None:
        if (keys := self.open.get(stream)) is not None:
            keys.add(key)

    def emptied(self, stream: str) -> None:
        """A TRUNCATE changes every key."""
        self.changed(stream, _ALL)

    def unseen(self, stream: str, snapshot: SourceSnapshot) -> UnseenKeys:
        """The keys of table `stream` that transactions changed which `snapshot` does not see."""
        found: set[bytes] = set()
        for xid, keys in self.streamed(stream):
            if not snapshot.sees(xid):
                found |= keys
        return UnseenKeys(_ALL in found, found)

    def forget(self, snapshot: SourceSnapshot) -> None:
        """Drop the transactions that `snapshot` sees: every later snapshot sees them too. Call it only if no chunk with
        an earlier snapshot is still to be published."""
        kept = [(xid, changed) for xid, changed in self._transactions if not snapshot.sees(xid)]
        self._transactions = deque(kept)
        self._count = sum(len(keys) for _, changed in kept for keys in changed.values())

    def passed_barrier(self) -> None:
        """A new barrier is made: snapshots that are taken from now on see every transaction that was dropped."""
        self.barrier_due = False

    @property
    def _open_keys(self) -> int:
        return sum(map(len, self.open.values()))


@dataclass(frozen=True, slots=True)
class UnseenKeys:
    """Keys that a snapshot shows in an outdated state. `every`: all keys of the table."""

    every: bool
    keys: set[bytes]

    def __contains__(self, key: bytes | None) -> bool:
        return self.every or key in self.keys

    def __bool__(self) -> bool:
        return bool(self.keys)


def may_be_published(snapshot: SourceSnapshot, wal_lsn: int, barrier_xid: int, mark_lsn: int) -> bool:
    """Whether a chunk is complete: nothing that its snapshot sees comes later in the stream, and every key that earlier
    processes published is as new in the snapshot.

    `wal_lsn`: the log's insert LSN after the snapshot was taken. `barrier_xid`: a transaction id that the source
    assigned after the table's first event was published by this process, or the process started. `mark_lsn`: the
    stream's mark between two transactions. Raises ValueError if the snapshot was taken before the barrier.
    """
    if not sees_all_before(snapshot, barrier_xid):
        raise ValueError("a chunk's snapshot does not see every transaction before its barrier")
    return mark_lsn >= wal_lsn


def sees_all_before(snapshot: SourceSnapshot, barrier_xid: int) -> bool:
    """Whether every transaction below `barrier_xid` has ended for `snapshot`."""
    return snapshot.xmin >= barrier_xid
