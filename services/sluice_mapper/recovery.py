"""A mapper whose state was lost, or whose contributions were lost, restores the current claims from the contributions.

A pass over the raw partition, from its first offset to the end noted at the start of the pass, restores the rest of the
state. The pass emits missing claims again. At its end, keys without a record in raw are retracted, since they were
deleted.
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
        """Restore the claims in `view`, a state that was lost or is wrong; yields after each slice.

        The pass over the partition then restores the rest of the state. A partition without any claim needs no pass.
        Raises EnvironmentFault if claims from the partition exist and the partition is empty.
        """
        record = owned.record
        yield from self._find_partitions()
        if owned.at in (self._claimed_from or ()):
            require_records(owned, stage, stream)
        elif not record.versions:
            record.pass_end = None
            return
        yield from self._restore_claims(owned, (stream.source, stream.stream), view)

    def _find_partitions(self) -> Iterator[None]:
        """Find the raw partitions from which claims exist, once per process; yields after each slice."""
        if self._claimed_from is None:
            found: set[Partition] = set()
            for number, (_, claim) in enumerate(self._read(None), 1):
                found.add(claim.raw.at)
                if number % SLICE_KEYS == 0:
                    yield
            self._claimed_from = found

    def _restore_claims(self, owned: Owned, stream: tuple[str, str], view: View) -> Iterator[None]:
        """Set in `view` the current claims of each key of a raw partition; yields after each slice.

        `stream` is the pair of source and stream. The mapping versions in force are set in the partition's record. The
        rest of a key's state is kept. A key without a state gets one that says that no record of the key was read.
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
        """Entity and claim of every contribution of `stream` (source, stream; None: of all), in log order per key."""
        for topic, pinned in self._outputs.items():
            entity = topic.rpartition(".")[2]
            partitions = [(topic, p) for p in range(pinned.partitions)]
            begins, ends = self._reader.beginnings(partitions), self._reader.ends(partitions)
            for message in self._reader.read({at: (begins[at], ends[at]) for at in partitions}):
                claim = _claim_in(message, stream)
                if claim is not None:
                    yield entity, claim


def _claim_in(message: Message, stream: tuple[str, str] | None) -> Contribution | None:
    """The contribution in a record. None for a foreign record, a null, and a record of another stream."""
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
    """`state` with `claim` added as a current claim of its key; `state` itself if a newer claim of the mapping exists.

    At each position of a key, a mapping repeats all its claims and retracts those that it does not make any more. So
    the current claims of a mapping are those at its highest position.
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
    """Raises EnvironmentFault if the raw partition is empty, so that reading all of it restores nothing.

    Called if claims from the partition exist: its topic was re-created, and the source has not published again yet.
    """
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
