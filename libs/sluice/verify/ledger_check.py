"""The ledgers of all groups, read and checked (I5)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka.admin import ConfigResource, ResourceType

from sluice.golden.rows import ledger_lines
from sluice.kafka.log import Partition
from sluice.stage.batch import ledger_key
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.ledger import PartitionLedger
from sluice.verify.reading import records
from sluice.verify.visible import VisibleOffsets

TIMEOUT_S = 10.0


class LedgerCheck:
    """A ledger for every input partition of every group."""

    def __init__(self, context: VerifyContext) -> None:
        self._context = context
        self._ledgers = {
            (stage.group, at): PartitionLedger(rereads=bool(stage.sink))
            for stage in context.stages
            for at in context.partitions_of(stage.topics)
        }

    def read(self, sinks: Sequence[OpenSink], committed: Mapping[str, Mapping[Partition, int]]) -> None:
        """Read every line, and report what is wrong with it. `committed`: by group, asked before this call."""
        self._add(self._topic_lines())
        for sink in sinks:
            self._add(ledger_lines(sink.connection, sink.schema))
        for group, offsets in committed.items():
            for at, offset in offsets.items():
                ledger = self._ledgers.get((group, at))
                if ledger is not None and ledger.lines and offset > ledger.reached:
                    what = f"the group committed {offset}, but the ledger ends at {ledger.reached}"
                    self._found(ledger_key(group, *at).decode(), what)

    def recount(self, visible: VisibleOffsets) -> None:
        """Compare ranges with a log, as far as compaction cannot have reached it."""
        young = self._young_offsets(list(visible.ends))
        for (group, at), ledger in self._ledgers.items():
            if at in visible.ends and at in young:
                for wrong in ledger.recount(at, visible, young[at]):
                    self._found(ledger_key(group, *at).decode(), wrong)

    def version_at(self, group: str, at: Partition, offset: int, mapping: str) -> int | None:
        """See `PartitionLedger.version_at`."""
        return self._ledgers[group, at].version_at(offset, mapping)

    def _topic_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        spans = self._context.reader.spans([(self._context.pipeline.names.ledger, 0)])
        for record in records(self._context.reader, spans):
            if record.key is not None and record.value is not None:
                yield record.key.decode(errors="replace"), orjson.loads(record.value)

    def _add(self, lines: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Take key and line in their order; lines of other pipelines are ignored."""
        by_key = {ledger_key(group, *at).decode(): ledger for (group, at), ledger in self._ledgers.items()}
        for key, line in lines:
            ledger = by_key.get(key)
            if ledger is not None:
                self._context.report.checked["ledger lines"] += 1
                for wrong in ledger.add(line):
                    self._found(key, wrong)

    def _found(self, key: str, what: str) -> None:
        self._context.report.found("I5", key, "", what)

    def _young_offsets(self, partitions: list[Partition]) -> dict[Partition, int]:
        """The first offset of each partition that is younger than its topic's `min.compaction.lag.ms`."""
        lags = self._compaction_lags_ms(sorted({topic for topic, _ in partitions}))
        now_ms = int(time.time() * 1000)
        young: dict[Partition, int] = {}
        for lag_ms in set(lags.values()):
            of_lag = [at for at in partitions if lags[at[0]] == lag_ms]
            found = self._context.reader.at_time(of_lag, max(0, now_ms - lag_ms))
            young |= {at: offset for at, offset in found.items() if offset >= 0}
        return young

    def _compaction_lags_ms(self, topics: list[str]) -> dict[str, int]:
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        described = self._context.admin.describe_configs(resources, request_timeout=TIMEOUT_S)
        return {r.name: int(future.result(TIMEOUT_S)["min.compaction.lag.ms"].value) for r, future in described.items()}
