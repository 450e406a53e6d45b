"""Effects that the assembler is handed: a row read again by its key, and the catalog's types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from sluice.postgres.debezium import TableEvents
from sluice.postgres.json_text import PgType
from sluice.postgres.pgoutput import Relation, Row
from sluice.postgres.source_connection import Connection, connect
from sluice.postgres.source_faults import source_errors
from sluice.postgres.source_tables import load_types
from sluice_ingress_cdc.settings import SlotSettings

_FIRST_USER_OID = 16_384


class SourceLookups:
    """Opened when first needed, closed with the stream. Errors are Transient or EnvironmentFault."""

    def __init__(self, slot: SlotSettings) -> None:
        self._slot = slot
        self._connection: Connection | None = None
        self._types: dict[int, PgType] | None = None
        self._known: set[int] = set()

    def types_of(self, relation: Relation) -> Mapping[int, PgType]:
        """Arrays and domains of the database, asked again whenever a relation has a type not met before."""
        oids = {c.type_oid for c in relation.columns if c.type_oid >= _FIRST_USER_OID}
        if self._types is None or not oids <= self._known:
            self._types = load_types(self._live(), self._slot.where)
            self._known |= oids
        return self._types

    def read_again(self, table: TableEvents, key: Sequence[bytes]) -> Row | None:
        """The row that has this primary key now, in the relation's columns."""
        relation = table.relation
        columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in relation.columns)
        match = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value.decode()))
            for name, value in zip(table.key_columns, key, strict=True)
        )
        name = sql.Identifier(relation.schema, relation.table)
        with source_errors(f"{self._slot.where}, table {relation.schema}.{relation.table}"):
            cursor = self._live().execute(sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, name, match))
            result = cursor.pgresult
            if result is None or result.ntuples == 0:
                return None
            return [result.get_value(0, i) for i in range(result.nfields)]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._slot.dsn.reveal(), self._slot.where)
        return self._connection
