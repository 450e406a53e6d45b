"""The core of ingress-cdc, without I/O: messages of a slot in, batches of raw records with their mark out.

The assembler decides three things that all promises of this stage depend on:

* **The position of an event**: `(epoch, Begin's final LSN, ordinal)`. The ordinal counts every row, truncate and
  transactional message of the transaction from 1, before any filter. A resent transaction therefore gets the same
  ordinals.
* **Whether an event is already published.** After a restart the server resends from the last confirmed commit. An event
  is dropped if its (final LSN, ordinal) is not above the mark. Transactions arrive in commit order, so their final LSNs
  rise. The LSNs of single events do not rise: transactions interleave in the log, and several events may share one LSN.
* **The mark of a batch**: how far the slot is published when the batch is durable (`sluice.cdc.watermarks.Mark`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple

from sluice.cdc.column_json import PgType
from sluice.cdc.continuity import Continuity
from sluice.cdc.debezium import CannotFollow, ChangeEvent, NextBlock, NoRow, TableEvents, TransactionInfo, no_block
from sluice.cdc.event_schema import ColumnCatalog
from sluice.cdc.other_topics import DDL_PREFIX, MESSAGES, OtherRecords, TransactionCounts
from sluice.cdc.pgoutput import Begin, Commit, Delete, Insert, Message, Origin, Relation, Row, Truncate, Update, decode
from sluice.cdc.table_facts import TableBinding
from sluice.cdc.watermarks import Mark, Proof
from sluice.errors import Bug
from sluice.headers import ORIGIN_HEADER, POSITION_HEADER
from sluice.position import Position
from sluice.raw.writing import RawRecord, sweep_markers
from sluice.times import now_us
from sluice_ingress_cdc.records import (
    CONTENT_TYPE,
    SlotTargets,
    TableTarget,
    has_dead_letter,
    records_of,
)
from sluice_ingress_cdc.table_changes import ROW_TOO_LARGE, TableOutcome, TableVerdict, relation_verdict
from sluice_ingress_cdc.table_events import table_events
from sluice_ingress_cdc.windows import StreamedKeys

_RECORD_OVERHEAD_BYTES = 160  # the bytes of a record's headers and of Kafka's framing, at most
_ROW, _DELETE = b"IUD", b"D"[0]
_ROW_OR_TRUNCATE = b"IUDT"
_MESSAGE = b"M"[0]
_int32 = Struct(">I").unpack_from
_record = tuple.__new__  # the constructor of a NamedTuple takes 0.4 µs, this 0.2 µs
_TRANSACTIONAL = 1


class TableShape(NamedTuple):
    """A shape that can be followed. `types`: the array and domain types of the database, by oid. `reread`: the columns
    whose values are read again from the source when an update leaves them out. `catalog`: what the catalogs say about
    the columns."""

    types: Mapping[int, PgType]
    reread: frozenset[str]
    catalog: Mapping[str, ColumnCatalog] = MappingProxyType({})


class NotVisibleYet(Exception):
    """The source must be queried about an event, but other sessions do not see the event's transaction yet.

    A commit that waits for a synchronous standby is in the log, but not visible: a query would return older values. The
    message was not processed; the caller must feed the same message again later.
    """


DecideShape = Callable[[str, Relation, int], TableShape | None]
"""Effect: decide whether the table of a stream can be followed in the shape that the log shows. The last argument is
the id of the transaction that contains the message. None: the table is blocked. May raise NotVisibleYet."""
RereadRow = Callable[[TableEvents, Sequence[bytes], int], "Row | NoRow"]
"""Effect: read the current row of a table with a primary key (text values, in key order) from the source. The last
argument is the id of the event's transaction. May raise NotVisibleYet."""
OnVerdict = Callable[[str, TableVerdict], None]
"""Effect: apply a verdict about the table of a stream; an event of the table led to the verdict."""
OnTruncate = Callable[[str, int], None]
"""Effect: record that a transaction (its id) truncated the whole table of a stream."""


