"""What a look at the source shows: its identity and slot, its publication, its tables against what they are bound to,
and the raw topics they go to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import psycopg
import structlog
from confluent_kafka.admin import AdminClient
from psycopg import sql

from sluice.cdc.connection import Connection, connect
from sluice.cdc.faults import source_errors
from sluice.cdc.publication import partial_publication, withdraw
from sluice.cdc.slots import identify, slot_state, wal_end, wal_inserted
from sluice.cdc.table_facts import (
    Bound,
    Leaf,
    PublicationFacts,
    TableFacts,
    called_now,
    publication_facts,
    table_facts,
)
from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.topics import Topics
from sluice.names import INGRESS_CDC, Names
from sluice_ingress_cdc.fitness import unfit
from sluice_ingress_cdc.judgement import XIDS, Seen
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.start import Observed

# A table may be large, and is looked at again until the log has told what became of it.
_ROWS_LOOKED_AT = 100_000

log = structlog.get_logger()


class Look(NamedTuple):
    """The tables of a source as its catalogs show them, by name, those that exist.

    `publication`: None where there is none. `seen`: of each table that was bound to something, the look that is judged.
    `wal_lsn`: every change that it shows lies below, flushed or not. `refusal`: why nothing can be followed through the
    publication. `harms`: the tables whose writes it makes fail, and which could not be taken out of it.
    """

    publication: PublicationFacts | None
    facts: Mapping[str, TableFacts]
    seen: Mapping[str, Seen]
    server_version: int
    wal_lsn: int = 0
    refusal: EnvironmentFault | None = None
    harms: tuple[EnvironmentFault, ...] = ()

    def fit(self, name: str) -> bool:
        """Whether the table could be read and followed now."""
        facts = self.facts.get(name)
        return facts is not None and unfit(facts, self.server_version) is None


def observe(slot: SlotSettings, topics: Mapping[str, RawTopic], kafka: KafkaSettings, *, first_start: bool) -> Observed:
    """Look at the source's server and slot. Raises EnvironmentFault for one that can never be followed, Transient if
    nobody answers."""
    where = slot.where
    dsn = slot.dsn.reveal()
    with connect(dsn, where, replication=True) as replication:
        identity = identify(replication, where)
    with connect(dsn, where) as connection:
        return Observed(
            source=slot.source,
            slot_name=slot.slot,
            identity=identity,
            slot=slot_state(connection, slot.slot, where),
            wal_end=wal_end(connection, where),
            has_publication=publication_facts(connection, slot.publication, where) is not None,
            tables=len(slot.tables),
            raw_is_empty=not first_start or _all_empty(kafka, topics),
        )


class RawTopic(NamedTuple):
    """Where a table's changes go."""

    name: str
    topic_id: str
    partitions: int


def raw_topics(slot: SlotSettings, names: Names, admin: AdminClient) -> dict[str, RawTopic]:
    """The raw topics of the source's tables, by table. EnvironmentFault if one of them, or the dead letters', is
    missing."""
    topic_of = {table: names.raw(slot.source, table) for table in slot.tables}
    pinned = Topics(admin).pinned([*topic_of.values(), names.dlq(INGRESS_CDC)])
    return {
        table: RawTopic(topic, pinned[topic].topic_id, pinned[topic].partitions) for table, topic in topic_of.items()
    }


def look_at(
    connection: Connection,
    slot: SlotSettings,
    tables: Sequence[str],
    bounds: Mapping[str, Bound],
    topic_ids: Mapping[str, str],
) -> Look:
    """Look at these of the source's tables, and take those out of our publication that it would harm.

    `bounds` of those that are followed. The look must be judged: only it shows why a table was taken out. Raises
    Transient, and EnvironmentFault where we may not look.
    """
    where, version = slot.where, connection.info.server_version
    publication = publication_facts(connection, slot.publication, where)
    facts = table_facts(connection, slot.publication, tables, where)
    if publication is None:
        return Look(None, facts, {}, version)
    harms = _withdraw_harmed(connection, slot, facts.values())
    seen = {
        name: _seen(connection, facts.get(name), bound, publication, topic_ids[name], where)
        for name, bound in bounds.items()
    }
    refusal = partial_publication(slot.publication, publication, list(facts.values()), where)
    return Look(publication, facts, seen, version, wal_inserted(connection, where), refusal, harms)


