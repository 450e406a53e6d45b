"""The step of one raw record, computed from its key's state and the mappings that read it. It decides which record of
a key is older.

Pure: key state and record in; the key's new state, contributions, outcome and dead letters out. `mapper.py` applies
them. Claims are ordered by (position, mapping version, retracted): a lower claim loses, an equal claim changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from sluice.entities import Mapping
from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.names import Names
from sluice.pipeline import SourceStream
from sluice.position import Position
from sluice.provenance import ContributionWriter, Origin
from sluice.raw.raw_record import Op, SourceChange
from sluice.stage.batch import OUTPUT_BYTES_MAX, OutputRecord, output_too_large
from sluice.stage.ledger import Outcome
from sluice_mapper.inputs import RawInput
from sluice_mapper.key_state import KeyState, fill

Claimed = tuple[str, str, str, bytes | None, int | None]
"""A claim or, with None for fields and time, a retraction: the members of `EncodedClaim`."""


class Step(msgspec.Struct, frozen=True):
    """What one raw record changes. `state`: the key's state after the record. `outputs`: the contributions to emit.

    `dead`: the errors that park the record, each with the version of the mapping that failed, None if no mapping did.
    """

    state: KeyState
    outcome: Outcome
    outputs: Sequence[OutputRecord] = ()
    dead: Sequence[tuple[DeadRecord, int | None]] = ()


class ContributionWriters:
    """Writes the contributions of one raw partition, with a writer for each version of a mapping.

    `partitions`: the number of partitions of each contributions topic.
    """

    def __init__(self, stream: SourceStream, raw_partition: Partition, names: Names, partitions: int) -> None:
        self._stream = stream
        self._raw_partition = raw_partition
        self._names, self.partitions = names, partitions
        self._topics: dict[str, str] = {}
        self._writers: dict[tuple[str, int, int], ContributionWriter] = {}

    def topic(self, entity: str) -> str:
        """The contributions topic of an entity."""
        if (topic := self._topics.get(entity)) is None:
            topic = self._topics[entity] = self._names.contributions(entity)
        return topic

    def of(self, mapping: str, version: int, contract: int) -> ContributionWriter:
        """The writer of a mapping's version. `contract`: the version of the entity's contract."""
        key = (mapping, version, contract)
        if (writer := self._writers.get(key)) is None:
            stream = self._stream
            writer = ContributionWriter(stream.source, stream.stream, self._raw_partition, *key)
            self._writers[key] = writer
        return writer


class RecordContext(msgspec.Struct, frozen=True):
    """The members that all contributions of one raw record share. `headers`: the raw record's headers to repeat.

    `bytes_max`: the largest key and value together for which our topics have room next to the headers.
    """

    origin: Origin
    headers: Sequence[tuple[str, bytes]]
    bytes_max: int
    writers: ContributionWriters

    def moved(self, **members: Any) -> RecordContext:
        """A copy in which `members` of the origin are replaced."""
        return msgspec.structs.replace(self, origin=msgspec.structs.replace(self.origin, **members))

    def outputs(self, mapping: str, version: int, contract: int, claims: Iterable[Claimed]) -> list[OutputRecord]:
        """The records of claims and retractions of `mapping`. `contract`: the version of the entity's contract.

        Raises DeadRecord if a record is too large.
        """
        origin, headers, writers = self.origin, self.headers, self.writers
        write, partitions = writers.of(mapping, version, contract).write, writers.partitions
        outputs = []
        for entity, entity_id, output, fields, effective_at in claims:
            key, value = write(origin, entity_id, output, fields, effective_at)
            if len(key) + len(value) > self.bytes_max:
                raise output_too_large()
            partition = murmur2_partition(entity_id.encode(), partitions)
            outputs.append(OutputRecord(writers.topic(entity), key, value, headers, partition))
        return outputs


def context_of(origin: Origin, headers: Sequence[tuple[str, bytes]], writers: ContributionWriters) -> RecordContext:
    bytes_max = OUTPUT_BYTES_MAX
    for name, value in headers:
        bytes_max -= len(name) + len(value)
    return RecordContext(origin, headers, bytes_max, writers)


def record_step(
    state: KeyState,
    record: Record,
    source_key: str,
    position: Position,
    raw_input: RawInput,
    writers: ContributionWriters,
) -> Step:
    """The step of `record`, a change of `source_key` at `position`. `state`: the state of the key before the record."""
    newest = position >= state.seen
    if position > state.seen:
        state = KeyState(position, state.deleted, state.emitted, state.targets, state.carried)
    try:
        change = raw_input.read(record, source_key, position)
    except DeadRecord as error:
        # The unreadable record may have changed any column, so the current values of the key are unknown.
        return Step(state.replace(carried=None) if newest else state, "dead", dead=[(error, None)])
    origin = Origin(source_key, position, record.offset, change.observed_at)
    context = context_of(origin, record.forwarded, writers)
    if change.op is Op.DELETE:
        try:
            return retract_all(state, context, raw_input.versions)
        except DeadRecord as refused:
            return Step(state, "dead", dead=[(refused, None)])
    outcomes = [outcome_by_position(mapping, state, position) for mapping in raw_input.mappings]
    decided = None if None in outcomes else outcome_of_record(filter(None, outcomes))
    row = change.row
    # Columns are carried also from a record whose claims exist already: after a loss of the state, this restores them.
    if raw_input.is_cdc and (decided is None or (newest and state.carried is not None)):
        row, carried, unknown = fill(row, state.carried, position)
        if newest:
            state = KeyState(state.seen, state.deleted, state.emitted, state.targets, carried)
        if unknown and decided is None:
            return _incomplete(state, change, unknown[0])
    if decided is not None:
        return Step(state, decided)
    return _upsert(state, row, context, zip(raw_input.mappings, outcomes, strict=True))


def _incomplete(state: KeyState, change: SourceChange, column: str) -> Step:
    """The step of a record that leaves out `column`, whose value is not known."""
    if change.row_gone:
        return Step(state, "superseded")  # the source deleted the row since: a record of its delete follows
    reason = f"column {column} was left out, and its value was never seen"
    return Step(state, "dead", dead=[(DeadRecord("unchanged-value-never-seen", reason), None)])


def outcome_by_position(mapping: Mapping, state: KeyState, position: Position) -> Outcome | None:
    """The outcome if the record's position alone decides it (an equal or newer claim or delete exists), else None."""
    if state.deleted is not None and position <= state.deleted:
        return "unchanged" if position == state.deleted else "superseded"
    before = state.emitted.get(mapping.name)
    now = (position, mapping.version)
    if before is None or now > before:
        return None
    return "unchanged" if now == before else "superseded"


