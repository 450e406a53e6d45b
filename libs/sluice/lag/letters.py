"""Dead letters that are kept: how many each stage parked, for which causes, and where the newest of each stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.names import STAGES, Names
from sluice.stage.dead_letters import CAUSE_HEADER, CONNECT, PARKED_HEADER
from sluice.stage.record import Record, record_of

SCANNED_MAX = 1_000
CHARACTERS_MAX = 200


class Cause(NamedTuple):
    """Dead letters of one cause. `why`: as their header says it. `newest`, `of`: where the newest of them stands, and
    the record that it is of. `parked_ms`: when, Unix time."""

    why: str
    letters: int
    newest: str
    of: str
    parked_ms: int


class Letters(NamedTuple):
    """Of one stage. `kept`: how many offsets its topic holds, an upper bound; `causes`: of the newest `SCANNED_MAX` of
    each partition, the most frequent first."""

    stage: str
    kept: int
    causes: tuple[Cause, ...]

    @property
    def scanned(self) -> int:
        return sum(cause.letters for cause in self.causes)

    def to_json(self) -> dict[str, Any]:
        return {"kept_at_most": self.kept, "looked_at": self.scanned, "causes": [one._asdict() for one in self.causes]}


def dead_letters(reader: LogReader, names: Names, topics: Iterable[str]) -> list[Letters]:
    """What the dead-letter topics among `topics` hold, in the order of the flow; stages without any are left out.

    Blocks while they are read. Raises EnvironmentFault and Transient.
    """
    of_stage = {names.dlq(stage): stage for stage in STAGES}
    pinned = reader.pinned([topic for topic in of_stage if topic in set(topics)])
    ats = [(topic, partition) for topic, about in pinned.items() for partition in range(about.partitions)]
    begins, ends = reader.beginnings(ats), reader.ends(ats, committed=True)
    spans = {at: (max(begins[at], ends[at] - SCANNED_MAX), ends[at]) for at in ats}
    records = [record_of(message) for message in reader.read(spans)]
    found = []
    for topic, stage in of_stage.items():
        kept = sum(ends[at] - begins[at] for at in ats if at[0] == topic)
        causes = causes_of(record for record in records if record.topic == topic)
        if causes:
            found.append(Letters(stage, kept, causes))
    return found


def causes_of(letters: Iterable[Record]) -> tuple[Cause, ...]:
    """Dead letters grouped by cause, the most frequent first."""
    newest: dict[bytes, Record] = {}
    counts: dict[bytes, int] = {}
    for letter in letters:
        cause = letter.headers.get(CAUSE_HEADER, b"")
        counts[cause] = counts.get(cause, 0) + 1
        if cause not in newest or _parked_ms(letter) >= _parked_ms(newest[cause]):
            newest[cause] = letter
    found = [_cause(counts[cause], letter) for cause, letter in newest.items()]
    return tuple(sorted(found, key=lambda one: (-one.letters, one.why)))


def _cause(count: int, letter: Record) -> Cause:
    at: Partition = letter.at
    original = [_text(letter, f"{CONNECT}{name}") for name in ("topic", "partition", "offset")]
    return Cause(
        _text(letter, f"{CONNECT}exception.message")[:CHARACTERS_MAX],
        count,
        f"{at[0]}/{at[1]}@{letter.offset}",
        f"{original[0]}/{original[1]}@{original[2]}",
        _parked_ms(letter),
    )


def _parked_ms(letter: Record) -> int:
    text = letter.headers.get(PARKED_HEADER, b"")
    return int(text) if text.isdigit() else letter.timestamp_ms


def _text(letter: Record, header: str) -> str:
    text = letter.headers.get(header, b"").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text)
