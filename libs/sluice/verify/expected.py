"""Computes from raw records alone which contributions must exist. It shares with the mapper only the decoding of a
record and the author's mapping.

In: the raw records of one partition of one stream, in log order. Out: the claims of each source key's newest state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import orjson

from sluice.canonical_json import canonical_bytes
from sluice.entities import Mapping
from sluice.errors import DeadRecord
from sluice.kafka.record import Record
from sluice.pipeline import SourceStream
from sluice.position import LOWEST, Position
from sluice.provenance import RawRef, contribution_key
from sluice.raw import raw_record
from sluice.raw.raw_record import LeftOut, Op, SourceChange


class ExpectedClaim(NamedTuple):
    """A claim that must exist. `says`: the digest of its fields; `version`: of its mapping; `observed_at`: µs UTC."""

    says: bytes
    position: Position
    version: int
    raw: RawRef
    observed_at: int


def said(fields: AnyMapping[str, Any], effective_at: int | None) -> bytes:
    """A digest of a claim's fields (16 bytes), equal for claims that say the same. It takes a tenth of the time of the
    content hash that contributions store."""
    try:
        text = orjson.dumps([fields, effective_at], option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer has more than 64 bits; as_read makes one of a float below 10^21
        text = canonical_bytes([dict(fields), effective_at])
    return hashlib.blake2b(text, digest_size=16).digest()


def as_read(fields: AnyMapping[str, Any]) -> AnyMapping[str, Any]:
    """The fields that a mapping returned, as they are after they were written to and read from a contribution:
    canonical JSON writes 1.0 as 1, which is read as an integer."""
    if not any(type(value) is float or type(value) is list for value in fields.values()):
        return fields
    return {name: _value_as_read(value) for name, value in fields.items()}


def _value_as_read(value: Any) -> Any:
    if type(value) is float:
        return msgspec.json.decode(canonical_bytes(value))
    return [_value_as_read(item) for item in value] if type(value) is list else value


class ExpectedDeadLetter(NamedTuple):
    """A raw record that must be a dead letter: no mapping can process it, and it is the newest record of its key."""

    position: Position
    raw: RawRef


@dataclass(slots=True)
class _Applied:
    position: Position = LOWEST
    claims: list[tuple[bytes, ExpectedClaim]] = field(default_factory=list)


@dataclass(slots=True)
class _Key:
    """What is known about one source key. `seen`: the highest position of its records; `deleted`: of its deletes;
    `applied` and `parked`: by mapping. `columns`: (value, position) by column, only if changes leave columns out."""

    seen: Position = LOWEST
    deleted: Position = LOWEST
    applied: dict[str, _Applied] = field(default_factory=dict)
    parked: dict[str, ExpectedDeadLetter] = field(default_factory=dict)
    columns: dict[str, tuple[Any, Position]] = field(default_factory=dict)


class StreamHistory:
    """The state of each source key of one partition of one stream. `mappings`: all mappings of the stream.

    `fills`: keep the columns of every key, because some record of the partition leaves columns out.
    """

    def __init__(self, stream: SourceStream, mappings: Sequence[Mapping], fills: bool = False) -> None:
        self._stream = stream
        self._mappings = mappings
        self._fills = fills
        self._keys: dict[str, _Key] = {}
        self._swept = LOWEST
        self._unplaced: list[ExpectedDeadLetter] = []

    def add(self, record: Record) -> str:
        """Add the next record of the log. Returns its source key; an empty string for a sweep, and for a record whose
        key or position cannot be read."""
        raw = RawRef(*record[:3])
        try:
            position = raw_record.position_of(record)
            if raw_record.is_sweep(record):
                raw_record.swept_at(record, self._stream.stream)
                self._sweep(position)
                return ""
            source_key = raw_record.source_key(record)
        except DeadRecord:
            self._unplaced.append(ExpectedDeadLetter(LOWEST, raw))
            return ""
        if position >= self._swept:
            self._change(self._keys.setdefault(source_key, _Key()), record, source_key, position, raw)
        return source_key

    def claims(self) -> Iterator[tuple[bytes, ExpectedClaim]]:
        """Every claim that must exist, with its contribution key."""
        for key in self._keys.values():
            for applied in key.applied.values():
                yield from applied.claims

    def parked(self) -> Iterator[tuple[str, str, ExpectedDeadLetter]]:
        """(source key, mapping, record) for each record that must be a dead letter. The mapping is "" if no mapping can
        process the record; the source key is "" if it cannot be read."""
        yield from (("", "", parked) for parked in self._unplaced)
        for source_key, key in self._keys.items():
            for mapping, parked in key.parked.items():
                if parked.position > self._newest(key, mapping):
                    yield source_key, mapping, parked

    @property
    def keys(self) -> int:
        return len(self._keys)

    @staticmethod
    def _newest(key: _Key, mapping: str) -> Position:
        applied = [one.position for name, one in key.applied.items() if mapping in ("", name)]
        return max([key.deleted, *applied])

    def _sweep(self, position: Position) -> None:
        if position < self._swept:
            return
        self._swept = position
        for key in self._keys.values():
            if key.seen < position:
                self._delete(key, position)
                key.seen = position

    def _change(self, key: _Key, record: Record, source_key: str, position: Position, raw: RawRef) -> None:
        newest = position >= key.seen
        key.seen = max(key.seen, position)
        read = raw_record.read_change if self._stream.kind == "cdc" else raw_record.read_polled
        try:
            change = read(record, source_key, position)
        except DeadRecord:
            key.parked[""] = ExpectedDeadLetter(position, raw)
            if newest:
                key.columns = {}
            return
        if change.op is Op.DELETE:
            self._delete(key, position)
            return
        row = self._whole_row(key, change, newest)
        if row is None:
            if not change.row_gone:
                key.parked[""] = ExpectedDeadLetter(position, raw)
        elif position > key.deleted:
            for mapping in self._mappings:
                self._apply(key, mapping, msgspec.structs.replace(change, row=row), raw)

    @staticmethod
    def _delete(key: _Key, position: Position) -> None:
        key.deleted = max(key.deleted, position)
        for applied in key.applied.values():
            if applied.position <= position:
                applied.position, applied.claims = position, []

    def _whole_row(self, key: _Key, change: SourceChange, newest: bool) -> dict[str, Any] | None:
        """The row, with each column that the change left out filled from earlier records; None if none has it."""
        if not self._fills:
            return change.row
        whole, complete = {}, True
        known: dict[str, tuple[Any, Position]] = {}
        for column, value in change.row.items():
            stated = (value, change.position)
            if isinstance(value, LeftOut):
                before = key.columns.get(column)
                if value is LeftOut.UNKNOWN or before is None or before[1] > change.position:
                    complete = False
                    continue
                stated = before
            whole[column] = stated[0]
            known[column] = stated
        if newest:
            key.columns = known
        return whole if complete else None

    def _apply(self, key: _Key, mapping: Mapping, change: SourceChange, raw: RawRef) -> None:
        applied = key.applied.get(mapping.name)
        if applied is not None and change.position <= applied.position:
            return
        try:
            mapped = mapping.apply(change.row)
        except DeadRecord:
            key.parked[mapping.name] = ExpectedDeadLetter(change.position, raw)
            return
        claims = []
        for claim in mapped:
            name = contribution_key(
                claim.entity_id, self._stream.source, self._stream.stream, change.key, mapping.name, claim.output
            )
            # The bytes that orjson returns occupy a buffer of kilobytes. A copy occupies only the length of the key.
            name = bytes(memoryview(name))
            says = said(as_read(claim.fields), claim.effective_at)
            claims.append((name, ExpectedClaim(says, change.position, mapping.version, raw, change.observed_at)))
        key.applied[mapping.name] = _Applied(change.position, claims)