class SlotBatch(NamedTuple):
    """Records of a slot, and what their publication makes true.

    When the records are durable, the slot is published up to `mark`. Every transaction that committed below
    `complete_lsn` is then published as a whole (0: not known). `proof`: the newest transaction below the mark.

    Then `complete_lsn` may be confirmed to Postgres, and no higher LSN: Postgres discards the log below a confirmed LSN
    for good. `complete_lsn` is the end of a commit, or the LSN of a keepalive or of a message between transactions. It
    is never above the mark, and the watermark contains the mark: the confirmed LSN never exceeds the watermark. At a
    start the server therefore sends all changes above the watermark again. The LSN of a single event must not be
    confirmed: the event's transaction, or a transaction interleaved with it, may commit later.
    """

    records: list[RawRecord]
    mark: Mark
    complete_lsn: int
    proof: Proof | None = None
    counts: Mapping[str, int] = {}
    """The published events of the transaction that the mark is within, by table. Empty if they are not counted."""
    commit_lsn: int = 0
    """The end of the newest commit that the batch contains or follows; 0 if not known."""


class OpenTransaction:
    """The transaction that is being received. Its events up to ordinal `published_to` were published before."""

    __slots__ = ("begin_lsn", "counts", "final_lsn", "info", "ordinal", "origin", "position_prefix", "published_to")

    def __init__(self, begin: Begin, lsn: int, epoch: int, mark: Mark, previous_commit: int | None) -> None:
        self.final_lsn = begin.final_lsn
        self.begin_lsn = lsn
        self.counts: TransactionCounts | None = None
        self.ordinal = 0
        self.published_to = 0
        if begin.final_lsn <= mark.lsn:
            # The whole transaction is below the mark, or the mark is within it.
            self.published_to = mark.ordinal if begin.final_lsn == mark.lsn else sys.maxsize
        self.info = TransactionInfo(begin.committed_us, begin.xid, previous_commit)
        self.position_prefix = b"%d:%d:" % (epoch, begin.final_lsn)
        self.origin = (ORIGIN_HEADER, b"%d" % (begin.committed_us // 1_000))

    @property
    def is_published(self) -> bool:
        """Whether the whole transaction was published before."""
        return self.published_to == sys.maxsize

    @property
    def mark(self) -> Mark:
        """The mark after the events received so far; the lowest mark if all of these were published before."""
        return Mark(self.final_lsn, self.ordinal) if self.ordinal > self.published_to else Mark(0, 0)

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers for the records of the newest event of this transaction."""
        return [(POSITION_HEADER, b"%b%d" % (self.position_prefix, self.ordinal)), self.origin, CONTENT_TYPE]


class Assembler:
    """Turns the messages of one slot into batches of raw records.

    `continuity`: compares the stream with the watermark, whose proof is `proof`.

    The caller passes the messages to `feed` in order and may `take` a batch between two messages. The caller supplies
    the effects. `decide_shape` reads the catalogs, `reread_row` reads a row. `on_verdict` is called for a table whose
    events are too large or lack what its records need. `on_truncate` is called for each TRUNCATE, `on_ddl` for each
    message of the event trigger. `counts` and `commit_lsn`: those of the batch whose mark is `mark`. After an error the
    assembler must not be used any more.
    """

    def __init__(
        self,
        targets: SlotTargets,
        mark: Mark,
        decide_shape: DecideShape,
        reread_row: RereadRow,
        on_verdict: OnVerdict,
        on_truncate: OnTruncate,
        continuity: Continuity | None = None,
        proof: Proof | None = None,
        on_ddl: Callable[[], None] = lambda: None,
        counts: Mapping[str, int] = {},
        commit_lsn: int = 0,
    ) -> None:
        self._targets = targets
        self._decide_shape = decide_shape
        self._reread_row = reread_row
        self._on_verdict = on_verdict
        self._on_truncate = on_truncate
        self._on_ddl = on_ddl
        self._mark, self._counts = mark, counts
        self.other = OtherRecords(targets.source, targets.form, targets.other, targets.register)
        self._encodes = not targets.skipped & {b"c", b"u", b"d"}
        self._dropped: set[str] = set()
        self._continuity = continuity
        self._proof = proof
        self._between = self._taken = mark  # `_between`: the newest mark between two transactions
        self._tables: dict[int, tuple[TableEvents, TableTarget] | None] = {}
        self._relations: dict[int, Relation] = {}
        self.keys = StreamedKeys()
        self.after_commit: Callable[[], None] | None = None
        """Called between two transactions, after each commit."""
        self._open: OpenTransaction | None = None
        self._previous_commit: int | None = commit_lsn or None
        self._committed_us = 0
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
        """How far the slot is published when all records fed so far are durable."""
        return self._between if self._open is None else max(self._between, self._open.mark)

    @property
    def complete_lsn(self) -> int:
        """The LSN to confirm when all records fed so far are durable (see `SlotBatch`). It is 0 after a start within a
        transaction: no LSN may be confirmed before the end of that transaction."""
        return self._between.lsn if self._between.ordinal == 0 else 0

    @property
    def moved(self) -> bool:
        """Whether the next batch would move the watermark: its mark is above that of the batch taken last."""
        return self.mark > self._taken

    def feed(self, payload: bytes, lsn: int) -> None:
        """Process one message of the output plugin. `lsn`: its place in the log.

        Raises NotVisibleYet if the message cannot be processed yet; then feed it again before any other message.
        """
        kind = payload[0]
        if kind in _ROW and self._encodes and self._encode(payload, lsn):
            return
        if kind in _ROW_OR_TRUNCATE or (kind == _MESSAGE and payload[1] & _TRANSACTIONAL):
            transaction = self._open
            if transaction is None:
                raise Bug("pgoutput: a change outside of a transaction")
            transaction.ordinal += 1
            if transaction.ordinal > transaction.published_to:
                try:
                    self._event(payload, lsn, transaction)
                except NotVisibleYet:
                    transaction.ordinal -= 1  # the message comes again
                    raise
        else:
            self._structure(payload, lsn)

    def idle(self, wal_end: int) -> None:
        """Process a keepalive: the server has sent every message of this slot below `wal_end`.

        Between transactions the mark rises to `wal_end`, as at the end of a commit. Within a transaction `wal_end` is
        ignored: it is still below the commit record of the transaction that the server is sending.
        """
        if self._open is None and self._continuity is not None:
            self._continuity.idle(wal_end)
        if self._open is None:
            self._reached(wal_end)

    def drop(self, stream: str) -> None:
        """Publish no more changes of this table. Its events still count in the ordinals."""
        self._dropped.add(stream)
        for oid, table in self._tables.items():
            if table is not None and table[1].stream == stream:
                self._tables[oid] = None

    def follow(self, oid: int, target: TableTarget, bound: TableBinding) -> None:
        """Publish the changes of a table from the next transaction on.

        They have the shape that the log showed last. If this shape is older than `bound`, the server sends another one
        before the next change.
        """
        self._targets.by_oid[oid] = target
        self._dropped.discard(target.stream)
        self._tables.pop(oid, None)
        shape = self._relations.get(oid)
        if shape is not None and relation_verdict(bound, shape).outcome is not TableOutcome.FOLLOW:
            del self._relations[oid]
        self.reshape(oid)

    def reshape(self, oid: int) -> None:
        """Decide again how the columns of a table are published. Call it between two transactions."""
        if oid in self._relations:
            self._tables[oid] = self._table(self._relations[oid])

    def add(self, records: Iterable[RawRecord], size_bytes: int) -> None:
        """Add records to the batch that are no events of the slot. Call it between two transactions."""
        self._records.extend(records)
        self.bytes += size_bytes

    def take(self) -> SlotBatch:
        """The records fed since the last batch, as a new batch."""
        self.keys.limit()
        counts = self._open.counts.by_table if self._open is not None and self._open.counts is not None else {}
        batch = SlotBatch(
            self._records, self.mark, self.complete_lsn, self._proof, dict(counts), self._previous_commit or 0
        )
        self._records, self.bytes, self._taken = [], 0, batch.mark
        return batch

    def _structure(self, payload: bytes, lsn: int) -> None:
        message = decode(payload)
        if isinstance(message, Begin):
            if self._continuity is not None:
                self._continuity.begin(message)
            self._begin(message, lsn)
        elif isinstance(message, Commit):
            self._prove()
            self._commit(message)
        elif isinstance(message, Origin) and self._open is not None:
            self._open.info = self._open.info._replace(origin=message.name, origin_lsn=message.commit_lsn)
        elif isinstance(message, Relation):
            self._relations[message.oid] = message
            self._tables[message.oid] = self._table(message)
        elif isinstance(message, Message) and lsn >= self._between.lsn:
            # A message outside of transactions is sent between two commits, and again after a restart if it is above
            # the confirmed LSN. No commit record begins within the message: the mark may rise above its LSN.
            self._reached(lsn + 1)
            if self._targets.other.publishes(message.prefix):
                transaction = TransactionInfo(self._committed_us or now_us(), None, self._previous_commit)
                headers = [(POSITION_HEADER, b"%d:%d:0" % (self._targets.epoch, lsn)), CONTENT_TYPE]
                self._add_other(self._targets.other.messages, self.other.message(message, transaction, lsn), headers)

    def _begin(self, begin: Begin, lsn: int) -> None:
        transaction = OpenTransaction(begin, lsn, self._targets.epoch, self._between, self._previous_commit)
        if self._targets.other.transactions is not None and not transaction.is_published:
            is_resumed = transaction.final_lsn == self._mark.lsn and self._mark.ordinal
            transaction.counts = TransactionCounts(self._counts if is_resumed else {})
        self._open = transaction
        self.keys.begin(begin.xid)

    def _commit(self, commit: Commit) -> None:
        transaction, self._open = self._open, None
        if transaction is not None and transaction.counts is not None and transaction.counts.total:
            end = self.other.end(transaction.info, commit.end_lsn, transaction.counts)
            self._add_other(self._targets.other.transactions, end, transaction.headers())
        if transaction is not None:
            self._committed_us = transaction.info.committed_us
        self._reached(commit.end_lsn)
        self._previous_commit = commit.end_lsn
        self.keys.end()
        if self.after_commit is not None:
            self.after_commit()

    def _count(self, stream: str, lsn: int, transaction: OpenTransaction) -> bytes:
        """Count an event of the table `stream`. Returns the JSON of its `transaction`. The first event of a transaction
        writes the start of the transaction."""
        counts = transaction.counts
        if counts is None:
            return b"null"
        if not counts.total:
            begin = self.other.begin(transaction.info, transaction.begin_lsn)
            self._add_other(self._targets.other.transactions, begin, transaction.headers())
        block = counts.next_block(stream, transaction.info, lsn)
        counts.count(stream)
        return block

    def _add_other(self, topic: str | None, record: tuple[bytes, bytes], headers: list[tuple[str, bytes]]) -> None:
        if topic is not None:
            self._append(RawRecord(topic, *record, headers))

    def _prove(self) -> None:
        """Make the open transaction, which ends now, the newest proof, unless it is one that the server resends."""
        transaction = self._open
        if transaction is not None and (self._proof is None or transaction.final_lsn > self._proof.final_lsn):
            info = transaction.info
            self._proof = Proof(transaction.final_lsn, info.committed_us, info.xid or 0)

    def _table(self, relation: Relation) -> tuple[TableEvents, TableTarget] | None:
        target = self._targets.by_oid.get(relation.oid)
        if target is None or target.stream in self._dropped:
            return None
        shape = self._decide_shape(target.stream, relation, self._open.info.xid or 0 if self._open else 0)
        if shape is None:
            self._dropped.add(target.stream)
            return None
        try:
            events = table_events(self._targets, target, relation, shape.types, shape.catalog, shape.reread)
        except CannotFollow as error:
            self._cannot_follow(target.stream, error)
            return None
        return events, target

    def _cannot_follow(self, stream: str, error: CannotFollow) -> None:
        self._on_verdict(stream, TableVerdict(TableOutcome.BLOCK, error.why))
        self.drop(stream)

    def _reached(self, lsn: int) -> None:
        """Raise the mark to `lsn`, except while the server resends transactions below the mark."""
        self._between = max(self._between, Mark(lsn, 0))

    def _encode(self, payload: bytes, lsn: int) -> bool:
        """Process a change of a row in one pass. Nearly every change takes this path, so it calls no more functions
        than it must. False if the change needs `_event`."""
        transaction = self._open
        if transaction is None:
            return False
        ordinal = transaction.ordinal + 1
        table = self._tables[_int32(payload, 1)[0]]
        if table is None or ordinal <= transaction.published_to or transaction.final_lsn < table[1].since_lsn:
            transaction.ordinal = ordinal
            return True
        events, target = table
        counts = transaction.counts
        block = b"null" if counts is None else counts.next_block(target.stream, transaction.info, lsn)
        encoded = events.encode(payload, transaction.info, lsn, block)
        if encoded is None:
            return False
        key, value = encoded
        size = len(key) + len(value)
        if size > self._targets.record_bytes_max:
            return False
        transaction.ordinal = ordinal
        if self.keys.open:
            self.keys.changed(target.stream, key)
        if counts is not None:
            self._count(target.stream, lsn, transaction)
        position = (POSITION_HEADER, b"%b%d" % (transaction.position_prefix, ordinal))
        headers = [position, transaction.origin, CONTENT_TYPE]
        self._records.append(_record(RawRecord, (target.topic, key, value, headers, None, None)))
        self.bytes += size + _RECORD_OVERHEAD_BYTES
        if payload[0] == _DELETE and events.form.tombstones:
            self._append(RawRecord(target.topic, key, None, headers))
        return True

    def _event(self, payload: bytes, lsn: int, transaction: OpenTransaction) -> None:
        message = decode(payload)
        if isinstance(message, Truncate):
            for oid in message.relations:
                self._truncate(self._tables[oid], lsn, transaction)
        elif isinstance(message, Message):
            self._message(message, lsn, transaction)
        elif isinstance(message, Insert | Update | Delete):
            table = self._tables[message.relation]
            if table is None or transaction.final_lsn < table[1].since_lsn:
                return
            try:
                self._add(self._changes(table, message, transaction, lsn), table[1], transaction)
            except CannotFollow as error:
                self._cannot_follow(table[1].stream, error)

    def _message(self, message: Message, lsn: int, transaction: OpenTransaction) -> None:
        if message.prefix == DDL_PREFIX:
            self._on_ddl()
        if self._targets.other.publishes(message.prefix):
            block = self._count(MESSAGES, lsn, transaction)
            event = self.other.message(message, transaction.info, lsn, block)
            self._add_other(self._targets.other.messages, event, transaction.headers())

    def _changes(
        self,
        table: tuple[TableEvents, TableTarget],
        message: Insert | Update | Delete,
        transaction: OpenTransaction,
        lsn: int,
    ) -> list[ChangeEvent]:
        """The records of a change, without those of skipped operations."""
        events, target = table
        skipped, info, xid = self._targets.skipped, transaction.info, transaction.info.xid or 0

        def write(next_block: NextBlock) -> list[ChangeEvent]:
            if isinstance(message, Insert):
                return events.inserted(message, info, lsn, next_block)
            if isinstance(message, Delete):
                return events.deleted(message, info, lsn, next_block)
            return events.updated(message, info, lsn, lambda table, key: self._reread_row(table, key, xid), next_block)

        if self._encodes:
            return write(lambda: self._count(target.stream, lsn, transaction))
        # Only the result shows whether an update changed the key: then it is a delete and a create.
        operations = _operations(message, len(write(no_block)))
        left = iter(operations)
        changes = write(lambda: b"null" if next(left) in skipped else self._count(target.stream, lsn, transaction))
        first = [] if operations[0] in skipped else changes[:-1]
        return [*first, *([] if operations[-1] in skipped else changes[-1:])]

    def _truncate(self, table: tuple[TableEvents, TableTarget] | None, lsn: int, transaction: OpenTransaction) -> None:
        """Publish a TRUNCATE: sweep markers, which delete all keys of the table below the position of the event; and
        Debezium's event if the topic accepts a record without a key."""
        if table is None or transaction.final_lsn < table[1].since_lsn:
            return
        events, target = table
        self._on_truncate(target.stream, transaction.info.xid or 0)
        self.keys.emptied(target.stream)
        if b"t" in self._targets.skipped:
            return
        position = Position(self._targets.epoch, transaction.final_lsn, transaction.ordinal)
        for marker in sweep_markers(target.topic, target.stream, position, target.partitions):
            self._append(marker._replace(headers=[*marker.headers, transaction.origin]))
        if not target.compacted:
            value = events.truncated(transaction.info, lsn, lambda: self._count(target.stream, lsn, transaction))
            self._append(RawRecord(target.topic, None, value, transaction.headers()))

    def _add(self, changes: list[ChangeEvent], target: TableTarget, transaction: OpenTransaction) -> None:
        headers = transaction.headers()
        for change in changes:
            self.keys.changed(target.stream, change.key)
            records = records_of(change, target, headers, self._targets)
            if has_dead_letter(records):
                self._on_verdict(target.stream, ROW_TOO_LARGE)
            for record in records:
                self._append(record)

    def _append(self, record: RawRecord) -> None:
        self._records.append(record)
        self.bytes += len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES


def _operations(message: Insert | Update | Delete, records: int) -> list[bytes]:
    """The operations of a change's events. `records`: the number of its records."""
    if isinstance(message, Update):
        return [b"u"] if records == 1 else [b"d", b"c"]
    return [b"c" if isinstance(message, Insert) else b"d"]
