"""The fast path of `record_step`: an upsert that leaves out no column, and that one mapping turns into one claim about
the same entity as before.

Every other record is left to `record_step`, which is the reference implementation: a test compares the bytes of both.
One function does all, because each call costs as much as one of the conditions in it. Measured for a change event with
nine fields: 20 µs instead of 31, with a Struct as raw model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from sluice import json_text
from sluice.headers import OP_HEADER, POSITION_HEADER, TRUNCATED_HEADER
from sluice.kafka import murmur2_partition
from sluice.kafka.record import Record
from sluice.position import POSITION_ARRAY, Position
from sluice.provenance import Origin
from sluice.raw.raw_record import KEY_BYTES_MAX, RESERVED_KEY, leaves_out, polled_at
from sluice.stage.batch import OUTPUT_BYTES_MAX, Batch, OutputRecord
from sluice.stage.process import Owned
from sluice.times import INSTANTS
from sluice_mapper.connector_positions import note_header
from sluice_mapper.inputs import RawInput
from sluice_mapper.key_state import UNKNOWN, KeyState, fill
from sluice_mapper.record_step import ContributionWriters

FastStep = Callable[[Record, Batch], bool]
"""Adds the effects of a record to a batch and returns True, or adds nothing and returns False: `record_step` must then
decide."""
Upsert = tuple[dict[str, Any], int]
"""The row of an upsert, and when the source changed it or it was read (µs UTC)."""

_DIGITS = b"0123456789"
_UPSERTS = frozenset("cur")


def make_fast_step(owned: Owned, raw_input: RawInput, writers: ContributionWriters) -> FastStep | None:
    """The fast path for the records of the partition `owned`. None if more than one mapping reads the partition."""
    if len(raw_input.mappings) != 1:
        return None
    (mapping,) = raw_input.mappings
    name, version, entity, output = mapping.name, mapping.version, mapping.entity.name, mapping.output
    stream, sample, is_cdc = raw_input.stream.stream, raw_input.sample, raw_input.is_cdc
    read = _changed if is_cdc else _polled
    view, at = owned.view, owned.at
    claim_of = mapping.fast_claim
    write = writers.of(name, version, mapping.entity.version).write
    topic, partitions = writers.topic(entity), writers.partitions

    def effects_of(record: Record) -> tuple[bytes, bytes, OutputRecord, Position] | None:
        """The key and its state after `record`, the claim to emit, and the position. None, or any exception, if
        `record_step` must decide."""
        key, position_text = record.key, record.headers[POSITION_HEADER]
        if key is None or position_text.translate(None, _DIGITS) != b"::" or (upsert := read(record)) is None:
            return None
        position = POSITION_ARRAY.decode(b"[%b]" % position_text.replace(b":", b","))
        key_members = orjson.loads(key)
        if type(key_members) is not dict or not key_members or "payload" in key_members or len(key) > KEY_BYTES_MAX:
            return None
        stored = view.get(key)
        before = UNKNOWN if stored is None else KeyState.from_json(stored)
        now, emitted, deleted = (position, version), before.emitted.get(name), before.deleted
        if position <= before.seen or (emitted is not None and now <= emitted):
            return None
        if (deleted is not None and position <= deleted) or key.startswith(RESERVED_KEY):
            return None
        if owned.record.sweeps and position < owned.record.swept(stream):
            return None
        row, observed_at = upsert
        # Before the author's code, which may change the row.
        carried = fill(row, None, position)[1] if is_cdc else before.carried
        claim = claim_of(row)
        if claim is None:
            return None
        entity_id, fields, effective_at = claim
        target, targets = (entity, entity_id, output), before.targets.get(name)
        if targets and targets != (target,):
            return None
        after = KeyState(
            position, deleted, {**before.emitted, name: now}, {**before.targets, name: (target,)}, carried
        ).to_json()
        origin = Origin(key.decode(), position, record.offset, observed_at)
        claim_key, value = write(origin, entity_id, output, fields, effective_at)
        partition = murmur2_partition(entity_id.encode(), partitions)
        claimed = OutputRecord(topic, claim_key, value, record.forwarded, partition)
        # The source key is in `claim_key` too, so the record of the state is smaller than this sum.
        return None if claimed.size_bytes + len(after) > OUTPUT_BYTES_MAX else (key, after, claimed, position)

    def step(record: Record, batch: Batch) -> bool:
        if sample is not None and sample.is_due(record):
            return False
        try:
            effects = effects_of(record)
        except Exception:  # `record_step` finds out what is wrong with the record
            return False
        if effects is None:
            return False
        key, state, claimed, position = effects
        if is_cdc and note_header(owned.record, record, position):
            batch.write_record_of(at)
        batch.add(OutputRecord(view.topic, key, state, (), view.partition))
        view.put(key, state)
        batch.add(claimed)
        batch.count(at, "mapped")
        return True

    return step


def _changed(record: Record) -> Upsert | None:
    """As `read_change`; None if the record must be left to it."""
    value = record.value
    headers = record.headers
    if value is None or TRUNCATED_HEADER in headers or headers.get(OP_HEADER) == b"s" or leaves_out(record):
        return None
    if b"\\" in value and b"\\u" in value:  # one byte is found much faster than two
        return None
    event = json_text.decode(value)
    row, observed_at = event["after"], event["source"]["ts_us"]
    if event["op"] not in _UPSERTS or type(row) is not dict or type(observed_at) is not int:
        return None
    return (row, observed_at) if observed_at in INSTANTS else None


def _polled(record: Record) -> Upsert | None:
    """As `read_polled`; None if the record must be left to it."""
    if record.value is None or record.headers.get(OP_HEADER) in (b"d", b"s"):
        return None
    row = json_text.decode(record.value)
    return (row, polled_at(record)) if type(row) is dict else None
