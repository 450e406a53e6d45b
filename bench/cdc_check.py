"""The check of the change events that a contestant published: each change exactly once, the changes of each key in
their order, and each event with the values of its row. A wrong topic gives no figure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from bench import ledger
from bench.cdc_changes import change
from bench.ledger import Entry
from bench.sampling import BenchError
from bench.topics import Message

SWEEP = ("sluice-op", b"s")
DAY_0 = date(1970, 1, 1)
SCALES = {"amount": 2, "rate": 4}


class Checker:
    """Follows the events of each key. `keys`: the rows that existed at first. `size`: see `ledger.entry`.

    It keeps the quantity of each row that the events of the topic leave.
    """

    def __init__(self, name: str, keys: int, size: int) -> None:
        self._name, self._keys, self._size = name, keys, size
        self._quantities: dict[int, int] = {}

    def snapshot(self, messages: Iterable[Message]) -> None:
        """Raises BenchError if `messages` are not one event for each row that existed at first."""
        for message in events(messages):
            number = number_of(message)
            body = orjson.loads(message.value or b"{}")
            is_first = body.get("op") == "r" and number not in self._quantities
            self._require(is_first, number, "is not one event of a snapshot")
            self._require_row(number, body["after"], 0)
        if len(self._quantities) != self._keys:
            raise BenchError(f"{self._name}: the snapshot has {len(self._quantities)} rows, expected {self._keys}")

    def changes(self, messages: Iterable[Message], count: int) -> None:
        """Raises BenchError if `messages` are not the events of the first `count` changes."""
        expected = events_by_entry(count, self._keys)
        seen: Counter[int] = Counter()
        for message in events(messages):
            number = number_of(message)
            ops = expected.get(number, "")
            place = seen[number]
            self._require(place < len(ops), number, f"has more than {len(ops)} events")
            seen[number] += 1
            self._require_event(message, number, ops[place], place)
        missing = next((number for number, ops in expected.items() if seen[number] != len(ops)), None)
        if missing is not None:
            raise BenchError(
                f"{self._name}: entry {missing} has {seen[missing]} events, expected {len(expected[missing])}"
            )

    def _require_event(self, message: Message, number: int, op: str, place: int) -> None:
        if op == "t":
            self._require(message.value is None, number, "has no tombstone after its delete")
            return
        body = orjson.loads(message.value or b"{}")
        self._require(body.get("op") == op, number, f"has an event in the wrong order: {body.get('op')}, expected {op}")
        if op == "d":
            del self._quantities[number]
        else:
            self._require_row(number, body["after"], place + 1 if op == "u" else 0)

    def require_table(self, rows: int, quantity: int) -> None:
        """Raises BenchError if the events do not leave that many rows with that sum of quantities."""
        found = len(self._quantities), sum(self._quantities.values())
        if found != (rows, quantity):
            raise BenchError(f"{self._name}: the events leave rows {found}, the table has {(rows, quantity)}")

    def _require_row(self, number: int, after: Mapping[str, Any], version: int) -> None:
        found, expected = row(after), ledger.entry(number, version, self._size)
        self._require(found == normal(expected), number, f"has other values than its row in state {version}")
        self._quantities[number] = after["quantity"]

    def _require(self, is_right: bool, number: int, what: str) -> None:
        if not is_right:
            raise BenchError(f"{self._name}: wrong events: entry {number} {what}")


def events(messages: Iterable[Message]) -> Iterable[Message]:
    """`messages` without Sluice's sweep markers."""
    return (one for one in messages if SWEEP not in one.headers)


def events_by_entry(count: int, keys: int) -> dict[int, str]:
    """The operations of the events of each entry, in their order, after the first `count` changes; `t`: a tombstone."""
    found: dict[int, str] = {}
    for number in range(count):
        one = change(number, keys)
        found[one.number] = found.get(one.number, "") + (one.op if one.op != "d" else "dt")
    return found


def records_of_changes(count: int) -> int:
    """How many records the first `count` changes are: a delete has a tombstone after it."""
    return count + count // 10


def number_of(message: Message) -> int:
    """The number of the entry of an event."""
    key = orjson.loads(message.key)
    return int(str(key["id"]).removeprefix(ledger.ID_PREFIX))


def row(after: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of an event, in the order and with the types of `normal`."""
    values = dict(after)
    values["booked_on"] = DAY_0 + timedelta(days=values["booked_on"])
    values["changed_at"] = moment(values["changed_at"])
    for name, scale in SCALES.items():
        values[name] = decimal(values[name], scale)
    return tuple(values[name] for name in Entry._fields)


def normal(entry: Entry) -> tuple[Any, ...]:
    """The values of an entry as Python's own types."""
    typed = {
        "booked_on": date.fromisoformat(entry.booked_on),
        "changed_at": moment(entry.changed_at),
        "amount": Decimal(entry.amount),
        "rate": Decimal(entry.rate),
    }
    return tuple((entry._asdict() | typed).values())


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def decimal(value: str, scale: int) -> Decimal:
    """A decimal from its text, or from the base64 text of its unscaled value, as Kafka Connect writes it."""
    if "." in value:  # base64 has no point, and decimals of these columns have one
        return Decimal(value)
    return Decimal(int.from_bytes(base64.b64decode(value), "big", signed=True)).scaleb(-scale)
