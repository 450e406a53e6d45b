"""A mapper that lost its state, or its claims, restores the current claims from the contributions themselves.

A pass over its input, from the first offset to the end noted at its start, does the rest. Missing claims are emitted
again. A key that raw has no record of was deleted; it is retracted when the pass ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord, EnvironmentFault
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.pipeline import SourceStream
from sluice.provenance import Contribution
from sluice.stage.process import Owned
from sluice.stage.start import StageIdentity
from sluice.state import View
from sluice_mapper.key_state import KeyScan, KeyState, Target

SLICE_KEYS = 1_000


class CurrentClaims:
    """The current claims in the contributions topics that a mapper writes (`outputs`)."""

    def __init__(self, reader: LogReader, outputs: Mapping[str, Pinned]) -> None:
        self._reader = reader
        self._outputs = outputs
        self._claimed_from: set[Partition] | None = None

    def restore(self, owned: Owned, view: View, stage: StageIdentity, stream: SourceStream) -> Iterator[None]:
        """Restore the claims in a state that was lost or is not true any more; the pass over the partition restores the
        rest. A partition from which nothing was ever claimed needs no pass. In slices. Raises EnvironmentFault."""
        record = owned.record
        yield from self._find_partitions()
        if owned.at in (self._claimed_from or ()):
            require_records(owned, stage, stream)
        elif not record.versions:
            record.pass_end = None
            return
        yield from self._restore_claims(owned, (stream.source, stream.stream), view)

    def _find_partitions(self) -> Iterator[None]:
        """Find the raw partitions from which anything was claimed; once per process. In slices."""
        if self._claimed_from is None:
            found: set[Partition] = set()
            for number, (_, claim) in enumerate(self._read(None), 1):
                found.add(claim.raw.at)
                if number % SLICE_KEYS == 0:
                    yield
            self._claimed_from = found

    def _restore_claims(self, owned: Owned, stream: tuple[str, str], view: View) -> Iterator[None]:
        """Set in `view` the current claims of each key of a raw partition (of `stream`: source and stream), and in its
        record the mapping versions in force. In slices.

        The rest of a key's state is kept. A key without a state gets one that says that no record of it was read.
        """
        yield from self._drop_claims(view)
        versions = owned.record.versions
        for number, (entity, claim) in enumerate(self._read(stream), 1):
            if claim.raw.at == owned.at:
                versions[claim.mapping] = max(versions.get(claim.mapping, 0), claim.mapping_version)
                key = claim.source_key.encode()
                before = KeyState.from_json(view.get(key))
                state = with_claim(before, (entity, claim.entity_id, claim.output), claim)
                if state is not before:
                    view.put(key, state.to_json())
            if number % SLICE_KEYS == 0:
                view.advance()
                yield
        view.advance()

    @staticmethod
    def _drop_claims(view: View) -> Iterator[None]:
        scan = KeyScan()
        while not scan.finished:
            for key, state in scan.read(view, SLICE_KEYS):
                view.put(key, state.replace(emitted={}, targets={}).to_json())
            view.advance()
            yield

    def _read(self, stream: tuple[str, str] | None) -> Iterator[tuple[str, Contribution]]:
        """Entity and claim of every contribution, of one source's stream or of all, in order per key."""
        for topic, pinned in self._outputs.items():
            entity = topic.rpartition(".")[2]
            partitions = [(topic, p) for p in range(pinned.partitions)]
            begins, ends = self._reader.beginnings(partitions), self._reader.ends(partitions)
            for message in self._reader.read({at: (begins[at], ends[at]) for at in partitions}):
                claim = _claim_in(message, stream)
                if claim is not None:
                    yield entity, claim


def _claim_in(message: Message, stream: tuple[str, str] | None) -> Contribution | None:
    """The contribution in a record; None for a foreign record, for a null, and for one of another stream."""
    key, value = message.key(), message.value()
    if key is None or value is None:
        return None
    try:
        named = orjson.loads(key)
        if stream is not None and (named[1], named[2]) != stream:
            return None
        return Contribution.from_json(value)
    except (ValueError, IndexError, KeyError, TypeError, DeadRecord):
        return None


def with_claim(state: KeyState, target: Target, claim: Contribution) -> KeyState:
    """The state with `claim` as a current claim of its key; the same state if a newer one exists.

    A mapping claims everything again at each position of a key, and retracts there what it does not claim any more: its
    current claims are those at the highest position.
    """
    now = (claim.position, claim.mapping_version)
    before = state.emitted.get(claim.mapping)
    if before is not None and now < before:
        return state
    targets = state.targets.get(claim.mapping, ()) if now == before else ()
    left = tuple(one for one in targets if one != target)
    return state.replace(
        emitted={**state.emitted, claim.mapping: now},
        targets={**state.targets, claim.mapping: left if claim.retracted else (*left, target)},
    )


def require_records(owned: Owned, stage: StageIdentity, stream: SourceStream) -> None:
    """Raises EnvironmentFault for an empty partition from which current claims exist: its topic was re-created, and its
    source has not published yet."""
    if owned.record.pass_end:
        return
    topic, partition = owned.at
    again = "restart ingress-poller, which then publishes all that it lists"
    if stream.kind == "cdc":
        again = f"run `sluice cdc resnapshot {stream.source}`"
    raise EnvironmentFault(
        f"{topic}/{partition}, group {stage.group}",
        "it is empty, but claims from it exist: the topic was re-created, or its records were deleted",
        f"have the source publish everything again: {again}",
    )
