"""The catalogs' facts about a followed table, and the binding: the facts that its published records were made from.

A Relation message of the log contains only names of columns. The catalogs show which object a name means: a table by
its oid, a column by its attribute number, a membership in a publication by the oid of its catalog row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from psycopg import sql

from sluice.cdc.column_json import PgType
from sluice.cdc.connection import Connection, query
from sluice.cdc.pgoutput import Relation, RelationColumn


class ColumnFacts(NamedTuple):
    """One column as the catalogs show it.

    `version`: the transaction that wrote the column's catalog row. `filled`: rows older than the column may have a
    value in it (a default, an identity). `spelling`: the catalog rows that decide how values of a user-defined type are
    spelled. These are the labels of enums and the attributes of composites, also within arrays, domains and ranges.
    `default`: the expression of the default as `pg_get_expr` prints it.
    """

    number: int
    name: str
    type_oid: int
    typmod: int
    version: int
    filled: bool
    generated: bool
    spelling: tuple[str, ...] = ()
    nullable: bool = True
    default: str | None = None


class LeafPartition(NamedTuple):
    """A partition of a table that contains rows itself. `attached`: the newest transaction that attached it, or a
    partition that contains it. `version`: the transaction that last wrote its row in `pg_class`, as a TRUNCATE does."""

    oid: int
    schema: str
    table: str
    kind: str
    persistence: str
    identity: str
    filenode: int
    version: int
    attached: int
    identity_columns: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)


class TableFacts(NamedTuple):
    """One table as the catalogs show it.

    `identity`: the replica identity (d default, f full, i an index, n nothing). `identity_columns`: the columns of the
    old row that an update contains. `published`: the columns that the publication publishes; None if the publication
    lacks the table. `membership`: the catalog rows that make the table part of the publication. `xid`: every
    transaction below this id had ended. `toast`: the oid of the TOAST table, 0 if there is none; a TRUNCATE keeps this
    oid, a rewrite of the rows changes it. `sent_as`: a published ancestor of this partition, under whose name the
    partition's changes are sent.
    """

    schema: str
    table: str
    oid: int
    kind: str
    persistence: str
    identity: str
    filenode: int
    identity_columns: tuple[str, ...]
    primary_key: tuple[str, ...]
    key_immediate: bool
    columns: tuple[ColumnFacts, ...]
    leaves: tuple[LeafPartition, ...]
    membership: tuple[str, ...]
    published: tuple[str, ...] | None
    row_filter: str | None
    filter_columns: tuple[str, ...]
    xid: int
    server_version: int
    toast: int = 0
    sent_as: str | None = None

    @property
    def name(self) -> str:
        """The name of the table and of its stream: `schema.table`."""
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)

    @property
    def partitioned(self) -> bool:
        return self.kind == "p"

    @property
    def itself(self) -> sql.Composed:
        """The name of the table for SQL statements that must not include its children by inheritance."""
        return sql.SQL("{}" if self.partitioned else "ONLY {}").format(self.identifier)

    @property
    def select(self) -> sql.Composed:
        """A SELECT of the table's published columns and rows."""
        return sql.SQL("SELECT {} FROM {} {}").format(
            sql.SQL(", ").join(sql.Identifier(column.name) for column in self.relation.columns),
            self.itself,
            # The publication's row filter is SQL from the catalogs of the source.
            sql.SQL(f"WHERE {self.row_filter}" if self.row_filter else ""),
        )

    @property
    def published_columns(self) -> tuple[str, ...]:
        """The columns that events contain. If the publication lacks the table, the columns that it would publish."""
        if self.published is not None:
            return self.published
        return tuple(c.name for c in self.columns if not c.generated)

    @property
    def relation(self) -> Relation:
        """The shape of the table as a Relation message would show it; `in_identity` marks the primary key."""
        columns = tuple(
            RelationColumn(c.name, c.type_oid, c.typmod, c.name in self.primary_key)
            for c in self.columns
            if c.name in self.published_columns
        )
        return Relation(self.oid, self.schema, self.table, self.identity, columns)


