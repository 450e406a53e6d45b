"""Preparing a golden table to be filled anew from its topic: the next epoch, and a pass over every partition.

The running sink then does the reading, as it always does. Rows stay readable meanwhile: those of older epochs are
rewritten one by one, and what the pass did not meet goes at its end.
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
    """A partition of the topic: its first offset, and its end when the rebuild began."""

    first: int
    end: int


def begin_rebuild(
    connection: Connection, table: GoldenTable, topic: str, topic_id: str, spans: Mapping[int, Span]
) -> int:
    """Write the topic's next epoch and a pass over all `spans` (by partition), in one transaction; returns the epoch.

    Raises EnvironmentFault and Transient.
    """
    if not spans:
        raise SettingsError(f"{topic}: no partitions to rebuild {table.name} from")
    owner = sql.Identifier(table.schema, "_owner")
    with sink_errors(f"table {table.schema}.{table.name}"), connection.transaction():
        for fault in ensure(connection, table.schema, {topic: table}, to_be_filled=True).held.values():
            raise fault
        _disown(connection, table)
        epoch = _next_epoch(connection, table, topic, topic_id)
        for name in ("_tombstones", "_seen"):  # what they say, they say by offsets of older epochs
            forget = statement("forget_entity", own=sql.Identifier(table.schema, name))
            connection.execute(forget, {"entity": table.name})
        for partition, span in spans.items():
            connection.execute(
                statement("rebuild_owner", owner=owner),
                {"topic": topic, "partition": partition, "topic_id": topic_id, "first": span.first, "end": span.end},
            )
        _forget_other_partitions(connection, table, topic, max(spans))
    return epoch


def _disown(connection: Connection, table: GoldenTable) -> None:
    """Rows whose origin somebody took away, or moved to where no epoch comes after, are as old as can be."""
    connection.execute(statement("disown", table=sql.Identifier(table.schema, table.name)))


def _next_epoch(connection: Connection, table: GoldenTable, topic: str, topic_id: str) -> int:
    topics, golden = (sql.Identifier(table.schema, name) for name in ("_topics", table.name))
    add = statement("next_topic", topics=topics, table=golden)
    [(epoch,)] = connection.execute(add, {"topic": topic, "topic_id": topic_id}).fetchall()
    return int(epoch)


def _forget_other_partitions(connection: Connection, table: GoldenTable, topic: str, last: int) -> None:
    """Rows and owners of partitions that the topic does not have: no pass would ever come by them."""
    golden, owner = (sql.Identifier(table.schema, name) for name in (table.name, "_owner"))
    connection.execute(statement("forget_other_rows", table=golden), {"last": last})
    connection.execute(statement("forget_other_owners", owner=owner), {"last": last, "topic": topic})
