"""The form of a source's change events: how values, keys and envelopes are written. `debezium` writes them.

The members have the meaning of Debezium's settings, and the defaults are those of Sluice: every digit of a number is
kept, and every value can be read without a schema. `debezium_defaults` is the form of a connector that sets nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Decimals = Literal["precise", "double", "string"]
Times = Literal["adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"]
Intervals = Literal["numeric", "string", "postgres"]  # postgres: the text as Postgres prints it
Binaries = Literal["bytes", "base64", "base64-url-safe", "hex"]
Hstores = Literal["json", "map", "postgres"]
Encoding = Literal["json", "json_with_schema", "avro"]


class ColumnMask(NamedTuple):
    """How the value of one column is hidden. `kind`: `truncate` (to `length` characters), `stars` (`length` asterisks)
    or `hash` (`algorithm` with `salt`, in hexadecimal digits)."""

    kind: Literal["truncate", "stars", "hash"]
    length: int = 0
    algorithm: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True)
class ColumnRules:
    """Which columns of one table are published, and how. Names are column names of the table.

    `left_out`: columns that no event contains. `masks`: columns whose values are hidden. `key`: the columns of the
    record's key, empty for the primary key.
    """

    left_out: frozenset[str] = frozenset()
    masks: Mapping[str, ColumnMask] = field(default_factory=dict)
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventForm:
    """The form of a source's change events.

    `debezium`: values that the other members do not describe have Debezium's form; else Postgres' text. `exact`: events
    also repeat the errors of Debezium that `docs/reference/debezium-differences.md` names. `tombstones`: a delete is
    followed by a record without a value. `transactions`: events have a `transaction` block, and the transaction topic
    is written. `money_digits`: fraction digits of `money`. `unavailable`: the text for a large value that an update
    left out. `adjusted_names`: schemas of JSON have names that Avro allows.
    """

    decimals: Decimals = "string"
    times: Times = "adaptive"
    intervals: Intervals = "postgres"
    binaries: Binaries = "base64"
    hstores: Hstores = "postgres"
    key_encoding: Encoding = "json"
    value_encoding: Encoding = "json"
    money_digits: int = 2
    unavailable: str = "__debezium_unavailable_value"
    tombstones: bool = True
    transactions: bool = False
    debezium: bool = False
    exact: bool = False
    adjusted_names: bool = False

    @property
    def has_schemas(self) -> bool:
        """Whether keys or values state a schema, so that every value must fit the schema of its column."""
        return self.key_encoding != "json" or self.value_encoding != "json"


DEFAULT_FORM = EventForm()


def debezium_defaults() -> EventForm:
    """The form of the events of a Debezium connector with default settings and schemaless JSON converters."""
    return EventForm(decimals="precise", intervals="numeric", binaries="bytes", hstores="json", debezium=True)
