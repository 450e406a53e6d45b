"""`sluice cdc epoch` and `sluice cdc sweep`: for sources whose raw topics a real Debezium connector fills.

A connector states no epoch, and it writes no sweep marker after a snapshot. These commands do both.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cdc.watermarks import control_key, requested, source_watermarks
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, print_result, require_known
from sluice.cli.server_access import kafka_watched
from sluice.errors import DeadRecord, EnvironmentFault
from sluice.headers import POSITION_HEADER
from sluice.kafka import KafkaSettings, LogReader, clients, read_to_end
from sluice.kafka.control import requests_in_force, write_request
from sluice.kafka.record import Record
from sluice.kafka.topics import Topics
from sluice.kafka.writing import write_all
from sluice.lag.sources import read_watermarks
from sluice.pipeline import Pipeline
from sluice.position import Position
from sluice.raw.connector_record import Epoch, connector_position, epoch_at, epochs_key, epochs_of, epochs_record
from sluice.raw.writing import sweep_markers

SourceName = Annotated[str, typer.Argument(help="the source's name in the pipeline file")]
_WRITTEN_WITHIN_S = 15.0


def begin_epoch(source: SourceName, pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Begin a new epoch of a source that a Debezium connector fills, at the present ends of its raw topics.

    Run it while nothing writes the topics: after ingress-cdc or the old connector has stopped, and before a connector
    with a new slot reads its snapshot. Every record that is written later is newer than every record before.

    The epochs are a list in the control topic. The command appends to it; no epoch is ever changed.
    """
    settings, loaded = chosen_pipeline(pipeline)
    _require_followed(loaded, source)
    with kafka_watched(settings), LogReader(settings.kafka) as reader:
        epochs = _epochs(reader, loaded, source)
        new = Epoch(_next_number(reader, loaded, source, epochs), _ends(reader, settings.kafka, loaded, source))
        write_request(settings.kafka, loaded.names.control, epochs_key(source), epochs_record([*epochs, new]))
    print_result(as_json, {"source": source, "epoch": new.number}, [f"source {source}: epoch {new.number} begins here"])


def sweep(
    source: SourceName,
    table: Annotated[str, typer.Option(help="the table, written schema.table")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="the snapshot is complete, although the topic does not show it")
    ] = False,
) -> None:
    """Retract the rows of a table that a connector's snapshot in the newest epoch does not contain.

    A connector writes no delete for a row that was deleted while nothing followed the table. The command writes a sweep
    marker into each partition: every key without a record in the newest epoch is deleted.

    Run it after the snapshot. The topic shows this by the last row of the snapshot or by a streamed change. If it shows
    neither, because the table is empty, check the connector's log and give --complete.
    """
    settings, loaded = chosen_pipeline(pipeline)
    _require_followed(loaded, source)
    tables = [s.stream for s in loaded.streams() if s.source == source]
    require_known(table, tables, f"source {source} has no table {table}")
    topic = loaded.names.raw(source, table)
    with kafka_watched(settings), LogReader(settings.kafka) as reader:
        epochs = _epochs(reader, loaded, source)
        if not complete and not _is_complete(settings.kafka, topic, epochs):
            raise EnvironmentFault(
                topic,
                "it does not show that the connector's snapshot in the newest epoch is complete",
                "wait for it, or give --complete if the connector's log says so",
            )
        number = max((e.number for e in epochs), default=1)
        partitions = Topics(clients.admin(settings.kafka)).pinned([topic])[topic].partitions
        markers = sweep_markers(topic, table, Position(number, 0, 0), partitions)
        records = [(m.topic, m.key, m.value, m.headers, m.partition or 0) for m in markers]
        write_all(
            clients.producer(settings.kafka),
            records,
            f"writing sweep markers to {topic}",
            _WRITTEN_WITHIN_S,
            "no broker answers; the markers may or may not be written: run the command again",
        )
    facts = {"source": source, "table": table, "epoch": number}
    print_result(as_json, facts, [f"{topic}: keys without a record in epoch {number} are swept"])


def _require_followed(pipeline: Pipeline, source: str) -> None:
    known = [*pipeline.debezium_sources(), *pipeline.cdc_sources()]
    require_known(source, known, f"no source {source} with `cdc`")


def _epochs(reader: LogReader, pipeline: Pipeline, source: str) -> list[Epoch]:
    key = epochs_key(source)
    return epochs_of(requests_in_force(reader, pipeline.names.control, [key]).get(key))


def _next_number(reader: LogReader, pipeline: Pipeline, source: str, epochs: list[Epoch]) -> int:
    """One more than every epoch that ingress-cdc or a connector used, or that is requested."""
    slot = source_watermarks(source, read_watermarks(reader, pipeline.names)).slot
    key = control_key(source)
    asked = requested(requests_in_force(reader, pipeline.names.control, [key]).get(key))
    # Without a list, the records of a connector are of epoch 1.
    return 1 + max(1, asked, slot.epoch if slot else 0, *(e.number for e in epochs))


def _ends(reader: LogReader, kafka: KafkaSettings, pipeline: Pipeline, source: str) -> dict[str, list[int]]:
    topics = [pipeline.names.raw(source, s.stream) for s in pipeline.streams() if s.source == source]
    pinned = Topics(clients.admin(kafka)).pinned(topics)
    ends = reader.ends([(topic, p) for topic in topics for p in range(pinned[topic].partitions)])
    return {topic: [ends[topic, p] for p in range(pinned[topic].partitions)] for topic in topics}


def _is_complete(kafka: KafkaSettings, topic: str, epochs: list[Epoch]) -> bool:
    """Whether the topic has the last row of the table's snapshot, or a streamed change, in the newest epoch."""
    newest = max((e.number for e in epochs), default=1)
    partitions = Topics(clients.admin(kafka)).pinned([topic])[topic].partitions
    for message in read_to_end(kafka, topic, dict.fromkeys(range(partitions), 0)):
        headers = dict(message.headers() or [])
        if POSITION_HEADER in headers:
            continue
        record = Record(topic, message.partition() or 0, message.offset() or 0, message.key(), message.value(), {}, 0)
        try:
            found = connector_position(record, epoch_at(epochs, record))
        except DeadRecord:
            continue
        last = b'"snapshot":"last' in (record.value or b"")
        if found is not None and found.position.epoch == newest and (last or not found.is_snapshot):
            return True
    return False
