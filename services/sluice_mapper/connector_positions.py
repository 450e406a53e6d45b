"""The positions of records that a Debezium connector wrote, with the checks without which a claim could be lost.

The epochs of a source may grow while the mapper runs. A new epoch begins at the ends of the topics. The list of epochs
is therefore read again before a record beyond the known end of its partition is placed.
"""

from __future__ import annotations

from sluice.errors import EnvironmentFault, TopicFault
from sluice.headers import POSITION_HEADER
from sluice.kafka import LogReader
from sluice.kafka.control import requests_in_force
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.raw.connector_record import (
    Epoch,
    connector_position,
    epoch_at,
    epochs_key,
    epochs_of,
    has_schema_key,
)
from sluice.stage.partition_record import PartitionRecord


class ConnectorPositions:
    """Finds the positions of records without the header `sluice-position`. `control`: the control topic."""

    def __init__(self, reader: LogReader, control: str) -> None:
        self._reader, self._control = reader, control
        self._ends: dict[Partition, int] = {}
        self._epochs: dict[Partition, list[Epoch]] = {}

    def of(self, record: Record, source: str, kept: PartitionRecord) -> Position | None:
        """The position of the record; None for a tombstone. Notes in `kept`, the partition's record, what later records
        are compared with.

        Raises DeadRecord if the record states no position, and TopicFault if its epoch or the form of its key cannot be
        right.
        """
        epochs = self._epochs_at(record, source)
        epoch = epoch_at(epochs, record)
        found = connector_position(record, epoch)
        if found is None:
            return None
        first = kept.streamed
        later = any(other.number > epoch for other in epochs)
        if first is not None and record.offset > first[1] and not later:
            if epoch < first[0]:
                raise _stop(record, source, f"it is of epoch {epoch}, and epoch {first[0]} has started")
            if found.is_snapshot and epoch == first[0]:
                raise _stop(record, source, f"it is a row of a snapshot, and epoch {epoch} has streamed changes")
        self._require_key_form(record, kept)
        if not found.is_snapshot:
            note_epoch(kept, epoch, record.offset)
        return found.position

    def _epochs_at(self, record: Record, source: str) -> list[Epoch]:
        """The epochs of the source. Every epoch that is not in the list begins after `record`."""
        at = record.at
        if record.offset >= self._ends.get(at, 0):
            self._ends[at] = self._reader.ends([at])[at]
            key = epochs_key(source)
            self._epochs[at] = epochs_of(requests_in_force(self._reader, self._control, [key]).get(key))
        return self._epochs[at]

    @staticmethod
    def _require_key_form(record: Record, kept: PartitionRecord) -> None:
        with_schema = has_schema_key(record)
        if kept.schema_keys is None:
            kept.schema_keys = with_schema
        if kept.schema_keys is not with_schema:
            now, before = ("with", "without") if with_schema else ("without", "with")
            raise TopicFault(
                EnvironmentFault(
                    record.place,
                    f"its key is written {now} a schema, and the keys before {before}: a row's records would be in two "
                    "partitions",
                    f"set key.converter.schemas.enable of the connector to {str(kept.schema_keys).lower()}; for the "
                    "records that exist, delete the topic and its state, and begin again",
                ),
                record.topic,
            )


def note_epoch(kept: PartitionRecord, epoch: int, offset: int) -> bool:
    """Note the first streamed record of an epoch. True if it is new: the partition record must then be written."""
    if kept.streamed is not None and epoch <= kept.streamed[0]:
        return False
    kept.streamed = (epoch, offset)
    return True


def note_header(kept: PartitionRecord, record: Record, position: Position) -> bool:
    """As `note_epoch`, for a record with the header, which ingress-cdc wrote. Its keys have no schema."""
    new = note_epoch(kept, position.epoch, record.offset)
    if kept.schema_keys is None:
        kept.schema_keys, new = False, True
    return new


def has_position(record: Record) -> bool:
    return POSITION_HEADER in record.headers


def _stop(record: Record, source: str, why: str) -> TopicFault:
    fault = EnvironmentFault(
        record.place,
        f"{why}: its claims would be lost in silence",
        f"stop the connector, run `sluice cdc epoch {source}`, and let the connector read a new snapshot",
    )
    return TopicFault(fault, record.topic)
