"""One raw record read as what a source said: upsert, delete or sweep, of which key, at which position.

Polled records and Debezium envelopes meet here; behind this module the mapper (and whoever checks it) knows no
difference but that only change data capture leaves unchanged columns out.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

import orjson

from sluice import json_text
from sluice.entities.codec import microseconds
from sluice.errors import DeadRecord
from sluice.headers import (
    OP_HEADER,
    POSITION_HEADER,
    ROW_GONE_HEADER,
    TRUNCATED_HEADER,
    UNCHANGED_HEADER,
    UNKNOWN_HEADER,
)
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.times import INSTANTS

# Claims and state repeat the key: they must stay under what their topics take.
KEY_BYTES_MAX = 1024 * 1024
# In the topics of state, keys that begin so are our own: partition records, sweep markers.
RESERVED_KEY = b'{"$'


class Op(Enum):
    UPSERT = auto()
    DELETE = auto()
    SWEEP = auto()


class LeftOut(Enum):
    """In the place of a column's value that an update left out. *Unchanged*: it is what the key's row held before under
    this name. *Unknown*: nothing tells it; the table's columns have changed."""

    UNCHANGED = auto()
    UNKNOWN = auto()


class SourceRecord(NamedTuple):
    """`row`: the record's members, for an upsert. `observed_at`: µs UTC, when the source changed or was asked.
    `row_gone`: the source did not have the row any more by then, so its next record is on its way."""

    op: Op
    key: str
    position: Position
    row: dict[str, Any]
    observed_at: int
    row_gone: bool = False


def position_of(record: Record) -> Position:
    """The record's position. Raises DeadRecord where it has none."""
    raw = record.headers.get(POSITION_HEADER)
    try:
        if raw is not None:
            return Position.parse(raw)
    except ValueError:
        raise DeadRecord("bad-position", f"header {POSITION_HEADER} does not read epoch:major:minor") from None
    raise DeadRecord("no-position", f"no header {POSITION_HEADER}")


def is_sweep(record: Record) -> bool:
    return record.headers.get(OP_HEADER) == b"s"


def swept_at(record: Record, stream: str) -> int:
    """When the sweep marker of `stream` was written, µs UTC. Raises DeadRecord for a marker of anything else."""
    try:
        named = orjson.loads(record.key or b"")["$sweep"]
    except (ValueError, KeyError, TypeError):
        named = None
    if named != stream:
        raise DeadRecord("bad-sweep", "a sweep marker's key does not name the stream of its topic")
    return _written_at(record)


def source_key(record: Record) -> str:
    """The source key: compact JSON; Debezium's form with a schema is taken out of its wrapping."""
    if record.key is None:
        raise DeadRecord("no-key", "the record has no key")
    if len(record.key) > KEY_BYTES_MAX:
        raise DeadRecord("bad-key", f"the key exceeds {KEY_BYTES_MAX} bytes")
    if record.key.startswith(RESERVED_KEY):
        raise DeadRecord("bad-key", f"keys that begin with {RESERVED_KEY.decode()} are not for sources")
    try:
        key = orjson.loads(record.key)
    except ValueError:
        raise DeadRecord("bad-key", "the key is not JSON") from None
    if not isinstance(key, dict) or not key:
        raise DeadRecord("bad-key", "the key is not a JSON object")
    if key.keys() == {"schema", "payload"} and isinstance(key["payload"], dict):
        try:
            return orjson.dumps(key["payload"]).decode()
        except orjson.JSONEncodeError:
            raise DeadRecord("bad-key", "the key is nested too deeply") from None
    return record.key.decode()


def read_polled(record: Record, key: str, position: Position) -> SourceRecord:
    """A record of an API. Raises DeadRecord for what is not a JSON object."""
    observed_at = _polled_at(record)
    if record.value is None or record.headers.get(OP_HEADER) == b"d":
        return SourceRecord(Op.DELETE, key, position, {}, observed_at)
    return SourceRecord(Op.UPSERT, key, position, _object(record.value), observed_at)


