"""The ledgers of all groups read and checked (I5)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.lag import StageInputs
from sluice.stage.batch import ledger_key
from sluice.verify.ledger import PartitionLedger
from sluice.verify.reading import records, spans_to
from sluice.verify.report import Report
from sluice.verify.visible import VisibleOffsets

TIMEOUT_S = 10.0

Ledgers = dict[tuple[str, Partition], PartitionLedger]
"""By group and input partition."""


def new_ledgers(stages: Iterable[StageInputs], partitions: int) -> Ledgers:
    """An empty ledger for every input partition of every group."""
    return {
        (stage.group, (topic, p)): PartitionLedger(rereads=bool(stage.sink))
        for stage in stages
        for topic in stage.topics
        for p in range(partitions)
    }


def topic_lines(reader: LogReader, topic: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and line of the ledger topic, in order, to its end."""
    spans = spans_to(reader, reader.ends([(topic, 0)]))
    for record in records(reader, spans):
        if record.key is not None and record.value is not None:
            yield record.key.decode(errors="replace"), orjson.loads(record.value)


def feed(ledgers: Ledgers, lines: Iterable[tuple[str, dict[str, Any]]], report: Report) -> None:
    """Take lines in their order; those of other pipelines are passed over."""
    by_key = {ledger_key(group, *at).decode(): ledger for (group, at), ledger in ledgers.items()}
    for key, line in lines:
        ledger = by_key.get(key)
        if ledger is not None:
            report.checked["ledger lines"] += 1
            for wrong in ledger.add(line):
                report.found("I5", key, "", wrong)


def check_reach(ledgers: Ledgers, group: str, committed: Mapping[Partition, int], report: Report) -> None:
    """A group may not stand beyond what its ledger tells of. `committed` was asked before the ledger was read."""
    for at, offset in committed.items():
        ledger = ledgers.get((group, at))
        if ledger is not None and ledger.lines and offset > ledger.reached:
            what = f"the group stands at {offset}, and the ledger ends at {ledger.reached}"
            report.found("I5", ledger_key(group, *at).decode(), "", what)


def recount(ledgers: Ledgers, visible: VisibleOffsets, young: Mapping[Partition, int], report: Report) -> None:
    """Compare ranges with the logs, from the first offset of each partition that compaction cannot have reached."""
    for (group, at), ledger in ledgers.items():
        if at in visible.ends and at in young:
            for wrong in ledger.recount(at, visible, young[at]):
                report.found("I5", ledger_key(group, *at).decode(), "", wrong)


def young_offsets(admin: AdminClient, reader: LogReader, partitions: list[Partition]) -> dict[Partition, int]:
    """The first offset of each partition that is younger than its topic's `min.compaction.lag.ms`."""
    lags = _compaction_lags_ms(admin, sorted({topic for topic, _ in partitions}))
    now_ms = int(time.time() * 1000)
    young: dict[Partition, int] = {}
    for lag_ms in set(lags.values()):
        of_lag = [at for at in partitions if lags[at[0]] == lag_ms]
        found = reader.at_time(of_lag, max(0, now_ms - lag_ms))
        young |= {at: offset for at, offset in found.items() if offset >= 0}
    return young


def _compaction_lags_ms(admin: AdminClient, topics: list[str]) -> dict[str, int]:
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    described = admin.describe_configs(resources, request_timeout=TIMEOUT_S)
    return {r.name: int(future.result(TIMEOUT_S)["min.compaction.lag.ms"].value) for r, future in described.items()}
