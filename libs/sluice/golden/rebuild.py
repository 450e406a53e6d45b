"""Prepare a golden table to be filled again from its topic: the next epoch, and a pass over every partition.

The sink itself then reads the topic, as always. Rows stay readable meanwhile: those of older epochs are rewritten one
by one, and the rows that the pass does not meet are deleted at its end.
"""

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql

from sluice.errors import SettingsError
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.faults import sink_errors
from sluice.golden.sql import statement
from sluice.golden.tables import ensure


class Span(NamedTuple):
    """A partition of the topic: its first offset, and its end at the start of the rebuild."""

    first: int
    end: int


def prepare_rebuild(
    connection: Connection, table: GoldenTable, topic: str, topic_id: str, spans: Mapping[int, Span]
) -> int:
    """Write the topic's next epoch and a pass over all `spans` (by partition), in one transaction; returns the epoch.

    Raises EnvironmentFault and Transient.
    """
    if not spans:
        raise SettingsError(f"{topic}: no partitions to rebuild {table.name} from")
    owner = sql.Identifier(table.schema, "_owner")
    with sink_errors(f"table {table.schema}.{table.name}"), connection.transaction():
        for fault in ensure(connection, table.schema, {topic: table}, to_be_filled=True).faults.values():
            raise fault
        connection.execute(statement("clear_origins", table=sql.Identifier(table.schema, table.name)))
        epoch = _next_epoch(connection, table, topic, topic_id)
        for name in ("_tombstones", "_seen"):  # their offsets are those of older epochs
            forget = statement("forget_entity", own=sql.Identifier(table.schema, name))
            connection.execute(forget, {"entity": table.name})
        for partition, span in spans.items():
            connection.execute(
                statement("rebuild_owner", owner=owner),
                {"topic": topic, "partition": partition, "topic_id": topic_id, "first": span.first, "end": span.end},
            )
        _forget_other_partitions(connection, table, topic, max(spans))
    return epoch


def _next_epoch(connection: Connection, table: GoldenTable, topic: str, topic_id: str) -> int:
    topics, golden = (sql.Identifier(table.schema, name) for name in ("_topics", table.name))
    add = statement("next_topic", topics=topics, table=golden)
    [(epoch,)] = connection.execute(add, {"topic": topic, "topic_id": topic_id}).fetchall()
    return int(epoch)


def _forget_other_partitions(connection: Connection, table: GoldenTable, topic: str, last: int) -> None:
    """Delete rows and owners of partitions that the topic does not have: no pass would ever read them."""
    golden, owner = (sql.Identifier(table.schema, name) for name in (table.name, "_owner"))
    connection.execute(statement("forget_other_rows", table=golden), {"last": last})
    connection.execute(statement("forget_other_owners", owner=owner), {"last": last, "topic": topic})
