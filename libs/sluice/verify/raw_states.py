"""The state of each source key in a raw topic: its newest record by position, and records that repeat a position.

Unlike `expected`, this module maps no records, and it reads a log of any length in bounded memory.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import orjson

from sluice.errors import DeadRecord
from sluice.headers import TRUNCATED_HEADER, UNCHANGED_HEADER, UNKNOWN_HEADER
from sluice.kafka.record import Record
from sluice.position import LOWEST, PART_MAX, Position
from sluice.provenance import RawRef
from sluice.raw import raw_record
from sluice.verify.row_codes import LEFT_OUT, UNKNOWN, Columns, filled, unpacked
from sluice.verify.spill import BUCKETS, Spill

_ENTRY = struct.Struct("<qqqiqBBq")
HIGHEST = Position(PART_MAX, PART_MAX, PART_MAX)


class EntryKind(IntEnum):
    """The kind of a raw record. `TOMBSTONE`: its value is null. `OPAQUE`: its key exists, but the record does not
    contain the values. `UNREADABLE`: the mapper parks the record, so the state before it stays current."""

    ROW = 0
    DELETE = 1
    TOMBSTONE = 2
    OPAQUE = 3
    UNREADABLE = 4


class Entry(NamedTuple):
    """One raw record. `shown`: whether the snapshot of the source contains its change; `content`: a hash of its value;
    `codes`: the code of each column (see `row_codes`)."""

    position: Position
    partition: int
    offset: int
    kind: EntryKind
    shown: bool
    content: int
    codes: array[int]

    def packed(self) -> bytes:
        head = _ENTRY.pack(*self.position, self.partition, self.offset, self.kind, self.shown, self.content)
        return head + self.codes.tobytes()

    @classmethod
    def unpacked(cls, packed: bytes) -> Entry:
        epoch, major, minor, partition, offset, kind, shown, content = _ENTRY.unpack_from(packed)
        codes = unpacked(packed[_ENTRY.size :])
        return cls(Position(epoch, major, minor), partition, offset, EntryKind(kind), bool(shown), content, codes)


class SourceSnapshot(NamedTuple):
    """A snapshot of a source, which shows the changes of `epoch` whose transactions are visible in
    `pg_current_snapshot()`. `upper_lsn`: the end of the source's log, read after the snapshot was taken.

    An LSN alone cannot decide whether a change is visible: a transaction is in the log before it is visible. A
    transaction number alone cannot decide it either: the numbers wrap around.
    """

    epoch: int
    upper_lsn: int
    xmax: int
    in_progress: frozenset[int]

    def sees(self, position: Position, xid: int | None) -> bool:
        """Whether the snapshot shows the change at `position`. `xid`: the number of its transaction (32 bits), None for
        rows of a CDC snapshot and for tombstones."""
        if position.epoch != self.epoch:
            return position.epoch < self.epoch
        if position.major >= self.upper_lsn:
            return False
        # 64 GB of log contain fewer than half of all 32-bit transaction numbers, so a number is unambiguous in them.
        if xid is None or self.upper_lsn - position.major >= 2**36:
            return True
        distance = (xid - self.xmax) & 0xFFFFFFFF
        whole = self.xmax + distance - (2**32 if distance >= 2**31 else 0)
        return whole < self.xmax and whole not in self.in_progress


class NewestState(NamedTuple):
    """The state of a key at the snapshot of its source. `entry`: its newest record, None if the key does not exist.
    `moves`: raw contains newer records of the key, which the snapshot does not show. `beyond`: a record whose position
    the source has not reached, so the source cannot have written it."""

    entry: Entry | None
    moves: bool
    beyond: Entry | None = None

    @property
    def is_there(self) -> bool:
        return self.entry is not None and self.entry.kind in (EntryKind.ROW, EntryKind.OPAQUE)


NO_STATE = NewestState(None, moves=False)


class Doubled(NamedTuple):
    """Two records with the same key and position. `alike`: whether they have the same content."""

    key: str
    first: RawRef
    second: RawRef
    alike: bool


@dataclass
class RawLog:
    """The records of one raw topic, spilled to files.

    `envelopes`: whether the records are change events. `snapshot`: of the source; None if only repeated positions are
    checked. `reach`: the end of the source's log, read after raw was read. `sweeps`: the newest sweep by partition.
    """

    topic: str
    envelopes: bool
    spill: Spill
    columns: Columns = field(default_factory=Columns)
    snapshot: SourceSnapshot | None = None
    reach: Position = HIGHEST
    sweeps: dict[int, Position] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        position = _position(record)
        if raw_record.is_sweep(record):
            if position and (self.snapshot is None or self.snapshot.sees(position, None)):
                self.sweeps[record.partition] = max(position, self.sweeps.get(record.partition, LOWEST))
            return
        try:
            key = raw_record.source_key(record)
        except DeadRecord:
            return  # The mapper parks this record. `scan_raw` checks that its dead letter exists.
        self.spill.add(key.encode(), self._entry(record, position).packed())

    def _entry(self, record: Record, position: Position | None) -> Entry:
        kind, content, codes, xid = self._content(record)
        shown = position is None or self.snapshot is None or self.snapshot.sees(position, xid)
        return Entry(position or LOWEST, record.partition, record.offset, kind, shown, content, codes)

    def _content(self, record: Record) -> tuple[EntryKind, int, array[int], int | None]:
        """The kind, content hash, column codes and transaction number of a record."""
        nothing = array("q")
        if record.value is None:
            return EntryKind.TOMBSTONE, 0, nothing, None
        if not self.envelopes or TRUNCATED_HEADER in record.headers:
            # A truncated record replaces a record that is too large for the topic.
            return EntryKind.OPAQUE, hash(record.value), nothing, None
        try:
            envelope = orjson.loads(record.value)
            envelope = envelope["payload"] if envelope.keys() == {"schema", "payload"} else envelope
            xid = envelope["source"].get("txId")
            if envelope["op"] == "d":
                return EntryKind.DELETE, 0, nothing, xid
            after = envelope["after"]
            codes = self.columns.codes(after, left_out(record))
            # The hash covers neither the times of ingress's clock nor absent columns at the end: a copy of a record
            # that is read after the table got a column has the same hash.
            content = hash((envelope["op"], codes.tobytes().rstrip(b"\0")))
            return EntryKind.ROW, content, codes, xid
        except (ValueError, LookupError, TypeError, AttributeError):
            return EntryKind.UNREADABLE, hash(record.value), nothing, None

    def buckets(self, doubled: Callable[[Doubled], None]) -> Iterator[dict[str, NewestState]]:
        """Yields the states of all keys, bucket by bucket. Calls `doubled` for each record that repeats a position."""
        for bucket in range(BUCKETS):
            entries: dict[str, list[Entry]] = {}
            for key_bytes, packed in self.spill.take(bucket):
                entries.setdefault(key_bytes.decode(), []).append(Entry.unpacked(packed))
            for key, several in entries.items():
                for one in self._doubled(key, several):
                    doubled(one)
            yield {key: newest(several, self.sweeps, self.reach) for key, several in entries.items()}

    def _doubled(self, key: str, entries: Iterable[Entry]) -> Iterator[Doubled]:
        # A delete and its tombstone have the same position; no two other records of a key may have the same one.
        found: dict[tuple[Position, bool], Entry] = {}
        for one in entries:
            before = found.setdefault((one.position, one.kind is EntryKind.TOMBSTONE), one)
            if before is not one and one.position != LOWEST:
                first, second = (RawRef(self.topic, e.partition, e.offset) for e in (before, one))
                yield Doubled(key, first, second, before.content == one.content)


def newest(entries: Iterable[Entry], sweeps: Mapping[int, Position], reach: Position = HIGHEST) -> NewestState:
    """The newest state of one key by position. `entries`: its records in log order; `sweeps`: the newest sweep by
    partition; `reach`: the highest position that the source can have written."""
    current: Entry | None = None
    hidden: Position | None = None
    beyond: Entry | None = None
    for one in entries:
        if one.position > reach:
            beyond = one
        elif not one.shown or (one.kind is EntryKind.TOMBSTONE and one.position == hidden):
            hidden = one.position
        elif one.position == LOWEST:
            # Compaction removes every record of the key before a null, even before a null without a position.
            if one.kind is EntryKind.TOMBSTONE and current is not None:
                current = one._replace(position=current.position)
        elif current is None:
            current = one if one.kind is not EntryKind.UNREADABLE else None
        elif one.position >= current.position:
            current = _after(current, one)
    if current is not None and current.position < sweeps.get(current.partition, LOWEST):
        current = None
    return NewestState(current, hidden is not None, beyond)


def _after(before: Entry, one: Entry) -> Entry:
    if one.kind is EntryKind.UNREADABLE:
        deleted = before.kind in (EntryKind.DELETE, EntryKind.TOMBSTONE)
        return one._replace(kind=before.kind if deleted else EntryKind.OPAQUE)
    return one._replace(codes=filled(one.codes, before.codes))


def left_out(record: Record) -> dict[str, int]:
    """By column that a change left out, LEFT_OUT or UNKNOWN. Raises ValueError if a header cannot be decoded."""
    named = {}
    for header, code in ((UNCHANGED_HEADER, LEFT_OUT), (UNKNOWN_HEADER, UNKNOWN)):
        if header in record.headers:
            named.update(dict.fromkeys(orjson.loads(record.headers[header]), code))
    return named


def _position(record: Record) -> Position | None:
    try:
        return raw_record.position_of(record)
    except DeadRecord:
        return None
