"""Prepare a rebuild of a golden table from its topic: write the next epoch, and a pass over every partition.

The sink then reads the topic as usual. Rows stay readable during the rebuild: the sink rewrites the rows of older
epochs one by one, and the end of each pass deletes the rows without a record in the topic.
"""

from collections.abc import Mapping
from typing import NamedTuple

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

    Raises SettingsError if `spans` is empty, EnvironmentFault if the table cannot be repaired, and Transient.
    """
    if not spans:
        raise SettingsError(f"{topic}: no partitions to rebuild {table.name} from")
    owner, ids = table.own("_owner"), {"topic": topic, "topic_id": topic_id}
    with sink_errors(table.place), connection.transaction():
        for fault in ensure(connection, table.schema, {topic: table}, to_be_filled=True).faults.values():
            raise fault
        connection.execute(statement("clear_origins", table=table.identifier))
        next_topic = statement("next_topic", topics=table.own("_topics"), table=table.identifier)
        [(epoch,)] = connection.execute(next_topic, ids).fetchall()
        for name in ("_tombstones", "_seen"):  # offsets in these tables belong to older epochs of the topic
            connection.execute(statement("delete_entity", own=table.own(name)), {"entity": table.name})
        for partition, span in spans.items():
            row = {**ids, "partition": partition, "first": span.first, "end": span.end}
            connection.execute(statement("rebuild_owner", owner=owner), row)
        # No pass deletes the rows of partitions that the topic does not have.
        last = {"last": max(spans), "topic": topic}
        connection.execute(statement("delete_other_rows", table=table.identifier), last)
        connection.execute(statement("delete_other_owners", owner=owner), last)
    return int(epoch)
