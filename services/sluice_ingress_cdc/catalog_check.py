"""Checks a source by its catalogs: its publication, and its tables.

Each followed table is compared with the facts that its records were made from, and its raw topic with the stored one.
Only `drop_failing` changes the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg
import structlog
from confluent_kafka.admin import AdminClient
from psycopg import sql

from sluice.cdc.connection import Connection
from sluice.cdc.eligibility import ineligibility
from sluice.cdc.publication import drop_from_publication, publication_fault
from sluice.cdc.slots import wal_inserted
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import (
    LeafPartition,
    PublicationFacts,
    TableBinding,
    TableFacts,
    current_name,
    publication_facts,
    table_facts,
)
from sluice.errors import EnvironmentFault
from sluice.kafka.topics import Topics
from sluice.names import INGRESS_CDC, Names
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.table_changes import XIDS, TableCheck

# `_has_row_before` reads at most this many rows. It is called by every check until the log explains the table's new
# file, and the table may be large.
_ROWS_READ_MAX = 100_000

log = structlog.get_logger()


class RawTopic(NamedTuple):
    """The raw topic of a table."""

    name: str
    topic_id: str
    partitions: int


class Catalogs(NamedTuple):
    """The publication of a source (None if it does not exist), and the facts of each table that exists, by name."""

    publication: PublicationFacts | None
    facts: Mapping[str, TableFacts]


class CatalogCheck(NamedTuple):
    """What one check of a source found. `publication` and `facts`: see `Catalogs`.

    `checks`: the check of each followed table, by name. `wal_lsn`: every change that the check shows is below this LSN,
    flushed or not. `publication_fault`: why no table can be followed through the publication. `write_faults`: one fault
    for each table whose writes fail because it is published, if it could not be dropped from the publication.
    """

    publication: PublicationFacts | None
    facts: Mapping[str, TableFacts]
    checks: Mapping[str, TableCheck]
    wal_lsn: int = 0
    publication_fault: EnvironmentFault | None = None
    write_faults: tuple[EnvironmentFault, ...] = ()

    def is_eligible(self, name: str) -> bool:
        """Whether the table can be read and followed now."""
        facts = self.facts.get(name)
        return facts is not None and ineligibility(facts) is None


def raw_topics(slot: SlotSettings, names: Names, admin: AdminClient) -> dict[str, RawTopic]:
    """The raw topics of the source's tables, by table. Raises EnvironmentFault if a topic of the source or the topic of
    dead letters is missing."""
    topic_of = {table: names.raw(slot.source, table) for table in slot.tables}
    pinned = Topics(admin).pinned([*topic_of.values(), names.dlq(INGRESS_CDC), *slot.other.names])
    return {
        table: RawTopic(topic, pinned[topic].topic_id, pinned[topic].partitions) for table, topic in topic_of.items()
    }


def read_catalogs(connection: Connection, slot: SlotSettings, tables: Sequence[str]) -> Catalogs:
    """Read the publication and the facts of `tables`. Raises Transient if the server does not answer, and
    EnvironmentFault if this user may not read the catalogs."""
    publication = publication_facts(connection, slot.publication, slot.where)
    return Catalogs(publication, table_facts(connection, slot.publication, tables, slot.where))


def check_catalogs(
    connection: Connection,
    slot: SlotSettings,
    catalogs: Catalogs,
    bounds: Mapping[str, TableBinding],
    topics: Mapping[str, RawTopic],
) -> CatalogCheck:
    """Compare the followed tables with `catalogs`. `bounds`: the bindings of these tables, by name.

    Reads rows of tables whose file or partitions changed. Raises as `read_catalogs` does.
    """
    where = slot.where
    publication, facts = catalogs
    if publication is None:
        return CatalogCheck(None, facts, {})
    checks = {
        name: _check(connection, TableCheck(bound, facts.get(name), publication, topics[name].topic_id), where)
        for name, bound in bounds.items()
    }
    fault = publication_fault(slot.publication, publication, list(facts.values()), where)
    return CatalogCheck(publication, facts, checks, wal_inserted(connection, where), fault)


def drop_failing(connection: Connection, slot: SlotSettings, catalogs: Catalogs) -> tuple[EnvironmentFault, ...]:
    """Drop from our publication each table whose writes fail because it is published. Returns a fault for each table
    that could not be dropped."""
    faults = []
    for table in catalogs.facts.values():
        wrong = ineligibility(table)
        if wrong is not None and wrong.breaks_writes and slot.publication_is_ours and _is_member(table):
            try:
                drop_from_publication(connection, slot.publication, table, slot.where)
            except EnvironmentFault as fault:
                faults.append(fault)
            else:
                log.warning("table dropped from our publication", table=table.name, source=slot.source, why=wrong.why)
    return tuple(faults)


def _is_member(table: TableFacts) -> bool:
    """Whether the publication names the table itself. False if it only names the table's schema, or all tables."""
    return any(row.startswith("table ") for row in table.membership)