def _withdraw_harmed(
    connection: Connection, slot: SlotSettings, tables: Iterable[TableFacts]
) -> tuple[EnvironmentFault, ...]:
    """Take those tables out of our publication that it harms; why it was not possible, of each that still is in it."""
    harms = []
    for table in tables:
        wrong = unfit(table, connection.info.server_version)
        if wrong is not None and wrong.breaks_writes and slot.publication_is_ours and _is_member(table):
            try:
                withdraw(connection, slot.publication, table, slot.where)
            except EnvironmentFault as fault:
                harms.append(fault)
            else:
                log.warning("table taken out of our publication", table=table.name, source=slot.source, why=wrong.why)
    return tuple(harms)


def _is_member(table: TableFacts) -> bool:
    """Whether the publication names the table itself, not its schema or all tables."""
    return any(row.startswith("table ") for row in table.membership)


def _seen(
    connection: Connection,
    facts: TableFacts | None,
    bound: Bound,
    publication: PublicationFacts,
    topic_id: str,
    where: str,
) -> Seen:
    version = connection.info.server_version
    if facts is None or facts.oid != bound.oid:
        return Seen(bound, facts, publication, topic_id, version, called_now(connection, bound.oid, where))
    filled: set[int] = set()
    emptied: dict[int, int] = {}
    for leaf in facts.leaves:
        if leaf.oid not in bound.leaves:
            if _older_rows(connection, leaf, leaf.attached, or_equal=True) is not False:
                filled.add(leaf.oid)
        elif leaf.filenode != bound.leaves[leaf.oid].filenode and not _older_rows(connection, leaf, bound.xid % XIDS):
            emptied[leaf.oid] = leaf.version
    refilled = (
        not facts.partitioned
        and facts.filenode != bound.filenode
        and not _older_rows(connection, facts, bound.xid % XIDS)
        and not _vacuumed_empty(connection, facts)
    )
    return Seen(bound, facts, publication, topic_id, version, None, frozenset(filled), emptied, refilled)


def _older_rows(connection: Connection, table: Leaf | TableFacts, xid: int, *, or_equal: bool = False) -> bool | None:
    """Whether a table or partition holds rows that a transaction before `xid` wrote; None where we may not look.

    In a file that was written anew after `xid` every row is younger, or none: the first ones tell.
    """
    limit = sql.SQL("" if or_equal else f"LIMIT {_ROWS_LOOKED_AT}")
    statement = sql.SQL(
        "SELECT EXISTS (SELECT FROM (SELECT xmin FROM ONLY {} {}) AS r WHERE age(r.xmin) {} age({}::text::xid))"
    ).format(table.identifier, limit, sql.SQL(">=" if or_equal else ">"), sql.Literal(str(xid)))
    return _answer(connection, table, statement)


def _vacuumed_empty(connection: Connection, table: TableFacts) -> bool | None:
    """Whether a table without rows was counted so: VACUUM FULL counts, what rewrites or truncates a table does not."""
    statement = sql.SQL(
        "SELECT NOT EXISTS (SELECT FROM ONLY {}) AND reltuples >= 0 FROM pg_catalog.pg_class WHERE oid = {}"
    ).format(table.identifier, sql.Literal(table.oid))
    return _answer(connection, table, statement)


def _answer(connection: Connection, table: Leaf | TableFacts, statement: sql.Composed) -> bool | None:
    try:
        found = connection.execute(statement).fetchall()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
        return None
    except psycopg.Error as error:
        with source_errors(f"table {table.name}"):
            raise error
    return bool(found and found[0][0])


def _all_empty(kafka: KafkaSettings, topics: Mapping[str, RawTopic]) -> bool:
    with LogReader(kafka) as reader:
        ends = reader.ends([(t.name, p) for t in topics.values() for p in range(t.partitions)])
    return not any(ends.values())
