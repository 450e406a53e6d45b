"""Writes the rows of one table value by value: for the changes that the generated code of `row_code` leaves over."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import structlog

from sluice.cdc.change_event import CannotFollow
from sluice.cdc.event_columns import EventColumn
from sluice.cdc.pgoutput import Relation, Row, Value
from sluice.cdc.row_code import templates_of
from sluice.cdc.values.writer import ToJson
from sluice.errors import Bug

log = structlog.get_logger()


class RowWriter:
    """Writes rows and keys of a table. A text that a column's writer cannot read becomes a JSON string."""

    def __init__(
        self, relation: Relation, columns: Sequence[EventColumn], key_at: Sequence[int], kind_of_key: str
    ) -> None:
        """`key_at`: the indexes of the key's columns, in key order. `kind_of_key`: its name, for people."""
        self._relation = relation
        self._columns = columns
        self._key_at = key_at
        self._kind_of_key = kind_of_key
        self._shown = [i for i, column in enumerate(columns) if column.shown]
        identity_at = [i for i, column in enumerate(relation.columns) if column.in_identity]
        self._identity_at = [i for i in identity_at if columns[i].shown]
        self._templates = templates_of(columns, key_at, identity_at)
        self._unreadable: set[str] = set()

    def row(self, row: Row) -> bytes:
        """The JSON of a row. Raises Bug if it has another number of columns than the table."""
        if len(row) != len(self._columns):
            raise Bug("pgoutput: a row with another number of columns than its relation")
        return self._templates.row % tuple([self._json(i, row[i], self._columns[i].write) for i in self._shown])

    def identity(self, row: Row) -> bytes:
        """The JSON of an old row that contains the columns of the replica identity only."""
        values = [self._json(i, row[i], self._columns[i].write) for i in self._identity_at]
        return self._templates.identity % tuple(values)

    def key(self, row: Row) -> bytes:
        """The JSON of the key of a row. Raises CannotFollow if a key column has no value, because the replica identity
        lacks it."""
        for i in self._key_at:
            if not isinstance(row[i], bytes):
                name = self._columns[i].name
                raise CannotFollow(f"a change came without a value of the {self._kind_of_key}'s column {name}")
        return self._templates.key % tuple([self._json(i, row[i], self._columns[i].write_key) for i in self._key_at])

    def _json(self, at: int, value: Value, write: ToJson) -> bytes:
        if not isinstance(value, bytes):
            column = self._columns[at]
            return column.null if value is None else column.unavailable
        try:
            return write(value)
        except Exception:  # a writer may raise any error
            self._log_unreadable(at)
            return orjson.dumps(value.decode("utf-8", "replace"))

    def _log_unreadable(self, at: int) -> None:
        """Log once for each column that its values are published as text; never log a value."""
        column = self._relation.columns[at]
        if column.name not in self._unreadable:
            self._unreadable.add(column.name)
            table = f"{self._relation.schema}.{self._relation.table}"
            log.warning("value published as text", table=table, column=column.name, type_oid=column.type_oid)
