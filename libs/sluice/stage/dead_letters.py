"""Dead letters: the original bytes and headers, where they came from, why they are dead. And when to stop parking.

Header names are Kafka Connect's, so that tools that know those know ours. The message comes from a closed set of
reasons and never quotes the record.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import dataclass, field

from sluice.errors import DeadRecord
from sluice.names import SINK_POSTGRES
from sluice.stage.record import Record

CONNECT = "__connect.errors."
CAUSE_HEADER = "sluice-cause"
BODY_BYTES_MAX = 8 * 1024 * 1024
TRUNCATED_BODY_BYTES = 64 * 1024

Headers = list[tuple[str, bytes]]


def cause_of(stage: str, error: DeadRecord) -> str:
    """The fingerprint by which dead letters of one cause are grouped: 12 hex digits."""
    return hashlib.sha256(f"{stage}\0{error.code}\0{error.reason}".encode()).hexdigest()[:12]


def dead_letter(
    stage: str, record: Record, error: DeadRecord, mapping_version: int | None
) -> tuple[bytes | None, Headers]:
    """Body and headers of the dead letter of `record`; a body over the limit is cut, with its size and hash."""
    where = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "connector.name": stage,
        "task.id": str(record.partition),
        "stage": "TASK_PUT" if stage == SINK_POSTGRES else "TRANSFORMATION",
        "class.name": f"sluice.{stage}",
        "exception.class.name": "sluice.errors.DeadRecord",
        "exception.message": str(error),
        "exception.stacktrace": "",
    }
    headers: Headers = [(name, value) for name, value in record.headers.items() if not name.startswith(CONNECT)]
    headers += [(CONNECT + name, value.encode()) for name, value in where.items()]
    headers += [
        (CAUSE_HEADER, cause_of(stage, error).encode()),
        ("sluice-kind", error.code.encode()),
        ("sluice-attempt", b"%d" % (int(record.headers.get("sluice-attempt", b"0") or 0) + 1)),
        ("sluice-parked-ms", b"%d" % (time.time_ns() // 1_000_000)),
    ]
    if mapping_version is not None:
        headers.append(("sluice-mapping-version", b"%d" % mapping_version))
    body = record.value
    if body is not None and len(body) > BODY_BYTES_MAX:
        headers += [
            ("sluice-truncated-bytes", b"%d" % len(body)),
            ("sluice-sha256", hashlib.sha256(body).hexdigest().encode()),
        ]
        body = body[:TRUNCATED_BODY_BYTES]
    return body, headers


@dataclass(slots=True)
class DeadLetterGuard:
    """Tells when an input topic has too many dead letters: a bad deploy is not a thousand bad records."""

    in_a_row_max: int = 100
    window: int = 1_000
    share_max: float = 0.20
    _in_a_row: int = 0
    _dead: int = 0
    _recent: deque[bool] = field(default_factory=deque)

    def saw(self, dead: bool) -> bool:
        """Count one record; True when the topic must be paused."""
        self._in_a_row = self._in_a_row + 1 if dead else 0
        self._recent.append(dead)
        self._dead += dead
        if len(self._recent) > self.window:
            self._dead -= self._recent.popleft()
        full = len(self._recent) == self.window
        return self._in_a_row >= self.in_a_row_max or (full and self._dead > self.share_max * self.window)
