"""One round of one entity in one sink: rows and tombstones held against the newest canonical records, and provenance
against raw."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sluice.golden.rows import GoldenReader, StoredRow
from sluice.kafka.log import Partition
from sluice.provenance import RawRef
from sluice.schemas.decoder import Decode
from sluice.verify.candidates import Candidate
from sluice.verify.canonical_log import NewestCanonical
from sluice.verify.report import Report, place
from sluice.verify.rows import deleted_findings, row_findings, row_says
from sluice.verify.visible import RawIndex


class ExpectedRow(NamedTuple):
    """The newest canonical record of an id; `says` is what its row must say, None if it deletes the entity or cannot
    be read."""

    golden: NewestCanonical
    says: bytes | None


class RowCheck:
    """`dead`: places of the sink's dead letters; `where` names the table."""

    def __init__(
        self,
        rows: GoldenReader,
        table: str,
        topic: str,
        dead: Container[RawRef],
        decode: Decode,
        report: Report,
        out: list[Candidate],
    ) -> None:
        self._rows = rows
        self._table = table
        self._topic = topic
        self._dead = dead
        self._decode = decode
        self._report = report
        self._out = out
        self._epoch = rows.epoch(topic)

    def check(
        self,
        newest: Mapping[int, Mapping[str, ExpectedRow]],
        unstored: Container[str],
        provenance: ProvenanceCheck,
    ) -> None:
        """`newest` by partition and id; ids in `unstored` have records that the sink has not done."""
        partitions = list(newest)
        tombstones = self._rows.tombstones(partitions)
        left = {(p, entity_id) for p, ids in newest.items() for entity_id in ids}
        for row in self._rows.rows(partitions):
            self._report.checked["rows"] += 1
            provenance.check(f"table {self._table}", row.entity_id, row.provenance.get("contributors", ()))
            left.discard((row.partition, row.entity_id))
            if row.entity_id not in unstored:
                self._row(row, newest[row.partition].get(row.entity_id), tombstones.get(row.entity_id))
        for partition, entity_id in left:
            if entity_id not in unstored:
                self._absent(partition, entity_id, newest[partition][entity_id], tombstones.get(entity_id))

    def strays(self, partitions: Sequence[int]) -> None:
        """Rows of partitions that the topic does not have."""
        for entity_id, partition, offset in self._rows.strays(partitions):
            what = f"is of partition {partition}, which {self._topic} does not have (offset {offset})"
            self._report.found("canonical-table", f"table {self._table}", entity_id, what)

    def _row(self, row: StoredRow, newest: ExpectedRow | None, tombstone: tuple[int, int] | None) -> None:
        if newest is None:
            self._add("canonical-table", row.partition, row.entity_id, "stands, and no canonical record does", None)
        elif newest.golden.value is None:
            for check, what in deleted_findings(row, tombstone, newest.golden.offset, self._epoch):
                self._add(check, row.partition, row.entity_id, what, newest.golden)
        elif newest.says is not None and not self._is_dead(row.partition, newest.golden):
            if (row.epoch, row.offset) == (self._epoch, newest.golden.offset) and row_says(row) == newest.says:
                return
            decoded = self._decode(newest.golden.value)
            for check, what in row_findings(row, newest.golden.offset, self._epoch, decoded):
                self._add(check, row.partition, row.entity_id, what, newest.golden)

    def _absent(self, partition: int, entity_id: str, newest: ExpectedRow, tombstone: tuple[int, int] | None) -> None:
        golden = newest.golden
        if self._is_dead(partition, golden):
            return
        if golden.value is not None:
            self._add("canonical-table", partition, entity_id, "has no row", golden)
            return
        for check, what in deleted_findings(None, tombstone, golden.offset, self._epoch):
            self._add(check, partition, entity_id, what, golden)

    def _is_dead(self, partition: int, golden: NewestCanonical) -> bool:
        dead = RawRef(self._topic, partition, golden.offset) in self._dead
        self._report.checked["parked"] += dead
        return dead

    def _add(self, check: Any, partition: int, entity_id: str, what: str, golden: NewestCanonical | None) -> None:
        at = (self._topic, partition)
        where = f"table {self._table}, {place(*at, golden.offset) if golden else f'{at[0]}/{partition}'}"
        self._out.append(Candidate(check, where, entity_id, what, (at, entity_id)))


class ProvenanceCheck:
    """I6. `ends_now` asks the ends of partitions; `raw_topics` names the raw topic of a (source, stream).

    Rows go on moving while they are checked, so an offset beyond the end last heard of is asked about again.
    """

    def __init__(
        self,
        index: RawIndex,
        raw_topics: Mapping[tuple[str, str], str],
        ends_now: Callable[[list[Partition]], Mapping[Partition, int]],
        report: Report,
    ) -> None:
        self._index = index
        self._raw_topics = raw_topics
        self._ends_now = ends_now
        self._ends: dict[Partition, int] = {}
        self._report = report

    def check(self, where: str, entity_id: str, contributors: Iterable[Mapping[str, Any]]) -> None:
        """Resolve each contributor of a golden record to its raw record."""
        for one in contributors:
            wrong = self._wrong(one)
            self._report.checked["provenances"] += 1
            if wrong:
                self._report.found("I6", where, entity_id, wrong)

    def _is_beyond(self, at: Partition, offset: int) -> bool:
        if offset >= self._ends.get(at, 0):
            self._ends[at] = self._ends_now([at])[at]
        return offset >= self._ends[at]

    def _wrong(self, one: Mapping[str, Any]) -> str:
        topic = self._raw_topics.get((one["source"], one["stream"]))
        at = (one["topic"], one["partition"])
        raw = place(*at, one["offset"])
        if topic is None:
            self._report.checked["retired"] += 1
            return ""
        if topic != one["topic"]:
            return f"names raw record {raw}, and {one['source']}.{one['stream']} stands in {topic}"
        found = self._index.resolve(at, one["offset"], one["source_key"])
        if found == "compacted":
            # Promised: the newest of its key stands in its place.
            self._report.checked["compacted since"] += 1
        if found == "beyond" and self._is_beyond(at, one["offset"]):
            return f"names raw record {raw}, beyond the end of its log"
        if found == "other-key":
            return f"names raw record {raw}, which is of another source key"
        if found == "missing":
            return f"names raw record {raw}: not in the log, and no newer one of its key is"
        return ""
