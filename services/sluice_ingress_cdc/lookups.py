"""Effects that the assembler is handed: what a table's shape means when the log tells a new one, and a row read again
by its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from sluice.cdc.column_json import PgType
from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import Again, TableEvents
from sluice.cdc.faults import translate
from sluice.cdc.pgoutput import Relation, Row
from sluice.cdc.publication import load_types
from sluice.cdc.slot_watermark import FOLLOWED
from sluice.cdc.table_facts import TableFacts
from sluice_ingress_cdc.assembler import Shape
from sluice_ingress_cdc.judgement import doubtful_columns, judge_relation
from sluice_ingress_cdc.observation import look_at
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.tables import Tables

_FIRST_USER_OID = 16_384
# What a row's query meets when the table's definition has moved on since the event, or may not be read any more.
_UNREADABLE = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.DataError,
)


class SourceLookups:
    """Opened when first needed, closed with the stream. Errors are Transient or EnvironmentFault."""

    def __init__(self, slot: SlotSettings, tables: Tables, topic_ids: Mapping[str, str]) -> None:
        self._slot = slot
        self._tables = tables
        self._topic_ids = topic_ids
        self._connection: Connection | None = None
        self._types: dict[int, PgType] | None = None
        self._known: set[int] = set()

    def shape_of(self, name: str, relation: Relation) -> Shape | None:
        """Judge table `name` by the catalogs and by the shape that the log tells; None if it is held now.

        The catalogs show a moment after the event's. Where they show another shape than the log, every column is in
        doubt: a later Relation message will say more. Columns that were only added since leave no doubt: the others
        stand before them by their numbers, in the order in which the log tells them.
        """
        bound = self._tables[name].bound
        if self._tables[name].state != FOLLOWED or bound is None:
            return None
        look = look_at(self._live(), self._slot, [name], {name: bound}, self._topic_ids)
        if name in look.seen:
            self._tables.seen(name, look.seen[name])
        self._tables.judged(name, judge_relation(bound, relation))
        if self._tables[name].state != FOLLOWED:
            return None
        facts = look.facts.get(name)
        if facts is None or not _begins_so(facts, relation):
            doubtful = frozenset(c.name for c in relation.columns)
        else:
            doubtful = doubtful_columns(bound, facts)
        return Shape(self._types_of(relation), doubtful)

    def read_again(self, table: TableEvents, key: Sequence[bytes]) -> Row | Again:
        """The row that has this primary key now, in the relation's columns."""
        relation = table.relation
        name = sql.Identifier(relation.schema, relation.table)
        columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in relation.columns)
        match = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value.decode()))
            for column, value in zip(table.key_columns, key, strict=True)
        )
        # One row at least, so that the table's oid is told also where the row is gone.
        statement = sql.SQL(
            "SELECT {oid}, found.* FROM (SELECT) AS one LEFT JOIN (SELECT true, {columns} FROM {name} WHERE {match})"
            " AS found ON true"
        ).format(
            oid=sql.SQL("{}::regclass::oid").format(sql.Literal(name.as_string())),
            columns=columns,
            name=name,
            match=match,
        )
        try:
            result = self._live().execute(statement).pgresult
        except _UNREADABLE:
            return Again.UNREADABLE
        except psycopg.Error as error:
            raise translate(error, f"{self._slot.where}, table {relation.schema}.{relation.table}") from None
        if result is None or result.get_value(0, 0) != b"%d" % relation.oid:
            return Again.UNREADABLE  # another table has the name now
        if result.get_value(0, 1) is None:
            return Again.GONE
        return [result.get_value(0, 2 + i) for i in range(len(relation.columns))]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _types_of(self, relation: Relation) -> Mapping[int, PgType]:
        """Arrays and domains of the database, asked again whenever a relation has a type not met before."""
        oids = {c.type_oid for c in relation.columns if c.type_oid >= _FIRST_USER_OID}
        if self._types is None or not oids <= self._known:
            self._types = load_types(self._live(), self._slot.where)
            self._known |= oids
        return self._types

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._slot.dsn.reveal(), self._slot.where)
        return self._connection


def _begins_so(facts: TableFacts, relation: Relation) -> bool:
    told = [(c.name, c.type_oid, c.typmod) for c in relation.columns]
    return told == [(c.name, c.type_oid, c.typmod) for c in facts.relation.columns][: len(told)]
