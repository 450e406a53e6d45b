"""What a start looks at: the source's identity, slot, tables and publication, and the raw topics they go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.topics import Topics
from sluice.names import INGRESS_CDC, Names
from sluice.postgres.slot_watermark import tables_hash
from sluice.postgres.slots import identify, slot_state, wal_end
from sluice.postgres.source_connection import connect
from sluice.postgres.source_tables import SourceTable, describe_tables, published, refuse_partial_publication
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.start import Observed


class View(NamedTuple):
    """`partitions` of every topic that is written."""

    seen: Observed
    tables: list[SourceTable]
    partitions: Mapping[str, int]


def observe(slot: SlotSettings, names: Names, kafka: KafkaSettings, *, first_start: bool) -> View:
    """Look at source and topics. Raises EnvironmentFault for what can never be followed, Transient if nobody answers.

    The `config` it computes changes with the tables, their primary keys and the raw topics' ids: a topic that was
    deleted and made again has lost what the watermark says is published.
    """
    where = slot.where
    topic_of = {table: names.raw(slot.source, table) for table in slot.tables}
    pinned = Topics(clients.admin(kafka)).pinned([*topic_of.values(), names.dlq(INGRESS_CDC)])
    partitions = {topic: about.partitions for topic, about in pinned.items()}
    dsn = slot.dsn.reveal()
    with connect(dsn, where, replication=True) as replication:
        identity = identify(replication, where)
    with connect(dsn, where) as connection:
        tables = describe_tables(connection, slot.tables, where)
        refuse_partial_publication(connection, slot.publication, tables, where)
        there = published(connection, slot.publication, where)
        seen = Observed(
            source=slot.source,
            slot_name=slot.slot,
            identity=identity,
            slot=slot_state(connection, slot.slot, where),
            wal_end=wal_end(connection, where),
            config=tables_hash((t.name, (pinned[topic_of[t.name]].topic_id, *t.primary_key)) for t in tables),
            tables=tuple(t.name for t in tables),
            unpublished=tuple(t.name for t in tables if t.name not in there),
            raw_is_empty=not first_start or _all_empty(kafka, {t: partitions[t] for t in topic_of.values()}),
        )
    return View(seen, tables, partitions)


def _all_empty(kafka: KafkaSettings, partitions: Mapping[str, int]) -> bool:
    with LogReader(kafka) as reader:
        ends = reader.ends([(topic, p) for topic, count in partitions.items() for p in range(count)])
    return not any(ends.values())
