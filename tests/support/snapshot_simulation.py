"""A simulated source whose table is read in chunks during its stream, and the reader of it. No I/O.

The source has transactions with subtransactions, a log in commit order, and a visibility order of its own: a
transaction becomes visible some time after its commit record is in the log, as with synchronous replication. An update
moves its row to any block. The reader can be killed between any two steps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.position import Position
from sluice_ingress_cdc.windows import SourceSnapshot, StreamedKeys, may_be_published, sees_all_before

TABLE = "public.t"
EPOCH = 1
BLOCKS = 7
FIRST_XID = 3 * 2**32 - 12  # so that the 32-bit ids of the stream wrap around soon
OPEN, COMMITTED, ENDED, ABORTED = "open", "committed", "ended", "aborted"


@dataclass
class Version:
    """One version of a row in the heap."""

    key: str
    value: int
    block: int
    xmin: int
    xmax: int | None = None


class Event(NamedTuple):
    """One event of a transaction. `key` None: a TRUNCATE. `value` None: a delete."""

    key: str | None
    value: int | None


@dataclass
class Transaction:
    """`undone`: its subtransactions that were rolled back. `locks`: the keys it wrote; None in it: the whole table."""

    xid: int
    state: str = OPEN
    sub_xid: int = 0
    undone: set[int] = field(default_factory=set)
    locks: set[str | None] = field(default_factory=set)
    events: list[tuple[int, Event]] = field(default_factory=list)


class Commit(NamedTuple):
    start: int
    end: int
    xid: int
    events: list[Event]


class SimulatedSource:
    def __init__(self) -> None:
        self.next_xid = FIRST_XID
        self.latest_ended = FIRST_XID - 1
        self.lsn = 1000
        self.heap: list[Version] = []
        self.transactions: dict[int, Transaction] = {}
        self.top_of: dict[int, int] = {}
        self.wal: list[Commit] = []
        self.values = 0

    # ── what the application does ────────────────────────────────────────────────────────────────────────────

    def begin(self) -> Transaction:
        transaction = Transaction(self._assign())
        self.transactions[transaction.xid] = transaction
        self.top_of[transaction.xid] = transaction.sub_xid = transaction.xid
        return transaction

    def savepoint(self, transaction: Transaction) -> None:
        transaction.sub_xid = self._assign()
        self.top_of[transaction.sub_xid] = transaction.xid

    def roll_back_to_savepoint(self, transaction: Transaction) -> None:
        if transaction.sub_xid != transaction.xid:
            undone = transaction.sub_xid
            transaction.undone.add(undone)
            transaction.events = [(sub, event) for sub, event in transaction.events if sub != undone]
            for version in self.heap:
                if version.xmax == undone:
                    version.xmax = None
            transaction.sub_xid = transaction.xid

    def write(self, transaction: Transaction, key: str, block: int) -> bool:
        """Insert the key, or update it: the row moves to `block`. False if another transaction has the lock."""
        if not self._lock(transaction, key):
            return False
        self._remove(transaction, key)
        self.values += 1
        self.heap.append(Version(key, self.values, block, transaction.sub_xid))
        transaction.events.append((transaction.sub_xid, Event(key, self.values)))
        return True

    def delete(self, transaction: Transaction, key: str) -> bool:
        if not self._lock(transaction, key):
            return False
        if self._remove(transaction, key):
            transaction.events.append((transaction.sub_xid, Event(key, None)))
        return True

    def change_key(self, transaction: Transaction, old: str, new: str, block: int) -> None:
        if self._lock(transaction, old) and self._lock(transaction, new) and self._remove(transaction, old):
            transaction.events.append((transaction.sub_xid, Event(old, None)))
            self.write(transaction, new, block)

    def truncate(self, transaction: Transaction) -> None:
        if transaction.sub_xid == transaction.xid and self._lock(transaction, None):
            self.heap = []  # a snapshot from before does not show the rows any more either
            transaction.events.append((transaction.sub_xid, Event(None, None)))

    def write_commit_record(self, transaction: Transaction) -> None:
        transaction.state = COMMITTED
        if transaction.events:
            start = self.lsn
            self.lsn += 10
            self.wal.append(Commit(start, self.lsn, transaction.xid % 2**32, [e for _, e in transaction.events]))

    def become_visible(self, transaction: Transaction) -> None:
        transaction.state = ENDED
        self._ended(transaction)

    def abort(self, transaction: Transaction) -> None:
        if None in transaction.locks:
            self.write_commit_record(transaction)  # the model cannot bring back truncated rows
            self.become_visible(transaction)
            return
        transaction.state = ABORTED
        for version in self.heap:
            if version.xmax is not None and self.top_of[version.xmax] == transaction.xid:
                version.xmax = None
        self._ended(transaction)

    # ── what the reader sees ─────────────────────────────────────────────────────────────────────────────────

    def assign_barrier(self) -> int:
        """A new transaction id, whose transaction ends at once."""
        transaction = self.begin()
        self.abort(transaction)
        return transaction.xid

    def snapshot(self) -> SourceSnapshot:
        xmax = self.latest_ended + 1
        running = {t.xid for t in self.transactions.values() if t.state in (OPEN, COMMITTED) and t.xid < xmax}
        return SourceSnapshot(min(running, default=xmax), xmax, frozenset(running))

    @property
    def blocks(self) -> int:
        """The size of the table. Blocks of removed rows stay."""
        return max((v.block for v in self.heap), default=0) + 1

    @property
    def truncating(self) -> bool:
        """Whether a transaction has the lock that keeps readers out."""
        return any(None in t.locks for t in self.transactions.values() if t.state in (OPEN, COMMITTED))

    def rows(self, snapshot: SourceSnapshot, block: int) -> list[tuple[str, int]]:
        return [
            (v.key, v.value)
            for v in self.heap
            if v.block == block
            and self._visible(v.xmin, snapshot)
            and not (v.xmax is not None and self._visible(v.xmax, snapshot))
        ]

    def _visible(self, xid: int, snapshot: SourceSnapshot) -> bool:
        top = self.transactions[self.top_of[xid]]
        committed = top.state in (COMMITTED, ENDED) and xid not in top.undone
        return committed and top.xid < snapshot.xmax and top.xid not in snapshot.xip

    def _assign(self) -> int:
        self.next_xid += 1
        return self.next_xid - 1

    def _ended(self, transaction: Transaction) -> None:
        subs = [sub for sub, top in self.top_of.items() if top == transaction.xid]
        self.latest_ended = max(self.latest_ended, *subs)

    def _lock(self, transaction: Transaction, key: str | None) -> bool:
        others = [t for t in self.transactions.values() if t is not transaction and t.state in (OPEN, COMMITTED)]
        taken = {lock for t in others for lock in t.locks}
        if key in taken or None in taken or (key is None and taken):
            return False
        transaction.locks.add(key)
        return True

    def _remove(self, transaction: Transaction, key: str) -> bool:
        """Mark the current version of the key as removed. False if there is none."""
        for version in self.heap:
            if version.key == key and version.xmax is None and self._current(version.xmin, transaction):
                version.xmax = transaction.sub_xid
                return True
        return False

    def _current(self, xid: int, transaction: Transaction) -> bool:
        top = self.transactions[self.top_of[xid]]
        return xid not in top.undone and (top is transaction or top.state == ENDED)


class Published(NamedTuple):
    """A record of the raw topic. `key` None: a sweep marker. `value` None: a delete."""

    key: str | None
    value: int | None
    position: Position


class Progress(NamedTuple):
    """The durable state of the table's reading. `since_lsn` 0: it has not started. `blocks`: how many the table had
    then; `block`: the next block."""

    since_lsn: int = 0
    blocks: int = 0
    block: int = 0
    done: bool = False


@dataclass
class Durable:
    """The state in Kafka. `mark`: (LSN, ordinal) as in `sluice.cdc.watermarks.Mark`."""

    log: list[Published] = field(default_factory=list)
    mark: tuple[int, int] = (0, 0)
    progress: Progress = field(default_factory=Progress)


class ReadChunk(NamedTuple):
    block: int
    snapshot: SourceSnapshot
    wal_lsn: int
    rows: list[tuple[str, int]]


class Reader:
    """One process: it follows the stream from the durable mark and reads the chunks. Subclasses break one rule each."""

    keys_max = 1_000

    def __init__(self, source: SimulatedSource, durable: Durable) -> None:
        self.source, self.durable = source, durable
        self.mark, self.progress = durable.mark, durable.progress
        self.between = self.mark[1] == 0
        self.records: list[Published] = []
        self.keys = StreamedKeys(self.keys_max)
        self.chunks: deque[ReadChunk] = deque()
        self.next_block = self.progress.block
        if self.is_reading:
            self.keys.start(TABLE)
        self.barrier = source.assign_barrier()

    @property
    def is_reading(self) -> bool:
        return bool(self.progress.since_lsn) and not self.progress.done

    # ── the stream ───────────────────────────────────────────────────────────────────────────────────────────

    def stream_event(self) -> None:
        """Receive the next event, the end of a transaction with its last event; or a keepalive at the log's end."""
        lsn, ordinal = self.mark
        commit = next((c for c in self.source.wal if (c.end > lsn if self.between else c.start >= lsn)), None)
        if commit is None:
            self.mark = (self.source.lsn, 0)
            return
        done = 0 if self.between else ordinal
        if self.between or not self.keys.open:
            self.keys.begin(commit.xid)
        event = commit.events[done]
        self._event(event, Position(EPOCH, commit.start, done + 1))
        self.mark, self.between = (commit.start, done + 1), False
        if done + 1 == len(commit.events):
            self.keys.end()
            self.mark, self.between = (commit.end, 0), True

    def _event(self, event: Event, position: Position) -> None:
        if not self.progress.since_lsn or position.major < self.progress.since_lsn:
            return
        self.records.append(Published(event.key, event.value, position))
        if event.key is None:
            self.keys.emptied(TABLE)
        else:
            self.keys.changed(TABLE, event.key.encode())

    # ── the table ────────────────────────────────────────────────────────────────────────────────────────────

    def start_table(self) -> None:
        """Publish the table's events from now on; then the barrier, for the events before."""
        if self.between and not self.progress.since_lsn and self.mark[0]:
            self.progress = Progress(self.mark[0], self.source.blocks)
            self.keys.start(TABLE)
            self.barrier = self.source.assign_barrier()

    def read_chunk(self) -> None:
        if (
            not self.is_reading
            or self.next_block >= self.progress.blocks
            or self.source.truncating
            or len(self.chunks) > 2
        ):
            return
        if self.keys.barrier_due:
            self._start_again()
        snapshot = self.source.snapshot()
        if not self.may_read(snapshot):
            return
        rows = self.source.rows(snapshot, self.next_block)
        self.chunks.append(ReadChunk(self.next_block, snapshot, self.source.lsn, rows))
        self.next_block += 1

    def close_chunk(self) -> None:
        """Publish the oldest chunk if its window is over."""
        if not self.chunks or not self.between:
            return
        if self.keys.barrier_due:
            self._start_again()
            return
        chunk = self.chunks[0]
        if not self.is_complete(chunk):
            return
        self.chunks.popleft()
        position = self.position_of(chunk)
        for key, value in chunk.rows:
            if not self.is_dropped(key, chunk):
                self.records.append(Published(key, value, position))
        self.forget(chunk)
        self.progress = self.progress._replace(block=chunk.block + 1)
        if self.progress.block == self.progress.blocks:
            self.records.append(Published(None, None, self.sweep_position(position)))
            self.keys.stop(TABLE)
            self.progress = self.progress._replace(done=True)

    def publish(self) -> None:
        """One Kafka transaction."""
        self.durable.log += self.records
        self.records = []
        self.durable.mark, self.durable.progress = self.mark, self.progress

    def _start_again(self) -> None:
        self.chunks.clear()
        self.next_block = self.progress.block
        self.barrier = self.source.assign_barrier()
        self.keys.passed_barrier()

    # ── the rules, which subclasses break ────────────────────────────────────────────────────────────────────

    def may_read(self, snapshot: SourceSnapshot) -> bool:
        return sees_all_before(snapshot, self.barrier)

    def is_complete(self, chunk: ReadChunk) -> bool:
        return may_be_published(chunk.snapshot, chunk.wal_lsn, self.barrier, self.mark[0])

    def is_dropped(self, key: str, chunk: ReadChunk) -> bool:
        return key.encode() in self.keys.unseen(TABLE, chunk.snapshot)

    def position_of(self, chunk: ReadChunk) -> Position:
        return Position(EPOCH, self.mark[0], 0)

    def sweep_position(self, last: Position) -> Position:
        return Position(EPOCH, self.progress.since_lsn, 0)

    def forget(self, chunk: ReadChunk) -> None:
        self.keys.forget(chunk.snapshot)


def represented(log: list[Published]) -> dict[str, int]:
    """The rows that a mapper has after the whole log: an older position loses, a sweep deletes the keys below it."""
    newest: dict[str, Published] = {}
    for record in log:
        if record.key is not None:
            if record.key not in newest or record.position >= newest[record.key].position:
                newest[record.key] = record
            continue
        newest = {key: r for key, r in newest.items() if r.position >= record.position}
    return {key: r.value for key, r in newest.items() if r.value is not None}


def require_order(log: list[Published]) -> None:
    """Per key the positions rise with the log, so that compaction keeps the newest record. Two records with one
    position would be two states of which consumers would not know the newer one."""
    at: dict[str, Position] = {}
    for record in log:
        if record.key is not None:
            assert record.key not in at or record.position > at[record.key], f"{record} after {at[record.key]}"
            at[record.key] = record.position
