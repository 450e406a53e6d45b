"""The core of ingress-cdc, without I/O: messages of a slot in, batches of raw records with their mark out.

It decides three things, and everything that this stage promises rests on them:

* **Position.** `(epoch, Begin's final LSN, ordinal)`; the ordinal counts every row, truncate and transactional message
  of the transaction from 1, before any filter of ours, so that a resent transaction gets the same numbers.
* **What was published already.** After a restart the server resends from the last confirmed commit. An event at
  (final LSN, ordinal) not above the mark is dropped. Transactions arrive in commit order, so final LSNs rise; an
  event's own LSN would not do: transactions interleave in the log, and several events may share one.
* **The mark that a batch makes true** once it is durable (`sluice.cdc.slot_watermark.Mark`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sluice.cdc.column_json import PgType
from sluice.cdc.debezium import CannotFollow, Change, ReadAgain, Source, TableEvents, moment_of
from sluice.cdc.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Relation,
    Truncate,
    Update,
    decode,
    new_row_of,
)
from sluice.cdc.slot_watermark import Mark
from sluice.errors import Bug
from sluice.headers import ORIGIN_HEADER, POSITION_HEADER
from sluice.names import INGRESS_CDC
from sluice.position import Position
from sluice.raw.record import RawRecord, sweep_markers
from sluice_ingress_cdc.judgement import Action, Verdict
from sluice_ingress_cdc.oversize import PARKED, dead_letter, stand_in, without_before

CONTENT_TYPE = ("content-type", b"application/json")
_RECORD_OVERHEAD_BYTES = 160  # headers and Kafka's own framing
_ROW_OR_TRUNCATE = b"IUDT"
_MESSAGE = b"M"[0]
_TRANSACTIONAL = 1


class Shape(NamedTuple):
    """A shape that can be followed: the array and domain types that its columns may need, and the columns in doubt."""

    types: Mapping[int, PgType]
    doubtful: frozenset[str]


ShapeOf = Callable[[str, Relation], Shape | None]
"""Effect: judge the shape of a stream's table that the log tells; None if the table cannot be followed any more."""
Judged = Callable[[str, Verdict], None]
"""Effect: what an event shows of the stream's table."""
Truncated = Callable[[str, int], None]
"""Effect: the transaction that truncated the whole table of a stream."""


class Target(NamedTuple):
    """Where a table's changes go. `key_columns`: its primary key in declared order. What committed below `since_lsn`
    was in the table's snapshot."""

    stream: str
    topic: str
    partitions: int
    key_columns: tuple[str, ...]
    since_lsn: int = 0


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed: `targets` by the table's oid; everything else in the slot only counts."""

    source: Source
    epoch: int
    targets: Mapping[int, Target]
    dead_letter_topic: str
    record_bytes_max: int


class Batch(NamedTuple):
    """Records, and what is true of the slot once they are durable: `mark` is reached, and every transaction that
    committed below `complete_lsn` is wholly published (0: not known)."""

    records: list[RawRecord]
    mark: Mark
    complete_lsn: int


