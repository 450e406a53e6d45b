"""Topics pinned at start: a stage works only with the partition counts that its pipeline declares, and its state is
true only of the logs that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned, other_count
from sluice.stage.partition import LogStart


def require_partitions(pinned: dict[str, Pinned], partitions: int) -> None:
    """EnvironmentFault for the first topic that has another count: its keys would lie elsewhere."""
    for topic, about in pinned.items():
        if about.partitions != partitions:
            raise other_count(topic, about.partitions, partitions)


def log_name(at: Partition) -> str:
    """One partition, as a partition record names it among its logs; a topic's name alone means all of them."""
    return f"{at[0]}/{at[1]}"


def topic_of(log: str) -> str:
    """The topic of a log that a partition record names."""
    return log.partition("/")[0]


def logs_now(reader: LogReader, logs: Iterable[str], pinned: Mapping[str, Pinned]) -> dict[str, LogStart]:
    """How `logs` stand now, as far as their topics are `pinned`. Raises Transient or EnvironmentFault."""
    spans = {log: _partitions(log, pinned[topic_of(log)]) for log in logs if topic_of(log) in pinned}
    firsts = reader.beginnings([at for partitions in spans.values() for at in partitions])
    return {
        log: LogStart(pinned[topic_of(log)].topic_id, sum(firsts[at] for at in partitions))
        for log, partitions in spans.items()
    }


def _partitions(log: str, pinned: Pinned) -> list[Partition]:
    topic, _, partition = log.partition("/")
    return [(topic, int(partition))] if partition else [(topic, p) for p in range(pinned.partitions)]
