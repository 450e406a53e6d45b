"""The raw records of one change. A change that is too large for its raw topic becomes a dead letter and a placeholder.

The broker would refuse a record that is too large, and its whole transaction, on every attempt. The dead letter
contains the first 64 KiB of the value, the size of the value and its hash. The older value of the key stays current.
The placeholder takes the record's place in the raw topic. Without a placeholder a later change that leaves a column out
would be completed with outdated values, and a sweep would retract a row that exists.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from sluice.cdc.converter import RegisterSchema, no_registry
from sluice.cdc.debezium import ChangeEvent, EventSource
from sluice.cdc.event_form import DEFAULT_FORM, EventForm
from sluice.cdc.other_topics import OtherTopics
from sluice.debezium_settings import DebeziumSettings
from sluice.errors import DeadRecord
from sluice.headers import (
    ATTEMPT_HEADER,
    CAUSE_HEADER,
    CONNECT,
    CONTENT_TYPE_HEADER,
    KIND_HEADER,
    PARKED_HEADER,
    SHA256_HEADER,
    TRUNCATED_HEADER,
)
from sluice.names import INGRESS_CDC
from sluice.raw.writing import RawRecord
from sluice.stage.dead_letters import TRUNCATED_BODY_BYTES, cause_of
from sluice.times import now_ms

CONTENT_TYPE = (CONTENT_TYPE_HEADER, b"application/json")


class TableTarget(NamedTuple):
    """Where the changes of a table are published. `stream`: the table as `schema.table`. `key_columns`: the primary key
    in declared order. `since_lsn`: commits below this LSN are in the table's snapshot and are not published again.
    `compacted`: the topic accepts no record without a key."""

    stream: str
    topic: str
    partitions: int
    key_columns: tuple[str, ...]
    since_lsn: int = 0
    compacted: bool = True


@dataclass(frozen=True, slots=True)
class SlotTargets:
    """Where the changes of one slot are published, and in which form. `by_oid`: the target of each followed table, by
    the table's oid. Events of other tables are not published; they only count in the ordinals. `debezium`: Debezium's
    settings, None if the pipeline file has none. `register`: registers Avro schemas.
    `other`: the topics that are not of a table. `skipped`: operations that are not published (`c`, `u`, `d`, `t`)."""

    source: EventSource
    epoch: int
    by_oid: dict[int, TableTarget]
    dead_letter_topic: str
    record_bytes_max: int
    form: EventForm = DEFAULT_FORM
    debezium: DebeziumSettings | None = None
    register: RegisterSchema = no_registry
    other: OtherTopics = OtherTopics()  # noqa: RUF009 - it is frozen
    skipped: frozenset[bytes] = frozenset()


def records_of(
    change: ChangeEvent, target: TableTarget, headers: list[tuple[str, bytes]], targets: SlotTargets
) -> list[RawRecord]:
    """The raw record of one change; a dead letter and a placeholder if the record is too large without its old row."""
    more = [*headers, *change.headers] if change.headers else headers
    record = RawRecord(target.topic, change.key, change.value, more)
    if change.value is None or len(change.key) + len(change.value) <= targets.record_bytes_max:
        return [record]
    value = _without_before(change.value)
    record = record._replace(value=value)
    if len(change.key) + len(value) <= targets.record_bytes_max:
        return [record]
    return [_dead_letter(record, targets), _placeholder(record)]


def has_dead_letter(records: list[RawRecord]) -> bool:
    """Whether `records_of` returned a dead letter and a placeholder."""
    return len(records) > 1


def _without_before(value: bytes) -> bytes:
    """A change event without the old row, which REPLICA IDENTITY FULL adds. A delete keeps its old row."""
    if not value.startswith(b'{"before":'):
        return value  # JSON with a schema, or Avro
    members = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    if bytes(members["after"]) != b"null":
        members["before"] = msgspec.Raw(b"null")
    return msgspec.json.encode(members)


def _dead_letter(record: RawRecord, targets: SlotTargets) -> RawRecord:
    """The dead letter for `record`. It names no partition and offset, because the record never reached its topic."""
    value = record.value or b""
    error = DeadRecord("too-large", f"a change for {record.topic} exceeds {targets.record_bytes_max} bytes")
    about = {
        f"{CONNECT}topic": record.topic,
        f"{CONNECT}connector.name": INGRESS_CDC,
        f"{CONNECT}stage": "TASK_POLL",
        f"{CONNECT}exception.class.name": "sluice.errors.DeadRecord",
        f"{CONNECT}exception.message": str(error),
        CAUSE_HEADER: cause_of(INGRESS_CDC, error),
        KIND_HEADER: error.code,
        ATTEMPT_HEADER: "1",
        PARKED_HEADER: str(now_ms()),
        TRUNCATED_HEADER: str(len(value)),
        SHA256_HEADER: hashlib.sha256(value).hexdigest(),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in about.items())]
    return RawRecord(targets.dead_letter_topic, record.key, value[:TRUNCATED_BODY_BYTES], headers)


def _placeholder(record: RawRecord) -> RawRecord:
    """The placeholder for a record that is too large: its key, its position and its size. The mapper parks a
    placeholder."""
    size = b"%d" % len(record.value or b"")
    value = b'{"truncated_bytes":%b}' % size
    return record._replace(value=value, headers=[*record.headers, (TRUNCATED_HEADER, size)])