class PublicationFacts(NamedTuple):
    """A publication. `version`: the transaction that wrote its catalog row. `publishes_all`: it publishes inserts,
    updates, deletes and truncates. `via_root`: changes of partitions are sent under the partitioned table's name."""

    oid: int
    version: int
    publishes_all: bool
    via_root: bool


class BoundColumn(NamedTuple):
    """A column at the time when the table's snapshot was read. `spelling`: None if an older version of Sluice did not
    store it."""

    number: int
    name: str
    type_oid: int
    typmod: int
    version: int
    spelling: tuple[str, ...] | None = None


class BoundLeaf(NamedTuple):
    """A partition at the time when the table's snapshot was read. `attached`: None if an older version of Sluice did
    not store it."""

    filenode: int
    attached: int | None = None


class TableBinding(NamedTuple):
    """The facts that a table's records were made from. If the source shows other facts, the records may be wrong."""

    topic_id: str
    oid: int
    key: tuple[str, ...]
    columns: tuple[BoundColumn, ...]
    """The published columns."""
    filenode: int
    leaves: Mapping[int, BoundLeaf]
    """The partitions, by oid."""
    membership: tuple[str, ...]
    publication: tuple[int, int]
    """The oid and the version of the publication."""
    xid: int
    toast: int = 0
    """The oid of the TOAST table; 0 if there is none, or if an older version of Sluice did not store it."""

    def to_json(self) -> list[Any]:
        columns = [[*column] for column in self.columns]
        leaves = [[oid, *leaf] for oid, leaf in sorted(self.leaves.items())]
        return [*self[:3], columns, self.filenode, leaves, *self[6:]]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> TableBinding:
        """The binding for stored JSON. Raises ValueError if this version of Sluice does not know its form."""
        members = [*value]
        members[5] = {oid: leaf for oid, *leaf in value[5]}
        return msgspec.convert(members, cls)


def binding_of(facts: TableFacts, publication: PublicationFacts, topic_id: str) -> TableBinding:
    """The binding of a table whose snapshot was read under `facts`."""
    return TableBinding(
        topic_id,
        facts.oid,
        facts.primary_key,
        tuple(
            BoundColumn(c.number, c.name, c.type_oid, c.typmod, c.version, c.spelling)
            for c in facts.columns
            if c.name in facts.published_columns
        ),
        facts.filenode,
        {leaf.oid: BoundLeaf(leaf.filenode, leaf.attached) for leaf in facts.leaves},
        facts.membership,
        (publication.oid, publication.version),
        facts.xid,
        facts.toast,
    )


def table_facts(connection: Connection, publication: str, names: Sequence[str], where: str) -> dict[str, TableFacts]:
    """The facts of the tables `names` (`schema.table`) by name; a table that does not exist is left out."""
    schemas, tables = zip(*(n.split(".", 1) for n in names), strict=True) if names else ((), ())
    found = query(connection, "table_facts", where, publication=publication, schemas=[*schemas], tables=[*tables])
    return {facts.name: facts for facts in map(_facts, found)}


def publication_facts(connection: Connection, publication: str, where: str) -> PublicationFacts | None:
    """The facts of the publication; None if it does not exist."""
    found = query(connection, "publication", where, publication=publication)
    return PublicationFacts(**found[0]) if found else None


def current_name(connection: Connection, oid: int, where: str) -> str | None:
    """The name (`schema.table`) of the relation with this oid; None if it was dropped."""
    found = query(connection, "current_name", where, oid=oid)
    return str(found[0]["name"]) if found else None


def load_types(connection: Connection, where: str) -> dict[int, PgType]:
    """Every array, domain and user-defined type of the database, by oid."""
    found = query(connection, "types", where)
    return {r["oid"]: PgType(**r) for r in found}


def _facts(row: dict[str, Any]) -> TableFacts:
    row["membership"].sort()
    if not row["membership"]:
        row["published"] = None
    row["columns"] = row["columns"] or []
    row["leaves"] = row["leaves"] or []
    return msgspec.convert([row[name] for name in TableFacts._fields], TableFacts)
