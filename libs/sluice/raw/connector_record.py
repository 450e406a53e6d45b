"""Records that a Debezium connector wrote into a raw topic: their epochs and their positions.

Such a record has no header `sluice-position`. Its position is made from `source.sequence`, which follows the order of
commits. The LSN of the event alone does not. The connector states no epoch: `sluice cdc epoch` notes the offsets from
which on an epoch is in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from sluice import json_text
from sluice.errors import DeadRecord
from sluice.kafka.record import Record
from sluice.position import PART_MAX, Position

FIRST_EPOCH = 1
UNAVAILABLE = "__debezium_unavailable_value"
"""The connector's default placeholder for a value that an update left out."""

_BEFORE_THE_FIRST_COMMIT = 1
_STREAMED = (None, False, "false", "incremental")


class Epoch(NamedTuple):
    """An epoch of a source that a connector fills. `starts`: by raw topic, the offset of each partition from which on
    the epoch is in force. It is in force from offset 0 in a topic that is not named."""

    number: int
    starts: Mapping[str, Sequence[int]]

    def contains(self, topic: str, partition: int, offset: int) -> bool:
        starts = self.starts.get(topic, ())
        return offset >= (starts[partition] if partition < len(starts) else 0)


class ConnectorPosition(NamedTuple):
    """`is_snapshot`: the record is a row of a snapshot that the connector read before it streamed."""

    position: Position
    is_snapshot: bool


def epochs_key(source: str) -> str:
    """The key in the control topic of the epochs of a source that a connector fills."""
    return f"epochs/{source}"


def epochs_of(stored: Mapping[str, Any] | None) -> list[Epoch]:
    """The epochs in a record of the control topic, in rising order; empty if there is no record."""
    return [Epoch(int(one["epoch"]), one["from"]) for one in (stored or {}).get("epochs", ())]


def epochs_record(epochs: Sequence[Epoch]) -> dict[str, Any]:
    return {"v": 1, "epochs": [{"epoch": epoch.number, "from": dict(epoch.starts)} for epoch in epochs]}


def epoch_at(epochs: Sequence[Epoch], record: Record) -> int:
    """The number of the epoch of `record`."""
    inside = [e.number for e in epochs if e.contains(record.topic, record.partition, record.offset)]
    return max(inside, default=FIRST_EPOCH)


def connector_position(record: Record, epoch: int) -> ConnectorPosition | None:
    """The position of a record without the header; None for a tombstone, which follows the event of a delete.

    Rows of a snapshot are below every streamed change of their epoch. Their own order is the LSN of their snapshot,
    because a snapshot that was interrupted is read again. Raises DeadRecord if the record states no position.
    """
    if record.value is None:
        return None
    try:
        envelope = json_text.decode(record.value)
        envelope = envelope["payload"] if envelope.keys() == {"schema", "payload"} else envelope
        op, source = envelope["op"], envelope["source"]
        if op == "t":
            raise DeadRecord("truncate-event", "run `sluice cdc epoch`, let the connector read a snapshot, then sweep")
        if source.get("snapshot") not in _STREAMED:
            return ConnectorPosition(_valid(epoch, 0, int(source["lsn"])), True)
        committed, lsn = orjson.loads(source["sequence"])
        major = _BEFORE_THE_FIRST_COMMIT if committed is None else int(committed)
        return ConnectorPosition(_valid(epoch, major, int(lsn)), False)
    except (json_text.NotJson, KeyError, TypeError, ValueError, AttributeError):
        raise DeadRecord("no-position", "no header sluice-position, and source.sequence states no LSNs") from None


def _valid(epoch: int, major: int, minor: int) -> Position:
    if not (0 <= major <= PART_MAX and 0 <= minor <= PART_MAX):
        raise ValueError("a position's part must fit 64 bits")
    return Position(epoch, major, minor)


def has_schema_key(record: Record) -> bool:
    """Whether the record's key contains a schema, as a connector writes it with `key.converter.schemas.enable`."""
    return record.key is not None and record.key.startswith(b'{"schema":')


def is_unavailable(value: object) -> bool:
    """Whether a value of a connector's record stands for a value that the update left out."""
    return value in (UNAVAILABLE, _BYTES) or value == [UNAVAILABLE]


_BYTES = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="
"""The placeholder as a value of bytea, in base64."""
