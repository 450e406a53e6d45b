"""The step of one raw record, computed from its key's state and the mappings that read it. It decides which record of
a key is older.

Pure: key state and record in; the key's new state, contributions, outcome and dead letters out. `mapper.py` applies
them. Claims are ordered by (position, mapping version, retracted): a lower claim loses, an equal claim changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sluice.entities import Mapping
from sluice.entities.mapping import Claim
from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.record import Record
from sluice.names import Names
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.raw.raw_record import Op, SourceChange, read_change, read_polled
from sluice.stage.batch import OutputRecord, too_large
from sluice.stage.ledger import Outcome
from sluice_mapper.inputs import RawInput
from sluice_mapper.key_state import KeyState, Target, fill


class Step(NamedTuple):
    """What one raw record changes. `state`: the key's state after the record. `outputs`: the contributions to emit.

    `dead`: the errors that park the record, each with the version of the mapping that failed, None if no mapping did.
    """

    state: KeyState
    outcome: Outcome
    outputs: Sequence[OutputRecord] = ()
    dead: Sequence[tuple[DeadRecord, int | None]] = ()


class ContributionTopics(NamedTuple):
    """The names of the contributions topics, and the number of partitions that each of them has."""

    names: Names
    partitions: int


class RecordContext(NamedTuple):
    """The members that all contributions of one raw record share. `headers`: the raw record's headers to repeat."""

    source: str
    stream: str
    source_key: str
    position: Position
    raw: RawRef
    observed_at: int
    headers: Sequence[tuple[str, bytes]]
    topics: ContributionTopics

    def claims(self, mapping: Mapping, claims: Iterable[Claim]) -> list[OutputRecord]:
        return [self._output(mapping.name, mapping.version, mapping.entity.version, claim, False) for claim in claims]

    def retractions(self, mapping: str, version: int, contract: int, targets: Iterable[Target]) -> list[OutputRecord]:
        """Retractions of the claims of `mapping` about `targets`. `contract`: the version of the contract."""
        claims = (Claim(entity, entity_id, output, {}, None) for entity, entity_id, output in targets)
        return [self._output(mapping, version, contract, claim, True) for claim in claims]

    def _output(self, mapping: str, version: int, contract: int, claim: Claim, retracted: bool) -> OutputRecord:
        contribution = Contribution(
            entity_id=claim.entity_id,
            source=self.source,
            stream=self.stream,
            source_key=self.source_key,
            mapping=mapping,
            mapping_version=version,
            output=claim.output,
            position=self.position,
            raw=self.raw,
            observed_at=self.observed_at,
            effective_at=claim.effective_at,
            contract=contract,
            fields=claim.fields,
            retracted=retracted,
        ).sealed()
        topic = self.topics.names.contributions(claim.entity)
        partition = murmur2_partition(claim.entity_id.encode(), self.topics.partitions)
        return OutputRecord(topic, contribution.key, contribution.to_json(), self.headers, partition)


def record_step(
    state: KeyState,
    record: Record,
    source_key: str,
    position: Position,
    raw_input: RawInput,
    topics: ContributionTopics,
) -> Step:
    """The step of `record`, a change of `source_key` at `position`. `state`: the state of the key before the record."""
    newest = position >= state.seen
    if newest:
        state = state.replace(seen=position)
    try:
        change = (read_change if raw_input.is_cdc else read_polled)(record, source_key, position)
    except DeadRecord as error:
        # The unreadable record may have changed any column, so the current values of the key are unknown.
        return Step(state.replace(carried=None) if newest else state, "dead", dead=[(error, None)])
    if change.op is Op.DELETE:
        step = retract_all(state, _context(record, change, raw_input, topics), raw_input.versions)
        if (refused := too_large(step.outputs)) is not None:
            return Step(state, "dead", dead=[(refused, None)])
        return step
    outcomes = [outcome_by_position(mapping, state, position) for mapping in raw_input.mappings]
    decided = None if None in outcomes else worst(filter(None, outcomes))
    unknown: list[str] = []
    # Columns are carried also from a record whose claims exist already: after a loss of the state, this restores them.
    if raw_input.is_cdc and (decided is None or (newest and state.carried is not None)):
        row, carried, unknown = fill(change.row, state.carried, position)
        change = change._replace(row=row)
        if newest:
            state = state.replace(carried=carried)
    if decided is not None:
        return Step(state, decided)
    if unknown and change.row_gone:
        return Step(state, "superseded")  # the source deleted the row since: a record of its delete follows
    if unknown:
        reason = f"column {unknown[0]} was left out, and its value was never seen"
        return Step(state, "dead", dead=[(DeadRecord("unchanged-value-never-seen", reason), None)])
    return _upsert(state, change.row, _context(record, change, raw_input, topics), raw_input.mappings)


def _context(record: Record, change: SourceChange, raw_input: RawInput, topics: ContributionTopics) -> RecordContext:
    return RecordContext(
        raw_input.stream.source,
        raw_input.stream.stream,
        change.key,
        change.position,
        RawRef(record.topic, record.partition, record.offset),
        change.observed_at,
        record.forwarded,
        topics,
    )


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
    position = context.position
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
        outputs += context.retractions(name, version, contract, state.targets.get(name, ()))
        emitted[name] = (position, version)
        targets[name] = ()
    after = state.replace(deleted=position, emitted=emitted, targets=targets)
    if superseded:
        return Step(after, "superseded", outputs)
    return Step(after, "mapped" if outputs else "unchanged", outputs)


def _upsert(state: KeyState, row: dict[str, Any], context: RecordContext, mappings: Iterable[Mapping]) -> Step:
    """Apply each mapping that has no equal or newer claim. A mapping that fails changes no state."""
    emitted, targets = dict(state.emitted), dict(state.targets)
    outputs: list[OutputRecord] = []
    outcomes: list[Outcome] = []
    dead: list[tuple[DeadRecord, int | None]] = []
    for mapping in mappings:
        outcome = outcome_by_position(mapping, state, context.position)
        if outcome is None:
            claimed = _claimed(mapping, row, state, context)
            if isinstance(claimed, DeadRecord):
                dead.append((claimed, mapping.version))
                outcome = "dead"
            else:
                emitted[mapping.name] = (context.position, mapping.version)
                targets[mapping.name] = claimed.targets
                outputs += claimed.outputs
                outcome = "mapped" if claimed.outputs else "filtered"
        outcomes.append(outcome)
    return Step(state.replace(emitted=emitted, targets=targets), worst(outcomes), outputs, dead)


class _Claimed(NamedTuple):
    targets: tuple[Target, ...]
    outputs: list[OutputRecord]


def _claimed(mapping: Mapping, row: dict[str, Any], state: KeyState, context: RecordContext) -> _Claimed | DeadRecord:
    """The claims of `mapping` for `row`, with retractions of its claims that end here; or the error if it fails."""
    try:
        claims = mapping.apply(row)
    except DeadRecord as error:
        return error
    targets = tuple((claim.entity, claim.entity_id, claim.output) for claim in claims)
    old = [target for target in state.targets.get(mapping.name, ()) if target not in targets]
    outputs = context.claims(mapping, claims)
    outputs += context.retractions(mapping.name, mapping.version, mapping.entity.version, old)
    return too_large(outputs) or _Claimed(targets, outputs)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that counts for a record that several mappings read: the first in the order of `ranked`."""
    ranked: tuple[Outcome, ...] = ("dead", "mapped", "superseded", "unchanged", "filtered")
    return min(outcomes, key=ranked.index, default="filtered")