def _check(connection: Connection, check: TableCheck, where: str) -> TableCheck:
    """`check`, completed with the facts that only a query of the table or of its partitions shows."""
    bound, facts = check.bound, check.facts
    if facts is None or facts.oid != bound.oid:
        return check._replace(current_name=current_name(connection, bound.oid, where))
    filled: set[int] = set()
    emptied: dict[int, int] = {}
    for leaf in facts.leaves:
        if leaf.oid not in bound.leaves:
            if _had_rows_when_attached(connection, leaf) is not False:
                filled.add(leaf.oid)
        elif leaf.filenode != bound.leaves[leaf.oid].filenode and not _has_row_before(connection, leaf, bound.xid):
            emptied[leaf.oid] = leaf.version
    refilled = (
        not facts.partitioned
        and facts.filenode != bound.filenode
        and not _has_row_before(connection, facts, bound.xid)
        and not _is_vacuumed_empty(connection, facts)
    )
    return check._replace(filled=frozenset(filled), emptied=emptied, refilled=refilled)


def _has_row_before(connection: Connection, table: LeafPartition | TableFacts, xid: int) -> bool | None:
    """Whether a transaction before `xid` wrote one of the first rows of a table or partition. None if this user may not
    read it.

    If the table's file was rewritten after `xid`, all rows in the file are younger. The first rows are therefore
    enough.
    """
    statement = sql.SQL(
        "SELECT EXISTS (SELECT FROM (SELECT xmin FROM ONLY {} LIMIT {}) AS r WHERE age(r.xmin) > age({}::text::xid))"
    ).format(table.identifier, sql.Literal(_ROWS_READ_MAX), sql.Literal(str(xid % XIDS)))
    return _boolean(connection, table, statement)


def _had_rows_when_attached(connection: Connection, leaf: LeafPartition) -> bool | None:
    """Whether the partition has rows of the transaction that attached it, or older ones. None if this user may not read
    it. Reads the whole partition, because its file contains older and younger rows."""
    statement = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {} AS r WHERE age(r.xmin) >= age({}::text::xid))").format(
        leaf.identifier, sql.Literal(str(leaf.attached))
    )
    return _boolean(connection, leaf, statement)


def _is_vacuumed_empty(connection: Connection, table: TableFacts) -> bool | None:
    """Whether the table is empty and its row count is set: VACUUM FULL sets the count, a rewrite or TRUNCATE resets
    it."""
    statement = sql.SQL(
        "SELECT NOT EXISTS (SELECT FROM ONLY {}) AND reltuples >= 0 FROM pg_catalog.pg_class WHERE oid = {}"
    ).format(table.identifier, sql.Literal(table.oid))
    return _boolean(connection, table, statement)


def _boolean(connection: Connection, table: LeafPartition | TableFacts, statement: sql.Composed) -> bool | None:
    with source_errors(f"table {table.name}"):
        try:
            found = connection.execute(statement).fetchall()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            return None
    return bool(found and found[0][0])
