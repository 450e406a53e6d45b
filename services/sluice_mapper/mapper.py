"""The mapper's process: a raw record at a time, with what is known of its key, into contributions and new state.

It emits no claim older than the one it emitted; its state is written in the transaction of the claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.names import MAPPER, Names
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.raw import source_record
from sluice.raw.source_record import RESERVED_KEY, Op, SourceRecord
from sluice.stage.batch import OUTPUT_BYTES_MAX, Batch, Outcome, OutputRecord
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.start import StageIdentity, restore_record
from sluice.state import StateBackend, View
from sluice.times import now_ms, now_us
from sluice_mapper import claims
from sluice_mapper.inputs import Input, Inputs
from sluice_mapper.key_state import KeyState, fill
from sluice_mapper.recovery import Pass, StandingClaims, known, newest_claimed, unmet_slice
from sluice_mapper.sweep import Sweep, sweep_slice

UNSEEN = "unchanged-value-never-seen"
SLICE_KEYS = 2_000


class Mapper(Process):
    """`slice_keys` make a slice of a sweep."""

    def __init__(
        self,
        group: str,
        names: Names,
        partitions: int,
        inputs: Inputs,
        state_backend: StateBackend,
        slice_keys: int = SLICE_KEYS,
    ) -> None:
        self._as = StageIdentity(MAPPER, group, names.control)
        self._names = names
        self._partitions = partitions
        self._inputs, self._outputs, self._topic_ids = inputs.by_topic, inputs.outputs, inputs.topic_ids
        self._store, self._reader, self._expiry, self._watch = state_backend
        self._standing = StandingClaims(self._reader, self._outputs)
        self._slice_keys = slice_keys
        self._owned: dict[Partition, Owned] = {}
        self._sweeps: dict[Partition, Sweep] = {}
        self._passes: dict[Partition, Pass] = {}

    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, owned: Owned) -> Iterator[None]:
        inputs = self._inputs[owned.at[0]]
        view = View(self._store, inputs.state_topic, owned.at[1], inputs.state_topic_id)
        yield from restore_record(owned, view, self._reader, self._as, self._outputs)
        if owned.record.pass_end is not None:
            yield from self._standing.find_again(owned, view, self._as, inputs.stream)
        if owned.record.pass_end is not None:
            self._passes[owned.at] = Pass(owned.record.pass_end)
        inputs.require_versions(owned)
        view.advance(view.restored_to)
        owned.record.versions = {**owned.record.versions, **{m.name: m.version for m in inputs.mappings}}
        owned.record.rules = {**owned.record.rules, **{m.name: m.code_hash for m in inputs.mappings}}
        self._owned[owned.at] = owned

    def stop(self, at: Partition) -> None:
        if (owned := self._owned.pop(at, None)) is not None:
            self._expiry.forget(owned.view)
        self._sweeps.pop(at, None)
        self._passes.pop(at, None)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, record: Record, batch: Batch) -> Handled:
        owned = self._owned[record.at]
        position = source_record.position_of(record)
        if source_record.is_sweep(record):
            return self._sweep(record, position, owned, batch)
        inputs = self._inputs[record.topic]
        key = source_record.source_key(record)
        if inputs.sample is not None:
            inputs.sample.check(record)
        if position < owned.record.swept(inputs.stream.stream):
            batch.count(record.at, "superseded")
            return Handled.DONE
        state = KeyState.from_json(known(owned, record.key or b"", key.encode(), batch))
        before = state.to_json()
        outcome = self._change(record, key, state, batch)
        if state.to_json() != before:
            self._keep(owned, key.encode(), state, batch)
        batch.count(record.at, outcome)
        return Handled.DONE

    def _change(self, record: Record, key: str, state: KeyState, batch: Batch) -> Outcome:
        """Read the record, advance `state`, emit; returns the record's outcome."""
        inputs = self._inputs[record.topic]
        position = source_record.position_of(record)
        newest = position >= state.seen
        state.seen = max(state.seen, position)
        read = source_record.read_change if inputs.stream.kind == "cdc" else source_record.read_polled
        try:
            change = read(record, key, position)
            decided = self._decided(change, state, inputs)
            if decided is None and inputs.stream.kind == "cdc" and change.op is Op.UPSERT:
                change, decided = self._completed(change, state, newest)
            if decided is not None:
                if newest:
                    self._carry(change, state, inputs)
                return decided
        except DeadRecord as error:
            if error.code != UNSEEN and newest:
                state.carried = None
            batch.park(record, error)
            return "dead"
        raw = RawRef(*record[:3])
        origin = claims.Origin(inputs.stream.source, inputs.stream.stream, key, position, raw, change.observed_at)
        if change.op is Op.DELETE:
            step = claims.retract_all(inputs.versions, state, origin)
            self._emit(step.contributions, record, batch)
            return step.outcome
        return self._mapped(record, change, state, origin, batch)

    @staticmethod
    def _decided(change: SourceRecord, state: KeyState, inputs: Input) -> Outcome | None:
        """What an upsert met again comes to: what it left unchanged may not be known any more, and need not be."""
        if change.op is not Op.UPSERT:
            return None
        outcomes = [claims.decided(mapping, state, change.position) for mapping in inputs.mappings]
        known = [outcome for outcome in outcomes if outcome is not None]
        return claims.worst(known) if len(known) == len(outcomes) else None

    def _carry(self, change: SourceRecord, state: KeyState, inputs: Input) -> None:
        """Carry what a record states that was claimed already: a state that was lost knows it from nowhere else."""
        if inputs.stream.kind == "cdc" and change.op is Op.UPSERT and state.carried is not None:
            with suppress(DeadRecord):
                self._completed(change, state, True)

    def _mapped(
        self, record: Record, change: SourceRecord, state: KeyState, origin: claims.Origin, batch: Batch
    ) -> Outcome:
        outcomes: list[Outcome] = []
        for mapping in self._inputs[record.topic].mappings:
            emitted, targets = state.emitted.get(mapping.name), state.targets.get(mapping.name)
            step = claims.upsert(mapping, change, state, origin)
            try:
                if step.dead is not None:
                    raise step.dead
                self._emit(step.contributions, record, batch)
                outcomes.append(step.outcome)
            except DeadRecord as error:
                claims.restore(state, mapping.name, emitted, targets)
                batch.park(record, error, mapping.version)
                outcomes.append("dead")
        return claims.worst(outcomes)

    @staticmethod
    def _completed(change: SourceRecord, state: KeyState, newest: bool) -> tuple[SourceRecord, Outcome | None]:
        """The record with its whole row; an outcome where that cannot be known and the row's next record is on its
        way."""
        row, carried, unknown = fill(change.row, state, change.position)
        if newest:
            state.carried = carried
        if unknown and change.row_gone:
            return change, "superseded"
        if unknown:
            raise DeadRecord(UNSEEN, f"column {unknown[0]} was left out, and the value that it has was never seen")
        return change._replace(row=row), None

    def _emit(self, made: Sequence[tuple[str, Contribution]], record: Record, batch: Batch) -> None:
        """All of `made`, or a DeadRecord and nothing."""
        forwarded = record.forwarded
        outputs = []
        for entity, contribution in made:
            partition = murmur2_partition(contribution.entity_id.encode(), self._partitions)
            topic = self._names.contributions(entity)
            outputs.append(OutputRecord(topic, contribution.key, contribution.to_json(), forwarded, partition))
        batch.emit_all(outputs)

    def _keep(self, owned: Owned, key: bytes, state: KeyState, batch: Batch) -> None:
        value = state.to_json()
        if len(key) + len(value) > OUTPUT_BYTES_MAX:
            # Positions and targets must be kept, whatever it costs; values that no record holds become unknown.
            state.carried = None
            value = state.to_json()
        view = owned.view
        batch.emit(view.topic, key, value, (), owned.at[1])
        view.put(key, value)

    # ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────

    def _sweep(self, record: Record, position: Position, owned: Owned, batch: Batch) -> Handled:
        """A marker: retract every key below it in slices. The marker is done with the last slice; nothing later of
        the partition is taken meanwhile."""
        stream = self._inputs[record.topic].stream.stream
        observed_at = source_record.swept_at(record, stream)
        running = self._sweeps.get(record.at)
        if running is not None and running.position == position and running.finished:
            del self._sweeps[record.at]
            batch.count(record.at, "mapped" if running.retracted else "unchanged")
            return Handled.DONE
        if position < owned.record.swept(stream):
            batch.count(record.at, "superseded")
            return Handled.DONE
        owned.record.sweeps[stream] = position
        batch.touch(record.at)
        self._sweeps[record.at] = Sweep(stream, position, RawRef(*record[:3]), observed_at)
        return Handled.AGAIN

    def busy(self, at: Partition) -> bool:
        sweep = self._sweeps.get(at)
        return sweep is not None and not sweep.finished

    def work(self, batch: Batch) -> None:
        if self._watch is not None:
            self._watch.look(self._topic_ids)
        for at, sweep in self._sweeps.items():
            if not sweep.finished and not batch.full:
                self._slice(self._owned[at], sweep, batch)
        for at, reading in self._passes.items():
            owned = self._owned.get(at)
            if owned is not None and owned.next_offset >= reading.end and not batch.full:
                self._end_pass(owned, reading, batch)
        for owned in self._owned.values():
            if not self.busy(owned.at) and not batch.full:
                self._drop_gone(owned, batch)

    def _slice(self, owned: Owned, sweep: Sweep, batch: Batch) -> None:
        for key, state in sweep_slice(owned.view, sweep, self._slice_keys):
            sweep.retracted += self._retract(owned, key, state, sweep, batch)
        batch.touch(owned.at)

    def _retract(self, owned: Owned, key: bytes, state: KeyState, sweep: Sweep, batch: Batch) -> int:
        """Retract what stands of a key, as `sweep` says; how much that was."""
        inputs = self._inputs[owned.at[0]]
        at = sweep.raw
        marker = Record(at.topic, at.partition, at.offset, key, None, {}, now_ms())
        stream, source_key = inputs.stream, source_record.source_key(marker)
        origin = claims.Origin(stream.source, stream.stream, source_key, sweep.position, sweep.raw, sweep.observed_at)
        step = claims.retract_all(inputs.versions, state, origin)
        state.seen = max(state.seen, sweep.position)
        self._emit(step.contributions, marker, batch)
        self._keep(owned, key, state, batch)
        return len(step.contributions)

    def _end_pass(self, owned: Owned, reading: Pass, batch: Batch) -> None:
        """A slice of: what the pass met no record of is gone from raw, so the source has deleted it."""
        raw, now = RawRef(*owned.at, max(reading.end - 1, 0)), now_us()
        found, last = unmet_slice(owned.view, reading, self._slice_keys)
        for key, state in found:
            stream = self._inputs[owned.at[0]].stream.stream
            # No delete was found, so its position is not known: a claim's own retraction is the least above it.
            self._retract(owned, key, state, Sweep(stream, newest_claimed(state), raw, now), batch)
        if last:
            owned.record.pass_end = None
        batch.touch(owned.at)

    # ── what is long gone ─────────────────────────────────────────────────────────────────────────────────────

    def _drop_gone(self, owned: Owned, batch: Batch) -> None:
        """Forget keys whose delete nothing can contradict any more. Nobody else writes this topic."""
        view = owned.view
        for message in self._expiry.old_records(view):
            key, value = message.key(), message.value()
            if key is None or value is None or key.startswith(RESERVED_KEY) or view.get(key) != value:
                continue
            if KeyState.from_json(value).is_gone:
                batch.emit(view.topic, key, None, (), owned.at[1])
                view.put(key, None)

    # ── batches ───────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, batch: Batch, tracked: dict[Partition, int]) -> None:
        for owned in self._owned.values():
            view = owned.view
            view.advance(tracked.get((view.topic, view.partition)))
            if owned.record.pass_end is None:
                self._passes.pop(owned.at, None)

    def dropped(self) -> None:
        for owned in self._owned.values():
            owned.view.rollback()
        # A sweep begins anew with its marker: what its slices have done is seen in the state.
        self._sweeps.clear()
        for at, reading in self._passes.items():
            reading.after = b""
            if at in self._owned:
                self._owned[at].record.pass_end = reading.end
