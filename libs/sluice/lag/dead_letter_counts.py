"""Counts the kept dead letters of each stage by cause, and finds the place of the newest dead letter of each cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sluice.headers import CAUSE_HEADER, CONNECT, PARKED_HEADER
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in, record_of
from sluice.names import STAGES, Names
from sluice.stage.dead_letters import origin_of

SCANNED_MAX = 1_000
CHARACTERS_MAX = 200


class DeadLetterCause(NamedTuple):
    """The dead letters of a stage that have the same cause. `why`: the cause as text, cut to `CHARACTERS_MAX`.
    `newest`: the place of the newest dead letter. `of`: the place of its original record, or
    only the topic if that record was never written to it. `parked_ms`: when the newest was parked, in Unix ms."""

    why: str
    dead_letters: int
    newest: str
    of: str
    parked_ms: int


class StageDeadLetters(NamedTuple):
    """The dead letters of one stage. `kept`: the number of offsets in the stage's dead-letter topic, an upper bound of
    the number of dead letters. `causes`: the causes of the newest `SCANNED_MAX` dead letters of each partition, the
    most frequent cause first."""

    stage: str
    kept: int
    causes: tuple[DeadLetterCause, ...]

    @property
    def scanned(self) -> int:
        return sum(cause.dead_letters for cause in self.causes)

    def to_json(self) -> dict[str, Any]:
        return {"kept_at_most": self.kept, "scanned": self.scanned, "causes": [one._asdict() for one in self.causes]}


class DeadLetterCounts:
    """Counts the dead letters of a pipeline. The dead-letter topics are read again only if one of them has changed."""

    def __init__(self, reader: LogReader, names: Names) -> None:
        self._reader = reader
        self._topics = {names.dlq(stage): stage for stage in STAGES}
        self._read: dict[Partition, tuple[int, int]] = {}
        self._found: list[StageDeadLetters] = []

    def read(self) -> list[StageDeadLetters]:
        """The dead letters of each stage that has some, in the order of the flow. Blocks.

        Raises Transient if Kafka does not answer, EnvironmentFault if an operator must repair something.
        """
        existing = self._reader.topics()
        pinned = self._reader.pinned([topic for topic in self._topics if topic in existing])
        partitions = [(topic, partition) for topic, about in pinned.items() for partition in range(about.partitions)]
        spans = self._reader.spans(partitions, committed=True)
        if spans != self._read:
            found = [self._of_stage(topic, stage, spans) for topic, stage in self._topics.items()]
            self._found, self._read = [one for one in found if one.causes], spans
        return self._found

    def _of_stage(self, topic: str, stage: str, spans: Mapping[Partition, tuple[int, int]]) -> StageDeadLetters:
        own = {at: span for at, span in spans.items() if at[0] == topic}
        newest = {at: (max(begin, end - SCANNED_MAX), end) for at, (begin, end) in own.items()}
        causes = causes_of(record_of(message) for message in self._reader.read(newest))
        return StageDeadLetters(stage, sum(end - begin for begin, end in own.values()), causes)


def causes_of(dead_letters: Iterable[Record]) -> tuple[DeadLetterCause, ...]:
    """Group dead letters by cause, the most frequent cause first.

    The values of the dead letters are not kept in memory, because a value may have megabytes.
    """
    newest: dict[bytes, DeadLetterCause] = {}
    for record in dead_letters:
        fingerprint = record.headers.get(CAUSE_HEADER, b"")
        cause, before = _cause_of(record), newest.get(fingerprint)
        if before is not None:
            later = cause if cause.parked_ms >= before.parked_ms else before
            cause = later._replace(dead_letters=before.dead_letters + 1)
        newest[fingerprint] = cause
    return tuple(sorted(newest.values(), key=lambda one: (-one.dead_letters, one.why)))


def parked_ms_of(dead_letter: Record) -> int:
    """When a dead letter was parked, in Unix ms: from its header `sluice-parked-ms`, else from its Kafka timestamp."""
    parked_ms = number_in(dead_letter.headers.get(PARKED_HEADER))
    return dead_letter.timestamp_ms if parked_ms is None else parked_ms


def _cause_of(dead_letter: Record) -> DeadLetterCause:
    raw = origin_of(dead_letter)
    of = _text(dead_letter, f"{CONNECT}topic") if raw is None else _printable(raw.place)
    why = _text(dead_letter, f"{CONNECT}exception.message")[:CHARACTERS_MAX]
    return DeadLetterCause(why, 1, dead_letter.place, of, parked_ms_of(dead_letter))


def _text(record: Record, header: str) -> str:
    return _printable(record.headers.get(header, b"").decode("utf-8", "replace"))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
