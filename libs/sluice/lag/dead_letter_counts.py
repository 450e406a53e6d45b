"""Dead letters that are kept: how many each stage parked, for which causes, and where the newest of each stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sluice.headers import CAUSE_HEADER, CONNECT, PARKED_HEADER
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, record_of
from sluice.names import STAGES, Names

SCANNED_MAX = 1_000
CHARACTERS_MAX = 200


class DeadLetterCause(NamedTuple):
    """Dead letters of one cause. `why`: as their header says it. `newest`, `of`: where the newest of them stands, and
    the record that it is of. `parked_ms`: when, Unix time."""

    why: str
    letters: int
    newest: str
    of: str
    parked_ms: int


class StageDeadLetters(NamedTuple):
    """Of one stage. `kept`: how many offsets its topic holds, an upper bound; `causes`: of the newest `SCANNED_MAX` of
    each partition, the most frequent first."""

    stage: str
    kept: int
    causes: tuple[DeadLetterCause, ...]

    @property
    def scanned(self) -> int:
        return sum(cause.letters for cause in self.causes)

    def to_json(self) -> dict[str, Any]:
        return {"kept_at_most": self.kept, "looked_at": self.scanned, "causes": [one._asdict() for one in self.causes]}


class DeadLetterCounts:
    """What the dead-letter topics of a pipeline hold; topics that did not grow are not read again."""

    def __init__(self, reader: LogReader, names: Names) -> None:
        self._reader = reader
        self._topics = {names.dlq(stage): stage for stage in STAGES}
        self._read: dict[Partition, tuple[int, int]] = {}
        self._found: list[StageDeadLetters] = []

    def look(self) -> list[StageDeadLetters]:
        """In the order of the flow; stages without any are left out.

        Blocks while they are read. Raises EnvironmentFault and Transient.
        """
        reader = self._reader
        there = reader.topics()
        pinned = reader.pinned([topic for topic in self._topics if topic in there])
        ats = [(topic, partition) for topic, about in pinned.items() for partition in range(about.partitions)]
        begins, ends = reader.beginnings(ats), reader.ends(ats, committed=True)
        spans = {at: (begins[at], ends[at]) for at in ats}
        if spans != self._read:
            self._found = [one for topic, stage in self._topics.items() if (one := self._letters(topic, stage, spans))]
            self._read = spans
        return self._found

    def _letters(self, topic: str, stage: str, spans: Mapping[Partition, tuple[int, int]]) -> StageDeadLetters | None:
        newest = {at: (max(begin, end - SCANNED_MAX), end) for at, (begin, end) in spans.items() if at[0] == topic}
        causes = causes_of(record_of(message) for message in self._reader.read(newest))
        kept = sum(end - begin for at, (begin, end) in spans.items() if at[0] == topic)
        return StageDeadLetters(stage, kept, causes) if causes else None


def causes_of(letters: Iterable[Record]) -> tuple[DeadLetterCause, ...]:
    """Dead letters grouped by cause, the most frequent first. Bodies, which may have megabytes, are not kept."""
    newest: dict[bytes, DeadLetterCause] = {}
    for letter in letters:
        cause = letter.headers.get(CAUSE_HEADER, b"")
        before = newest.get(cause)
        if before is None:
            newest[cause] = _cause(letter)
        elif _parked_ms(letter) >= before.parked_ms:
            newest[cause] = _cause(letter)._replace(letters=before.letters + 1)
        else:
            newest[cause] = before._replace(letters=before.letters + 1)
    return tuple(sorted(newest.values(), key=lambda one: (-one.letters, one.why)))


def _cause(letter: Record) -> DeadLetterCause:
    original = [_text(letter, f"{CONNECT}{name}") for name in ("topic", "partition", "offset")]
    return DeadLetterCause(
        _text(letter, f"{CONNECT}exception.message")[:CHARACTERS_MAX],
        1,
        letter.place,
        f"{original[0]}/{original[1]}@{original[2]}",
        _parked_ms(letter),
    )


def _parked_ms(letter: Record) -> int:
    text = letter.headers.get(PARKED_HEADER, b"")
    return int(text) if text.isdigit() else letter.timestamp_ms


def _text(letter: Record, header: str) -> str:
    text = letter.headers.get(header, b"").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text)