class OpenTransaction:
    """The transaction that is being sent. `published_to`: its events up to this ordinal were published before."""

    __slots__ = ("final_lsn", "moment", "ordinal", "origin", "position_prefix", "published_to")

    def __init__(self, begin: Begin, epoch: int, mark: Mark, previous_commit: int | None) -> None:
        self.final_lsn = begin.final_lsn
        self.ordinal = 0
        self.published_to = 0
        if begin.final_lsn <= mark.lsn:
            # Wholly below the mark, or the very one that it stands in.
            self.published_to = mark.ordinal if begin.final_lsn == mark.lsn else sys.maxsize
        self.moment = moment_of(begin, previous_commit)
        self.position_prefix = b"%d:%d:" % (epoch, begin.final_lsn)
        self.origin = (ORIGIN_HEADER, b"%d" % (begin.committed_us // 1_000))

    @property
    def mark(self) -> Mark:
        """What the events so far amount to; the lowest where all of them were published before."""
        return Mark(self.final_lsn, self.ordinal) if self.ordinal > self.published_to else Mark(0, 0)

    def headers(self) -> list[tuple[str, bytes]]:
        """Of the records of the event that is the transaction's newest."""
        return [(POSITION_HEADER, b"%b%d" % (self.position_prefix, self.ordinal)), self.origin, CONTENT_TYPE]


class Assembler:
    """Feed it a slot's messages in order; take batches whenever it suits. A batch never splits one message's records.

    Effects are handed in: `shape_of` asks the catalogs, `read_again` a row, `judged` tells of a table whose events lack
    what its records need, or are too large, `truncated` of the transaction that truncated a table. After an error it
    must be thrown away.
    """

    def __init__(
        self,
        followed: Followed,
        mark: Mark,
        shape_of: ShapeOf,
        read_again: ReadAgain,
        judged: Judged,
        truncated: Truncated,
    ) -> None:
        self._followed = followed
        self._shape_of = shape_of
        self._read_again = read_again
        self._judged = judged
        self._truncated = truncated
        self._held: set[str] = set()
        self._between = self._taken = mark  # the mark at the last place between transactions
        self._complete_lsn = mark.lsn if mark.ordinal == 0 else 0
        self._tables: dict[int, tuple[TableEvents, Target] | None] = {}
        self._open: OpenTransaction | None = None
        self._previous_commit: int | None = None
        self._records: list[RawRecord] = []
        self.bytes = 0

    @property
    def in_transaction(self) -> bool:
        return self._open is not None

    @property
    def has_records(self) -> bool:
        return bool(self._records)

    @property
    def mark(self) -> Mark:
        """How far the slot is published once everything gathered so far is durable."""
        return self._between if self._open is None else max(self._between, self._open.mark)

    @property
    def moved(self) -> bool:
        """Whether the next batch would carry a higher mark than the last one taken."""
        return self.mark > self._taken

    def feed(self, payload: bytes, lsn: int) -> None:
        """One message of the output plugin, at `lsn`."""
        kind = payload[0]
        if kind in _ROW_OR_TRUNCATE or (kind == _MESSAGE and payload[1] & _TRANSACTIONAL):
            transaction = self._open
            if transaction is None:
                raise Bug("pgoutput: a change outside of a transaction")
            transaction.ordinal += 1
            if transaction.ordinal > transaction.published_to:
                self._event(payload, lsn, transaction)
        elif kind != _MESSAGE:
            # A message outside of transactions is not part of what is resent, and no event.
            self._structure(payload)

    def idle(self, wal_end: int) -> None:
        """The server says that it has sent all that concerns us below `wal_end`.

        Between transactions that is as good as a commit's end. Within one it says nothing new: the server's place is
        still below the commit record whose changes it is sending.
        """
        if self._open is None:
            self._reached(wal_end)

    def drop(self, stream: str) -> None:
        """Publish no more of this table's changes; they still count."""
        self._held.add(stream)
        for oid, table in self._tables.items():
            if table is not None and table[1].stream == stream:
                self._tables[oid] = None

    def take(self) -> Batch:
        """Everything gathered since the last batch."""
        batch = Batch(self._records, self.mark, self._complete_lsn)
        self._records, self.bytes, self._taken = [], 0, batch.mark
        return batch

    def _structure(self, payload: bytes) -> None:
        message = decode(payload)
        if isinstance(message, Begin):
            self._open = OpenTransaction(message, self._followed.epoch, self._between, self._previous_commit)
        elif isinstance(message, Commit):
            self._open = None
            self._reached(message.end_lsn)
            self._previous_commit = message.commit_lsn
        elif isinstance(message, Relation):
            self._tables[message.oid] = self._table(message)

    def _table(self, relation: Relation) -> tuple[TableEvents, Target] | None:
        target = self._followed.targets.get(relation.oid)
        if target is None or target.stream in self._held:
            return None
        shape = self._shape_of(target.stream, relation)
        if shape is None:
            self._held.add(target.stream)
            return None
        try:
            events = TableEvents(self._followed.source, relation, target.key_columns, shape.types, shape.doubtful)
        except CannotFollow as error:
            self._cannot_follow(target.stream, error)
            return None
        return events, target

    def _cannot_follow(self, stream: str, error: CannotFollow) -> None:
        self._judged(stream, Verdict(Action.HOLD, error.why))
        self.drop(stream)

    def _reached(self, lsn: int) -> None:
        """Between transactions, with everything below `lsn` seen. Lower than the mark while it is being resent."""
        if Mark(lsn, 0) > self._between:
            self._between = Mark(lsn, 0)
            self._complete_lsn = lsn

    def _event(self, payload: bytes, lsn: int, transaction: OpenTransaction) -> None:
        relation = new_row_of(payload)
        if relation is None:
            self._rarer_event(payload, lsn, transaction)
            return
        table = self._tables[relation]
        if table is None or transaction.final_lsn < table[1].since_lsn:
            return
        written = table[0].written(payload, transaction.moment, lsn)
        if written is None:
            self._rarer_event(payload, lsn, transaction)
            return
        key, value = written
        size = len(key) + len(value)
        if size > self._followed.record_bytes_max:
            self._add([Change(key, value)], table[1], transaction)
            return
        # What `_add` does, without its calls: nearly every change goes this way.
        self._records.append(RawRecord(table[1].topic, key, value, transaction.headers()))
        self.bytes += size + _RECORD_OVERHEAD_BYTES

    def _rarer_event(self, payload: bytes, lsn: int, transaction: OpenTransaction) -> None:
        message = decode(payload)
        if isinstance(message, Truncate):
            for oid in message.relations:
                self._sweep(self._tables[oid], transaction)
            return
        if not isinstance(message, Insert | Update | Delete):
            return
        table = self._tables[message.relation]
        if table is None or transaction.final_lsn < table[1].since_lsn:
            return
        events, target = table
        try:
            self._add(self._changes(events, message, transaction, lsn), target, transaction)
        except CannotFollow as error:
            self._cannot_follow(target.stream, error)

    def _changes(
        self, events: TableEvents, message: Insert | Update | Delete, transaction: OpenTransaction, lsn: int
    ) -> list[Change]:
        if isinstance(message, Insert):
            return events.inserted(message, transaction.moment, lsn)
        if isinstance(message, Update):
            return events.updated(message, transaction.moment, lsn, self._read_again)
        return events.deleted(message, transaction.moment, lsn)

    def _sweep(self, table: tuple[TableEvents, Target] | None, transaction: OpenTransaction) -> None:
        """TRUNCATE: all keys of the table below this position are gone."""
        if table is None or transaction.final_lsn < table[1].since_lsn:
            return
        target = table[1]
        self._truncated(target.stream, transaction.moment.xid or 0)
        position = Position(self._followed.epoch, transaction.final_lsn, transaction.ordinal)
        for marker in sweep_markers(target.topic, target.stream, position, target.partitions):
            self._gather(marker._replace(headers=[*marker.headers, transaction.origin]))

    def _add(self, changes: list[Change], target: Target, transaction: OpenTransaction) -> None:
        headers = transaction.headers()
        for change in changes:
            records = records_of(change, target, headers, self._followed)
            if is_parked(records):
                self._judged(target.stream, PARKED)
            for record in records:
                self._gather(record)

    def _gather(self, record: RawRecord) -> None:
        self._records.append(record)
        self.bytes += len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES


def records_of(change: Change, target: Target, headers: list[tuple[str, bytes]], followed: Followed) -> list[RawRecord]:
    """The raw record of one change; if no raw topic would take it, a dead letter and what stands in its place."""
    more = [*headers, *change.headers] if change.headers else headers
    value = change.value
    if value is not None and len(value) + len(change.key) > followed.record_bytes_max:
        value = without_before(value)
    record = RawRecord(target.topic, change.key, value, more)
    if value is not None and len(value) + len(change.key) > followed.record_bytes_max:
        letter = dead_letter(INGRESS_CDC, record, followed.dead_letter_topic, followed.record_bytes_max)
        return [letter, stand_in(record)]
    return [record]


def is_parked(records: list[RawRecord]) -> bool:
    """Whether what `records_of` made is a dead letter and a stand-in."""
    return len(records) > 1
