"""Leases of partitions, in the sink's own tables next to the golden tables: owner, epoch of the topic, next offset.

The owner's number only stops a stalled writer early. Rows are safe without it: the offset guard and the tombstones
refuse older changes.
"""

from collections.abc import Iterable
from typing import NamedTuple

from psycopg import sql

from sluice.errors import EnvironmentFault, TransactionLost, Transient
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.sql import statement


class OwnerChanged(TransactionLost):
    """Another sink process took the lease of a partition of the batch, so nothing was written.

    The caller then takes new leases of the partitions that the consumer group still assigns to it.
    """


class Lease(NamedTuple):
    """The right to write a partition. `processed`: the next offset, None before the first batch. `at_s`: the time at
    which the last batch was written (Unix s).

    `pass_from`, `pass_end`: the first offset and the end of a pass in progress; None without a pass.
    """

    topic: str
    partition: int
    owner_no: int
    epoch: int
    topic_id: str
    processed: int | None
    pass_from: int | None
    pass_end: int | None
    at_s: float


def topic_epoch(connection: Connection, table: GoldenTable, topic: str, topic_id: str) -> int:
    """The epoch under which rows from this topic are written.

    If the table is empty and has no epoch, epoch 1 is written. Raises EnvironmentFault if the table was filled from a
    topic with another id.
    """
    topics = table.own("_topics")
    newest, wanted = statement("newest_topic", topics=topics), {"topic": topic, "topic_id": topic_id}
    found = connection.execute(newest, wanted).fetchone()
    if found is None and _empty(connection, table):
        connection.execute(statement("first_topic", topics=topics), wanted)
        found = connection.execute(newest, wanted).fetchone()
    if found is None or found[1] != topic_id:
        known = "another topic" if found is None else f"the topic with id {found[1]}"
        raise EnvironmentFault(
            table.place,
            f"was filled from {known}, and {topic} has id {topic_id} now; its offsets mean other records",
            f"restart the merger, which fills {topic} again; when `sluice lag` shows no more lag of it, "
            f"stop the sink and run `sluice sink rebuild {table.name}`",
        )
    return int(found[0])


def _empty(connection: Connection, table: GoldenTable) -> bool:
    query = statement("has_history", table=table.identifier, tombstones=table.own("_tombstones"))
    return connection.execute(query, {"entity": table.name}).fetchone() == (False,)


def take_lease(connection: Connection, table: GoldenTable, topic: str, partition: int, topic_id: str) -> Lease:
    """Become the owner of a partition. The previous owner then finds a higher owner number and aborts its batch."""
    with connection.transaction():
        epoch = topic_epoch(connection, table, topic, topic_id)
        taken = connection.execute(
            statement("lease", owner=table.own("_owner")),
            {"topic": topic, "partition": partition, "topic_id": topic_id},
        ).fetchone()
    if taken is None:
        raise Transient(f"the owner row of {topic}/{partition} was not returned")
    owner_no, stored_topic_id, processed, pass_from, pass_end, at_s = taken
    return Lease(topic, partition, owner_no, epoch, stored_topic_id, processed, pass_from, pass_end, at_s)


def lock(connection: Connection, schema: str, leases: Iterable[Lease]) -> None:
    """Lock the owner rows of `leases` in partition order until the transaction ends.

    Raises OwnerChanged if another process took one of the leases.
    """
    ours = {(lease.topic, lease.partition): lease.owner_no for lease in leases}
    found = connection.execute(
        statement("lock_owners", owner=sql.Identifier(schema, "_owner")),
        {"topics": [topic for topic, _ in ours], "partitions": [partition for _, partition in ours]},
    ).fetchall()
    now = {(topic, partition): owner_no for topic, partition, owner_no in found}
    for (topic, partition), owner_no in ours.items():
        if now.get((topic, partition)) != owner_no:
            raise OwnerChanged(f"{topic}/{partition}: owner {owner_no} here, {now.get((topic, partition))} in Postgres")
