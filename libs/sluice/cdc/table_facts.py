"""What stands in the source about a followed table, and what of it a table's watermark is bound to.

A Relation message of the log tells names only. The catalogs tell what the names mean: a table is its oid, a column its
attribute number, a membership in a publication the oid of its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import sql

from sluice.cdc.connection import Connection
from sluice.cdc.pgoutput import Column, Relation
from sluice.cdc.slots import rows


class ColumnFacts(NamedTuple):
    """One column. `version` changes with its catalog row; `filled`: rows that stood before it came may hold a value
    in it (a default, an identity). `spelling`: what decides how values of a type that users made read: the labels of
    enums, the attributes of composites, also within arrays, domains and ranges."""

    number: int
    name: str
    type_oid: int
    typmod: int
    version: int
    filled: bool
    generated: bool
    spelling: tuple[str, ...] = ()


class Leaf(NamedTuple):
    """A partition that holds rows. `attached`: the transaction id that made it part of the table; `version`: the one
    that wrote its catalog row, such as a TRUNCATE's."""

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

    `identity`: d default, f full, i an index, n nothing; `identity_columns`: what an update carries of the old row.
    `published`: the columns that the publication lets through, None where it lacks the table. `membership`: the rows of
    the catalog that make the table part of the publication. `xid`: every transaction below it had ended. `toast`: the
    oid of the table of its large values, 0 without one; TRUNCATE keeps it, whatever writes rows anew makes another.
    `sent_as`: the partitioned table, published as well, as whose changes those of this one are sent.
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
    leaves: tuple[Leaf, ...]
    membership: tuple[str, ...]
    published: tuple[str, ...] | None
    row_filter: str | None
    filter_columns: tuple[str, ...]
    xid: int
    toast: int = 0
    sent_as: str | None = None

    @property
    def name(self) -> str:
        """`schema.table`: the stream's name."""
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)

    @property
    def partitioned(self) -> bool:
        return self.kind == "p"

    @property
    def published_columns(self) -> tuple[str, ...]:
        """The columns that events carry; before there is a publication, those that ours would carry."""
        if self.published is not None:
            return self.published
        return tuple(c.name for c in self.columns if not c.generated)

    @property
    def relation(self) -> Relation:
        """The table's shape as a Relation message would tell it."""
        columns = tuple(
            Column(c.name, c.type_oid, c.typmod, c.name in self.primary_key)
            for c in self.columns
            if c.name in self.published_columns
        )
        return Relation(self.oid, self.schema, self.table, self.identity, columns)


class PublicationFacts(NamedTuple):
    """`version` changes with the publication's catalog row; `whole`: every kind of change is let through."""

    oid: int
    version: int
    whole: bool
    via_root: bool


class BoundColumn(NamedTuple):
    """A column as its records were made. `spelling`: None where an older version of Sluice did not write it."""

    number: int
    name: str
    type_oid: int
    typmod: int
    version: int
    spelling: tuple[str, ...] | None = None


class BoundLeaf(NamedTuple):
    """A partition as its records were made. `attached`: None where an older version of Sluice did not write it."""

    filenode: int
    attached: int | None = None


class Bound(NamedTuple):
    """What the records of a table were made from. Where the source shows something else, they may not fit any more."""

    topic_id: str
    oid: int
    key: tuple[str, ...]
    columns: tuple[BoundColumn, ...]
    """Those that are published."""
    filenode: int
    leaves: Mapping[int, BoundLeaf]
    """By oid."""
    membership: tuple[str, ...]
    publication: tuple[int, int]
    """Oid and version."""
    xid: int
    toast: int = 0
    """0 also where an older version of Sluice did not write it."""

    def to_json(self) -> list[Any]:
        columns = [[*column] for column in self.columns]
        leaves = [[oid, *leaf] for oid, leaf in sorted(self.leaves.items())]
        return [*self[:3], columns, self.filenode, leaves, *self[6:]]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Bound:
        topic_id, oid, key, columns, filenode, leaves, membership, publication, xid, *toast = value
        return cls(
            topic_id,
            oid,
            tuple(key),
            tuple(
                BoundColumn(*c[:5], *(tuple(spelling) for spelling in c[5:] if spelling is not None)) for c in columns
            ),
            filenode,
            {oid: BoundLeaf(*leaf) for oid, *leaf in leaves},
            tuple(membership),
            (publication[0], publication[1]),
            xid,
            *toast,
        )


def bound_to(facts: TableFacts, publication: PublicationFacts, topic_id: str) -> Bound:
    """What a snapshot that was read under `facts` binds the table's watermark to."""
    return Bound(
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
    """The facts of the tables `names` (`schema.table`), by name, of those that exist."""
    schemas, tables = zip(*(n.split(".", 1) for n in names), strict=True) if names else ((), ())
    found = rows(connection, "table_facts", where, publication=publication, schemas=[*schemas], tables=[*tables])
    return {facts.name: facts for facts in map(_facts, found)}


def publication_facts(connection: Connection, publication: str, where: str) -> PublicationFacts | None:
    """The publication's facts; None if there is no such publication."""
    found = rows(connection, "publication", where, publication=publication)
    return PublicationFacts(**found[0]) if found else None


def called_now(connection: Connection, oid: int, where: str) -> str | None:
    """The name (`schema.table`) of the relation with this oid; None if it is gone."""
    found = rows(connection, "called_now", where, oid=oid)
    return str(found[0]["name"]) if found else None


def _facts(row: dict[str, Any]) -> TableFacts:
    return TableFacts(
        **{
            **row,
            **{name: tuple(row[name]) for name in ("identity_columns", "primary_key", "filter_columns")},
            "membership": tuple(sorted(row["membership"])),
            "columns": tuple(
                ColumnFacts(*column)._replace(spelling=tuple(column[-1])) for column in row["columns"] or ()
            ),
            "leaves": tuple(Leaf(*leaf)._replace(identity_columns=tuple(leaf[-1])) for leaf in row["leaves"] or ()),
            "published": tuple(row["published"]) if row["membership"] else None,
        }
    )