def retract_all(state: KeyState, context: RecordContext, versions: dict[str, tuple[int, int]]) -> Step:
    """The step of a delete at the context's position: retract every current claim that is not newer than the delete.

    The state stores the delete, also for an unknown key. `versions`: by mapping name, the mapping's version and the
    contract's. The claims of a mapping that was removed are retracted with the mapping version of the claim.
    """
    position = context.origin.position
    if state.deleted is not None and position <= state.deleted:
        return Step(state, "unchanged" if position == state.deleted else "superseded")
    emitted, targets = dict(state.emitted), dict(state.targets)
    outputs: list[OutputRecord] = []
    superseded = False
    for name, (at, emitted_version) in state.emitted.items():
        if position < at:
            superseded = True
            continue
        version, contract = versions.get(name, (emitted_version, 1))
        version = max(version, emitted_version)
        retractions = [(*target, None, None) for target in state.targets.get(name, ())]
        outputs += context.outputs(name, version, contract, retractions)
        emitted[name] = (position, version)
        targets[name] = ()
    after = state.replace(deleted=position, emitted=emitted, targets=targets)
    if superseded:
        return Step(after, "superseded", outputs)
    return Step(after, "mapped" if outputs else "unchanged", outputs)


def _upsert(
    state: KeyState,
    row: dict[str, Any],
    context: RecordContext,
    by_position: Iterable[tuple[Mapping, Outcome | None]],
) -> Step:
    """Apply each mapping whose outcome the record's position does not decide. A mapping that fails changes no state.

    `by_position`: each mapping with the result of `outcome_by_position`.
    """
    emitted, targets = dict(state.emitted), dict(state.targets)
    outputs: list[OutputRecord] = []
    outcomes: list[Outcome] = []
    dead: list[tuple[DeadRecord, int | None]] = []
    for mapping, outcome in by_position:
        if outcome is None:
            try:
                claims = mapping.apply_encoded(dict(row))  # a validator may change it, and other mappings read it
                now = tuple([claim[:3] for claim in claims])
                # A claim about another entity than before: the new claim comes first, then the retraction of the old.
                ended = [(*old, None, None) for old in state.targets.get(mapping.name, ()) if old not in now]
                written = context.outputs(mapping.name, mapping.version, mapping.entity.version, [*claims, *ended])
            except DeadRecord as error:
                dead.append((error, mapping.version))
                outcome = "dead"
            else:
                emitted[mapping.name] = (context.origin.position, mapping.version)
                targets[mapping.name] = now
                outputs += written
                outcome = "mapped" if written else "filtered"
        outcomes.append(outcome)
    after = KeyState(state.seen, state.deleted, emitted, targets, state.carried)
    return Step(after, outcomes[0] if len(outcomes) == 1 else outcome_of_record(outcomes), outputs, dead)


def outcome_of_record(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that counts for a record that several mappings read: the first in the order of `ranked`."""
    ranked: tuple[Outcome, ...] = ("dead", "mapped", "superseded", "unchanged", "filtered")
    return min(outcomes, key=ranked.index, default="filtered")
