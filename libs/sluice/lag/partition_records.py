"""The durable partition records of a stage, from its state topics or from the sink's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sluice.golden.rows import connect_to_read, owned_rows
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.lag.groups import StageInputs
from sluice.pipeline import Pipeline
from sluice.stage.partition_record import PartitionRecord, partition_key

# A transaction writes the partition record last, so it is mostly within a few offsets of the end.
_TAILS_OFFSETS = (16, 1_000)


def partition_records(
    reader: LogReader, pipeline: Pipeline, inputs: StageInputs, partitions: Iterable[Partition]
) -> dict[Partition, PartitionRecord]:
    """The newest record of each of the stage's input `partitions`, as far as they have one.

    Raises EnvironmentFault (a topic, a table or the sink's server is missing) and Transient.
    """
    if inputs.sink:
        return _of_sink(pipeline, inputs.sink)
    states = {(pipeline.names.state(inputs.stage, topic), p): (topic, p) for topic, p in partitions}
    found = newest_values(reader, {state: partition_key(state[1]) for state in states})
    return {states[state]: PartitionRecord.from_json(value) for state, value in found.items()}


def newest_values(reader: LogReader, wanted: Mapping[Partition, bytes]) -> dict[Partition, bytes]:
    """The newest committed value under one key of each partition, searched from the end backwards."""
    found: dict[Partition, bytes] = {}
    begins, ends = reader.beginnings(list(wanted)), reader.ends(list(wanted), committed=True)
    for tail in (*_TAILS_OFFSETS, max(ends.values(), default=0)):
        left = [at for at in wanted if at not in found]
        for message in reader.read({at: (max(begins[at], ends[at] - tail), ends[at]) for at in left}):
            at, value = (str(message.topic()), int(message.partition() or 0)), message.value()
            if message.key() == wanted[at] and value is not None:
                found[at] = value
    return found


def _of_sink(pipeline: Pipeline, name: str) -> dict[Partition, PartitionRecord]:
    sink = pipeline.sinks[name]
    with connect_to_read(sink.postgres.reveal(), f"sink {name}") as connection:
        rows = owned_rows(connection, sink.schema_)
    return {
        (row.topic, row.partition): PartitionRecord(row.topic_id, row.processed, at=row.at_s, paused_at=row.paused_at_s)
        for row in rows
    }
