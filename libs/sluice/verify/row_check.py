"""Compares the rows and tombstones of one entity in one sink with the newest canonical records, and the provenance of
each row with raw."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Literal

import orjson

from sluice.entities import EntityContract
from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader, StoredRow
from sluice.kafka.log import Partition
from sluice.provenance import RawRef
from sluice.schemas.decoder import DecodedCanonical
from sluice.verify.candidates import Candidate
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_logs import EntityPartition, NewestCanonical
from sluice.verify.offsets import RawIndex
from sluice.verify.report import Check, place


def golden_says(contract: EntityContract, decoded: DecodedCanonical) -> bytes:
    """A digest of a canonical record (16 bytes); its row must have the same digest, see `row_says`."""
    sluice = decoded.sluice
    fields = {name: decoded.fields.get(name) for name in contract.fields}
    return _digest(fields, sluice["revision"], sluice["updated_at"], sluice["contributors"], sluice["winners"])


def row_says(row: StoredRow) -> bytes:
    """A digest of a stored row; equal to `golden_says` of its canonical record if both have the same content."""
    provenance = row.provenance
    return _digest(row.fields, row.revision, row.updated_at, provenance.get("contributors"), provenance.get("winners"))


def _digest(*parts: Any) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def row_findings(
    row: StoredRow, offset: int, epoch: int | None, decoded: DecodedCanonical
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """Yields each difference of a row from its newest canonical record, which is at `offset` in the topic's `epoch` and
    has the value `decoded`."""
    if (row.epoch, row.offset) != (epoch, offset):
        yield "I4", f"is of epoch {row.epoch}, offset {row.offset}; the newest is of epoch {epoch}, offset {offset}"
        return
    other = sorted(name for name, value in row.fields.items() if value != decoded.fields.get(name))
    if other:
        yield "canonical-table", f"has another {', '.join(other)} than its canonical record"
    sluice = decoded.sluice
    if (row.revision, row.updated_at) != (sluice["revision"], sluice["updated_at"]):
        yield "canonical-table", "has another revision or time than its canonical record"
    if row.provenance != {"contributors": sluice["contributors"], "winners": sluice["winners"]}:
        yield "canonical-table", "has another provenance than its canonical record"


def deleted_findings(
    row: StoredRow | None, tombstone: tuple[int, int] | None, offset: int, epoch: int | None
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """Yields each error in the table about a deleted entity: its newest canonical record is a tombstone at `offset`.
    `tombstone`: the (epoch, offset) that the table stores for the delete."""
    if row is not None:
        yield "canonical-table", "exists, but its newest canonical record deletes it"
    if tombstone is None or tombstone < (epoch or 0, offset):
        yield "I4", "has no tombstone of its delete: an older record could restore the row"


class RowCheck:
    """Checks the rows of one entity in one sink. `dead`: the canonical records that the sink parked as dead letters."""

    def __init__(
        self, context: VerifyContext, sink: OpenSink, contract: EntityContract, dead: Container[RawRef]
    ) -> None:
        table = GoldenTable(sink.schema, contract)
        self._context = context
        self._sink = sink.name
        self._rows = GoldenReader(sink.connection, table)
        self._where = table.place
        self._topic = context.pipeline.names.canonical(contract.name)
        self._dead = dead
        self._epoch = self._rows.epoch(self._topic)

    def check(self, logs: Mapping[int, EntityPartition], provenance: ProvenanceCheck) -> None:
        """Compare the rows of a round of partitions with `logs`, by partition."""
        tombstones = self._rows.tombstones(list(logs))
        left = {(p, entity_id) for p, one in logs.items() for entity_id in one.canonical}
        for row in self._rows.rows(list(logs)):
            self._context.report.checked["rows"] += 1
            provenance.check(self._where, row.entity_id, row.provenance.get("contributors", ()))
            left.discard((row.partition, row.entity_id))
            self._compare(logs[row.partition], row.entity_id, row, tombstones.get(row.entity_id))
        for partition, entity_id in left:
            self._compare(logs[partition], entity_id, None, tombstones.get(entity_id))

    def foreign_partitions(self) -> None:
        """Report rows of partitions that the topic does not have."""
        for entity_id, partition, offset in self._rows.strays(range(self._context.pipeline.partitions)):
            what = f"is of partition {partition}, which {self._topic} does not have (offset {offset})"
            self._context.report.found("canonical-table", self._where, entity_id, what)

    def _compare(
        self, logs: EntityPartition, entity_id: str, row: StoredRow | None, tombstone: tuple[int, int] | None
    ) -> None:
        if entity_id in logs.unstored[self._sink]:
            return
        at, newest = logs.canonical_at, logs.canonical.get(entity_id)
        record = place(*at, newest.offset) if newest else f"{at[0]}/{at[1]}"
        for check, what in self._differences(at, row, newest, tombstone):
            candidate = Candidate(check, f"{self._where}, {record}", entity_id, what, (at, entity_id))
            self._context.candidates.append(candidate)

    def _differences(
        self, at: Partition, row: StoredRow | None, newest: NewestCanonical | None, tombstone: tuple[int, int] | None
    ) -> Iterator[tuple[Check, str]]:
        if newest is None:
            yield "canonical-table", "exists, but no canonical record does"
            return
        value, offset = newest.value, newest.offset
        row_remains = value is None and row is not None
        if not row_remains and RawRef(*at, offset) in self._dead:
            self._context.report.checked["parked"] += 1
        elif value is None:
            yield from deleted_findings(row, tombstone, offset, self._epoch)
        elif row is None:
            yield "canonical-table", "has no row"
        elif newest.says is not None and (
            (row.epoch, row.offset) != (self._epoch, offset) or row_says(row) != newest.says
        ):
            yield from row_findings(row, offset, self._epoch, self._context.decode(value))


class ProvenanceCheck:
    """Checks that each golden record names the raw records that its values come from (I6). `index`: the raw records
    that were read.

    Rows change while they are checked. So if a row names an offset beyond the end of a log, the end is read again.
    """

    def __init__(self, context: VerifyContext, index: RawIndex) -> None:
        names = context.pipeline.names
        self._raw_topics = {(m.source, m.stream): names.raw(m.source, m.stream) for m in context.mappings}
        self._context = context
        self._index = index
        self._ends: dict[Partition, int] = {}

    def check(self, where: str, entity_id: str, contributors: Iterable[Mapping[str, Any]]) -> None:
        """Find the raw record of each contributor of a golden record, and report a contributor without one."""
        for one in contributors:
            wrong = self._wrong(one)
            self._context.report.checked["provenances"] += 1
            if wrong:
                self._context.report.found("I6", where, entity_id, wrong)

    def _is_beyond(self, at: Partition, offset: int) -> bool:
        if offset >= self._ends.get(at, 0):
            self._ends |= self._context.reader.ends([at])
        return offset >= self._ends[at]

    def _wrong(self, one: Mapping[str, Any]) -> str:
        checked = self._context.report.checked
        topic, at = self._raw_topics.get((one["source"], one["stream"])), (one["topic"], one["partition"])
        raw = place(*at, one["offset"])
        if topic is None:
            checked["retired"] += 1
            return ""
        if topic != one["topic"]:
            return f"names raw record {raw}, but {one['source']}.{one['stream']} is in {topic}"
        found = self._index.resolve(at, one["offset"], one["source_key"])
        if found == "compacted":
            # This is no error: compaction removed the record, and the log has a newer record of its key.
            checked["compacted since"] += 1
        if found == "beyond" and self._is_beyond(at, one["offset"]):
            return f"names raw record {raw}, beyond the end of its log"
        if found == "other-key":
            return f"names raw record {raw}, which is of another source key"
        if found == "missing":
            return f"names raw record {raw}, which is not in the log, nor a newer one of its key"
        return ""
