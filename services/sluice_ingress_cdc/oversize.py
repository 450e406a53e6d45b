"""A change that is larger than a raw topic takes becomes a dead letter: the first 64 KiB, its true size, its hash.

The broker would refuse it, and with it the whole transaction, for ever. The key's older value stays in force.
"""

from __future__ import annotations

import hashlib
import time

from sluice.errors import DeadRecord
from sluice.stage.dead_letters import CONNECT, TRUNCATED_BODY_BYTES, cause_of
from sluice.stage.raw import RawRecord

CODE = "too-large"


def dead_letter(stage: str, record: RawRecord, topic: str, bytes_max: int) -> RawRecord:
    """The dead letter for `record`, to go out in the transaction that the record would have gone out in.

    It has no partition and offset of origin: the record never reached its topic.
    """
    value = record.value or b""
    error = DeadRecord(CODE, f"a change for {record.topic} exceeds {bytes_max} bytes")
    about = {
        f"{CONNECT}topic": record.topic,
        f"{CONNECT}connector.name": stage,
        f"{CONNECT}stage": "TASK_POLL",
        f"{CONNECT}exception.class.name": "sluice.errors.DeadRecord",
        f"{CONNECT}exception.message": str(error),
        "sluice-cause": cause_of(stage, error),
        "sluice-kind": error.code,
        "sluice-attempt": "1",
        "sluice-parked-ms": str(time.time_ns() // 1_000_000),
        "sluice-truncated-bytes": str(len(value)),
        "sluice-sha256": hashlib.sha256(value).hexdigest(),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in about.items())]
    return RawRecord(topic, record.key, value[:TRUNCATED_BODY_BYTES], headers)
