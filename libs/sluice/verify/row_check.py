"""A round of one entity in one sink: its rows and tombstones compared with the newest canonical records, and the
provenance of the rows with raw."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from sluice.entities import EntityContract
from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader, StoredRow
from sluice.kafka.log import Partition
from sluice.provenance import RawRef
from sluice.schemas.decoder import DecodedCanonical
from sluice.verify.candidates import Candidate
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_logs import EntityTopics, NewestCanonical
from sluice.verify.report import Check, place
from sluice.verify.visible import RawIndex


def golden_says(contract: EntityContract, decoded: DecodedCanonical) -> bytes:
    """A digest of 16 bytes, to compare a canonical record with its row."""
    sluice = decoded.sluice
    fields = {name: decoded.fields.get(name) for name in contract.fields}
    return _digest(fields, sluice["revision"], sluice["updated_at"], sluice["contributors"], sluice["winners"])


def row_says(row: StoredRow) -> bytes:
    """The same digest of a stored row."""
    provenance = row.provenance
    return _digest(row.fields, row.revision, row.updated_at, provenance.get("contributors"), provenance.get("winners"))


def _digest(*parts: Any) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def row_findings(
    row: StoredRow, offset: int, epoch: int | None, decoded: DecodedCanonical
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """What is wrong with a row whose newest canonical record is at `offset` under the topic's `epoch`."""
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
    """What is wrong in the table with an entity whose newest canonical record is a tombstone."""
    if row is not None:
        yield "canonical-table", "exists, but its newest canonical record deletes it"
    if tombstone is None or tombstone < (epoch or 0, offset):
        yield "I4", "has no tombstone of its delete: an older record could restore the row"


class ExpectedRow(NamedTuple):
    """The newest canonical record of an id. `says`: the digest that its row must have; None if the record deletes the
    entity or cannot be read."""

    canonical: NewestCanonical
    says: bytes | None


class RowCheck:
    """Checks the rows of one entity in one sink. `dead`: places of the sink's dead letters."""

    def __init__(self, context: VerifyContext, sink: OpenSink, topics: EntityTopics, dead: Container[RawRef]) -> None:
        table = GoldenTable(sink.schema, topics.contract)
        self._context = context
        self._rows = GoldenReader(sink.connection, table)
        self._where = table.place
        self._topic = topics.canonical
        self._dead = dead
        self._epoch = self._rows.epoch(self._topic)

    def check(
        self,
        expected: Mapping[int, Mapping[str, ExpectedRow]],
        unstored: Container[str],
        provenance: ProvenanceCheck,
    ) -> None:
        """`expected` by partition and id; ids in `unstored` have canonical records that the sink has not processed."""
        tombstones = self._rows.tombstones(list(expected))
        left = {(p, entity_id) for p, ids in expected.items() for entity_id in ids}
        for row in self._rows.rows(list(expected)):
            self._context.report.checked["rows"] += 1
            provenance.check(self._where, row.entity_id, row.provenance.get("contributors", ()))
            left.discard((row.partition, row.entity_id))
            if row.entity_id not in unstored:
                one = expected[row.partition].get(row.entity_id)
                self._compare(row.partition, row.entity_id, row, one, tombstones.get(row.entity_id))
        for partition, entity_id in left:
            if entity_id not in unstored:
                one = expected[partition][entity_id]
                self._compare(partition, entity_id, None, one, tombstones.get(entity_id))

    def foreign_partitions(self) -> None:
        """Report rows of partitions that the topic does not have."""
        for entity_id, partition, offset in self._rows.strays(range(self._context.pipeline.partitions)):
            what = f"is of partition {partition}, which {self._topic} does not have (offset {offset})"
            self._context.report.found("canonical-table", self._where, entity_id, what)

    def _compare(
        self,
        partition: int,
        entity_id: str,
        row: StoredRow | None,
        expected: ExpectedRow | None,
        tombstone: tuple[int, int] | None,
    ) -> None:
        at, canonical = (self._topic, partition), None if expected is None else expected.canonical
        record = place(*at, canonical.offset) if canonical else f"{at[0]}/{partition}"
        for check, what in self._differences(partition, row, expected, tombstone):
            candidate = Candidate(check, f"{self._where}, {record}", entity_id, what, (at, entity_id))
            self._context.candidates.append(candidate)

    def _differences(
        self, partition: int, row: StoredRow | None, expected: ExpectedRow | None, tombstone: tuple[int, int] | None
    ) -> Iterator[tuple[Check, str]]:
        if expected is None:
            yield "canonical-table", "exists, but no canonical record does"
            return
        value, offset = expected.canonical.value, expected.canonical.offset
        row_remains = value is None and row is not None
        if not row_remains and RawRef(self._topic, partition, offset) in self._dead:
            self._context.report.checked["parked"] += 1
        elif value is None:
            yield from deleted_findings(row, tombstone, offset, self._epoch)
        elif row is None:
            yield "canonical-table", "has no row"
        elif expected.says is not None and (
            (row.epoch, row.offset) != (self._epoch, offset) or row_says(row) != expected.says
        ):
            yield from row_findings(row, offset, self._epoch, self._context.decode(value))


class ProvenanceCheck:
    """I6. `index`: the raw records that were read.

    Rows keep changing while they are checked, so for an offset beyond the known end the end is asked again.
    """

    def __init__(self, context: VerifyContext, index: RawIndex) -> None:
        names = context.pipeline.names
        self._raw_topics = {(m.source, m.stream): names.raw(m.source, m.stream) for m in context.mappings}
        self._context = context
        self._index = index
        self._ends: dict[Partition, int] = {}

    def check(self, where: str, entity_id: str, contributors: Iterable[Mapping[str, Any]]) -> None:
        """Resolve each contributor of a golden record to its raw record."""
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
            # Allowed: the newest record of its key is in its place.
            checked["compacted since"] += 1
        if found == "beyond" and self._is_beyond(at, one["offset"]):
            return f"names raw record {raw}, beyond the end of its log"
        if found == "other-key":
            return f"names raw record {raw}, which is of another source key"
        if found == "missing":
            return f"names raw record {raw}, which is not in the log, nor a newer one of its key"
        return ""
