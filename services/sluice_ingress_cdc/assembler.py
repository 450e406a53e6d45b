"""The core of ingress-cdc, without I/O: messages of a slot in, batches of raw records with their mark out.

It decides three things, and everything that this stage promises rests on them:

* **Position.** `(epoch, Begin's final LSN, ordinal)`; the ordinal counts every row, truncate and transactional message
  of the transaction from 1, before any filter of ours, so that a resent transaction gets the same numbers.
* **What was published already.** After a restart the server resends from the last confirmed commit. An event at
  (final LSN, ordinal) not above the mark is dropped. Transactions arrive in commit order, so final LSNs rise; an
  event's own LSN would not do: transactions interleave in the log, and several events may share one.
* **The mark that a batch makes true** once it is durable (`sluice.postgres.slot_watermark.Mark`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sluice.errors import Bug
from sluice.position import HEADER as POSITION_HEADER
from sluice.position import Position
from sluice.postgres.debezium import Change, Moment, ReadAgain, Source, TableEvents, moment_of
from sluice.postgres.json_text import PgType
from sluice.postgres.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Relation,
    Truncate,
    Update,
    decode,
)
from sluice.postgres.slot_watermark import Mark
from sluice.stage.raw import ORIGIN_HEADER, RawRecord, sweep_markers
from sluice_ingress_cdc.oversize import dead_letter
from sluice_ingress_cdc.settings import STAGE

CONTENT_TYPE = ("content-type", b"application/json")
_RECORD_OVERHEAD_BYTES = 160  # headers and Kafka's own framing
_ROW_OR_TRUNCATE = b"IUDT"
_MESSAGE = b"M"[0]
_TRANSACTIONAL = 1

TypesOf = Callable[[Relation], Mapping[int, PgType]]
"""Effect: the array and domain types that a relation's columns may need."""


