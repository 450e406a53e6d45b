"""Dead letters: the original bytes and headers of a record, its topic, partition and offset, and the reason. Also the
guard that decides when an input topic has too many dead letters.

Headers of a dead letter have the names that Kafka Connect uses, so that the tools of Kafka Connect can read them. The
reason comes from a closed set of texts and never quotes the record.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.errors import DeadRecord
from sluice.headers import (
    ATTEMPT_HEADER,
    CAUSE_HEADER,
    CONNECT,
    KEY_TRUNCATED_HEADER,
    KIND_HEADER,
    LEFT_OUT_HEADER,
    MAPPING_VERSION_HEADER,
    PARKED_HEADER,
    SHA256_HEADER,
    TRUNCATED_HEADER,
)
from sluice.kafka.record import Record, number_in
from sluice.names import INGRESS_CDC, INGRESS_POLLER, SINK_POSTGRES
from sluice.provenance import RawRef
from sluice.stage.start_decision import reset_command
from sluice.times import now_ms

# The sum of these limits is below max.message.bytes (16 MiB) of dead-letter topics.
BODY_BYTES_MAX = 8 * 1024 * 1024
KEY_BYTES_MAX = HEADERS_BYTES_MAX = 1024 * 1024
TRUNCATED_BODY_BYTES = 64 * 1024

CONNECT_STEPS = {INGRESS_POLLER: "TASK_POLL", INGRESS_CDC: "TASK_POLL", SINK_POSTGRES: "TASK_PUT"}
"""What Kafka Connect calls the step of a stage. The other stages are a TRANSFORMATION."""

PAUSED_WHY = "too many dead letters; the cause is a bad mapping or deployment, not bad records"

Headers = list[tuple[str, bytes]]


class DeadLetter(NamedTuple):
    key: bytes | None
    body: bytes | None
    headers: Headers


def cause_of(stage: str, error: DeadRecord) -> str:
    """The fingerprint of stage, code and reason, by which dead letters are grouped by cause: 12 hex digits."""
    return hashlib.sha256(f"{stage}\0{error.code}\0{error.reason}".encode()).hexdigest()[:12]


def dead_letter(stage: str, record: Record, error: DeadRecord, mapping_version: int | None) -> DeadLetter:
    """The dead letter of `record`. A body or key above its limit is cut; headers then contain its full size and the
    hash of the full body. Headers above their limit are left out and counted. A record with a negative offset reached
    no topic: its dead letter names no partition and no offset."""
    partition = str(record.partition)
    at = {} if record.offset < 0 else {"partition": partition, "offset": str(record.offset), "task.id": partition}
    where = {
        "topic": record.topic,
        **at,
        "connector.name": stage,
        "stage": CONNECT_STEPS.get(stage, "TRANSFORMATION"),
        "class.name": f"sluice.{stage}",
        "exception.class.name": "sluice.errors.DeadRecord",
        "exception.message": str(error),
        "exception.stacktrace": "",
    }
    headers = _repeated_headers(record)
    headers += [(CONNECT + name, value.encode()) for name, value in where.items()]
    headers += [
        (CAUSE_HEADER, cause_of(stage, error).encode()),
        (KIND_HEADER, error.code.encode()),
        (ATTEMPT_HEADER, b"%d" % (_attempts(record) + 1)),
        (PARKED_HEADER, b"%d" % now_ms()),
    ]
    if mapping_version is not None:
        headers.append((MAPPING_VERSION_HEADER, b"%d" % mapping_version))
    body = record.value
    if body is not None and len(body) > BODY_BYTES_MAX:
        headers += [
            (TRUNCATED_HEADER, b"%d" % len(body)),
            (SHA256_HEADER, hashlib.sha256(body).hexdigest().encode()),
        ]
        body = body[:TRUNCATED_BODY_BYTES]
    key = record.key
    if key is not None and len(key) > KEY_BYTES_MAX:
        headers.append((KEY_TRUNCATED_HEADER, b"%d" % len(key)))
        key = key[:TRUNCATED_BODY_BYTES]
    return DeadLetter(key, body, headers)


def _attempts(record: Record) -> int:
    """How many times the record was parked before; 0 if the header is missing or contains no number."""
    return number_in(record.headers.get(ATTEMPT_HEADER)) or 0


def _repeated_headers(record: Record) -> Headers:
    """The headers of `record` that its dead letter repeats: all except those that an earlier dead letter added for
    Kafka Connect, and those above the limit."""
    kept: Headers = []
    room, left_out = HEADERS_BYTES_MAX, 0
    for name, value in record.headers.items():
        size = len(name) + len(value)
        if name.startswith(CONNECT):
            continue
        if size > room:
            left_out += 1
            continue
        kept.append((name, value))
        room -= size
    return [*kept, (LEFT_OUT_HEADER, b"%d" % left_out)] if left_out else kept


def origin_of(letter: Record) -> RawRef | None:
    """The topic, partition and offset of the record that was parked. None if that record reached no topic, or if
    `letter` is no dead letter."""
    topic, *numbers = (letter.headers.get(CONNECT + name) for name in ("topic", "partition", "offset"))
    partition, offset = map(number_in, numbers)
    if topic is None or partition is None or offset is None:
        return None
    try:
        return RawRef(topic.decode(), partition, offset)
    except ValueError:
        return None


def to_resume(stage: str, group: str, topic: str) -> str:
    """What an operator does so that a paused input `topic` is read again."""
    rewind = f"{reset_command(group, topic)} --to-earliest --execute"
    return (
        f"fix it (a mapping: with a higher version), stop {stage}, {rewind}, and start it. "
        "A restart without the reset continues after the parked records and leaves them parked"
    )


@dataclass(slots=True)
class DeadLetterGuard:
    """Decides when an input topic has too many dead letters. So many have their cause in a bad deployment, not in bad
    records.

    The limits: `in_a_row_max` dead letters in a row; `share_max` of the last `window` records; `early_share_max` of at
    least `early` records while fewer than `window` were counted."""

    in_a_row_max: int = 100
    window: int = 1_000
    share_max: float = 0.20
    early: int = 200
    early_share_max: float = 0.50
    _in_a_row: int = 0
    _dead: int = 0
    _recent: deque[bool] = field(default_factory=deque)
    _counted: dict[int, int] = field(default_factory=dict)  # partition → offset after the last counted record

    def add(self, partition: int, offset: int, dead: bool) -> bool:
        """Count one record of `partition`. Returns True if the topic must be paused. A record that is read again, for
        example after an outage, counts once."""
        if offset < self._counted.get(partition, 0):
            return False
        self._counted[partition] = offset + 1
        self._in_a_row = self._in_a_row + 1 if dead else 0
        self._recent.append(dead)
        self._dead += dead
        if len(self._recent) > self.window:
            self._dead -= self._recent.popleft()
        return self._dead > 0 and self._too_many

    def add_late(self, count: int) -> bool:
        """Count as dead the newest `count` records that were counted as not dead, because they were parked only when
        their batch was written. Returns True if the topic must be paused."""
        for index in range(len(self._recent) - 1, -1, -1):
            if count and not self._recent[index]:
                self._recent[index] = True
                self._dead += 1
                count -= 1
        self._in_a_row = next((n for n, dead in enumerate(reversed(self._recent)) if not dead), len(self._recent))
        return self._too_many

    @property
    def _too_many(self) -> bool:
        return self._in_a_row >= self.in_a_row_max or self._dead > self._dead_max(len(self._recent))

    def _dead_max(self, records: int) -> float:
        """How many of the last `records` may be dead. A separate limit applies before the window is full, because a
        small input never fills the window."""
        if records == self.window:
            return self.share_max * records
        return self.early_share_max * records if records >= self.early else records
