"""The columns of a table as its events show them: how each value is written, hidden or left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.column_masks import has_characters, masked_writer, stars
from sluice.cdc.debezium_errors import exact_writer, is_left_out, null_json, zero_json
from sluice.cdc.event_form import ColumnMask, ColumnRules, EventForm
from sluice.cdc.event_schema import ColumnCatalog
from sluice.cdc.pgoutput import Relation, RelationColumn
from sluice.cdc.unavailable import unavailable_json
from sluice.cdc.values.writer import ToJson

Types = Mapping[int, PgType]


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
    relation: Relation,
    types: Types,
    form: EventForm,
    rules: ColumnRules,
    catalog: Mapping[str, ColumnCatalog],
    *,
    snapshot: bool = False,
) -> Sequence[EventColumn]:
    """The columns of the table's events, in the order of its rows. `catalog`: what the catalogs say about the columns.
    `snapshot`: for the rows of a snapshot, which differ in the exact form only."""
    made = []
    for column in relation.columns:
        facts = catalog.get(column.name, ColumnCatalog())
        if form.exact:
            event_column = _exact_column(column, types, form, facts, snapshot=snapshot)
        else:
            event_column = _column(column, types, form, facts)
        mask = rules.masks.get(column.name)
        if mask is not None:
            event_column = _masked(event_column, column, types, form, mask)
        if column.name in rules.left_out:
            event_column = event_column._replace(shown=False)
        made.append(event_column)
    return made


def _column(column: RelationColumn, types: Types, form: EventForm, catalog: ColumnCatalog) -> EventColumn:
    unknown = b"null" if form.debezium else b""
    if form.has_schemas and not catalog.nullable:
        unknown = zero_json(types, column, form)  # the schema allows no null
    writer = json_writer(types, column.type_oid, column.typmod, form)
    return EventColumn(
        column.name,
        writer,
        writer,
        unknown=unknown,
        unavailable=unavailable_json(types, column.type_oid, form),
    )


def _exact_column(
    column: RelationColumn, types: Types, form: EventForm, catalog: ColumnCatalog, *, snapshot: bool
) -> EventColumn:
    zero = b"null" if catalog.nullable else zero_json(types, column, form)
    writer = exact_writer(types, column, form, snapshot=snapshot, zero=zero)
    null = null_json(types, column, form, catalog, writer)
    unavailable = unavailable_json(types, column.type_oid, form)
    return EventColumn(
        column.name,
        writer,
        writer,
        null=null,
        unknown=zero if null == b"null" else null,
        unavailable=null if unavailable == b"null" else unavailable,
        shown=not is_left_out(types, column.type_oid),
    )


def _masked(
    event_column: EventColumn, column: RelationColumn, types: Types, form: EventForm, mask: ColumnMask
) -> EventColumn:
    oid = column.type_oid
    masked = event_column._replace(write=masked_writer(types, oid, column.typmod, mask, form, event_column.write))
    if mask.kind == "stars" and has_characters(types, oid):
        hidden = stars(mask)
        return masked._replace(null=hidden, unknown=hidden if masked.unknown else b"", unavailable=hidden)
    return masked