class Target(NamedTuple):
    """Where a table's changes go. `key_columns`: its primary key in declared order."""

    stream: str
    topic: str
    partitions: int
    key_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed: `targets` by (schema, table); everything else in the slot only counts."""

    source: Source
    epoch: int
    targets: Mapping[tuple[str, str], Target]
    dead_letter_topic: str
    record_bytes_max: int


class Batch(NamedTuple):
    """Records, and what is true of the slot once they are durable: `mark` is reached, and every transaction that
    committed below `complete_lsn` is wholly published (0: not known)."""

    records: list[RawRecord]
    mark: Mark
    complete_lsn: int


class Assembler:
    """Feed it a slot's messages in order; take batches whenever it suits. A batch never splits one message's records.

    Effects are handed in: `types_of` asks the catalog, `read_again` a row.
    """

    def __init__(self, followed: Followed, mark: Mark, types_of: TypesOf, read_again: ReadAgain) -> None:
        self._followed = followed
        self._types_of = types_of
        self._read_again = read_again
        self._mark = self._taken = mark
        self._complete_lsn = mark.lsn if mark.ordinal == 0 else 0
        self._tables: dict[int, tuple[TableEvents, Target] | None] = {}
        self._begin: Begin | None = None
        self._moment = Moment(0, None, None)
        self._ordinal = 0
        self._previous_commit: int | None = None
        self._records: list[RawRecord] = []
        self.bytes = 0

    @property
    def in_transaction(self) -> bool:
        return self._begin is not None

    @property
    def has_records(self) -> bool:
        return bool(self._records)

    @property
    def moved(self) -> bool:
        """Whether the next batch would carry a higher mark than the last one taken."""
        return self._mark > self._taken

    def feed(self, payload: bytes, lsn: int) -> None:
        """One message of the output plugin, at `lsn`. EnvironmentFault if a table's key is no more what it was."""
        kind = payload[0]
        if kind in _ROW_OR_TRUNCATE or (kind == _MESSAGE and payload[1] & _TRANSACTIONAL):
            self._event(payload, lsn)
        elif kind != _MESSAGE:
            # A message outside of transactions is not part of what is resent, and no event.
            self._structure(payload)

    def idle(self, wal_end: int) -> None:
        """The server says that it has sent all that concerns us below `wal_end`.

        Between transactions that is as good as a commit's end. Within one it says nothing new: the server's place is
        still below the commit record whose changes it is sending.
        """
        if self._begin is None:
            self._reached(wal_end)

    def take(self) -> Batch:
        """Everything gathered since the last batch."""
        batch = Batch(self._records, self._mark, self._complete_lsn)
        self._records, self.bytes, self._taken = [], 0, self._mark
        return batch

    def _structure(self, payload: bytes) -> None:
        message = decode(payload)
        if isinstance(message, Begin):
            self._begin, self._ordinal = message, 0
            self._moment = moment_of(message, self._previous_commit)
        elif isinstance(message, Commit):
            self._reached(message.end_lsn)
            self._previous_commit = message.commit_lsn
            self._begin = None
        elif isinstance(message, Relation):
            target = self._followed.targets.get((message.schema, message.table))
            self._tables[message.oid] = (
                None
                if target is None
                else (
                    TableEvents(self._followed.source, message, target.key_columns, self._types_of(message)),
                    target,
                )
            )

    def _reached(self, lsn: int) -> None:
        """Between transactions, with everything below `lsn` seen. Lower than the mark while it is being resent."""
        if Mark(lsn, 0) > self._mark:
            self._mark = Mark(lsn, 0)
            self._complete_lsn = lsn

    def _event(self, payload: bytes, lsn: int) -> None:
        if self._begin is None:
            raise Bug("pgoutput: a change outside of a transaction")
        self._ordinal += 1
        mark = Mark(self._begin.final_lsn, self._ordinal)
        if mark <= self._mark:
            return
        # Set only with the records in place: a key that cannot be written must not count as published.
        self._publish(payload, lsn, mark)
        self._mark = mark

    def _publish(self, payload: bytes, lsn: int, mark: Mark) -> None:
        message = decode(payload)
        if isinstance(message, Truncate):
            for oid in message.relations:
                self._sweep(self._tables[oid], mark)
            return
        if not isinstance(message, Insert | Update | Delete):
            return
        table = self._tables[message.relation]
        if table is None:
            return
        events, target = table
        if isinstance(message, Insert):
            changes = events.inserted(message, self._moment, lsn)
        elif isinstance(message, Update):
            changes = events.updated(message, self._moment, lsn, self._read_again)
        else:
            changes = events.deleted(message, self._moment, lsn)
        headers = self._headers(mark)
        for change in changes:
            self._add(record_of(change, target, headers, self._followed))

    def _sweep(self, table: tuple[TableEvents, Target] | None, mark: Mark) -> None:
        """TRUNCATE: all keys of the table below this position are gone."""
        if table is None:
            return
        target = table[1]
        position = Position(self._followed.epoch, mark.lsn, mark.ordinal)
        for marker in sweep_markers(target.topic, target.stream, position, target.partitions):
            self._add(marker._replace(headers=[*marker.headers, self._origin()]))

    def _headers(self, mark: Mark) -> list[tuple[str, bytes]]:
        position = b"%d:%d:%d" % (self._followed.epoch, mark.lsn, mark.ordinal)
        return [(POSITION_HEADER, position), self._origin(), CONTENT_TYPE]

    def _origin(self) -> tuple[str, bytes]:
        return (ORIGIN_HEADER, b"%d" % (self._moment.committed_us // 1_000))

    def _add(self, record: RawRecord) -> None:
        self._records.append(record)
        self.bytes += len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES


def record_of(change: Change, target: Target, headers: list[tuple[str, bytes]], followed: Followed) -> RawRecord:
    """The raw record of one change; a dead letter if no raw topic would take it."""
    more = [*headers, *change.headers] if change.headers else headers
    record = RawRecord(target.topic, change.key, change.value, more)
    if change.value is not None and len(change.value) + len(change.key) > followed.record_bytes_max:
        return dead_letter(STAGE, record, followed.dead_letter_topic, followed.record_bytes_max)
    return record
