"""A change that is larger than a raw topic takes becomes a dead letter: the first 64 KiB, its true size, its hash.

The broker would refuse it, and with it the whole transaction, for ever. The key's older value stays in force. What
stands in its place in the raw topic says only that it was: without it, the next change that leaves a column out would
be filled from before it, and a sweep would take a living row for gone.
"""

from __future__ import annotations

import hashlib

import msgspec

from sluice.errors import DeadRecord
from sluice.headers import ATTEMPT_HEADER, CAUSE_HEADER, CONNECT, KIND_HEADER, PARKED_HEADER, TRUNCATED_HEADER
from sluice.raw.record import RawRecord
from sluice.stage.dead_letters import TRUNCATED_BODY_BYTES, cause_of
from sluice.times import now_ms
from sluice_ingress_cdc.judgement import Action, Verdict

CODE = "too-large"
# The golden record of such a row stays as it was, also where a later update changes small columns and leaves the large
# one out: that is a fault of the table, and not only a dead letter.
PARKED = Verdict(
    Action.SAY,
    "a row is larger than a raw topic takes: it is parked, and its golden record stays as it was",
    "make such rows smaller, or take the large column out of the publication",
)


def without_before(value: bytes) -> bytes:
    """A change event without the row of before, which REPLICA IDENTITY FULL adds; a delete keeps it."""
    members = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    if bytes(members["after"]) != b"null":
        members["before"] = msgspec.Raw(b"null")
    return msgspec.json.encode(members)


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
        CAUSE_HEADER: cause_of(stage, error),
        KIND_HEADER: error.code,
        ATTEMPT_HEADER: "1",
        PARKED_HEADER: str(now_ms()),
        TRUNCATED_HEADER: str(len(value)),
        "sluice-sha256": hashlib.sha256(value).hexdigest(),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in about.items())]
    return RawRecord(topic, record.key, value[:TRUNCATED_BODY_BYTES], headers)


def stand_in(record: RawRecord) -> RawRecord:
    """The raw record in the place of one that is too large: its key, position and size. The mapper parks it too."""
    size = b"%d" % len(record.value or b"")
    value = b'{"truncated_bytes":%b}' % size
    return record._replace(value=value, headers=[*record.headers, (TRUNCATED_HEADER, size)])
