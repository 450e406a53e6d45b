"""The step of the common raw record in one function: an upsert that leaves out no column, and that one mapping turns
into one claim about the entity of the claim before.

Every other record is left to `record_step`, which is also the judge: a test compares both byte for byte. Measured for
nine fields of a change event: 16 µs instead of 31.
"""

from __future__ import annotations

from typing import Any

from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.provenance import Origin
from sluice.raw.raw_record import Op, leaves_out
from sluice.stage.batch import OUTPUT_BYTES_MAX, OutputRecord
from sluice_mapper.inputs import RawInput
from sluice_mapper.key_state import UNCHANGED_TEXT_MIN, KeyState
from sluice_mapper.record_step import ContributionWriters


class StraightStep:
    """The straight step of one raw partition, whose records one mapping reads."""

    def __init__(self, raw_input: RawInput, writers: ContributionWriters) -> None:
        (mapping,) = raw_input.mappings
        self._name, self._version, self._output = mapping.name, mapping.version, mapping.output
        self._entity = mapping.entity.name
        self._claim = mapping.plain_claim
        self._read, self._is_cdc = raw_input.read, raw_input.is_cdc
        self._write = writers.of(mapping.name, mapping.version, mapping.entity.version).write
        self._topic, self._partitions = writers.topic(self._entity), writers.partitions

    def __call__(
        self, record: Record, source_key: str, position: Position, before: KeyState
    ) -> tuple[bytes, OutputRecord] | None:
        """The key's state after `record` and the claim to emit; None if `record_step` must decide.

        `before`: the state of the key. Nothing is written before all is known, so no effect is repeated.
        """
        name = self._name
        now = (position, self._version)
        emitted = before.emitted.get(name)
        if position <= before.seen or (emitted is not None and now <= emitted):
            return None
        if (before.deleted is not None and position <= before.deleted) or leaves_out(record):
            return None
        try:
            change = self._read(record, source_key, position)
        except DeadRecord:
            return None
        claim = self._claim(change.row) if change.op is Op.UPSERT else None
        if claim is None:
            return None
        entity_id, fields, effective_at = claim
        target = (self._entity, entity_id, self._output)
        targets = before.targets.get(name)
        if targets and targets != (target,):
            return None
        origin = Origin(source_key, position, record.offset, change.observed_at)
        key, value = self._write(origin, entity_id, self._output, fields, effective_at)
        state = KeyState(
            position,
            before.deleted,
            {**before.emitted, name: now},
            {**before.targets, name: (target,)},
            _carried(change.row, position) if self._is_cdc else before.carried,
        ).to_json()
        partition = murmur2_partition(entity_id.encode(), self._partitions)
        output = OutputRecord(self._topic, key, value, record.forwarded, partition)
        # The source key is in `key` too, so the state's record is smaller than this sum.
        return None if output.size_bytes + len(state) > OUTPUT_BYTES_MAX else (state, output)


def _carried(row: dict[str, Any], position: Position) -> dict[str, tuple[Any, Position]]:
    """What `fill` carries of a row without left-out columns."""
    return {
        column: (value, position)
        for column, value in row.items()
        if ((kind := type(value)) is str and len(value) >= UNCHANGED_TEXT_MIN) or kind is dict or kind is list
    }