def read_change(record: Record, key: str, position: Position) -> SourceRecord:
    """A Debezium change event, or the tombstone behind a delete."""
    if record.value is None:
        return SourceRecord(Op.DELETE, key, position, {}, _written_at(record))
    if TRUNCATED_HEADER in record.headers:
        raise DeadRecord("too-large", "it only stands for a change that no raw topic takes; see ingress's dead letters")
    envelope = _object(record.value)
    if envelope.keys() == {"schema", "payload"}:
        envelope = envelope["payload"]
    try:
        op, source = envelope["op"], envelope["source"]
        observed_at = _changed_at(source)
        if op == "d":
            return SourceRecord(Op.DELETE, key, position, {}, observed_at)
        row = envelope["after"]
    except (KeyError, TypeError, AttributeError):
        raise DeadRecord("bad-envelope", "not a Debezium change event: op, source or after is missing") from None
    if op not in ("c", "u", "r") or not isinstance(row, dict):
        raise DeadRecord("bad-envelope", "not a Debezium change event: unknown op, or after is no object")
    if b"\\u" in record.value:
        _require_whole_text(row)
    for header, mark in ((UNCHANGED_HEADER, LeftOut.UNCHANGED), (UNKNOWN_HEADER, LeftOut.UNKNOWN)):
        row.update(dict.fromkeys(_columns(record, header), mark))
    return SourceRecord(Op.UPSERT, key, position, row, observed_at, ROW_GONE_HEADER in record.headers)


def leaves_out(record: Record) -> bool:
    """Whether a change event lacks columns of its row."""
    return UNCHANGED_HEADER in record.headers or UNKNOWN_HEADER in record.headers


def _columns(record: Record, header: str) -> list[str]:
    """The columns that `header` names. Which were left out is never inferred from a value: any text may be data."""
    told = record.headers.get(header)
    if told is None:
        return []
    try:
        columns = orjson.loads(told)
    except ValueError:
        columns = None
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise DeadRecord("bad-envelope", f"header {header} is no JSON array of column names")
    return columns


def _require_whole_text(row: dict[str, Any]) -> None:
    """No database holds half of a surrogate pair, and what is kept of a row for its next change could not either."""
    try:
        json_text.encode(row)
    except UnicodeEncodeError:
        raise DeadRecord("invalid-unicode", "a column holds half of a surrogate pair") from None


def _object(value: bytes) -> dict[str, Any]:
    try:
        read = json_text.decode(value)
    except json_text.NotJson as error:
        raise DeadRecord("not-json", str(error)) from None
    if not isinstance(read, dict):
        raise DeadRecord("not-json", "the record is not a JSON object")
    return read


# ── times, in µs UTC ──────────────────────────────────────────────────────────────────────────────────────────────


def _changed_at(source: dict[str, Any]) -> int:
    micros = source.get("ts_us")
    if micros is not None:
        return _instant(micros, "source.ts_us")
    millis = source["ts_ms"]
    return _instant(millis * 1_000 if type(millis) is int else None, "source.ts_ms")


def _polled_at(record: Record) -> int:
    text = record.headers.get("ce_time")
    if text is None:
        return _written_at(record)
    try:
        return microseconds(datetime.fromisoformat(text.decode()), "ce_time")
    except (ValueError, DeadRecord):
        raise DeadRecord("bad-time", "header ce_time is not an RFC 3339 time of the years 0001 to 9999") from None


def _written_at(record: Record) -> int:
    return _instant(record.timestamp_ms * 1_000, "the record's timestamp")


def _instant(micros: object, what: str) -> int:
    if type(micros) is not int or micros not in INSTANTS:
        raise DeadRecord("bad-time", f"{what} is not a time of the years 0001 to 9999")
    return micros
