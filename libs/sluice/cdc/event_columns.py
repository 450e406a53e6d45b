"""The columns of a table as its events show them: how each value is written, hidden or left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.event_form import ColumnRules, EventForm
from sluice.cdc.pgoutput import Relation, RelationColumn
from sluice.cdc.values.unavailable import unavailable_json
from sluice.cdc.values.writer import ToJson


class EventColumn(NamedTuple):
    """A column of a table.

    `write`: writes its value in rows. `write_key`: in keys, where nothing is hidden. `null`: the JSON for NULL.
    `unknown`: the JSON for a column of an old row that contains the replica identity only; empty if the old row lacks
    the column then. `unavailable`: the JSON for a large value that an update left out. `shown`: whether rows contain
    the column.
    """

    name: str
    write: ToJson
    write_key: ToJson
    null: bytes = b"null"
    unknown: bytes = b""
    unavailable: bytes = b""
    shown: bool = True


def event_columns(
    relation: Relation, types: Mapping[int, PgType], form: EventForm, rules: ColumnRules
) -> Sequence[EventColumn]:
    """The columns of the table's events, in the order of its rows."""
    return [_event_column(column, types, form, rules) for column in relation.columns]


def _event_column(
    column: RelationColumn, types: Mapping[int, PgType], form: EventForm, rules: ColumnRules
) -> EventColumn:
    writer = json_writer(types, column.type_oid, column.typmod, form)
    return EventColumn(
        column.name,
        writer,
        writer,
        unknown=b"null" if form.debezium else b"",
        unavailable=unavailable_json(types, column.type_oid, form),
        shown=column.name not in rules.left_out,
    )
