"""The mapper's process: it computes the step of each raw record (`record_step.py`) and applies the step to the batch.

The mapper emits no claim that is older than the newest claim of the same key and mapping. Its state is written in the
transaction of the claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.mapping_code import code_of
from sluice.names import MAPPER, Names
from sluice.position import LOWEST, Position
from sluice.provenance import Origin
from sluice.raw import raw_record
from sluice.raw.raw_record import RESERVED_KEY
from sluice.stage.batch import OUTPUT_BYTES_MAX, Batch, OutputRecord, output_too_large
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.start import StageIdentity, restore_record
from sluice.state import StateBackend, View
from sluice.times import now_us
from sluice_mapper.connector_positions import ConnectorPositions, has_position, note_header
from sluice_mapper.fast_step import FastStep, make_fast_step
from sluice_mapper.inputs import MapperTopics, RawInput
from sluice_mapper.key_state import KeyScan, KeyState
from sluice_mapper.record_step import (
    ContributionWriters,
    RecordContext,
    context_of,
    record_step,
    retract_all,
)
from sluice_mapper.recovery import CurrentClaims
from sluice_mapper.sweep import Pass, Sweep

SLICE_KEYS = 2_000


class _PartitionParts(NamedTuple):
    """What `handle` needs for each record of an owned partition."""

    owned: Owned
    view: View
    raw_input: RawInput
    writers: ContributionWriters
    fast_step: FastStep | None


class Mapper(Process):
    """`partitions`: the number of partitions of each contributions topic.

    `slice_keys`: the number of keys that one slice of a sweep, or of the end of a pass, reads.
    """

    def __init__(
        self,
        names: Names,
        partitions: int,
        topics: MapperTopics,
        state_backend: StateBackend,
        slice_keys: int = SLICE_KEYS,
    ) -> None:
        self._stage = StageIdentity(MAPPER, names.group(MAPPER), names.control)
        self._names, self._partitions = names, partitions
        self._inputs, self._outputs, self._written_ids = topics.by_topic, topics.outputs, topics.written_ids
        self._store, self._reader, self._expiry, self._watch = state_backend
        self._current_claims = CurrentClaims(self._reader, self._outputs)
        self._slice_keys = slice_keys
        self._connector_positions = ConnectorPositions(self._reader, names.control)
        self._owned: dict[Partition, Owned] = {}
        self._parts: dict[Partition, _PartitionParts] = {}
        self._sweeps: dict[Partition, Sweep] = {}
        self._passes: dict[Partition, Pass] = {}

    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, owned: Owned) -> Iterator[None]:
        raw_input = self._inputs[owned.at[0]]
        view = View(self._store, raw_input.state_topic, owned.at[1], raw_input.state_topic_id)
        yield from restore_record(owned, view, self._reader, self._stage, self._outputs)
        if owned.record.pass_end is not None:
            yield from self._current_claims.restore(owned, view, self._stage, raw_input.stream)
        if owned.record.pass_end is not None:
            self._passes[owned.at] = Pass(owned.record.pass_end)
        raw_input.require_versions(owned)
        view.advance(view.restored_to)
        owned.record.versions = {**owned.record.versions, **{m.name: m.version for m in raw_input.mappings}}
        owned.record.fingerprints = {
            **owned.record.fingerprints,
            **{m.name: code_of(m).sha256 for m in raw_input.mappings},
        }
        self._owned[owned.at] = owned
        self._parts[owned.at] = self._parts_of(owned)

    def _parts_of(self, owned: Owned) -> _PartitionParts:
        raw_input = self._inputs[owned.at[0]]
        writers = ContributionWriters(raw_input.stream, owned.at, self._names, self._partitions)
        return _PartitionParts(owned, owned.view, raw_input, writers, make_fast_step(owned, raw_input, writers))

    def stop(self, at: Partition) -> None:
        if (owned := self._owned.pop(at, None)) is not None:
            self._expiry.forget(owned.view)
        for kept in (self._parts, self._sweeps, self._passes):
            kept.pop(at, None)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, record: Record, batch: Batch) -> Handled:
        at = (record.topic, record.partition)
        owned, view, raw_input, writers, fast_step = self._parts[at]
        written = record
        if raw_input.avro is not None:
            record = raw_input.avro.plain(written)
        if fast_step is not None and fast_step(record, batch):
            return Handled.DONE
        position = self._position(record, owned, batch) if raw_input.is_cdc else raw_record.position_of(record)
        if position is None:
            batch.count(at, "unchanged")
            return Handled.DONE
        if raw_record.is_sweep(record):
            return self._sweep(record, position, owned, batch)
        source_key = raw_record.source_key(record)
        if raw_input.sample is not None:
            raw_input.sample.check(record)
        if owned.record.sweeps and position < owned.record.swept(raw_input.stream.stream):
            batch.count(at, "superseded")
            return Handled.DONE
        key, raw_key = source_key.encode(), record.key or b""
        stored = view.get(key)
        # Older versions stored the state under the key with Debezium's schema. Claims contain the key without schema.
        wrapped = view.get(raw_key) if raw_key != key else None
        before = KeyState.from_json(stored or wrapped)
        step = record_step(before, record, source_key, position, raw_input, writers)
        if step.state != before or wrapped is not None:
            self._keep(view, key, step.state, batch)
        if wrapped is not None:
            _write(view, raw_key, None, batch)
        for output in step.outputs:
            batch.add(output)
        for error, mapping_version in step.dead:
            batch.park(written, error, mapping_version)
        batch.count(at, step.outcome)
        return Handled.DONE

    def _position(self, record: Record, owned: Owned, batch: Batch) -> Position | None:
        """The position of a change event; None for a tombstone that a connector wrote."""
        kept = owned.record
        before = (kept.streamed, kept.schema_keys)
        if has_position(record):
            position: Position | None = raw_record.position_of(record)
            if position is not None and not raw_record.is_sweep(record):
                note_header(kept, record, position)
        else:
            source = self._inputs[record.topic].stream.source
            position = self._connector_positions.of(record, source, kept)
        if (kept.streamed, kept.schema_keys) != before:
            batch.write_record_of(record.at)
        return position

    @staticmethod
    def _keep(view: View, key: bytes, state: KeyState, batch: Batch) -> None:
        """Write the state of a key. Raises DeadRecord and writes nothing if the state is too large for a topic."""
        value = state.to_json()
        if len(key) + len(value) > OUTPUT_BYTES_MAX:
            # Positions and targets must never be lost, so the carried values are dropped and become unknown.
            value = state.replace(carried=None).to_json()
            if len(key) + len(value) > OUTPUT_BYTES_MAX:
                raise output_too_large()
        _write(view, key, value, batch)

    # ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────

    def _sweep(self, record: Record, position: Position, owned: Owned, batch: Batch) -> Handled:
        """Handle a sweep marker: `work` retracts, in slices, every key below the marker's position.

        The marker is done after the last slice. Until then no later record of the partition is handled.
        """
        stream = self._inputs[record.topic].stream.stream
        observed_at = raw_record.swept_at(record, stream)
        sweep = self._sweeps.get(record.at)
        if sweep is not None and sweep.marker.origin.position == position and sweep.scan.finished:
            del self._sweeps[record.at]
            batch.count(record.at, "mapped" if sweep.retracted else "unchanged")
            return Handled.DONE
        if position < owned.record.swept(stream):
            batch.count(record.at, "superseded")
            return Handled.DONE
        owned.record.sweeps[stream] = position
        batch.write_record_of(record.at)
        self._sweeps[record.at] = Sweep(self._context(record.at, record.offset, position, observed_at))
        return Handled.AGAIN

    def busy(self, at: Partition) -> bool:
        sweep = self._sweeps.get(at)
        return sweep is not None and not sweep.scan.finished

    def work(self, batch: Batch) -> None:
        if self._watch is not None:
            self._watch.check(self._written_ids)
        for at, sweep in self._sweeps.items():
            if not sweep.scan.finished and not batch.full:
                self._slice(self._owned[at], sweep, batch)
        for at, reading in self._passes.items():
            owned = self._owned.get(at)
            if owned is not None and owned.next_offset >= reading.end and not batch.full:
                self._end_pass(owned, reading, batch)
        for owned in self._owned.values():
            if not self.busy(owned.at) and not batch.full:
                self._drop_deleted(owned, batch)

    def _slice(self, owned: Owned, sweep: Sweep, batch: Batch) -> None:
        for key, state in sweep.due(owned.view, self._slice_keys):
            sweep.retracted += self._retract(owned, key, state, sweep.marker, batch)
        batch.write_record_of(owned.at)

    def _end_pass(self, owned: Owned, reading: Pass, batch: Batch) -> None:
        """Retract one slice of the keys of which the pass read no record: the source has deleted these keys."""
        context = self._context(owned.at, max(reading.end - 1, 0), LOWEST, now_us())
        for key, state in reading.unread(owned.view, self._slice_keys):
            # The delete's position is unknown. The newest claim's position is the lowest one that retracts the claim.
            self._retract(owned, key, state, context.moved(position=state.newest_claimed), batch)
        if reading.scan.finished:
            owned.record.pass_end = None
        batch.write_record_of(owned.at)

    def _context(self, at: Partition, offset: int, position: Position, observed_at: int) -> RecordContext:
        """The context of retractions that no record of their own key causes; the source key is set for each key
        later."""
        return context_of(Origin("", position, offset, observed_at), (), self._parts[at].writers)

    def _retract(self, owned: Owned, key: bytes, state: KeyState, context: RecordContext, batch: Batch) -> int:
        """Retract the current claims of a key. Returns the number of retractions."""
        origin = context.origin
        source_key = raw_record.source_key(Record(*owned.at, origin.offset, key, None, {}, 0))
        versions = self._inputs[owned.at[0]].versions
        step = retract_all(state, context.moved(source_key=source_key), versions)
        for output in step.outputs:
            batch.add(output)
        self._keep(owned.view, key, step.state.replace(seen=max(state.seen, origin.position)), batch)
        return len(step.outputs)

    def _drop_deleted(self, owned: Owned, batch: Batch) -> None:
        """Drop the states of deleted keys that are so old that no older record can arrive any more.

        No other process writes the state topic, so no newer state can be overwritten.
        """
        view = owned.view
        for message in self._expiry.old_records(view):
            key, value = message.key(), message.value()
            if key is None or value is None or key.startswith(RESERVED_KEY) or view.get(key) != value:
                continue
            if KeyState.from_json(value).is_deleted:
                _write(view, key, None, batch)

    # ── batches ───────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        for owned in self._owned.values():
            view = owned.view
            view.advance(offsets_after.get((view.topic, view.partition)))
            if owned.record.pass_end is None:
                self._passes.pop(owned.at, None)

    def given_up(self) -> None:
        for owned in self._owned.values():
            owned.view.rollback()
        # A sweep starts again when its marker is read again. The state shows which keys its committed slices retracted.
        self._sweeps.clear()
        for at, reading in self._passes.items():
            reading.scan = KeyScan()
            if at in self._owned:
                self._owned[at].record.pass_end = reading.end


def _write(view: View, key: bytes, value: bytes | None, batch: Batch) -> None:
    """Write the `value` of a key, which is not too large, to the partition's state topic; None deletes the key."""
    batch.add(OutputRecord(view.topic, key, value, (), view.partition))
    view.put(key, value)
