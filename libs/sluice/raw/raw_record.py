"""Reads a raw record: whether it is an upsert, a delete or a sweep, and its key and position.

Polled records and Debezium change events are read as one type, `SourceChange`. Only one difference remains: a change
event may leave out columns that did not change.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from sluice import json_text
from sluice.errors import DeadRecord
from sluice.headers import (
    CE_TIME_HEADER,
    OP_HEADER,
    POSITION_HEADER,
    ROW_GONE_HEADER,
    TRUNCATED_HEADER,
    UNCHANGED_HEADER,
    UNKNOWN_HEADER,
)
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.raw.connector_record import is_unavailable
from sluice.times import INSTANTS, to_us

# The longest source key. Records of contributions and state repeat it, and must not exceed max.message.bytes.
KEY_BYTES_MAX = 1024 * 1024
# In state topics, a key with this beginning belongs to Sluice itself: to a partition record or a sweep marker.
RESERVED_KEY = b'{"$'


class Op(Enum):
    UPSERT = auto()
    DELETE = auto()


class LeftOut(Enum):
    """Takes the place of the value of a column that an update left out.

    UNCHANGED: the value is the one that the last row of the key has in this column. UNKNOWN: no record contains the
    value, because the columns of the table have changed.
    """

    UNCHANGED = auto()
    UNKNOWN = auto()


class SourceChange(msgspec.Struct, frozen=True):
    """What a raw record says about one source record: an upsert with the members `row`, or a delete.

    `observed_at`: when the source changed the record, or when it was read; µs UTC. `row_gone`: whether the source had
    deleted the row before its left-out columns could be read; then a later record of the key follows.
    """

    op: Op
    key: str
    position: Position
    row: dict[str, Any]
    observed_at: int
    row_gone: bool = False


def position_of(record: Record) -> Position:
    """The position in the headers of a raw record. Raises DeadRecord if it is missing or cannot be read."""
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
    """When a sweep marker of `stream` was written, in µs UTC. Raises DeadRecord if its key names another stream."""
    try:
        named = orjson.loads(record.key or b"")["$sweep"]
    except (ValueError, KeyError, TypeError):
        named = None
    if named != stream:
        raise DeadRecord("bad-sweep", "a sweep marker's key does not name the stream of its topic")
    return _written_at(record)


def source_key(record: Record) -> str:
    """The source key of a raw record as JSON, without the schema that Debezium may add to it.

    Raises DeadRecord if the key is missing, too long, reserved, or not a JSON object.
    """
    if record.key is None:
        raise DeadRecord("no-key", "the record has no key")
    if len(record.key) > KEY_BYTES_MAX:
        raise DeadRecord("bad-key", f"the key exceeds {KEY_BYTES_MAX} bytes")
    if record.key.startswith(RESERVED_KEY):
        raise DeadRecord("bad-key", f"keys that begin with {RESERVED_KEY.decode()} are reserved")
    try:
        key = orjson.loads(record.key)
    except ValueError:
        raise DeadRecord("bad-key", "the key is not JSON") from None
    if not isinstance(key, dict) or not key:
        raise DeadRecord("bad-key", "the key is not a JSON object")
    if len(key) == 2 and key.keys() == {"schema", "payload"} and isinstance(key["payload"], dict):
        try:
            return orjson.dumps(key["payload"]).decode()
        except orjson.JSONEncodeError:
            raise DeadRecord("bad-key", "the key is nested too deeply") from None
    return record.key.decode()


def read_polled(record: Record, key: str, position: Position) -> SourceChange:
    """The change that a raw record of a polled stream contains. Raises DeadRecord if its value is not a JSON object."""
    observed_at = polled_at(record)
    if record.value is None or record.headers.get(OP_HEADER) == b"d":
        return SourceChange(Op.DELETE, key, position, {}, observed_at)
    return SourceChange(Op.UPSERT, key, position, _object(record.value), observed_at)


def read_change(record: Record, key: str, position: Position) -> SourceChange:
    """The change that a Debezium change event contains. A tombstone, which follows the event of a delete, is a delete.

    Raises DeadRecord if the value is no change event.
    """
    if record.value is None:
        return SourceChange(Op.DELETE, key, position, {}, _written_at(record))
    if TRUNCATED_HEADER in record.headers:
        raise DeadRecord("too-large", "it replaces a change that no raw topic accepts; see the dead letters of ingress")
    envelope = _object(record.value)
    if len(envelope) == 2 and envelope.keys() == {"schema", "payload"}:
        envelope = envelope["payload"]
    try:
        op, source = envelope["op"], envelope["source"]
        observed_at = _changed_at(source)
        if op == "d":
            return SourceChange(Op.DELETE, key, position, {}, observed_at)
        row = envelope["after"]
    except (KeyError, TypeError, AttributeError):
        raise DeadRecord("bad-envelope", "not a Debezium change event: op, source or after is missing") from None
    if op not in ("c", "u", "r") or not isinstance(row, dict):
        raise DeadRecord("bad-envelope", "not a Debezium change event: unknown op, or after is no object")
    if b"\\" in record.value and b"\\u" in record.value:  # one byte is found ten times faster than two
        _require_whole_text(row)
    if leaves_out(record):
        for header, mark in ((UNCHANGED_HEADER, LeftOut.UNCHANGED), (UNKNOWN_HEADER, LeftOut.UNKNOWN)):
            row.update(dict.fromkeys(_columns(record, header), mark))
    return SourceChange(Op.UPSERT, key, position, row, observed_at, ROW_GONE_HEADER in record.headers)


def read_followed(record: Record, key: str, position: Position) -> SourceChange:
    """As `read_change`. A connector names no left-out columns: in its records, which have no header with a position, a
    value that equals its placeholder was left out."""
    change = read_change(record, key, position)
    if POSITION_HEADER not in record.headers:
        change.row.update({name: LeftOut.UNCHANGED for name, value in change.row.items() if is_unavailable(value)})
    return change


def leaves_out(record: Record) -> bool:
    """Whether the change event `record` leaves out columns of its row."""
    return UNCHANGED_HEADER in record.headers or UNKNOWN_HEADER in record.headers


def _columns(record: Record, header: str) -> list[str]:
    """The columns that the header `header` of a change event names as left out.

    A left-out column is never inferred from its value, because any text may be data.
    """
    names = record.headers.get(header)
    if names is None:
        return []
    try:
        columns = orjson.loads(names)
    except ValueError:
        columns = None
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise DeadRecord("bad-envelope", f"header {header} is no JSON array of column names")
    return columns


def _require_whole_text(row: dict[str, Any]) -> None:
    """Raises DeadRecord if a text in `row` contains half of a surrogate pair: no database and no state can store it."""
    try:
        json_text.encode(row)
    except UnicodeEncodeError:
        raise DeadRecord("invalid-unicode", "a column contains half of a surrogate pair") from None


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


def polled_at(record: Record) -> int:
    """When a record of a polled stream was read, in µs UTC. Raises DeadRecord if its header `ce_time` is no time."""
    text = record.headers.get(CE_TIME_HEADER)
    return _written_at(record) if text is None else _polled_at(text)


@lru_cache(maxsize=1)  # all records of an API response have the same time
def _polled_at(text: bytes) -> int:
    try:
        micros = to_us(datetime.fromisoformat(text.decode()))
        if micros in INSTANTS:
            return micros
    except (ValueError, TypeError):  # TypeError: the time has no zone
        pass
    raise DeadRecord("bad-time", "header ce_time is not an RFC 3339 time of the years 0001 to 9999")


def _written_at(record: Record) -> int:
    return _instant(record.timestamp_ms * 1_000, "the record's timestamp")


def _instant(micros: object, what: str) -> int:
    if type(micros) is not int or micros not in INSTANTS:
        raise DeadRecord("bad-time", f"{what} is not a time of the years 0001 to 9999")
    return micros
