"""Queries of the source while its stream is read: the facts for a table's new shape, and the current row of a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from sluice.cdc.column_json import PgType
from sluice.cdc.connection import Connection, connect, query
from sluice.cdc.debezium import NoRow, TableEvents
from sluice.cdc.pgoutput import Relation, Row
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import TableFacts, load_types
from sluice_ingress_cdc.assembler import NotVisibleYet, TableShape
from sluice_ingress_cdc.catalog_check import RawTopic, check_catalogs, read_catalogs
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.table_changes import columns_to_reread, relation_verdict
from sluice_ingress_cdc.table_events import catalog_of
from sluice_ingress_cdc.tables import FollowedTables

_FIRST_USER_OID = 16_384
# A query of a row raises one of these if the table was altered after the event, or if this user may not read the table.
_UNREADABLE = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.DataError,
)


class SourceQueries:
    """Queries the source on a connection that opens at the first query. The caller closes it with the stream.

    A query about an event raises NotVisibleYet if a new snapshot does not contain the event's transaction yet. The log
    contains a transaction that waits for a synchronous standby; other sessions read the values from before it. A query
    raises Transient if the source does not answer, and EnvironmentFault if it refuses the query.
    """

    def __init__(self, slot: SlotSettings, tables: FollowedTables, topics: Mapping[str, RawTopic]) -> None:
        self._slot = slot
        self._tables = tables
        self._topics = topics
        self._connection: Connection | None = None
        self._types: dict[int, PgType] | None = None
        self._known_oids: set[int] = set()
        self._visible_xid = 0

    def decide_shape(self, name: str, relation: Relation, xid: int) -> TableShape | None:
        """Decide by the catalogs and by its new shape in the log (`relation`) whether table `name` is followed.

        Returns the shape to follow; None if the table is blocked now. The catalogs show a later moment than the event.
        If their shape differs from `relation`, every column is read again when an update leaves it out, until a later
        Relation message shows the later shape. Columns added at the end are no difference: the columns before them are
        the same. `xid`: the transaction that contains `relation`, 0 if the shape is an older one. While the
        table is read, every column is read again.
        """
        bound = self._tables.bounds.get(name)
        if bound is None:
            return None
        connection = self._live()
        catalogs = read_catalogs(connection, self._slot, [name])
        checks = check_catalogs(connection, self._slot, catalogs, {name: bound}, self._topics).checks
        if name in checks:
            self._tables.apply_check(name, checks[name])
        self._tables.apply(name, relation_verdict(bound, relation))
        table = self._tables[name]
        if not table.is_streamed:
            return None
        facts = catalogs.facts.get(name)
        if facts is None or not _starts_with(facts, relation):
            # The catalogs may show an earlier moment than the event. Then a new type of a column is unknown, too.
            self._require_visible(xid)
            reread = frozenset(c.name for c in relation.columns)
        else:
            reread = columns_to_reread(bound, facts)
        if table.reading is not None:
            # An update may replace a row that is dropped: no other record has the values that it leaves out.
            reread = frozenset(c.name for c in relation.columns)
        return TableShape(self._types_of(relation), reread, catalog_of(facts))

    def reread_row(self, table: TableEvents, key: Sequence[bytes], xid: int) -> Row | NoRow:
        """The current row with primary key `key`, in the columns of the Relation message; else why it is not read.
        `xid`: the transaction of the event."""
        self._require_visible(xid)
        relation = table.relation
        name = sql.Identifier(relation.schema, relation.table)
        columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in relation.columns)
        match = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value.decode()))
            for column, value in zip(table.key_columns, key, strict=True)
        )
        # Always one row, so that the table's oid is known even if the row was deleted.
        statement = sql.SQL(
            "SELECT {oid}, found.* FROM (SELECT) AS one LEFT JOIN (SELECT true, {columns} FROM {name} WHERE {match})"
            " AS found ON true"
        ).format(
            oid=sql.SQL("{}::regclass::oid").format(sql.Literal(name.as_string())),
            columns=columns,
            name=name,
            match=match,
        )
        with source_errors(f"{self._slot.where}, table {relation.schema}.{relation.table}"):
            try:
                result = self._live().execute(statement).pgresult
            except _UNREADABLE:
                return NoRow.UNREADABLE
        if result is None or result.get_value(0, 0) != b"%d" % relation.oid:
            return NoRow.UNREADABLE  # the query read another table, which has this name now
        if result.get_value(0, 1) is None:
            return NoRow.DELETED
        return [result.get_value(0, 2 + i) for i in range(len(relation.columns))]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _require_visible(self, xid: int) -> None:
        if xid in (0, self._visible_xid):
            return
        if not query(self._live(), "is_visible", self._slot.where, xid=xid)[0]["visible"]:
            raise NotVisibleYet
        self._visible_xid = xid

    def _types_of(self, relation: Relation) -> Mapping[int, PgType]:
        """The array and domain types of the database, by oid. They are read again if `relation` has an unknown type."""
        oids = {c.type_oid for c in relation.columns if c.type_oid >= _FIRST_USER_OID}
        if self._types is None or not oids <= self._known_oids:
            self._types = load_types(self._live(), self._slot.where)
            self._known_oids |= oids
        return self._types

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._slot.dsn.reveal(), self._slot.where)
        return self._connection


def _starts_with(facts: TableFacts, relation: Relation) -> bool:
    """Whether the table's first columns in the catalogs equal the columns of `relation`."""
    logged = [(c.name, c.type_oid, c.typmod) for c in relation.columns]
    return logged == [(c.name, c.type_oid, c.typmod) for c in facts.relation.columns][: len(logged)]
