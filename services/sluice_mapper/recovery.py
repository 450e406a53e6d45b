"""A mapper that lost its state, or the claims it made, finds again what stands: in the contributions themselves.

A pass over its input, from the first offset to the end noted when it began, then tells the rest: what is missing there
is claimed again, and what raw has no record of any more was deleted, and is retracted when the pass ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord, EnvironmentFault
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.pipeline import Stream
from sluice.position import LOWEST, Position
from sluice.provenance import Contribution
from sluice.raw.source_record import RESERVED_KEY
from sluice.stage.batch import Batch
from sluice.stage.process import Owned
from sluice.stage.start import StageIdentity
from sluice.state import View
from sluice_mapper.key_state import KeyState, Target

SLICE_KEYS = 1_000


class StandingClaims:
    """The contributions topics that a mapper writes (`outputs`), read as what was claimed."""

    def __init__(self, reader: LogReader, outputs: Mapping[str, Pinned]) -> None:
        self._reader = reader
        self._outputs = outputs
        self._claimed_from: set[Partition] | None = None

    def find_again(self, owned: Owned, view: View, as_: StageIdentity, stream: Stream) -> Iterator[None]:
        """What stands of a state that was lost, or is not true any more; the pass over the partition tells the rest.
        None of it is for a partition from which nothing was ever claimed. In slices. Raises EnvironmentFault."""
        record = owned.record
        yield from self._look()
        if owned.at in (self._claimed_from or ()):
            require_records(owned, as_, stream)
        elif not record.versions:
            record.pass_end = None
            return
        for versions in self._restore(owned.at, (stream.source, stream.stream), view):
            record.versions |= {name: max(version, record.versions.get(name, 0)) for name, version in versions.items()}
            yield

    def _look(self) -> Iterator[None]:
        """Find out from which raw partitions anything was claimed; once a process, not once a partition that is new.
        In slices."""
        if self._claimed_from is None:
            found: set[Partition] = set()
            for number, (_, claim) in enumerate(self._read(None), 1):
                found.add(claim.raw.at)
                if number % SLICE_KEYS == 0:
                    yield
            self._claimed_from = found

    def _restore(self, at: Partition, stream: tuple[str, str], view: View) -> Iterator[dict[str, int]]:
        """Make `view` believe of each key of the raw partition `at` (of `stream`: source and stream) that to be claimed
        which stands. In slices; each tells the mapping versions met so far.

        The rest of what is known of a key stays. A key that is not known gets a state that says it was never seen.
        """
        yield from self._forget_claims(view)
        versions: dict[str, int] = {}
        for number, (entity, claim) in enumerate(self._read(stream), 1):
            if claim.raw.at == at:
                versions[claim.mapping] = max(versions.get(claim.mapping, 0), claim.mapping_version)
                key = claim.source_key.encode()
                state = KeyState.from_json(view.get(key))
                if believe(state, (entity, claim.entity_id, claim.output), claim):
                    view.put(key, state.to_json())
            if number % SLICE_KEYS == 0:
                view.advance()
                yield versions
        view.advance()
        yield versions

    @staticmethod
    def _forget_claims(view: View) -> Iterator[dict[str, int]]:
        after = b""
        while pairs := list(islice(view.scan(after=after), SLICE_KEYS)):
            for key, value in pairs:
                if not key.startswith(RESERVED_KEY):
                    state = KeyState.from_json(value)
                    state.emitted, state.targets = {}, {}
                    view.put(key, state.to_json())
            view.advance()
            after = pairs[-1][0]
            yield {}

    def _read(self, stream: tuple[str, str] | None) -> Iterator[tuple[str, Contribution]]:
        """Entity and claim of all that stands in the outputs, of one source's stream or of all, in order per key."""
        for topic, pinned in self._outputs.items():
            entity = topic.rpartition(".")[2]
            partitions = [(topic, p) for p in range(pinned.partitions)]
            begins, ends = self._reader.beginnings(partitions), self._reader.ends(partitions)
            for message in self._reader.read({at: (begins[at], ends[at]) for at in partitions}):
                claim = _claim_in(message, stream)
                if claim is not None:
                    yield entity, claim


def _claim_in(message: Message, stream: tuple[str, str] | None) -> Contribution | None:
    """The contribution in a record; None for a stranger's, for a null, and for one of another stream."""
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


def believe(state: KeyState, target: Target, claim: Contribution) -> bool:
    """Note in `state` a claim that stands; whether it is news.

    All claims of a mapping to a key are made anew at each of its positions, and what is not is retracted there: what
    stands at its highest is all.
    """
    now = (claim.position, claim.mapping_version)
    before = state.emitted.get(claim.mapping)
    if before is not None and now < before:
        return False
    targets = state.targets.get(claim.mapping, []) if now == before else []
    left = [one for one in targets if one != target]
    state.emitted[claim.mapping] = now
    state.targets[claim.mapping] = left if claim.retracted else [*left, target]
    return True


@dataclass(slots=True)
class Pass:
    """A reading anew of one partition, up to `end`. `after`: the last key that was looked at since it got there."""

    end: int
    after: bytes = b""


def unmet_slice(view: View, reading: Pass, keys: int) -> tuple[list[tuple[bytes, KeyState]], bool]:
    """Of the next `keys`, those that the pass met no record of, and whether they were the last; advances `reading`."""
    pairs = list(islice(view.scan(after=reading.after), keys))
    if pairs:
        reading.after = pairs[-1][0]
    known = ((key, KeyState.from_json(value)) for key, value in pairs if not key.startswith(RESERVED_KEY))
    return [(key, state) for key, state in known if unmet(state)], len(pairs) < keys


def unmet(state: KeyState) -> bool:
    """Whether all that is known of a key is what was claimed of it: no record of it was seen."""
    return state.seen == LOWEST and bool(state.emitted)


def newest_claimed(state: KeyState) -> Position:
    return max(position for position, _ in state.emitted.values())


def require_records(owned: Owned, as_: StageIdentity, stream: Stream) -> None:
    """Raises EnvironmentFault for a partition that holds nothing, while what was claimed from it stands: it was made
    again, and its source has not published yet."""
    if owned.record.pass_end:
        return
    topic, partition = owned.at
    again = "restart ingress-poller, which then publishes all that it lists"
    if stream.kind == "cdc":
        again = f"run `sluice cdc resnapshot {stream.source}`"
    raise EnvironmentFault(
        f"{topic}/{partition}, group {as_.group}",
        "it is empty, and what was once claimed from it stands: it was made again, or emptied",
        f"have the source publish everything again: {again}",
    )


def known(owned: Owned, raw_key: bytes, key: bytes, batch: Batch) -> bytes | None:
    """What is kept of a key: under the source key, which claims tell too, and not in Debezium's wrapping of it."""
    view = owned.view
    if raw_key != key and (wrapped := view.get(raw_key)) is not None:
        kept = [(raw_key, None)] if view.get(key) is not None else [(raw_key, None), (key, wrapped)]
        for one, value in kept:
            batch.emit(view.topic, one, value, (), owned.at[1])
            view.put(one, value)
    return view.get(key)
